// SPDX-License-Identifier: GPL-2.0

//! The number of buffers that several threads allocate and close per second of host time. The
//! figures are noisy.

use crate::figure::{
    print_figure,
    KIB,
    MIB, //
};
use crate::side::Side;
use anyhow::{
    Context,
    Result, //
};
use guest_support::heap::Heap;
use nix::sched::{
    unshare,
    CloneFlags, //
};
use std::time::{
    Duration,
    Instant, //
};

const DURATION: Duration = Duration::from_secs(2);

pub fn measure(_side: &Side) -> Result<()> {
    for size in [4 * KIB, 64 * KIB, MIB] {
        for threads in [1, 2, 4] {
            // Fill the pools.
            cycles(size, threads, DURATION / 4)?;
            let count = cycles(size, threads, DURATION)?;
            let each_second = count as f64 / DURATION.as_secs_f64();
            print_figure(&format!("throughput-{threads}/system"), size, each_second);
        }
    }
    Ok(())
}

/// Returns the number of buffers that `threads` threads allocate and close within `time`.
fn cycles(size: usize, threads: usize, time: Duration) -> Result<usize> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || -> Result<usize> {
                    // Use a separate descriptor table, as a process does.
                    unshare(CloneFlags::CLONE_FILES)?;
                    let heap = Heap::open("system")?;
                    let end = Instant::now() + time;
                    let mut count = 0;
                    while Instant::now() < end {
                        drop(heap.allocate(size)?);
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().ok().context("a thread panicked")??;
        }
        Ok(sum)
    })
}
