// SPDX-License-Identifier: GPL-2.0

//! User space mappings of physical memory.
//!
//! [`populate`] inserts the page table entries of a new VMA, except for ranges that huge (PMD)
//! entries can map: ranges of that size that are aligned to it both physically and virtually. A
//! module can insert huge entries in a page fault only, so these ranges are left to [`Fault`]: the
//! first access to each faults once, and until then a page table walker (`follow_pfnmap_start()`)
//! finds no entry. The first write after a read may fault again, to make the entry dirty.
//!
//! A page whose memory [has failed](memory_failure) is not mapped. An access to it faults, and the
//! process gets `SIGBUS`.
//!
//! # Locks
//!
//! The kernel holds the mmap write lock during [`populate`]. During [`Fault::handle`] it holds the
//! mmap read lock or the lock of the VMA.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/huge_mm.h`](srctree/include/linux/huge_mm.h)

use crate::{
    abstractions::memory_failure,
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

/// Whether this kernel can map page frames by huge entries.
const HUGE_SUPPORTED: bool = cfg!(all(CONFIG_TRANSPARENT_HUGEPAGE, CONFIG_64BIT));

/// The order of the range that a huge entry maps, or 0 if huge entries are not supported. The range
/// has 2 MiB with 4 KiB pages.
pub(crate) const HUGE_ORDER: u32 = if HUGE_SUPPORTED { c::PMD_ORDER } else { 0 };

/// The number of pages that a huge entry maps.
const HUGE_PAGES: usize = 1 << c::PMD_ORDER;

/// Maps `segments` into a new VMA, beginning with the page at the VMA's file offset.
///
/// Ranges that huge entries can map are left to page faults, which the VMA's operations handle with
/// [`Fault::handle`].
///
/// A private mapping that is or may become writable is refused. It would copy a page on the first
/// write, and the copy is anonymous memory with the memory type of the VMA: a write-combined
/// mapping bypasses the cache lines of that page and shows its former contents.
///
/// May sleep. Fails with `EINVAL` for such a mapping and if the segments end before the VMA does,
/// and as `remap_pfn_range()` does.
///
/// # Safety
///
/// The memory must stay allocated while the file of the VMA exists and must be prepared for access
/// with `caching`. The process must be allowed to read and write all of it.
pub(crate) unsafe fn populate(
    vma: &VmaNew,
    mut segments: impl Iterator<Item = Segment>,
    caching: Caching,
) -> Result {
    if vma.flags() & (flags::SHARED | flags::MAYWRITE) == flags::MAYWRITE {
        return Err(EINVAL);
    }
    if caching == Caching::WriteCombined {
        // This applies to entries that are inserted or changed later as well.
        // SAFETY: The VMA is being set up, so nothing else accesses it.
        unsafe {
            let prot = (*vma.as_ptr()).vm_page_prot;
            (*vma.as_ptr()).vm_page_prot = c::pgprot_writecombine(prot);
        }
    }
    // SAFETY: The VMA is being set up, so nothing else accesses it.
    let (mut skip, prot) = unsafe { ((*vma.as_ptr()).vm_pgoff, (*vma.as_ptr()).vm_page_prot) };
    // The dirty state of these pages is not used. On CPUs without hardware dirty bit management,
    // dirty entries avoid a fault on the first write to each page. Only a protection with access is
    // changed: x86 inverts the PFN of an entry that is not present.
    let prot = if vma.flags() & flags::WRITE != 0 {
        // SAFETY: The function converts a value and has no requirements.
        unsafe { c::pgprot_dirty(prot) }
    } else {
        prot
    };
    let remap_intact = |address, part: Segment| match part.pages {
        0 => Ok(()),
        // SAFETY: The VMA is being set up, and the range is inside it. The memory stays allocated
        // by the safety requirements.
        _ => to_result(unsafe {
            bindings::remap_pfn_range(vma.as_ptr(), address, part.pfn, part.bytes(), prot)
        }),
    };
    let has_failures = memory_failure::is_possible();
    let remap = |address, part: Segment| -> Result {
        if !has_failures {
            return remap_intact(address, part);
        }
        let (mut address, mut rest) = (address, Some(part));
        while let Some(part) = rest {
            let intact = part.truncate(memory_failure::intact_pages(part));
            remap_intact(address, intact)?;
            address += intact.bytes() + (1 << PAGE_SHIFT);
            rest = part.skip(intact.pages + 1);
        }
        Ok(())
    };
    let mut address = vma.start();
    let mut needs_faults = has_failures;

    while address < vma.end() {
        let segment = segments.next().ok_or(EINVAL)?;
        let Some(part) = segment.skip(skip) else {
            skip -= segment.pages;
            continue;
        };
        skip = 0;
        let part = part.truncate((vma.end() - address) >> PAGE_SHIFT);
        let end = address + part.bytes();
        match huge_part(address >> PAGE_SHIFT, part) {
            Some(huge) if HUGE_SUPPORTED => {
                needs_faults = true;
                remap(address, part.truncate(huge.pfn - part.pfn))?;
                let tail = part.skip(huge.pfn + huge.pages - part.pfn);
                if let Some(tail) = tail {
                    remap(end - tail.bytes(), tail)?;
                }
            }
            _ => remap(address, part)?,
        }
        address = end;
    }
    if needs_faults {
        // `remap_pfn_range()` sets these flags too, but may not have been called.
        let vm_flags = flags::PFNMAP | flags::IO | flags::DONTEXPAND | flags::DONTDUMP;
        // SAFETY: The VMA is being set up. Its entries map page frames only, without references to
        // their pages.
        unsafe { c::vm_flags_set(vma.as_ptr(), vm_flags) };
    }
    Ok(())
}

/// Returns the range of `part` that huge entries can map if `part` is mapped at the virtual page
/// number `virtual_page`.
fn huge_part(virtual_page: usize, part: Segment) -> Option<Segment> {
    if virtual_page % HUGE_PAGES != part.pfn % HUGE_PAGES {
        return None;
    }
    let unaligned = part.pfn.next_multiple_of(HUGE_PAGES) - part.pfn;
    let aligned = part.skip(unaligned)?;
    let pages = aligned.pages - aligned.pages % HUGE_PAGES;
    (pages > 0).then_some(aligned.truncate(pages))
}

/// A page fault in a VMA that [`populate`] has set up.
///
/// # Invariants
///
/// `raw` is a fault that the kernel is handling, in a VMA with `VM_PFNMAP`.
pub(crate) struct Fault {
    raw: *mut bindings::vm_fault,
    /// The order of the entry that the kernel requests, or 0 for a single page.
    order: u32,
}

impl Fault {
    /// Creates a fault from a pointer.
    ///
    /// # Safety
    ///
    /// `raw` must be a fault that the kernel is handling while the value exists, in a VMA for which
    /// [`populate`] has succeeded.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::vm_fault, order: u32) -> Self {
        // INVARIANT: The kernel is handling the fault by the safety requirements. `populate()` set
        // `VM_PFNMAP`.
        Self { raw, order }
    }

    /// Returns the file of the VMA.
    pub(crate) fn file(&self) -> *mut bindings::file {
        // SAFETY: By the type invariant the fault and its VMA are valid.
        unsafe { (*self.vma()).vm_file }
    }

    /// Handles the fault. `rest` returns the remainder of a segment from a page offset in the file.
    ///
    /// May sleep. Returns `VM_FAULT_FALLBACK` if a huge entry cannot map the address,
    /// `VM_FAULT_HWPOISON` if memory of the page has failed, and `VM_FAULT_SIGBUS` if `rest`
    /// returns `None`.
    ///
    /// # Safety
    ///
    /// The segments that `rest` returns must meet the requirements of [`populate`].
    pub(crate) unsafe fn handle(
        &self,
        rest: impl Fn(usize) -> Option<Segment>,
    ) -> bindings::vm_fault_t {
        // SAFETY: The safety requirements are the same.
        unsafe {
            match self.order {
                0 => self.insert_pages(rest),
                c::PMD_ORDER => self.insert_huge(rest),
                _ => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
            }
        }
    }

    /// Returns the VMA.
    fn vma(&self) -> *mut bindings::vm_area_struct {
        // SAFETY: By the type invariant the fault is valid.
        unsafe { (*self.raw).__bindgen_anon_1.vma }
    }

    /// Returns the addresses that a huge entry maps around the fault, limited to the VMA, and the
    /// page offset in the file of the first one.
    fn fault_around(&self) -> (Range<usize>, usize) {
        // SAFETY: By the type invariant the fault and its VMA are valid.
        unsafe {
            let limits = (*self.vma()).__bindgen_anon_1.__bindgen_anon_1;
            let size = HUGE_PAGES << PAGE_SHIFT;
            let base = (*self.raw).__bindgen_anon_1.address & !(size - 1);
            let start = base.max(limits.vm_start);
            let page = (*self.vma()).vm_pgoff + ((start - limits.vm_start) >> PAGE_SHIFT);
            (start..base.saturating_add(size).min(limits.vm_end), page)
        }
    }

    /// Inserts a huge entry if the alignment and size of memory and VMA allow it. Otherwise returns
    /// `VM_FAULT_FALLBACK`, and the kernel repeats the fault for a single page.
    ///
    /// # Safety
    ///
    /// As for [`Fault::handle`].
    unsafe fn insert_huge(&self, rest: impl Fn(usize) -> Option<Segment>) -> bindings::vm_fault_t {
        let (addresses, page) = self.fault_around();
        let fits = |rest: &Segment| {
            addresses.len() == HUGE_PAGES << PAGE_SHIFT
                && rest.pages >= HUGE_PAGES
                && rest.pfn % HUGE_PAGES == 0
                && !memory_failure::has_failed(rest.truncate(HUGE_PAGES))
        };
        match rest(page).filter(fits) {
            #[cfg(all(CONFIG_TRANSPARENT_HUGEPAGE, CONFIG_64BIT))]
            // SAFETY: By the type invariant the fault is valid and its VMA maps page frames. The
            // memory may be mapped by the safety requirements.
            Some(rest) => unsafe {
                let write = (*self.raw).flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0;
                bindings::vmf_insert_pfn_pmd(self.raw, rest.pfn, write)
            },
            _ => bindings::vm_fault_reason_VM_FAULT_FALLBACK,
        }
    }

    /// Inserts single pages for the whole range of a huge entry. This is needed if the VMA was
    /// split or moved, or if huge pages are disabled for the process.
    ///
    /// # Safety
    ///
    /// As for [`Fault::handle`].
    unsafe fn insert_pages(&self, rest: impl Fn(usize) -> Option<Segment>) -> bindings::vm_fault_t {
        let (mut addresses, mut page) = self.fault_around();
        // SAFETY: By the type invariant the fault is valid.
        let accessed = unsafe { (*self.raw).__bindgen_anon_1.address } >> PAGE_SHIFT;
        while !addresses.is_empty() {
            let Some(part) = rest(page) else {
                return bindings::vm_fault_reason_VM_FAULT_SIGBUS;
            };
            let part = part.truncate(addresses.len() >> PAGE_SHIFT);
            for pfn in part.pfn..part.pfn + part.pages {
                if memory_failure::has_failed(Segment { pfn, pages: 1 }) {
                    if addresses.start >> PAGE_SHIFT == accessed {
                        return bindings::vm_fault_reason_VM_FAULT_HWPOISON;
                    }
                    addresses.start += 1 << PAGE_SHIFT;
                    continue;
                }
                // SAFETY: By the type invariant the VMA is valid and maps page frames. The memory
                // may be mapped by the safety requirements.
                let result = unsafe { bindings::vmf_insert_pfn(self.vma(), addresses.start, pfn) };
                if result != bindings::vm_fault_reason_VM_FAULT_NOPAGE {
                    return result;
                }
                addresses.start += 1 << PAGE_SHIFT;
            }
            page += part.pages;
        }
        bindings::vm_fault_reason_VM_FAULT_NOPAGE
    }
}
