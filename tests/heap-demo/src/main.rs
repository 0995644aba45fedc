// SPDX-License-Identifier: GPL-2.0

//! Demonstrates each heap: allocates several sizes through the ioctl, maps, writes and reads them,
//! and prints the kernel's information while they are held and after they are freed. Fails if
//! anything is not as expected.

use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use clap::Parser;
use guest_support::checkers;
use guest_support::dma_buf::{
    self,
    Buffer,
    SetName, //
};
use guest_support::heap::{
    self,
    Heap,
    HEAP_DIRECTORY, //
};
use guest_support::mapping::Mapping;
use guest_support::pattern::Pattern;
use guest_support::retry::eventually;
use guest_support::{
    memory,
    page_size, //
};
use nix::sys::stat::{
    major,
    minor, //
};
use std::os::unix::fs::MetadataExt;
use std::time::{
    Duration,
    Instant, //
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Requested sizes; the last one is not a multiple of the page size.
const SIZES: [usize; 5] = [4 * KIB, 64 * KIB, MIB, 8 * MIB, 100_000];

/// Tolerated difference of memory sizes, for other programs and the kernel's own caches.
const NOISE: usize = MIB;

/// Demonstrate each heap
#[derive(Parser)]
struct Arguments {
    /// Instead: allocate buffers of 8 MiB from heap `system` and free all but one, which is held
    /// for this time, like a leak
    #[arg(long, value_name = "SECONDS")]
    leak: Option<u64>,
}

fn main() -> Result<()> {
    if let Some(seconds) = Arguments::parse().leak {
        return leak(Duration::from_secs(seconds));
    }
    let heaps = heap::names()?;
    if heaps.is_empty() {
        bail!("{HEAP_DIRECTORY} has no heap: load the module first");
    }
    println!("{} in {HEAP_DIRECTORY}:", plural(heaps.len(), "heap"));
    for name in &heaps {
        let node = std::fs::metadata(format!("{HEAP_DIRECTORY}/{name}"))?;
        let (device, mode) = (node.rdev(), node.mode() & 0o777);
        println!(
            "  {name}  (device {}:{}, mode {mode:o}, owner {}:{})",
            major(device as _),
            minor(device as _),
            node.uid(),
            node.gid()
        );
    }
    for name in &heaps {
        println!();
        show(name).with_context(|| format!("heap {name}"))?;
    }
    println!("\nEverything was as it should be.");
    Ok(())
}

fn leak(time: Duration) -> Result<()> {
    let heap = Heap::open("system")?;
    let mut buffers: Vec<Buffer> = (0..4)
        .map(|_| heap.allocate(8 * MIB))
        .collect::<Result<_>>()?;
    buffers.truncate(1);
    std::thread::sleep(time);
    Ok(())
}

/// Sizes of memory, in bytes.
struct Figures {
    free: usize,
    pooled: usize,
    buffers: dma_buf::Totals,
}

impl Figures {
    fn now() -> Result<Figures> {
        Ok(Figures {
            free: memory::free()?,
            pooled: memory::pooled()?,
            buffers: dma_buf::totals()?,
        })
    }
}

fn show(name: &str) -> Result<()> {
    println!(
        "{name}: {} through DMA_HEAP_IOCTL_ALLOC",
        plural(SIZES.len(), "buffer")
    );
    let rest_before = memory::free_and_reclaimable()?;
    let before = Figures::now()?;
    let heap = Heap::open(name)?;
    println!("    requested for        got   allocated in   mapped, zero, written, read back");
    let mut held = Vec::new();
    for (number, requested) in SIZES.into_iter().enumerate() {
        held.push(allocate(&heap, requested, Pattern(number as u64))?);
    }
    // All buffers are written before any is read: no page belongs to two of them.
    for (number, (_, mapping)) in held.iter().enumerate() {
        mapping.check(Pattern(number as u64), 0)?;
    }

    println!("  held, the kernel says in fdinfo:");
    for (number, (buffer, _)) in held.iter().enumerate() {
        buffer.set_name(&format!("demo-{number}"), SetName::Pointer32)?;
        let info = buffer.info()?;
        println!(
            "    size {:>8}  count {}  exporter {}  name {}",
            info.size,
            info.count,
            info.exporter,
            info.name.as_deref().unwrap_or("-")
        );
        ensure!(info.exporter == name, "the exporter's name is not {name}");
    }
    let bytes: usize = held.iter().map(|(_, mapping)| mapping.len()).sum();
    let while_held = Figures::now()?;
    let taken = rest_before.saturating_sub(memory::free_and_reclaimable()?);
    ensure!(
        taken.abs_diff(bytes) <= checkers::tolerated(NOISE),
        "{bytes} bytes are held, but free memory is {taken} bytes less"
    );
    let counted = while_held.buffers;
    ensure!(
        counted.buffers == before.buffers.buffers + SIZES.len()
            && counted.bytes == before.buffers.bytes + bytes,
        "the kernel counts {counted:?}, expected {} buffers more than {:?}",
        SIZES.len(),
        before.buffers
    );

    drop((held, heap));
    // A heap may zero freed memory in the background and keep it.
    let freed = settle(|| {
        let freed = Figures::now()?;
        let back = freed.free + freed.pooled;
        ensure!(
            back + checkers::tolerated(NOISE) >= before.free + before.pooled,
            "not all memory is free or pooled"
        );
        Ok(freed)
    })?;
    let reclaimed = settle(|| {
        let lost = rest_before.saturating_sub(memory::free_and_reclaimable()?);
        ensure!(
            lost <= checkers::tolerated(NOISE),
            "{lost} bytes are not free after reclaim"
        );
        let reclaimed = Figures::now()?;
        ensure!(
            reclaimed.buffers == before.buffers,
            "the kernel still counts {:?}",
            reclaimed.buffers
        );
        Ok(reclaimed)
    })?;
    print_figures([&before, &while_held, &freed, &reclaimed]);
    Ok(())
}

/// Repeats `look` until it succeeds, for at most five seconds.
fn settle<T>(look: impl Fn() -> Result<T>) -> Result<T> {
    let mut seen = None;
    eventually(Duration::from_secs(5), || {
        seen = Some(look()?);
        Ok(())
    })?;
    seen.context("nothing was seen")
}

fn print_figures(figures: [&Figures; 4]) {
    println!("  memory, in KiB:      before       held      freed  reclaimed");
    let row = |what: &str, value: fn(&Figures) -> usize| {
        let columns = figures.map(|figures| format!(" {:>10}", value(figures) / KIB));
        println!("    {what:<14}{}", columns.concat());
    };
    row("free", |figures| figures.free);
    row("in DMA-BUFs", |figures| figures.buffers.bytes);
    row("in page pools", |figures| figures.pooled);
}

/// Allocates a buffer, uses it, and prints sizes and times.
fn allocate(heap: &Heap, requested: usize, pattern: Pattern) -> Result<(Buffer, Mapping)> {
    let start = Instant::now();
    let buffer = heap.allocate(requested)?;
    let allocated = start.elapsed();
    let got = buffer.size()?;
    ensure!(
        got == requested.next_multiple_of(page_size()),
        "{requested} bytes requested, {got} bytes allocated"
    );
    let start = Instant::now();
    let mapping = write_and_read(&buffer, pattern)?;
    println!(
        "    {:>9}  {:>9}  {:>9} us   {} pages in {} us",
        size(requested),
        size(got),
        allocated.as_micros(),
        got / page_size(),
        start.elapsed().as_micros(),
    );
    Ok((buffer, mapping))
}

/// Maps a new buffer, checks that it is zero, fills it and checks it through a second mapping.
fn write_and_read(buffer: &Buffer, pattern: Pattern) -> Result<Mapping> {
    let mapping = buffer.map()?;
    buffer.with_cpu_access(|| {
        mapping.check_zero().context("fresh memory")?;
        mapping.fill(pattern, 0);
        buffer.map()?.check(pattern, 0).context("read back")
    })??;
    Ok(mapping)
}

fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes % MIB == 0 => format!("{} MiB", bytes / MIB),
        _ if bytes % KIB == 0 => format!("{} KiB", bytes / KIB),
        _ => format!("{bytes} B"),
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
