// SPDX-License-Identifier: GPL-2.0

//! The heaps that differ from another one in a single property. Heaps are named by their
//! properties, so the name tells which ones there are.

use kernel::str::CStr;

/// The part of a name that stands for write-combined memory.
const UNCACHED: &[u8] = b"-uncached";

/// The beginning of the names of write-combined heaps. Any other name is that of a carveout, which
/// has the name of its node.
const BASES: [&str; 2] = ["system", "cma"];

/// The heap whose memory is write-combined and anywhere, and its variant below 4 GiB. The variants
/// of the contiguous heaps use the same area, so they are no alternative to each other.
const ANYWHERE: &[u8] = b"system-uncached";
const BELOW_4G: &str = "system-uncached-dma32";

/// Returns the name of the heap with cached memory that stands for write-combined heap `name`, in
/// two parts. A carveout has no such heap, so `system` stands for it.
///
/// # Examples
///
/// ```
/// use crate::decisions::heap_name;
///
/// assert_eq!(heap_name::cached(c"cma-uncached"), ("cma", ""));
/// assert_eq!(heap_name::cached(c"system-uncached-dma32"), ("system", "-dma32"));
/// assert_eq!(heap_name::cached(c"frames-uncached@4e000000"), ("system", ""));
/// ```
pub(crate) fn cached(name: &CStr) -> (&str, &str) {
    let bytes = name.to_bytes();
    let parts = BASES.into_iter().find_map(|base| {
        let after = bytes.strip_prefix(base.as_bytes())?;
        let after = match after.strip_prefix(UNCACHED)? {
            b"" => "",
            b"-dma32" => "-dma32",
            _ => return None,
        };
        Some((base, after))
    });
    parts.unwrap_or(("system", ""))
}

/// Returns the name of the heap for a device that cannot access the memory of write-combined heap
/// `name`, in two parts. `reaches_4g` is whether the device accesses all memory below 4 GiB.
///
/// # Examples
///
/// ```
/// use crate::decisions::heap_name;
///
/// let system = c"system-uncached";
/// assert_eq!(heap_name::reachable(system, true), ("system-uncached-dma32", ""));
/// assert_eq!(heap_name::reachable(system, false), ("system", ""));
/// assert_eq!(heap_name::reachable(c"cma-uncached", true), ("cma", ""));
/// ```
pub(crate) fn reachable(name: &CStr, reaches_4g: bool) -> (&str, &str) {
    if reaches_4g && name.to_bytes() == ANYWHERE {
        return (BELOW_4G, "");
    }
    cached(name)
}
