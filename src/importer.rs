// SPDX-License-Identifier: GPL-2.0

//! Importing devices: which ones can access which memory.
//!
//! Write-combined memory has no cache maintenance, so a device must access the memory itself and
//! past the CPU's caches. A device that cannot would read and write other bytes than the CPU, so it
//! is refused, and the log names the heap to allocate from instead. Cached memory works with each
//! device, as on the kernel's own heaps: cache maintenance and bounce buffers go together. If
//! several devices have such a buffer mapped and one of them has a bounce buffer, a sync for the
//! CPU copies that over what the others have written.

use crate::{
    abstractions::{
        dma_device,
        rate_limit, //
    },
    decisions::{
        heap_name,
        memory::{
            Backing,
            Caching,
            Memory, //
        },
        segment::Segment, //
    }, //
};
use kernel::{
    bindings,
    device::Device,
    page::PAGE_SHIFT,
    prelude::*, //
};

/// The last page below 4 GiB.
const LAST_BELOW_4G: Segment = Segment {
    pfn: (1 << (32 - PAGE_SHIFT)) - 1,
    pages: 1,
};

/// Checks that `device` may be attached to a buffer of `memory`, which heap `heap` has allocated.
///
/// A device that snoops the CPU's caches must not access write-combined memory that is also in the
/// kernel's linear map: clean, stale lines from there would answer it. A carveout is not in the
/// linear map, so no cache has lines of it, and each device may access it.
///
/// Does not sleep. Fails with `EOPNOTSUPP` and then logs the reason.
pub(crate) fn check_attach(memory: &impl Memory, heap: &CStr, device: &Device) -> Result {
    let stale = memory.caching() == Caching::WriteCombined && memory.backing() == Backing::Pages;
    if !stale || !dma_device::snoops(device) {
        return Ok(());
    }
    if rate_limit::may_log() {
        let (instead, suffix) = heap_name::cached(heap);
        pr_warn!(
            "heap {}: device {} is not attached, it snoops CPU caches, which may hold stale lines \
             of this memory; allocate from heap {}{}\n",
            heap,
            device.name(),
            instead,
            suffix
        );
    }
    // Kernel 7.2 has no constant of the error type for it.
    Err(Error::from_errno(-(bindings::EOPNOTSUPP as i32)))
}

/// Checks that `memory` of heap `heap` may be mapped for `device`. If it is write-combined, the
/// device must be able to access all of it without a bounce buffer, which nothing would keep equal
/// to the memory.
///
/// Does not sleep. Fails with `EIO` and then logs the reason.
pub(crate) fn check_map(memory: &impl Memory, heap: &CStr, device: &Device) -> Result {
    if memory.caching() == Caching::Cached || !bounces(memory, device) {
        return Ok(());
    }
    if rate_limit::may_log() {
        let reaches_4g = !dma_device::bounces(device, LAST_BELOW_4G);
        let (instead, suffix) = heap_name::reachable(heap, reaches_4g);
        pr_warn!(
            "heap {}: not mapped for device {}, which would access a bounce buffer instead of this \
             memory; allocate from heap {}{}\n",
            heap,
            device.name(),
            instead,
            suffix
        );
    }
    Err(EIO)
}

/// The way in which a device accesses memory that is mapped for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The device accesses the memory itself, past the CPU's caches.
    PastCaches,
    /// The device snoops the CPU's caches and accesses the memory itself.
    Snooping,
    /// The device accesses a copy, or nothing is known about it.
    Copied,
}

/// Returns the way in which `device` accesses `memory`. Does not sleep.
pub(crate) fn access(memory: &impl Memory, device: &Device) -> Access {
    // Few devices can need a bounce buffer at all.
    if dma_device::may_copy(device) && (dma_device::is_unknown(device) || bounces(memory, device)) {
        return Access::Copied;
    }
    if dma_device::snoops(device) {
        Access::Snooping
    } else {
        Access::PastCaches
    }
}

/// Returns the maximum size in bytes of an entry of a scatter list of `memory` for `device`.
///
/// It is the maximum that the device declares. A bounce buffer is smaller than most segments, so
/// entries that go through one are limited by it too. Does not sleep.
pub(crate) fn max_entry_bytes(memory: &impl Memory, device: &Device) -> usize {
    let declared = dma_device::max_segment_size(device);
    let bounced = dma_device::max_bounced_size(device);
    // Few devices can need a bounce buffer at all.
    if bounced < declared && bounces(memory, device) {
        bounced
    } else {
        declared
    }
}

/// Returns whether a part of `memory` is not accessible to `device` itself.
fn bounces(memory: &impl Memory, device: &Device) -> bool {
    memory
        .segments()
        .any(|segment| dma_device::bounces(device, segment))
}
