// SPDX-License-Identifier: GPL-2.0

//! What the direction of a sync does to cache lines, and the one sync that does for all devices
//! that access a buffer past the CPU's caches.
//!
//! Such a sync maintains the cache lines of the buffer, which are the same for each device. Only
//! its direction makes a difference, and each device is synced in a direction that its mapping
//! permits.

/// The direction of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncDirection {
    /// The device may read and write.
    Both,
    /// The device reads.
    ToDevice,
    /// The device writes.
    FromDevice,
}

/// What the CPU is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncFor {
    /// The CPU will access the memory, so lines are invalidated.
    Cpu,
    /// The CPU has accessed the memory, so lines are written back.
    Device,
}

impl SyncDirection {
    /// Returns whether lines must be written back by themselves before the buffer is handed to a
    /// device in this direction, on an architecture that discards lines then: those of a new buffer
    /// may have zeroes that the device does not overwrite.
    ///
    /// A device that `snoops` has no maintenance. Others may access some of the memory themselves,
    /// although the rest goes through bounce buffers.
    pub(crate) fn needs_write_back(self, snoops: bool) -> bool {
        !snoops && self == Self::FromDevice
    }

    /// Returns whether a sync in this direction does for those in any other one.
    ///
    /// A device that only reads has written nothing for which lines would be invalidated, so the
    /// sync does nothing. For a device that only writes, 32-bit arm discards lines instead of
    /// writing them back, and other devices would not see what the CPU wrote.
    pub(crate) fn does_for_all(self, purpose: SyncFor) -> bool {
        match purpose {
            SyncFor::Cpu => self != Self::ToDevice,
            SyncFor::Device => self != Self::FromDevice,
        }
    }
}
