// SPDX-License-Identifier: GPL-2.0

//! The limit for memory outside of the areas.

use super::{
    allocate,
    limit_beyond,
    of_areas,
    HEAP,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::expect_errno;
use guest_support::heap::Heap;
use guest_support::heaps_file;
use guest_support::ktap::diagnose;
use guest_support::page_size;
use nix::errno::Errno;
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::time::{
    Duration,
    Instant, //
};

// Together, the heaps take no more than the limit. What is freed can be allocated again.
pub fn limit() -> Result<()> {
    let (areas, limit) = (of_areas()?, limit_beyond()?);
    let heaps: Vec<_> = ["cma", HEAP]
        .map(Heap::open)
        .into_iter()
        .collect::<Result<_>>()?;
    for _ in 0..2 {
        let mut held = Vec::new();
        let mut rest = heaps.iter().cycle();
        let refused = loop {
            let heap = rest.next().context("no heap")?;
            match allocate(heap, 4 * MIB) {
                Ok(buffer) => held.push(buffer),
                Err(errno) => break errno,
            }
        };
        expect_errno("beyond the limit", Err::<(), _>(refused), Errno::ENOMEM)?;
        let got = held.len() * 4 * MIB;
        diagnose(&format!(
            "{} MiB of {} MiB",
            got / MIB,
            (areas + limit) / MIB
        ));
        ensure!(
            got <= areas + limit,
            "{got} bytes, limit {limit}, areas {areas}"
        );
        ensure!(
            got + 4 * MIB > limit,
            "{got} bytes, limit {limit}, areas {areas}"
        );
    }
    Ok(())
}

// Where all memory is below 4 GiB, the share of it is the limit of all: as long as more can be
// spared, the estimate of what is available is not less than what is left up to the limit.
pub fn estimate() -> Result<()> {
    let column = |heap: &str, name: &str| {
        heaps_file::size(heap, name)?.with_context(|| format!("{heap} has no {name}"))
    };
    let (left, spare) = (column("cma", "left")?, column("cma", "spare")?);
    let all = column("cma-dma32", "spare")?;
    diagnose(&format!("left {left}, spare {spare}, for cma-dma32 {all}"));
    ensure!(all > left + 64 * MIB, "memory is short");
    // The two numbers of pages are rounded on their own.
    ensure!(spare + MIB > left, "spare {spare}, left {left}");
    Ok(())
}

// A request that the limit refuses does not count for others, not even for a moment.
pub fn refused() -> Result<()> {
    const TIME: Duration = Duration::from_secs(6);
    ensure!(of_areas()? == 0, "small requests must go beyond the area");
    // It would fit without what is held.
    let size = limit_beyond()? - MIB;
    let heap = Heap::open("cma")?;
    let _held = heap.allocate(2 * MIB)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| -> Result<()> {
        let other = scope.spawn(|| -> Result<usize> {
            let heap = Heap::open("cma")?;
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                expect_errno("all", allocate(&heap, size), Errno::ENOMEM)?;
                count += 1;
            }
            Ok(count)
        });
        let (start, mut rounds) = (Instant::now(), 0);
        let answer = loop {
            match allocate(&heap, page_size()) {
                Err(errno) => break Err(errno),
                Ok(_) if start.elapsed() > TIME => break Ok(()),
                Ok(_) => rounds += 1,
            }
        };
        done.store(true, Ordering::Relaxed);
        let refused = other.join().ok().context("a thread panicked")??;
        diagnose(&format!(
            "{refused} requests were refused, {rounds} were not"
        ));
        answer.with_context(|| format!("round {rounds}"))
    })
}
