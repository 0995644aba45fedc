// SPDX-License-Identifier: GPL-2.0

//! Allocating and closing with all that is done in the background for it.
//!
//! What is added up is the CPU time of this thread while it allocates and closes, and that of all
//! other processes and kernel threads until the machine is idle again. What the same takes without
//! any allocation is taken away. Interrupts count where they interrupt somebody; the idle task's
//! own time does not count.

use crate::clock::{
    own_time,
    rounds,
    OthersTime,
    PAUSE, //
};
use crate::figure::{
    tell,
    KIB,
    MIB,
    SIZES, //
};
use crate::side::Side;
use anyhow::Result;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use nix::time::{
    clock_gettime,
    clock_nanosleep,
    ClockId,
    ClockNanosleepFlags, //
};
use std::collections::VecDeque;
use std::time::Duration;

/// A 4K frame, NV12.
const FRAME: usize = 3840 * 2160 * 3 / 2;
/// How many of them a camera's pipeline holds.
const FRAMES_HELD: usize = 3;
const FRAMES_A_SECOND: u64 = 60;
const FRAMES: u64 = 10 * FRAMES_A_SECOND;

/// How many cycles are done in a row.
fn cycles(size: usize) -> usize {
    match size {
        0..=KIB_64 => 64,
        MIB => 16,
        _ => 4,
    }
}

const KIB_64: usize = 64 * KIB;

/// What `work`, and what others do because of it until some time after it, takes of the CPU: this
/// thread's part and theirs.
fn busy(work: impl FnOnce() -> Result<()>) -> Result<[f64; 2]> {
    let others = OthersTime::now()?;
    let start = own_time()?;
    work()?;
    let own = (own_time()? - start).as_nanos() as f64;
    std::thread::sleep(PAUSE);
    Ok([own, OthersTime::now()?.since(&others)])
}

pub fn measure(_side: &Side) -> Result<()> {
    let heap = Heap::open("system")?;
    let [own_nothing, others_nothing] = rounds(|| busy(|| Ok(())))?;
    for size in SIZES {
        let count = cycles(size);
        let [own, others] = rounds(|| {
            busy(|| {
                for _ in 0..count {
                    drop(heap.allocate(size)?);
                }
                Ok(())
            })
        })?;
        let total = own - own_nothing + others - others_nothing;
        tell("cycle/system", size, total / count as f64);
    }
    Ok(())
}

/// Calls `frame` at the rate of a camera.
fn at_rate(mut frame: impl FnMut() -> Result<()>) -> Result<()> {
    let start: Duration = clock_gettime(ClockId::CLOCK_MONOTONIC)?.into();
    for number in 1..=FRAMES {
        frame()?;
        let next = start + Duration::from_nanos(number * 1_000_000_000 / FRAMES_A_SECOND);
        clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &next.into(),
        )?;
    }
    Ok(())
}

/// The shares of the CPU, in percent, that a camera's frames take: of the program alone, and in
/// all.
pub fn measure_frames(side: &Side) -> Result<()> {
    let nothing = busy(|| at_rate(|| Ok(())))?;
    for (name, node) in [("system", "system"), ("cma", side.contiguous_heap())] {
        let heap = Heap::open(node)?;
        let mut held: VecDeque<Buffer> = VecDeque::new();
        let mut frame = || {
            if held.len() == FRAMES_HELD {
                held.pop_front();
            }
            held.push_back(heap.allocate(FRAME)?);
            Ok(())
        };
        for _ in 0..2 * FRAMES_HELD {
            frame()?;
        }
        std::thread::sleep(PAUSE);
        let [own, others] = busy(|| at_rate(&mut frame))?;
        let own = own - nothing[0];
        let all = own + others - nothing[1];
        let percent = |time: f64| time / (FRAMES / FRAMES_A_SECOND) as f64 / 1e9 * 100.0;
        tell(&format!("frames-own/{name}"), FRAME, percent(own));
        tell(&format!("frames/{name}"), FRAME, percent(all));
    }
    Ok(())
}
