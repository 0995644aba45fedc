// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory outside of the areas: heaps over the default area use it where the area has no
//! place, or where there is no area.

mod limit;

use crate::areas::{
    self,
    Range, //
};
use crate::replay::HEAP;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::Allocator;
use guest_support::dma_buf::Buffer;
use guest_support::expect_errno;
use guest_support::heap::{
    self,
    AllocationData,
    Heap, //
};
use guest_support::kernel_module;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::memory;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::{
    eventually,
    Child,
    Verdict, //
};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{
    Read,
    Write, //
};
use std::os::fd::{
    AsRawFd,
    OwnedFd, //
};
use std::path::{
    Path,
    PathBuf, //
};
use std::time::{
    Duration,
    Instant, //
};

const MIB: usize = 1 << 20;

/// A frame of 2160p NV12, and a bit.
const FRAME: usize = 12 * MIB;

/// A frame of 1080p NV12, and a bit.
const SMALL_FRAME: usize = 3 * MIB;

/// Heaps that may use memory outside of the areas. Those that do not exist on this architecture are
/// left out.
const HEAPS: [&str; 6] = [
    "cma",
    "cma-uncached",
    "cma-dma32",
    "cma-uncached-dma32",
    "default_cma_region",
    HEAP,
];

/// Time for a test that fills memory.
const LIMIT: Duration = Duration::from_secs(400);

/// Time in which a request fails that the machine can never satisfy.
const AT_ONCE: Duration = Duration::from_millis(500);

pub fn add(tests: &mut Tests) {
    tests.add("beyond/heaps", heaps);
    tests.add("beyond/too-large", too_large);
    tests.add("beyond/page-array", page_array);
    tests.add("beyond/returned", returned);
    tests.add_within(LIMIT, "beyond/frames", || frames("cma"));
    tests.add_within(LIMIT, "beyond/frames-below-4-gib", || frames("cma-dma32"));
    tests.add_within(LIMIT, "beyond/frames-after-files", frames_after_files);
    tests.add_within(LIMIT, "beyond/limit", limit::limit);
    tests.add_within(LIMIT, "beyond/killed", killed);
    tests.add_within(LIMIT, "beyond/pinned", pinned);
    tests.add_within(LIMIT, "beyond/little-memory", little_memory);
    tests.add_within(LIMIT, "beyond/off", off);
}

/// Returns the size of all areas.
fn of_areas() -> Result<usize> {
    match Path::new("/sys/kernel/mm/cma").exists() {
        true => Ok(areas::all()?.iter().map(|area| area.total).sum()),
        false => Ok(0),
    }
}

/// Returns the limit for memory outside of the areas. The suite states the module's parameter in
/// the environment if it is not the default.
fn limit_beyond() -> Result<usize> {
    let percent = match std::env::var("CONTIG_MAX_PERCENT") {
        Ok(percent) => percent.parse()?,
        Err(_) => 25,
    };
    Ok(memory::total()? / 100 * percent)
}

fn exists(name: &str) -> bool {
    !(cfg!(target_arch = "x86_64") && name.contains("uncached"))
}

fn allocate(heap: &Heap, size: usize) -> nix::Result<Buffer> {
    heap.allocate_with(&AllocationData::read_write(size as u64))
}

/// Returns the ranges of a buffer, if this machine has the driver that tells them.
fn range(buffer: &Buffer) -> Result<Range> {
    areas::range_of(&areas::client()?, buffer)
}

// All of them exist and have memory. A buffer is one zeroed range, and those for 32-bit devices are
// below 4 GiB. The memory of freed buffers was written to before.
fn heaps() -> Result<()> {
    let names = heap::names()?;
    for name in HEAPS {
        ensure!(exists(name) == names.contains(&name.to_owned()), "{name}");
        if !exists(name) {
            continue;
        }
        let heap = Heap::open(name)?;
        // The second one is larger than what is left of any area of these tests.
        for size in [page_size(), of_areas()? + MIB, 3 * MIB + page_size()] {
            for _ in 0..2 {
                let buffer = heap
                    .allocate(size)
                    .with_context(|| format!("{name}: {size}"))?;
                let range = range(&buffer)?;
                ensure!(range.size == size as u64, "{name}: {size} at {range:x?}");
                let low = range.end() <= 1 << 32;
                ensure!(
                    low || !name.contains("dma32"),
                    "{name}: {size} at {range:x?}"
                );
                let mapping = buffer.map()?;
                mapping.check_zero()?;
                mapping.fill(Pattern(3), 0);
            }
        }
    }
    Ok(())
}

fn too_large() -> Result<()> {
    let heap = Heap::open("cma")?;
    for size in [of_areas()?.max(limit_beyond()?) + MIB, usize::MAX / 2] {
        let start = Instant::now();
        expect_errno(
            format!("{size} bytes"),
            allocate(&heap, size),
            Errno::ENOMEM,
        )?;
        let time = start.elapsed();
        ensure!(time < AT_ONCE, "{size} bytes: failed after {time:?}");
    }
    Ok(())
}

// Page arrays of drivers are made of the same memory, and the node shows their addresses. A page
// that a driver holds is in nobody else's memory.
fn page_array() -> Result<()> {
    let allocator = Allocator::open()?;
    let size = of_areas()? + MIB;
    let array = allocator.pages(HEAP, Some("beyond"), size)?;
    let first = array.physical_address();
    let info = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    ensure!(info.contains(&format!("{first:x}")), "{first:x} in {info}");
    let held = first + 5 * page_size() as u64;
    allocator.hold(held)?;
    drop(array);
    let mut others = Vec::new();
    for _ in 0..3 {
        let array = allocator.pages(HEAP, None, size)?;
        let first = array.physical_address();
        ensure!(!(first..first + size as u64).contains(&held), "{first:x}");
        others.push(array);
        // Large ones come first: they may exceed the limit together.
        if of_areas()? + 2 * size > limit_beyond()? {
            break;
        }
    }
    Ok(allocator.let_go()?)
}

// All memory is back at once when a buffer is freed.
fn returned() -> Result<()> {
    let heap = Heap::open("cma")?;
    let size = of_areas()? + MIB;
    let before = memory::free_and_reclaimable()?;
    for _ in 0..5 {
        let buffer = heap.allocate(size)?;
        let used = before.saturating_sub(memory::free_and_reclaimable()?);
        ensure!(used + MIB > size, "{used} of {size} bytes are used");
        drop(buffer);
    }
    let lost = before.saturating_sub(memory::free_and_reclaimable()?);
    ensure!(lost < 2 * MIB, "{lost} bytes are lost");
    Ok(())
}

/// Returns the size of frames, and the number that `cma` has to provide: 512 MiB where RAM permits
/// it. A machine of 136 MiB has 48 MiB of free memory after boot, 16 MiB of it in the area. The
/// rest is the kernel's, and the programs of the tests, which lie in a `tmpfs`. Of what is free,
/// each frame takes a piece of 4 MiB and leaves one of 1 MiB.
fn wanted_frames() -> Result<(usize, usize)> {
    if memory::total()? < 256 * MIB {
        return Ok((SMALL_FRAME, 36 * MIB / SMALL_FRAME));
    }
    Ok((FRAME, limit_beyond()?.min(512 * MIB) / FRAME))
}

/// Allocates as many frames as the machine has to provide. Each has to be there soon, and nobody is
/// killed.
fn take_frames(name: &str) -> Result<Vec<Buffer>> {
    let killed = memory::oom_kills()?;
    let heap = Heap::open(name)?;
    let (mut held, mut slowest) = (Vec::new(), Duration::ZERO);
    let start = Instant::now();
    let (size, count) = wanted_frames()?;
    for number in 0..count {
        let begin = Instant::now();
        let buffer = allocate(&heap, size).with_context(|| format!("frame {number}"))?;
        slowest = slowest.max(begin.elapsed());
        held.push(buffer);
    }
    diagnose(&format!(
        "{name}: {} frames in {:?}, slowest {slowest:?}",
        held.len(),
        start.elapsed()
    ));
    ensure!(held.len() > 1, "the machine is too small for this test");
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    Ok(held)
}

fn frames(name: &str) -> Result<()> {
    let held = take_frames(name)?;
    let mut ranges = Vec::new();
    for (number, buffer) in held.iter().enumerate() {
        let mapping = buffer.map()?;
        mapping.check_zero()?;
        mapping.fill(Pattern(number as u64), 0);
        ranges.push(range(buffer)?);
    }
    for (number, buffer) in held.iter().enumerate() {
        buffer.map()?.check(Pattern(number as u64), 0)?;
    }
    ranges.sort();
    for pair in ranges.windows(2) {
        ensure!(pair[0].end() <= pair[1].base, "{pair:x?} overlap");
    }
    Ok(())
}

/// Files of 1 MiB that fill memory, and are removed on drop.
struct Files {
    folder: PathBuf,
    count: usize,
}

impl Files {
    fn content(number: usize) -> Vec<u8> {
        let mut content = vec![(number * 17 + 1) as u8; MIB];
        content[..8].copy_from_slice(&(number as u64).to_ne_bytes());
        content
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// Writes files until `left` bytes are free.
    fn fill(left: usize) -> Result<Self> {
        let mut this = Files {
            folder: PathBuf::from("/tmp/beyond"),
            count: 0,
        };
        std::fs::create_dir_all(&this.folder)?;
        while memory::meminfo("MemFree")? > left {
            let mut file = File::create(this.path(this.count))?;
            file.write_all(&Self::content(this.count))?;
            this.count += 1;
        }
        Ok(this)
    }

    /// Removes every second file, so that what is free is in pieces.
    fn thin_out(&self) -> Result<()> {
        for number in (1..self.count).step_by(2) {
            std::fs::remove_file(self.path(number))?;
        }
        Ok(())
    }

    /// Checks the files that are left.
    fn check(&self) -> Result<()> {
        for number in (0..self.count).step_by(2) {
            let mut found = Vec::new();
            File::open(self.path(number))?.read_to_end(&mut found)?;
            ensure!(found == Self::content(number), "file {number} has changed");
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

// What is free lies between pages of files, which are migrated and keep their content.
fn frames_after_files() -> Result<()> {
    let files = Files::fill(memory::total()? / 12)?;
    files.thin_out()?;
    diagnose(&format!("{} MiB of files", files.count / 2));
    let held = take_frames("cma")?;
    for buffer in &held {
        buffer.map()?.check_zero()?;
    }
    drop(held);
    files.check()
}

// A process is killed in each phase of an allocation, and nothing is lost.
fn killed() -> Result<()> {
    const ROUNDS: u32 = 24;
    let files = Files::fill(memory::total()? / 2)?;
    files.thin_out()?;
    let before = memory::free_and_reclaimable()?;
    let size = of_areas()? + FRAME;
    let mut while_allocating = 0;
    for round in 0..ROUNDS {
        let mut child = Child::run(|| {
            let heap = Heap::open("cma")?;
            loop {
                heap.allocate(size)?;
            }
        })?;
        std::thread::sleep(Duration::from_millis(5) + Duration::from_micros(1300) * round);
        child.signal(Signal::SIGKILL)?;
        match child.wait(Duration::from_secs(20))? {
            Some(Verdict::Killed(Signal::SIGKILL)) => while_allocating += 1,
            other => anyhow::bail!("round {round}: {other:?}"),
        }
    }
    ensure!(while_allocating == ROUNDS);
    let lost = before.saturating_sub(memory::free_and_reclaimable()?);
    ensure!(lost < 4 * MIB, "{lost} bytes are lost");
    files.check()?;
    // The limit counts nothing of them.
    drop(files);
    take_frames("cma").map(drop)
}

/// Holds pages of this process in pipes.
fn pin(mapping: &Mapping, offsets: impl Iterator<Item = usize>) -> Result<Vec<(OwnedFd, OwnedFd)>> {
    let mut pipes: Vec<(OwnedFd, OwnedFd)> = Vec::new();
    for (number, offset) in offsets.enumerate() {
        if number % 256 == 0 {
            let (reader, writer) = nix::unistd::pipe()?;
            // SAFETY: The call has integer arguments.
            unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 256 * page_size()) };
            pipes.push((reader, writer));
        }
        let page = libc::iovec {
            iov_base: (mapping.address() + offset) as *mut libc::c_void,
            iov_len: page_size(),
        };
        let (_, writer) = pipes.last().context("no pipe")?;
        // SAFETY: The range is in the mapping.
        let answer =
            unsafe { libc::vmsplice(writer.as_raw_fd(), &page, 1, libc::SPLICE_F_NONBLOCK) };
        Errno::result(answer).context("vmsplice")?;
    }
    Ok(pipes)
}

// A process holds a page in each 128 KiB of what it has, and has freed the others. A request fails
// or succeeds soon, and the held pages keep their content.
fn pinned() -> Result<()> {
    const STEP: usize = MIB / 8;
    let mapping = Mapping::anonymous(memory::total()?)?;
    // SAFETY: Concerns a mapping of this process.
    unsafe {
        let start = mapping.address() as *mut libc::c_void;
        libc::madvise(start, mapping.len(), libc::MADV_NOHUGEPAGE);
    }
    let left = memory::total()? / 12;
    let mut end = 0;
    while memory::meminfo("MemFree")? > left {
        for offset in (end..end + MIB).step_by(page_size()) {
            mapping.write(offset, offset as u64 + 1);
        }
        end += MIB;
    }
    let held = || (0..end).step_by(STEP);
    let pipes = pin(&mapping, held())?;
    for offset in held() {
        // SAFETY: Frees pages of the mapping that nobody holds.
        unsafe {
            let start = (mapping.address() + offset + page_size()) as *mut libc::c_void;
            libc::madvise(start, STEP - page_size(), libc::MADV_DONTNEED);
        }
    }
    let heap = Heap::open("cma")?;
    let attempt = |size: usize| -> Result<nix::Result<Buffer>> {
        let start = Instant::now();
        let buffer = allocate(&heap, size);
        let time = start.elapsed();
        let answer = buffer.as_ref().map(|_| "allocated");
        diagnose(&format!(
            "{} KiB with {} pages held: {answer:?} after {time:?}",
            size >> 10,
            held().count()
        ));
        let limit = Duration::from_secs(10) * guest_support::checkers::timeout_factor();
        ensure!(time < limit, "{size} bytes: {time:?}");
        Ok(buffer)
    };
    let mut got = Vec::new();
    for size in [64 << 10, MIB, FRAME, of_areas()?.max(FRAME) + MIB] {
        got.extend(attempt(size)?);
    }
    drop(got);
    // More than what is left without held pages.
    let size = (limit_beyond()? / 4 * 3).next_multiple_of(page_size());
    ensure!(size > 2 * left, "{size} bytes");
    expect_errno("between held pages", attempt(size)?, Errno::ENOMEM)?;
    for offset in held() {
        ensure!(mapping.read(offset) == offset as u64 + 1, "{offset:#x}");
    }
    drop(pipes);
    Ok(())
}

// With little memory left, a request fails instead of killing somebody.
fn little_memory() -> Result<()> {
    let killed = memory::oom_kills()?;
    // Writing files takes memory too, and would trigger the OOM killer with less.
    let files = Files::fill((memory::total()? / 16).max(16 * MIB))?;
    let heap = Heap::open("cma")?;
    let mut held = Vec::new();
    let errno = loop {
        match allocate(&heap, 2 * MIB) {
            Ok(buffer) => held.push(buffer),
            Err(errno) => break errno,
        }
    };
    expect_errno("with little memory", Err::<(), _>(errno), Errno::ENOMEM)?;
    diagnose(&format!(
        "{} MiB allocated, {} MiB free",
        held.len() * 2,
        memory::meminfo("MemFree")? / MIB
    ));
    ensure!(memory::oom_kills()? == killed, "a process was killed");
    drop(held);
    drop(files);
    heap.allocate(SMALL_FRAME).map(drop)
}

// Switched off, a heap keeps to its area, and there is no heap without one. Loads the module again.
fn off() -> Result<()> {
    const FILE: &str = "/lib/modules/rk_dma_heap.ko";
    let reload = |parameters: &str| -> Result<()> {
        guest_support::allocator::unload().ok();
        guest_support::client::unload().ok();
        // The memory of a closed buffer is freed a moment later.
        eventually(Duration::from_secs(5), || {
            Ok(kernel_module::unload("rk_dma_heap")?)
        })?;
        kernel_module::load(Path::new(FILE), parameters)??;
        Ok(())
    };
    reload("contig_max_percent=0 keep_ranges=0")?;
    let total = of_areas()?;
    if total == 0 {
        let names = heap::names()?;
        ensure!(
            !names.iter().any(|name| HEAPS.contains(&name.as_str())),
            "{names:?}"
        );
    } else {
        let heap = Heap::open("cma")?;
        expect_errno("off", allocate(&heap, total + MIB), Errno::ENOMEM)?;
        let mut held = Vec::new();
        while let Ok(buffer) = allocate(&heap, MIB) {
            held.push(buffer);
        }
        ensure!(held.len() * MIB <= total, "{} MiB", held.len());
    }
    reload("contig_max_percent=5")?;
    let heap = Heap::open("cma")?;
    let mut held = Vec::new();
    let errno = loop {
        match allocate(&heap, MIB) {
            Ok(buffer) => held.push(buffer),
            Err(errno) => break errno,
        }
    };
    diagnose(&format!("{} MiB, {errno}", held.len()));
    let limit = memory::total()? / 20;
    ensure!(held.len() * MIB <= total + limit, "{} MiB", held.len());
    ensure!((held.len() + 1) * MIB > limit, "{} MiB", held.len());
    drop((heap, held));
    reload("")
}
