// SPDX-License-Identifier: GPL-2.0

//! The cost of an allocation, a close and a line of `/proc/rk_dmabuf/dev`, by number of live
//! buffers.

use crate::clock::{
    rounds,
    Clock, //
};
use crate::figure::{
    print_figure,
    KIB, //
};
use crate::side::Side;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use nix::fcntl::{
    fcntl,
    FcntlArg, //
};
use nix::libc::rlim_t;
use nix::sys::resource::{
    setrlimit,
    Resource, //
};
use std::fs::File;
use std::io::Read;

const SIZE: usize = 4 * KIB;
const COUNTS: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];
const DEV_NODE: &str = "/proc/rk_dmabuf/dev";

/// Number of buffers allocated and closed per round.
const BATCH: usize = 16;

/// Limit of open file descriptors; larger than the number in use.
const DESCRIPTORS: rlim_t = 110_000;

/// Raises the limit of open files and grows the descriptor table of this process to its final size.
pub fn allow_descriptors() -> Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS)
        .context("cannot raise the limit of open files: run as root")?;
    let null = File::open("/dev/null")?;
    let last = FcntlArg::F_DUPFD_CLOEXEC(i32::try_from(DESCRIPTORS)? - 1);
    let high = fcntl(&null, last)?;
    nix::unistd::close(high)?;
    Ok(())
}

pub fn measure(clock: &Clock, side: &Side) -> Result<()> {
    allow_descriptors()?;
    let heap = Heap::open("system")?;
    let mut live: Vec<Buffer> = Vec::with_capacity(COUNTS[COUNTS.len() - 1] + BATCH);
    // Allocated before the measurement.
    let mut text = vec![0; 64 << 20];
    let empty = match side.is_ours() {
        true => fastest_read(clock, 1, &mut text)?.0,
        false => 0.0,
    };
    for count in COUNTS {
        while live.len() < count {
            live.push(heap.allocate(SIZE)?);
        }
        let [allocate, close] = rounds(|| {
            let (mut allocating, mut closing) = (0.0, 0.0);
            for _ in 0..BATCH {
                let (time, buffer) = clock.time(|| heap.allocate(SIZE))?;
                allocating += time;
                live.push(buffer);
            }
            for _ in 0..BATCH {
                let (time, ()) = clock.time(|| {
                    live.pop();
                    Ok(())
                })?;
                closing += time;
            }
            Ok([allocating / BATCH as f64, closing / BATCH as f64])
        })?;
        print_figure("growth-allocate", count, allocate);
        print_figure("growth-close", count, close);
        if side.is_ours() {
            let (time, lines) = fastest_read(clock, count, &mut text)?;
            ensure!(
                lines > count,
                "{DEV_NODE}: {lines} lines for {count} buffers"
            );
            print_figure("growth-line", count, (time - empty) / count as f64);
        }
    }
    Ok(())
}

/// Reads the node several times, more often if it is short, and returns the shortest duration and
/// the number of lines.
fn fastest_read(clock: &Clock, count: usize, text: &mut [u8]) -> Result<(f64, usize)> {
    let mut least = read_list(clock, text)?;
    for _ in 0..(1000 / count).clamp(2, 16) {
        let (time, lines) = read_list(clock, text)?;
        least = (time.min(least.0), lines);
    }
    Ok(least)
}

/// Reads the node into `text` and returns the duration in nanoseconds and the number of lines.
fn read_list(clock: &Clock, text: &mut [u8]) -> Result<(f64, usize)> {
    let mut end = 0;
    let (time, ()) = clock.time(|| {
        let mut list = File::open(DEV_NODE).with_context(|| format!("cannot open {DEV_NODE}"))?;
        loop {
            let read = list.read(&mut text[end..])?;
            if read == 0 {
                return Ok(());
            }
            end += read;
        }
    })?;
    let lines = text[..end].iter().filter(|byte| **byte == b'\n').count();
    Ok((time, lines))
}
