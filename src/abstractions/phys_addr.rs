// SPDX-License-Identifier: GPL-2.0

//! Physical addresses, whose width depends on the kernel's configuration.
//!
//! C header: [`include/linux/types.h`](srctree/include/linux/types.h)

use kernel::bindings;

/// Widens a `phys_addr_t`, which has 32 bits on machines without physical addresses above 4 GiB.
///
/// # Examples
///
/// ```
/// use crate::abstractions::phys_addr::to_u64;
///
/// assert_eq!(to_u64(0x4000_0000), 0x4000_0000);
/// ```
#[allow(clippy::useless_conversion)] // It converts where the type has 32 bits.
#[inline]
pub(crate) fn to_u64(address: bindings::phys_addr_t) -> u64 {
    address.into()
}
