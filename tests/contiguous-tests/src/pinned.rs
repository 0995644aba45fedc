// SPDX-License-Identifier: GPL-2.0

//! Pages of an area that the kernel cannot migrate, because a pipe holds them.

use crate::areas::{
    self,
    Range, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::expect_errno;
use guest_support::heap::{
    AllocationData,
    Heap, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::memory;
use guest_support::page_size;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{
    AsRawFd,
    OwnedFd, //
};
use std::os::unix::fs::FileExt;
use std::path::{
    Path,
    PathBuf, //
};
use std::time::{
    Duration,
    Instant, //
};

const MIB: usize = 1 << 20;

/// Size of the buffers.
const SIZE: usize = 4 * MIB;

/// The heap that places by first fit, and one over the same area that aligns.
const PACKED: &str = "rk-dma-heap-cma";
const ALIGNED: &str = "cma";

/// An attempt at a busy position takes some milliseconds, and a wrong placement makes thousands.
const LIMIT: Duration = Duration::from_secs(100);

pub fn add(tests: &mut Tests) {
    tests.add_within(LIMIT, "pinned/every-16th-page", every_16th_page);
    tests.add_within(LIMIT, "pinned/above-the-first-fit", above_the_first_fit);
    for depth in [0, 5, 300, 1000] {
        let name = format!("pinned/page-{depth}-of-the-first-fit");
        tests.add_within(LIMIT, name, move || in_the_first_fit(depth));
    }
    tests.add_within(LIMIT, "pinned/batched-pages", batched_pages);
}

/// Counts the positions at which the kernel could not migrate a page.
struct BusyPositions(PathBuf);

impl BusyPositions {
    fn new() -> Result<Self> {
        let instance = Path::new("/sys/kernel/tracing/instances").join("contiguous-tests");
        // A test that was killed leaves its instance.
        let _ = std::fs::remove_dir(&instance);
        std::fs::create_dir(&instance)
            .with_context(|| format!("cannot create {}: mount tracefs", instance.display()))?;
        let this = BusyPositions(instance);
        std::fs::write(this.0.join("events/cma/cma_alloc_busy_retry/enable"), "1")?;
        Ok(this)
    }

    /// Returns the number since the last call.
    fn take(&self) -> Result<usize> {
        let file = self.0.join("trace");
        let trace = std::fs::read_to_string(&file)?;
        std::fs::write(&file, "")?;
        Ok(trace.lines().filter(|line| !line.starts_with('#')).count())
    }
}

impl Drop for BusyPositions {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Memory of this process that fills the default area, by page frame number.
struct Filled {
    mapping: Mapping,
    offsets: BTreeMap<u64, usize>,
}

impl Filled {
    fn new(area: Range) -> Result<Self> {
        let page = page_size();
        // The kernel raises its minimum by 8 MiB where types of memory mix in a block of pages.
        // That and the pages that a CPU takes at once would be all that is left free here.
        std::fs::write("/proc/sys/vm/watermark_boost_factor", "0")?;
        let mapping = Mapping::anonymous(memory::total()?)?;
        mapping.in_single_pages()?;
        for offset in (0..mapping.len()).step_by(page) {
            // The kernel uses the area when half of the free memory is in it, or at the end.
            if offset % MIB == 0 && memory::meminfo("MemFree")? < 12 * MIB {
                break;
            }
            mapping.write(offset, offset as u64 + 1);
        }
        let pagemap = File::open("/proc/self/pagemap")?;
        let mut offsets = BTreeMap::new();
        let mut entries = vec![0; mapping.len() / page * 8];
        pagemap.read_exact_at(&mut entries, (mapping.address() / page * 8) as u64)?;
        for (number, entry) in entries.chunks_exact(8).enumerate() {
            let entry = u64::from_ne_bytes(entry.try_into()?);
            let pfn = entry & ((1 << 55) - 1);
            if entry >> 63 == 1 && area.contains(&Range::new(pfn * page as u64, page as u64)) {
                offsets.insert(pfn, number * page);
            }
        }
        Ok(Filled { mapping, offsets })
    }

    /// Returns the first page of this process in each group of so many page frames.
    fn one_of_each(&self, group: u64) -> Vec<u64> {
        let mut pfns = Vec::new();
        for pfn in self.offsets.keys() {
            if pfns.last().is_none_or(|last| last / group != pfn / group) {
                pfns.push(*pfn);
            }
        }
        pfns
    }

    /// Pins pages and gives all others back to the kernel.
    fn pin(self, pfns: &[u64]) -> Result<Pins> {
        let mut pipes = Vec::new();
        for pfns in pfns.chunks(256) {
            let (reader, writer) = nix::unistd::pipe()?;
            // SAFETY: The call has integer arguments.
            unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 256 * page_size()) };
            for pfn in pfns {
                let offset = self
                    .offsets
                    .get(pfn)
                    .context("not a page of this process")?;
                let page = libc::iovec {
                    iov_base: (self.mapping.address() + offset) as *mut libc::c_void,
                    iov_len: page_size(),
                };
                // SAFETY: The range is in the mapping.
                let answer = unsafe {
                    libc::vmsplice(writer.as_raw_fd(), &page, 1, libc::SPLICE_F_NONBLOCK)
                };
                Errno::result(answer).context("vmsplice")?;
            }
            pipes.push((reader, writer));
        }
        drop(self);
        Ok(Pins { _pipes: pipes })
    }
}

/// Pages that stay where they are until this is dropped.
struct Pins {
    _pipes: Vec<(OwnedFd, OwnedFd)>,
}

fn first_pfn(range: Range) -> u64 {
    range.base / page_size() as u64
}

// No buffer fits, and both heaps have to find that out. Packed, thousands of positions are busy.
fn every_16th_page() -> Result<()> {
    let filled = Filled::new(areas::default_area()?)?;
    let pfns = filled.one_of_each(16);
    diagnose(&format!("{} pages are pinned", pfns.len()));
    let _pins = filled.pin(&pfns)?;
    let trace = BusyPositions::new()?;
    let attempt = |heap| -> Result<usize> {
        let (heap, data) = (Heap::open(heap)?, AllocationData::read_write(SIZE as u64));
        let start = Instant::now();
        expect_errno("no free range", heap.allocate_with(&data), Errno::ENOMEM)?;
        let (busy, time) = (trace.take()?, start.elapsed());
        diagnose(&format!("{}: {busy} busy, {time:?}", heap.path().display()));
        Ok(busy)
    };
    // Pages that are not of this process are not pinned. Others may have these.
    let heap = Heap::open(ALIGNED)?;
    let mut others = Vec::new();
    while let Ok(buffer) = heap.allocate_with(&AllocationData::read_write(MIB as u64)) {
        others.push(buffer);
    }
    trace.take()?;
    let (aligned, packed) = (attempt(ALIGNED)?, attempt(PACKED)?);
    ensure!(aligned > 0, "no page is pinned");
    ensure!(packed <= 2 * aligned, "{packed} positions were busy");
    Ok(())
}

/// Returns the range of a new buffer, and the number of busy positions before it.
fn place(heap: &str, trace: &BusyPositions) -> Result<(Range, usize)> {
    trace.take()?;
    let start = Instant::now();
    let buffer = Heap::open(heap)?.allocate(SIZE)?;
    let time = start.elapsed();
    let busy = trace.take()?;
    diagnose(&format!("{heap}: {busy} busy, {time:?}"));
    Ok((areas::range_of(&areas::client()?, &buffer)?, busy))
}

// A pinned page that is not in the way changes nothing.
fn above_the_first_fit() -> Result<()> {
    let trace = BusyPositions::new()?;
    let (first, _) = place(PACKED, &trace)?;
    let filled = Filled::new(areas::default_area()?)?;
    let above = first.end() / page_size() as u64;
    let mut pfns = filled.one_of_each(512);
    pfns.retain(|pfn| *pfn >= above);
    ensure!(!pfns.is_empty(), "no page above the first fit");
    let _pins = filled.pin(&pfns)?;
    let (range, busy) = place(PACKED, &trace)?;
    ensure!(range == first, "at {range:x?}, expected {first:x?}");
    ensure!(busy == 0, "{busy} positions were busy");
    Ok(())
}

// One page is pinned: the buffer lies above it, no higher than an aligned one, and soon.
fn in_the_first_fit(depth: u64) -> Result<()> {
    let trace = BusyPositions::new()?;
    let (first, _) = place(PACKED, &trace)?;
    let filled = Filled::new(areas::default_area()?)?;
    let wanted = first_pfn(first) + depth;
    let pinned = filled.offsets.range(wanted..).next();
    let (pinned, _) = pinned.context("no page of this process at this place")?;
    let pinned = *pinned;
    ensure!(pinned < wanted + 64, "the next page is at {pinned:#x}");
    let _pins = filled.pin(&[pinned])?;
    let (aligned, aligned_busy) = place(ALIGNED, &trace)?;
    let (packed, busy) = place(PACKED, &trace)?;
    diagnose(&format!(
        "page {} pinned: packed at page {} after {busy} busy, aligned at {} after \
         {aligned_busy}",
        pinned - first_pfn(first),
        first_pfn(packed) as i64 - first_pfn(first) as i64,
        first_pfn(aligned) as i64 - first_pfn(first) as i64,
    ));
    ensure!(first_pfn(packed) > pinned || packed.end() <= aligned.base);
    ensure!(
        packed.base <= aligned.base,
        "{packed:x?} above {aligned:x?}"
    );
    // The position that is free counts as well.
    ensure!(busy < 2 * (aligned_busy + 1), "{busy} positions were busy");
    Ok(())
}

// Pages that were just used are in batches of the CPUs. They have one reference more then, but are
// not pinned.
fn batched_pages() -> Result<()> {
    let trace = BusyPositions::new()?;
    let (first, _) = place(PACKED, &trace)?;
    for _ in 0..2 {
        let filled = Filled::new(areas::default_area()?)?;
        let advise = |offset: usize, advice| {
            // SAFETY: Concerns a page of the mapping.
            unsafe {
                let start = (filled.mapping.address() + offset) as *mut libc::c_void;
                libc::madvise(start, page_size(), advice)
            };
        };
        let below = first.end() / page_size() as u64;
        for (_, offset) in filled.offsets.range(..below).step_by(100) {
            advise(*offset, libc::MADV_COLD);
        }
        // Makes room for what is migrated.
        let start = filled.mapping.address() as *mut libc::c_void;
        let unused = filled.offsets.values().copied().min().unwrap_or(0);
        // SAFETY: Frees a part of the mapping that is outside of the area.
        unsafe { libc::madvise(start, unused, libc::MADV_DONTNEED) };
        let (range, _) = place(PACKED, &trace)?;
        ensure!(range == first, "at {range:x?}, expected {first:x?}");
    }
    Ok(())
}
