// SPDX-License-Identifier: GPL-2.0

//! Observes cache maintenance by kprobes on the two functions that perform it.

use crate::trace::{
    Event,
    Probe,
    Trace, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::client::Segment;

/// The arguments of both functions. Only some architectures have $argN.
#[cfg(not(target_arch = "arm"))]
const ARGUMENTS: &str = "address=$arg1:x64 size=$arg2:u64 direction=$arg3:u32";
#[cfg(target_arch = "arm")]
const ARGUMENTS: &str = "address=%r0:x32 size=%r1:u32 direction=%r2:u32";

/// Traces all cache maintenance.
pub struct Watch {
    // Dropped before the probes, which cannot be removed while they are traced.
    pub trace: Trace,
    _probes: [Probe; 2],
}

/// Bytes of a buffer with cache maintenance.
#[derive(Debug, PartialEq, Eq)]
pub struct Maintenance {
    pub for_device: u64,
    pub for_cpu: u64,
}

pub const NONE: Maintenance = Maintenance {
    for_device: 0,
    for_cpu: 0,
};

pub const fn for_device(bytes: u64) -> Maintenance {
    Maintenance {
        for_device: bytes,
        for_cpu: 0,
    }
}

pub const fn for_cpu(bytes: u64) -> Maintenance {
    Maintenance {
        for_device: 0,
        for_cpu: bytes,
    }
}

impl Watch {
    pub fn start() -> Result<Watch> {
        let probes = [
            Probe::of("arch_sync_dma_for_device", ARGUMENTS)?,
            Probe::of("arch_sync_dma_for_cpu", ARGUMENTS)?,
        ];
        let trace = Trace::of(&[probes[0].event(), probes[1].event()])?;
        Ok(Watch {
            trace,
            _probes: probes,
        })
    }

    /// Returns the maintenance of these segments since the last call.
    pub fn take(&self, segments: &[Segment]) -> Result<Maintenance> {
        maintenance(&self.trace.take()?, segments)
    }
}

/// Returns the maintenance of these segments.
pub fn maintenance(events: &[Event], segments: &[Segment]) -> Result<Maintenance> {
    let bytes = |function| -> Result<u64> {
        let ranges = ranges(events, function)?;
        Ok(ranges.iter().map(|range| overlap(segments, *range)).sum())
    };
    Ok(Maintenance {
        for_device: bytes("arch_sync_dma_for_device")?,
        for_cpu: bytes("arch_sync_dma_for_cpu")?,
    })
}

/// Returns address and size of each call of `function`.
fn ranges(events: &[Event], function: &str) -> Result<Vec<(u64, u64)>> {
    let events = events.iter().filter(|event| event.name == function);
    events
        .map(|event| Ok((event.number("address")?, event.number("size")?)))
        .collect()
}

/// Returns the number of bytes of the range that are in the segments.
fn overlap(segments: &[Segment], (address, size): (u64, u64)) -> u64 {
    let segments = segments.iter().map(|segment| {
        let start = segment.physical_address.max(address);
        let end = (segment.physical_address + segment.length).min(address + size);
        end.saturating_sub(start)
    });
    segments.sum()
}

pub fn expect(what: &str, found: Maintenance, expected: Maintenance) -> Result<()> {
    ensure!(
        found == expected,
        "{what}: {found:?}, expected {expected:?}"
    );
    Ok(())
}

/// Checks that maintenance for a device covers every byte of the segments exactly once.
pub fn expect_cleaned_once(what: &str, events: &[Event], segments: &[Segment]) -> Result<()> {
    for segment in segments {
        let mut at = segment.physical_address;
        let end = at + segment.length;
        let mut inside: Vec<_> = ranges(events, "arch_sync_dma_for_device")?
            .into_iter()
            .filter(|range| overlap(&[*segment], *range) > 0)
            .collect();
        inside.sort_unstable();
        for (address, size) in inside {
            ensure!(
                address == at,
                "{what}: cleaned from {address:#x}, expected from {at:#x}"
            );
            at += size;
        }
        ensure!(
            at == end,
            "{what}: cleaned up to {at:#x}, expected up to {end:#x}"
        );
    }
    Ok(())
}

pub fn expect_not_cleaned(what: &str, events: &[Event], segments: &[Segment]) -> Result<()> {
    let ranges = ranges(events, "arch_sync_dma_for_device")?;
    ensure!(
        ranges.iter().all(|range| overlap(segments, *range) == 0),
        "{what} was cleaned unnecessarily: {ranges:x?}"
    );
    Ok(())
}
