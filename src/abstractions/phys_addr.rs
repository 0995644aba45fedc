// SPDX-License-Identifier: GPL-2.0

//! Physical addresses. The width of `phys_addr_t` depends on the kernel configuration.
//!
//! C header: [`include/linux/types.h`](srctree/include/linux/types.h)

use kernel::bindings;

/// Widens a `phys_addr_t`, which has 32 bits without `CONFIG_PHYS_ADDR_T_64BIT`.
///
/// # Examples
///
/// ```
/// use crate::abstractions::phys_addr::to_u64;
///
/// assert_eq!(to_u64(0x4000_0000), 0x4000_0000);
/// ```
#[allow(clippy::useless_conversion)] // The conversion has an effect if the type has 32 bits.
#[inline]
pub(crate) fn to_u64(address: bindings::phys_addr_t) -> u64 {
    address.into()
}
