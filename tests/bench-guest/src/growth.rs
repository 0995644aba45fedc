// SPDX-License-Identifier: GPL-2.0

//! How the costs of an allocation, a close and a listed line change with the number of live
//! buffers.

use crate::clock::{
    rounds,
    Clock, //
};
use crate::figure::{
    tell,
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
const LIST: &str = "/proc/rk_dmabuf/dev";

/// How many are allocated and closed in a row.
const BATCH: usize = 16;

/// More descriptors than are ever open.
const DESCRIPTORS: rlim_t = 110_000;

/// Makes this process's table of descriptors as large as it ever gets.
pub fn allow_descriptors() -> Result<()> {
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, DESCRIPTORS)
        .context("cannot have so many descriptors")?;
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
    // The memory that the list is read into is there from the start.
    let mut text = vec![0; 64 << 20];
    let empty = match side.is_ours() {
        true => usual_list(clock, 1, &mut text)?.0,
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
        tell("growth-allocate", count, allocate);
        tell("growth-close", count, close);
        if side.is_ours() {
            let (time, lines) = usual_list(clock, count, &mut text)?;
            ensure!(lines > count, "{LIST}: {lines} lines for {count} buffers");
            tell("growth-line", count, (time - empty) / count as f64);
        }
    }
    Ok(())
}

/// The same with the least that it takes of several times, more of them where the list is short.
fn usual_list(clock: &Clock, count: usize, text: &mut [u8]) -> Result<(f64, usize)> {
    let mut least = read_list(clock, text)?;
    for _ in 0..(1000 / count).clamp(2, 16) {
        let (time, lines) = read_list(clock, text)?;
        least = (time.min(least.0), lines);
    }
    Ok(least)
}

/// Reads the list into `text`; returns what that took, and how many lines there are.
fn read_list(clock: &Clock, text: &mut [u8]) -> Result<(f64, usize)> {
    let mut end = 0;
    let (time, ()) = clock.time(|| {
        let mut list = File::open(LIST).with_context(|| format!("cannot open {LIST}"))?;
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
