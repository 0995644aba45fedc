// SPDX-License-Identifier: GPL-2.0

//! Physical memory, mapped into a process.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h)

use crate::{bindings as c, memory::Caching, segment::Segment};
use kernel::{bindings, error::to_result, mm::virt::VmaNew, page::PAGE_SHIFT, prelude::*};

/// Fills a new area of a process with `segments`, beginning with the page that the area's offset names.
///
/// The whole area is populated. May sleep. Fails with `EINVAL` where the segments end before the area does, else as
/// `remap_pfn_range()` does.
///
/// # Safety
///
/// The memory must stay for as long as the area's file does, be ready to be seen this way, and the
/// process may read and write all of it.
pub(crate) unsafe fn populate(
    area: &VmaNew,
    segments: impl Iterator<Item = Segment>,
    caching: Caching,
) -> Result {
    // SAFETY: The area is being set up, so nothing changes it meanwhile.
    let (mut skip, prot) = unsafe { ((*area.as_ptr()).vm_pgoff, (*area.as_ptr()).vm_page_prot) };
    let prot = match caching {
        Caching::Cached => prot,
        // SAFETY: Changes one value into another.
        Caching::WriteCombined => unsafe { c::pgprot_writecombine(prot) },
    };
    // Nobody asks whether these pages were written. Entries that are dirty from the start spare processors that do not set
    // the bit by themselves a fault on the first write to each page. An entry that may not be written stays so.
    // SAFETY: Changes one value into another.
    let prot = unsafe { c::pgprot_dirty(prot) };
    let mut address = area.start();

    for segment in segments {
        let left = (area.end() - address) >> PAGE_SHIFT;
        if left == 0 {
            break;
        }
        let Some(part) = segment.skip(skip) else {
            skip -= segment.pages;
            continue;
        };
        skip = 0;
        let part = part.truncate(left);
        // SAFETY: The area is being set up, and the range lies inside it. The memory stays, as the caller promises.
        to_result(unsafe {
            bindings::remap_pfn_range(area.as_ptr(), address, part.frame, part.bytes(), prot)
        })?;
        address += part.bytes();
    }

    if address == area.end() {
        Ok(())
    } else {
        Err(EINVAL)
    }
}
