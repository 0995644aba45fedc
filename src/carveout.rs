// SPDX-License-Identifier: GPL-2.0

//! Carveouts: reserved regions with `no-map`.
//!
//! The kernel has no usable `struct page` for such a region and does not map it, so all mappings of
//! it are write-combined. No cache has lines of it, so devices that snoop may access it too.
//! Importers get device addresses only: one that needs pages cannot use it.

use crate::{
    abstractions::{
        kernel_mapping::KernelMapping,
        memory_failure,
        signal, //
    },
    decisions::{
        memory::{
            Backing,
            Caching,
            Memory, //
        },
        segment::{
            Extent,
            Segment, //
        }, //
    },
    range_allocator::RangeAllocator, //
};
use core::iter;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The number of pages that are mapped at a time to zero them, which bounds the kernel address
/// space used: 1 MiB with 4 KiB pages.
const ZERO_BATCH: usize = 256;

/// A region, and an allocator for its pages.
///
/// # Invariants
///
/// Only this value allocates and maps the region's pages. The indices that are in use in
/// `allocator` are those of the pages that a [`CarveoutPages`] owns, counted from the region's
/// start, and of some whose memory has failed.
#[pin_data]
pub(crate) struct Carveout {
    whole: Segment,
    #[pin]
    allocator: RangeAllocator,
}

impl Carveout {
    /// Creates a carveout of the whole pages of `region`.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINVAL` if the region does not contain a whole
    /// page.
    ///
    /// # Safety
    ///
    /// The region must be reserved memory that the kernel does not use, with memory behind all of
    /// it. The caller must own it and not use it afterwards.
    pub(crate) unsafe fn new(region: Extent) -> Result<Arc<Self>> {
        let whole = region.whole_pages()?;
        // INVARIANT: The caller passes ownership of the region, and nothing is allocated yet.
        let this = Arc::pin_init(
            pin_init!(Self { whole, allocator <- RangeAllocator::new(whole.pages) }),
            GFP_KERNEL,
        )?;
        this.exclude_failed(whole)?;
        Ok(this)
    }

    /// Excludes the free pages of `part` whose memory has failed. May sleep. Fails with `ENOMEM`.
    fn exclude_failed(&self, part: Segment) -> Result {
        let mut rest = Some(part);
        while let Some(part) = rest {
            let intact = memory_failure::intact_pages(part);
            if intact < part.pages {
                // Who has allocated it just now finds it too.
                self.allocator.exclude(part.pfn - self.whole.pfn + intact)?;
            }
            rest = part.skip(intact + 1);
        }
        Ok(())
    }

    /// Returns the size in pages.
    pub(crate) fn pages(&self) -> usize {
        self.whole.pages
    }

    /// Allocates `pages` contiguous, zeroed pages at the lowest address where they fit.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINTR` on a fatal signal.
    pub(crate) fn allocate(self: &Arc<Self>, pages: usize) -> Result<CarveoutPages> {
        loop {
            let first = self.allocator.alloc(pages)?;
            let segment = Segment {
                pfn: self.whole.pfn + first,
                pages,
            };
            // INVARIANT: `allocator` has just allocated the pages to this value.
            let this = CarveoutPages {
                carveout: self.clone(),
                segment,
            };
            if !memory_failure::has_failed(segment) {
                this.zero()?;
                return Ok(this);
            }
            drop(this);
            self.exclude_failed(segment)?;
            if signal::fatal_pending() {
                return Err(EINTR);
            }
        }
    }
}

/// Pages of a carveout, which are freed when this is dropped.
///
/// # Invariants
///
/// `carveout` has allocated `segment` to this value.
#[must_use = "the pages are freed when this is dropped"]
pub(crate) struct CarveoutPages {
    carveout: Arc<Carveout>,
    segment: Segment,
}

impl CarveoutPages {
    fn zero(&self) -> Result {
        for part in self.segment.chunks(ZERO_BATCH) {
            if signal::fatal_pending() {
                return Err(EINTR);
            }
            // SAFETY: By the type's invariant this value owns the pages, and they are not mapped
            // elsewhere yet.
            unsafe { KernelMapping::map_pfns(part)?.zero(part.bytes()) };
        }
        Ok(())
    }
}

// SAFETY: The value owns its pages, they do not change, and `Carveout::allocate()` zeroed them
// through a write-combined mapping. There is no cached mapping.
unsafe impl Memory for CarveoutPages {
    type Segments<'a> = iter::Once<Segment>;

    fn segments(&self) -> Self::Segments<'_> {
        iter::once(self.segment)
    }

    fn pages(&self) -> usize {
        self.segment.pages
    }

    fn caching(&self) -> Caching {
        Caching::WriteCombined
    }

    fn backing(&self) -> Backing {
        Backing::PfnOnly
    }
}

impl Drop for CarveoutPages {
    fn drop(&mut self) {
        // INVARIANT: This value does not own the pages any more.
        self.carveout
            .allocator
            .free(self.segment.pfn - self.carveout.whole.pfn);
    }
}
