// SPDX-License-Identifier: GPL-2.0

//! Two devices to which one buffer is attached, and the CPU.

use crate::one::{
    device_reads,
    device_writes,
    pieces, //
};
use crate::{
    cpu,
    Case, //
};
use anyhow::{
    Context,
    Result, //
};
use guest_support::client::Direction;
use guest_support::edu::{
    Device,
    Import, //
};
use guest_support::heap::Heap;
use guest_support::pattern::Pattern;
use std::thread;

const SIZE: usize = 16384 + 3;

/// Half of the buffer for each device; a multiple of the word size, and of no page.
const HALF: usize = 8192 + 8;

fn pair(devices: &[Device]) -> Result<(&Device, &Device)> {
    match devices {
        [first, second, ..] => Ok((first, second)),
        _ => anyhow::bail!("{} devices", devices.len()),
    }
}

/// Only one of them has the buffer mapped at a time.
pub fn in_turn(case: &Case) -> Result<()> {
    let devices = case.devices()?;
    let (first, second) = pair(&devices)?;
    let buffer = Heap::open(&case.heap)?.allocate(SIZE)?;
    let (first, second) = (first.attach(&buffer)?, second.attach(&buffer)?);
    for (round, (writer, reader)) in [(&first, &second), (&second, &first)]
        .into_iter()
        .enumerate()
    {
        let pattern = Pattern(1 + round as u64);
        writer.map(Direction::FromDevice)?;
        device_writes(writer, SIZE, pattern)?;
        writer.unmap()?;
        reader.map(Direction::ToDevice)?;
        device_reads(reader, SIZE, pattern).with_context(|| format!("round {round}"))?;
        reader.unmap()?;
    }
    let mapping = buffer.map()?;
    cpu::check(&buffer, &mapping, &pieces(SIZE), Pattern(2), None)?;
    cpu::fill(&buffer, &mapping, Pattern(3))?;
    for reader in [&first, &second] {
        reader.map(Direction::ToDevice)?;
        device_reads(reader, SIZE, Pattern(3)).context("what the CPU has written")?;
        reader.unmap()?;
    }
    Ok(())
}

/// Both have it mapped, and access it at the same time.
pub fn at_once(case: &Case) -> Result<()> {
    let devices = case.devices()?;
    let (first, second) = pair(&devices)?;
    let buffer = Heap::open(&case.heap)?.allocate(SIZE)?;
    let (first, second) = (first.attach(&buffer)?, second.attach(&buffer)?);
    first.map(Direction::Both)?;
    second.map(Direction::Both)?;
    let mapping = buffer.map()?;
    for round in 0..2 {
        let context = || format!("round {round}");
        let pattern = Pattern(4 + 2 * round);
        together(
            || {
                first
                    .write(0, &cpu::bytes(pattern, 0, HALF))
                    .map_err(Into::into)
            },
            || {
                let bytes = cpu::bytes(pattern, HALF, SIZE - HALF);
                second.write(HALF, &bytes).map_err(Into::into)
            },
        )?;
        // Each reads what the other one has written, and the CPU has not touched.
        together(
            || part_is(&first, HALF, SIZE - HALF, pattern),
            || part_is(&second, 0, HALF, pattern),
        )
        .with_context(context)?;
        let rest = round.checked_sub(1).map(|_| Pattern(5));
        cpu::check(
            &buffer,
            &mapping,
            std::slice::from_ref(&(0..SIZE)),
            pattern,
            rest,
        )
        .with_context(context)?;
        cpu::fill(&buffer, &mapping, Pattern(5))?;
        together(
            || device_reads(&first, SIZE, Pattern(5)),
            || device_reads(&second, SIZE, Pattern(5)),
        )
        .with_context(context)?;
    }
    first.unmap()?;
    // The other one still has it.
    device_writes(&second, SIZE, Pattern(7))?;
    cpu::check(
        &buffer,
        &mapping,
        &pieces(SIZE),
        Pattern(7),
        Some(Pattern(5)),
    )
}

fn part_is(import: &Import<'_>, offset: usize, length: usize, pattern: Pattern) -> Result<()> {
    cpu::compare(
        "what the other device has written",
        &import.read(offset, length)?,
        &cpu::bytes(pattern, offset, length),
    )
}

/// Runs both functions at the same time.
fn together(
    first: impl FnOnce() -> Result<()> + Send,
    second: impl FnOnce() -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let other = scope.spawn(first);
        let result = second();
        match other.join() {
            Ok(other) => other.and(result),
            Err(_) => anyhow::bail!("a thread has panicked"),
        }
    })
}
