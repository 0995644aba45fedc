// SPDX-License-Identifier: GPL-2.0

//! How many buffers a second threads allocate and close together. These are the host's seconds:
//! noise is a part of it.

use crate::figure::{
    tell,
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

const LONG: Duration = Duration::from_secs(2);

pub fn measure(_side: &Side) -> Result<()> {
    for size in [64 * KIB, MIB] {
        for threads in [1, 2, 4] {
            // Once before, so that pools are full.
            cycles(size, threads, LONG / 4)?;
            let count = cycles(size, threads, LONG)?;
            let each_second = count as f64 / LONG.as_secs_f64();
            tell(&format!("throughput-{threads}/system"), size, each_second);
        }
    }
    Ok(())
}

/// How many buffers `threads` get done together.
fn cycles(size: usize, threads: usize, time: Duration) -> Result<usize> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(move || -> Result<usize> {
                    // Descriptors of its own, as a process has.
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
            sum += thread.join().ok().context("a thread has panicked")??;
        }
        Ok(sum)
    })
}
