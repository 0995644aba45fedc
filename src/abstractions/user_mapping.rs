// SPDX-License-Identifier: GPL-2.0

//! Physical memory, mapped into a process.
//!
//! A mapping is populated when it is made, but for what a huge entry of the page table can map: a
//! range that is as large as one, and aligned as one both in memory and in the process. That is
//! left to page faults, because only they can make such entries, and one of them takes the place of
//! hundreds.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/huge_mm.h`](srctree/include/linux/huge_mm.h)

use crate::{
    bindings as c,
    decisions::{
        memory::Caching,
        segment::Segment, //
    }, //
};
use core::ops::Range;
use kernel::{
    bindings,
    error::to_result,
    mm::virt::{
        flags,
        VmaNew, //
    },
    page::PAGE_SHIFT,
    prelude::*, //
};

/// Whether this kernel can map memory without folios by huge entries.
const HUGE_WORKS: bool = cfg!(all(CONFIG_TRANSPARENT_HUGEPAGE, CONFIG_64BIT));

/// The order of what a huge entry maps: 2 MiB, with 4 KiB pages; 0 where there are none.
pub(crate) const HUGE_ORDER: u32 = if HUGE_WORKS { c::PMD_ORDER } else { 0 };

/// The pages that it maps.
const HUGE_PAGES: usize = 1 << c::PMD_ORDER;

/// How much of a mapping was populated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Populated {
    /// All of it: there will be no page faults.
    Whole,
    /// Not what huge entries can map.
    Partly,
}

/// Fills a new area of a process with `segments`, beginning with the page that the area's offset
/// names.
///
/// What comes back as [`Populated::Partly`] needs [`Fault`]s to be answered. May sleep. Fails with
/// `EINVAL` where the segments end before the area does, else as `remap_pfn_range()` does.
///
/// # Safety
///
/// The memory must stay for as long as the area's file does, be ready to be seen this way, and the
/// process may read and write all of it.
pub(crate) unsafe fn populate(
    area: &VmaNew,
    mut segments: impl Iterator<Item = Segment>,
    caching: Caching,
) -> Result<Populated> {
    if caching == Caching::WriteCombined {
        // Also for entries that are made or changed later.
        // SAFETY: The area is being set up, so nobody else looks at it.
        unsafe {
            let prot = (*area.as_ptr()).vm_page_prot;
            (*area.as_ptr()).vm_page_prot = c::pgprot_writecombine(prot);
        }
    }
    // SAFETY: As above.
    let (mut skip, prot) = unsafe { ((*area.as_ptr()).vm_pgoff, (*area.as_ptr()).vm_page_prot) };
    // Nobody asks whether these pages were written. Entries that are dirty from the start spare
    // processors that do not set the bit by themselves a fault on the first write to each page. An
    // entry that may not be written stays so. SAFETY: Changes one value into another.
    let prot = unsafe { c::pgprot_dirty(prot) };
    let remap = |address, part: Segment| match part.pages {
        0 => Ok(()),
        // SAFETY: The area is being set up, and the range lies inside it. The memory stays, as the
        // caller promises.
        _ => to_result(unsafe {
            bindings::remap_pfn_range(area.as_ptr(), address, part.pfn, part.bytes(), prot)
        }),
    };
    // A private mapping copies what it writes, which huge entries cannot.
    let copies = area.flags() & (flags::SHARED | flags::MAYWRITE) == flags::MAYWRITE;
    let mut address = area.start();
    let mut populated = Populated::Whole;

    while address < area.end() {
        let segment = segments.next().ok_or(EINVAL)?;
        let Some(part) = segment.skip(skip) else {
            skip -= segment.pages;
            continue;
        };
        skip = 0;
        let part = part.truncate((area.end() - address) >> PAGE_SHIFT);
        let end = address + part.bytes();
        match huge_part(address >> PAGE_SHIFT, part) {
            Some(huge) if HUGE_WORKS && !copies => {
                populated = Populated::Partly;
                remap(address, part.truncate(huge.pfn - part.pfn))?;
                let behind = part.skip(huge.pfn + huge.pages - part.pfn);
                if let Some(behind) = behind {
                    remap(end - behind.bytes(), behind)?;
                }
            }
            _ => remap(address, part)?,
        }
        address = end;
    }
    if populated == Populated::Partly {
        // As `remap_pfn_range()` does.
        let set = flags::PFNMAP | flags::IO | flags::DONTEXPAND | flags::DONTDUMP;
        // SAFETY: The area is being set up. No entry of it has a page that the kernel counts.
        unsafe { c::vm_flags_set(area.as_ptr(), set) };
    }
    Ok(populated)
}

/// What huge entries can map of `part`, if it is mapped from page number `virtual_page` on.
fn huge_part(virtual_page: usize, part: Segment) -> Option<Segment> {
    if virtual_page % HUGE_PAGES != part.pfn % HUGE_PAGES {
        return None;
    }
    let before = part.pfn.next_multiple_of(HUGE_PAGES) - part.pfn;
    let rest = part.skip(before)?;
    let pages = rest.pages - rest.pages % HUGE_PAGES;
    (pages > 0).then_some(rest.truncate(pages))
}

/// A page fault in an area that was populated partly.
///
/// # Invariants
///
/// `raw` is a fault that the kernel is waiting for the answer to, in an area that maps frames.
pub(crate) struct Fault {
    raw: *mut bindings::vm_fault,
    /// The order of the entry that would do; with 0 it has to be an entry of one page.
    order: u32,
}

impl Fault {
    /// # Safety
    ///
    /// `raw` must be a fault that the kernel is handling, in an area on which [`populate`] was
    /// called.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::vm_fault, order: u32) -> Self {
        // INVARIANT: As the caller promises.
        Self { raw, order }
    }

    /// The file of the area.
    pub(crate) fn file(&self) -> *mut bindings::file {
        // SAFETY: The fault and its area are valid, by the type's invariant; the area keeps its
        // file.
        unsafe { (*self.area()).vm_file }
    }

    /// Answers the fault, with memory of which `rest` says what is left of a segment from a page of
    /// the file on.
    ///
    /// # Safety
    ///
    /// As for [`populate`], with what `rest` returns.
    pub(crate) unsafe fn answer(
        &self,
        rest: impl Fn(usize) -> Option<Segment>,
    ) -> bindings::vm_fault_t {
        // SAFETY: As the caller promises.
        unsafe {
            match self.order {
                0 => self.insert_pages(rest),
                c::PMD_ORDER => self.insert_huge(rest),
                _ => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
            }
        }
    }

    fn area(&self) -> *mut bindings::vm_area_struct {
        // SAFETY: The fault is valid, by the type's invariant.
        unsafe { (*self.raw).__bindgen_anon_1.vma }
    }

    /// The addresses that a huge entry would map, cut to the area, and the page of the file at the
    /// first.
    fn around(&self) -> (Range<usize>, usize) {
        // SAFETY: The fault and its area are valid, by the type's invariant.
        unsafe {
            let limits = (*self.area()).__bindgen_anon_1.__bindgen_anon_1;
            let size = HUGE_PAGES << PAGE_SHIFT;
            let base = (*self.raw).__bindgen_anon_1.address & !(size - 1);
            let start = base.max(limits.vm_start);
            let page = (*self.area()).vm_pgoff + ((start - limits.vm_start) >> PAGE_SHIFT);
            (start..base.saturating_add(size).min(limits.vm_end), page)
        }
    }

    /// With a huge entry, where memory and area allow it. Else the kernel asks again, for one page.
    ///
    /// # Safety
    ///
    /// As for [`Fault::answer`].
    unsafe fn insert_huge(&self, rest: impl Fn(usize) -> Option<Segment>) -> bindings::vm_fault_t {
        let (addresses, page) = self.around();
        let whole = |rest: &Segment| {
            addresses.len() == HUGE_PAGES << PAGE_SHIFT
                && rest.pages >= HUGE_PAGES
                && rest.pfn % HUGE_PAGES == 0
        };
        match rest(page).filter(whole) {
            #[cfg(all(CONFIG_TRANSPARENT_HUGEPAGE, CONFIG_64BIT))]
            // SAFETY: The fault is valid, by the type's invariant; the memory may be mapped, as the
            // caller promises.
            Some(rest) => unsafe {
                let write = (*self.raw).flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0;
                bindings::vmf_insert_pfn_pmd(self.raw, rest.pfn, write)
            },
            _ => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
        }
    }

    /// With single pages, all those that a huge entry would have mapped: an area that was cut or
    /// moved since, or a process that wants no huge entries.
    ///
    /// # Safety
    ///
    /// As for [`Fault::answer`].
    unsafe fn insert_pages(&self, rest: impl Fn(usize) -> Option<Segment>) -> bindings::vm_fault_t {
        let (mut addresses, mut page) = self.around();
        while !addresses.is_empty() {
            let Some(part) = rest(page) else {
                return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
            };
            let part = part.truncate(addresses.len() >> PAGE_SHIFT);
            for pfn in part.pfn..part.pfn + part.pages {
                // SAFETY: The area is valid and maps frames, by the type's invariant; the memory
                // may be mapped, as the caller promises.
                let answer = unsafe { bindings::vmf_insert_pfn(self.area(), addresses.start, pfn) };
                if answer != bindings::vm_fault_reason_VM_FAULT_NOPAGE {
                    return answer;
                }
                addresses.start += 1 << PAGE_SHIFT;
            }
            page += part.pages;
        }
        bindings::vm_fault_reason_VM_FAULT_NOPAGE
    }
}
