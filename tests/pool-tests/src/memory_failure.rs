// SPDX-License-Identifier: GPL-2.0

//! Pages whose memory has failed, as the kernel is told by hardware: nobody gets them again, and
//! nobody who maps them anew.

use crate::importers::CARVEOUT;
use crate::MIB;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::allocator::{
    self,
    Allocator, //
};
use guest_support::client::{
    self,
    Client, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::heaps_file;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::mapping::Mapping;
use guest_support::memory;
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    Verdict, //
};
use guest_support::retry::eventually;
use nix::errno::Errno;
use nix::sys::resource::{
    setrlimit,
    Resource, //
};
use nix::sys::signal::{
    signal,
    SigHandler,
    Signal, //
};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{
    Duration,
    Instant, //
};

/// The heap of the area of the device tree.
const AREA: &str = "rk-dma-heap-cma";

/// The size of a huge page.
const HUGE: usize = 2 * MIB;

/// What buffers are filled with.
const PATTERN: Pattern = Pattern(7);

/// What the thread fills the reserve to at least, of 64 MiB.
const RESERVE: usize = 32 * MIB;

/// Time for a test that allocates much.
const LIMIT: Duration = Duration::from_secs(120);

/// Memory that buffers are made of.
#[derive(Clone, Copy)]
struct Source {
    name: &'static str,
    heap: &'static str,
    size: usize,
    parameters: &'static str,
}

const SOURCES: [Source; 13] = [
    source("small", "system", 12 << 10, ""),
    source("single-pages", "system", 60 << 10, ""),
    source("64-kib", "system", 64 << 10, ""),
    source("1-mib", "system", MIB, ""),
    source("2-mib", "system", 2 * MIB, ""),
    source("no-pool", "system", 2 * MIB, "pool_max_percent=0"),
    source("uncached", "system-uncached", 2 * MIB, ""),
    source("default-area", "cma", MIB, ""),
    // Each failed page leaves a hole in 8 MiB.
    source("area", AREA, 256 << 10, ""),
    source("area-not-cached", AREA, 256 << 10, "keep_ranges=0"),
    // The default area has 24 MiB.
    source("beyond-area", "cma", 32 * MIB, ""),
    source("reserve", "cma", 32 * MIB, "contig_reserve_mib=64"),
    source("carveout", CARVEOUT, 64 << 10, ""),
];

const fn source(
    name: &'static str,
    heap: &'static str,
    size: usize,
    parameters: &'static str,
) -> Source {
    Source {
        name,
        heap,
        size,
        parameters,
    }
}

pub fn add(tests: &mut Tests) {
    for source in SOURCES {
        let name = source.name;
        tests.add_within(LIMIT, format!("memory-failure/in-use/{name}"), move || {
            in_use(source)
        });
        tests.add_within(LIMIT, format!("memory-failure/kept/{name}"), move || {
            kept(source)
        });
        tests.add(format!("memory-failure/mapped/{name}"), move || {
            mapped(source)
        });
    }
    tests.add("memory-failure/page-array", page_array);
    tests.add("memory-failure/before-loading", before_loading);
    for heap in [AREA, CARVEOUT] {
        tests.add_within(LIMIT, format!("memory-failure/others/{heap}"), move || {
            others(heap)
        });
    }
    tests.add_within(LIMIT, "memory-failure/held", held);
}

/// Loads the module and the client, and calls `body`.
fn with(parameters: &str, body: impl FnOnce(&Client) -> Result<()>) -> Result<()> {
    if client::is_loaded() {
        client::unload()?;
    }
    client::load("")?;
    let client = Client::open()?;
    let module = Module::load(parameters)?;
    if parameters.contains("reserve") {
        eventually(LIMIT / 2, || {
            let reserve = heaps_file::size("cma", "reserve")?;
            ensure!(reserve >= Some(RESERVE), "the reserve has {reserve:?}");
            Ok(())
        })?;
    }
    let result = body(&client);
    drop(client);
    client::unload()?;
    module.unload()?;
    result
}

/// Returns the physical address of each page of a buffer.
fn pages(client: &Client, buffer: &Buffer) -> Result<Vec<u64>> {
    let segments = client.import(buffer)?.segments()?;
    let addresses = segments.iter().flat_map(|segment| {
        (segment.physical_address..segment.physical_address + segment.length).step_by(page_size())
    });
    Ok(addresses.collect())
}

/// Lets the page at a physical address fail.
fn fail(client: &Client, address: u64) -> Result<()> {
    // The kernel can do nothing about pages of drivers, except to mark them.
    let answer = client.fail_page(address, false)?;
    ensure!(answer == Err(Errno::EBUSY), "the kernel answers {answer:?}");
    Ok(())
}

/// Allocates all that is kept of this memory, and some more. Fails if one of the pages is at
/// `failed`.
fn check_all(client: &Client, source: Source, failed: u64, when: &str) -> Result<()> {
    let heap = Heap::open(source.heap)?;
    let count = match source.heap {
        CARVEOUT => 32,
        _ => 3 + memory::pooled()?.min(64 * MIB) / source.size,
    };
    let mut buffers = Vec::new();
    for number in 0..count {
        let buffer = heap.allocate(source.size)?;
        ensure!(
            !pages(client, &buffer)?.contains(&failed),
            "{when}: buffer {number} of {count} has the failed page"
        );
        buffers.push(buffer);
    }
    Ok(())
}

/// Which page of a buffer fails, and what passes between the end of the buffer and the next
/// allocation.
fn cases(count: usize) -> [(usize, Duration); 3] {
    [
        (count / 2, Duration::ZERO),
        (0, Duration::from_millis(200)),
        // Longer than a range is cached.
        (count - 1, Duration::from_millis(1300)),
    ]
}

fn in_use(source: Source) -> Result<()> {
    with(source.parameters, |client| {
        let heap = Heap::open(source.heap)?;
        for (index, pause) in cases(source.size / page_size()) {
            let buffer = heap.allocate(source.size)?;
            let failed = pages(client, &buffer)?[index];
            fail(client, failed)?;
            drop(buffer);
            sleep(pause);
            let when = format!("page {index}, {pause:?}");
            check_all(client, source, failed, &when)?;
        }
        Ok(())
    })
}

// The memory is with the module when the page fails.
fn kept(source: Source) -> Result<()> {
    with(source.parameters, |client| {
        let heap = Heap::open(source.heap)?;
        for (index, pause) in cases(source.size / page_size()) {
            let buffer = heap.allocate(source.size)?;
            let failed = pages(client, &buffer)?[index];
            drop(buffer);
            sleep(pause);
            // A page that is free already is taken away by the kernel.
            let answer = client.fail_page(failed, false)?;
            let when = format!("page {index}, {pause:?}, {answer:?}");
            check_all(client, source, failed, &when)?;
        }
        Ok(())
    })
}

fn map(buffer: &Buffer) -> Result<Mapping> {
    let size = buffer.size()?;
    Ok(Mapping::aligned(buffer.as_fd(), 0, size, HUGE, 0)?)
}

// The kernel leaves a failed page mapped where it was, and tells a process that accesses it.
// Whoever maps the buffer after that gets the other pages.
fn mapped(source: Source) -> Result<()> {
    with(source.parameters, |client| {
        let buffer = Heap::open(source.heap)?.allocate(source.size)?;
        let before = map(&buffer)?;
        before.fill(PATTERN, 0);
        let (index, page) = (source.size / page_size() / 2, page_size());
        let failed = pages(client, &buffer)?[index];
        fail(client, failed)?;
        before.check(PATTERN, 0)?;
        let told = ends(|| {
            let answer = client.fail_page(failed, true)?;
            anyhow::bail!("not killed, the kernel answers {answer:?}")
        })?;
        ensure!(told == Verdict::Killed(Signal::SIGBUS), "{told:?}");
        let after = map(&buffer)?;
        after.check_range(0, index * page, PATTERN, 0)?;
        let rest = (index + 1) * page;
        after.check_range(rest, source.size - rest, PATTERN, 0)?;
        let entry = client.follow(after.address() + index * page)?;
        ensure!(entry.is_none(), "the failed page is mapped: {entry:x?}");
        for (what, mapping) in [("read", &after), ("write", &map(&buffer)?)] {
            let ended = ends(|| {
                match what {
                    "read" => drop(mapping.read(index * page)),
                    _ => mapping.write(index * page, 1),
                }
                Ok(())
            })?;
            ensure!(
                ended == Verdict::Killed(Signal::SIGBUS),
                "{what}: {ended:?}"
            );
        }
        Ok(())
    })
}

/// Returns how a child process ends.
fn ends(body: impl FnOnce() -> Result<()>) -> Result<Verdict> {
    let body = || {
        // The handler of the standard library returns, and expects the access to be made again.
        // SAFETY: No handler is installed.
        unsafe { signal(Signal::SIGBUS, SigHandler::SigDfl) }?;
        body()
    };
    Child::run(body)?
        .wait(Duration::from_secs(20))?
        .context("the child does not end")
}

fn page_array() -> Result<()> {
    with("", |client| {
        let allocator = Allocator::open()?;
        let size = 16 * page_size();
        for (index, pause) in cases(16) {
            let array = allocator.pages(AREA, None, size)?;
            let failed = array.physical_address() + (index * page_size()) as u64;
            fail(client, failed)?;
            drop(array);
            sleep(pause);
            let mut arrays = Vec::new();
            for number in 0..6 {
                let array = allocator.pages(AREA, None, size)?;
                let first = array.physical_address();
                ensure!(
                    !(first..first + size as u64).contains(&failed),
                    "page {index}, {pause:?}: array {number} has the failed page"
                );
                arrays.push(array);
            }
        }
        drop(allocator);
        allocator::unload()?;
        Ok(())
    })
}

// A carveout has pages that failed before the module was loaded.
fn before_loading() -> Result<()> {
    let mut failed = 0;
    let source = source("", CARVEOUT, 64 << 10, "");
    with("", |client| {
        let buffer = Heap::open(CARVEOUT)?.allocate(source.size)?;
        failed = pages(client, &buffer)?[5];
        drop(buffer);
        Ok(())
    })?;
    client::load("")?;
    fail(&Client::open()?, failed)?;
    with("", |client| {
        check_all(client, source, failed, "loaded again")
    })
}

// Only the failed page is lost. All others are allocated again.
fn others(name: &str) -> Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, 10_000, 10_000)?;
    with("keep_ranges=0", |client| {
        let (heap, size) = (Heap::open(name)?, 16 * page_size());
        let before = heap.exhaust(page_size())?.len();
        let buffer = heap.allocate(size)?;
        let failed = pages(client, &buffer)?[5];
        drop(buffer);
        client.fail_page(failed, false)?.ok();
        // The next owner finds the page and leaves it out.
        drop(heap.allocate(size)?);
        let lost = |count: std::ops::Range<usize>| -> Result<()> {
            let after = heap.exhaust(page_size())?.len();
            let lost = before.saturating_sub(after);
            // Somebody may use a page of the area for a moment.
            ensure!(count.contains(&lost), "{after} pages of {before} are left");
            Ok(())
        };
        lost(1..5)?;
        let in_use = heap.allocate(size)?;
        let address = pages(client, &in_use)?[5];
        fail(client, address)?;
        drop(in_use);
        lost(2..6)
    })
}

// A range of which a driver holds all pages is released at once after a failure elsewhere. Looking
// for failed pages from each of the held ones on took 1.8 s.
fn held() -> Result<()> {
    with("keep_ranges=0", |client| {
        let allocator = Allocator::open()?;
        let victim = Heap::open("system")?.allocate(64 << 10)?;
        fail(client, pages(client, &victim)?[3])?;
        let mut shortest = Duration::MAX;
        // The machine may have been busy.
        for _ in 0..3 {
            shortest = shortest.min(release_held(client, &allocator, 20 * MIB)?);
        }
        drop(allocator);
        allocator::unload()?;
        diagnose(&format!("released in {shortest:?}"));
        ensure!(shortest < Duration::from_millis(500), "{shortest:?}");
        Ok(())
    })
}

/// Returns the time that it takes to release a range of which a driver holds all pages.
fn release_held(client: &Client, allocator: &Allocator, size: usize) -> Result<Duration> {
    let buffer = Heap::open("cma")?.allocate(size)?;
    let all = pages(client, &buffer)?;
    let [first, .., last] = all[..] else {
        anyhow::bail!("{} pages", all.len());
    };
    ensure!(last - first + page_size() as u64 == size as u64);
    allocator.hold_pages(first, all.len())?;
    let start = Instant::now();
    drop(buffer);
    let took = start.elapsed();
    allocator.let_go()?;
    Ok(took)
}
