// SPDX-License-Identifier: GPL-2.0

//! The cost of allocation and close, including background work.
//!
//! The result is the sum of the CPU time of this thread during allocation and close and the CPU
//! time of all other processes and kernel threads until the machine is idle again. The same sum
//! without allocations is subtracted. An interrupt is counted if it interrupts a thread. The time
//! of the idle task is not counted.

use crate::clock::{
    own_time,
    rounds,
    OthersTime,
    PAUSE, //
};
use crate::figure::{
    print_figure,
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

/// Size of a 4K frame in NV12 format, in bytes.
const FRAME: usize = 3840 * 2160 * 3 / 2;
/// Number of frames in a camera pipeline.
const FRAMES_HELD: usize = 3;
const FRAMES_PER_SECOND: u64 = 60;
const FRAMES: u64 = 10 * FRAMES_PER_SECOND;

/// Returns the number of cycles per round.
fn cycles(size: usize) -> usize {
    match size {
        0..=SIZE_64_KIB => 64,
        MIB => 16,
        _ => 4,
    }
}

const SIZE_64_KIB: usize = 64 * KIB;

/// Returns the CPU time of `work` in nanoseconds: that of this thread, and that of all other
/// threads until [`PAUSE`] after its end.
fn cpu_time(work: impl FnOnce() -> Result<()>) -> Result<[f64; 2]> {
    let others = OthersTime::now()?;
    let start = own_time()?;
    work()?;
    let own = (own_time()? - start).as_nanos() as f64;
    std::thread::sleep(PAUSE);
    Ok([own, OthersTime::now()?.since(&others)])
}

pub fn measure(_side: &Side) -> Result<()> {
    let heap = Heap::open("system")?;
    let [own_baseline, others_baseline] = rounds(|| cpu_time(|| Ok(())))?;
    for size in SIZES {
        let count = cycles(size);
        let [own, others] = rounds(|| {
            cpu_time(|| {
                for _ in 0..count {
                    drop(heap.allocate(size)?);
                }
                Ok(())
            })
        })?;
        let total = own - own_baseline + others - others_baseline;
        print_figure("cycle/system", size, total / count as f64);
    }
    Ok(())
}

/// Calls `frame` at the frame rate of a camera.
fn at_rate(mut frame: impl FnMut() -> Result<()>) -> Result<()> {
    let start: Duration = clock_gettime(ClockId::CLOCK_MONOTONIC)?.into();
    for number in 1..=FRAMES {
        frame()?;
        let next = start + Duration::from_nanos(number * 1_000_000_000 / FRAMES_PER_SECOND);
        clock_nanosleep(
            ClockId::CLOCK_MONOTONIC,
            ClockNanosleepFlags::TIMER_ABSTIME,
            &next.into(),
        )?;
    }
    Ok(())
}

/// Measures the CPU usage of camera frames in percent: that of the program alone, and the total.
pub fn measure_frames(side: &Side) -> Result<()> {
    let baseline = cpu_time(|| at_rate(|| Ok(())))?;
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
        let [own, others] = cpu_time(|| at_rate(&mut frame))?;
        let own = own - baseline[0];
        let all = own + others - baseline[1];
        let percent = |time: f64| time / (FRAMES / FRAMES_PER_SECOND) as f64 / 1e9 * 100.0;
        print_figure(&format!("frames-own/{name}"), FRAME, percent(own));
        print_figure(&format!("frames/{name}"), FRAME, percent(all));
    }
    Ok(())
}
