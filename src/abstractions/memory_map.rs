// SPDX-License-Identifier: GPL-2.0

//! The memory of the machine as the firmware describes it.
//!
//! The description also covers memory that the kernel does not use: what `mem=` cuts off, and
//! regions with `no-map`.
//!
//! C headers: [`include/linux/efi.h`](srctree/include/linux/efi.h),
//! [`include/linux/of.h`](srctree/include/linux/of.h)

use crate::{
    abstractions::device_tree::Node,
    bindings as c,
    decisions::segment::Extent, //
};

/// Returns whether all of `range` is memory.
///
/// On an EFI boot the EFI memory map decides, even if there is a device tree, because the kernel
/// ignores the memory nodes then. On other boots the memory nodes of the device tree do. May sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::device_tree::Node;
/// use crate::abstractions::memory_map;
///
/// for mut memory in Node::memory().flat_map(|node| node.reg().next()) {
///     assert!(memory_map::describes(&memory));
///     memory.size = u64::MAX >> 1;
///     assert!(!memory_map::describes(&memory));
/// }
/// ```
pub(crate) fn describes(range: &Extent) -> bool {
    // SAFETY: The function reads a flag and has no requirements.
    if unsafe { c::efi_boot() } {
        range.is_covered(efi_entry_at)
    } else {
        range.is_covered(node_entry_at)
    }
}

/// Returns whether the kernel uses a part of `range` as its RAM, so that anything may be there. It
/// does for a region that it has failed to reserve. A range that no pointer can span is used.
///
/// Does not sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::memory_map;
/// use crate::decisions::segment::Extent;
///
/// assert!(!memory_map::kernel_uses(&Extent { base: 0, size: 0x1000 }));
/// assert!(memory_map::kernel_uses(&Extent { base: 0, size: u64::MAX }));
/// ```
#[allow(clippy::useless_conversion)] // The conversions have an effect if the types have 32 bits.
pub(crate) fn kernel_uses(range: &Extent) -> bool {
    let (Ok(base), Ok(size)) = (range.base.try_into(), range.size.try_into()) else {
        return true;
    };
    // SAFETY: The call accepts any range.
    !unsafe { c::system_ram_disjoint(base, size) }
}

/// Returns the memory of the EFI memory map's entry that contains `address`.
fn efi_entry_at(address: u64) -> Option<Extent> {
    let mut entry = Extent { base: 0, size: 0 };
    // SAFETY: The call accepts any address, and writes to both fields if it succeeds.
    let found = unsafe { c::efi_memory_at(address, &mut entry.base, &mut entry.size) };
    found.then_some(entry)
}

/// Returns the entry of a memory node that contains `address`.
fn node_entry_at(address: u64) -> Option<Extent> {
    Node::memory().find_map(|node| node.reg().find(|entry| entry.contains(address)))
}
