// SPDX-License-Identifier: GPL-2.0

//! Carveouts: regions that the kernel keeps out of. It has no `struct page` for them that could be
//! used, and does not map them, so they are only ever seen through write-combined mappings.

use crate::{
    abstractions::{
        kernel_mapping::KernelMapping,
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

/// Pages that are zeroed at a time: 1 MiB, with 4 KiB pages. So much of the kernel's address space
/// is needed for it.
const ZERO_STEP: usize = 256;

/// A region, and which of its pages are in use.
///
/// # Invariants
///
/// Nobody but this value hands out or maps the region's pages. Those that `allocator` has in use
/// are those that were handed out and did not come back, by their index in the region.
#[pin_data]
pub(crate) struct Carveout {
    whole: Segment,
    #[pin]
    allocator: RangeAllocator,
}

impl Carveout {
    /// Takes a region; what is not a whole page at its ends is left out.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINVAL` where there is not a single page.
    ///
    /// # Safety
    ///
    /// The region must be memory that the kernel has been told to keep out of, and the caller's to
    /// give away for good.
    pub(crate) unsafe fn new(region: Extent) -> Result<Arc<Self>> {
        let whole = region.whole_pages()?;
        // INVARIANT: The region is the caller's to give away, and nothing is handed out yet.
        Arc::pin_init(
            pin_init!(Self { whole, allocator <- RangeAllocator::new(whole.pages) }),
            GFP_KERNEL,
        )
    }

    /// The size in pages.
    pub(crate) fn pages(&self) -> usize {
        self.whole.pages
    }

    /// Allocates `pages` pages, at the lowest address where they fit, filled with zeros.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINTR` where a fatal signal came first.
    pub(crate) fn allocate(self: &Arc<Self>, pages: usize) -> Result<CarveoutPages> {
        let first = self.allocator.alloc(pages)?;
        // INVARIANT: The pages were just entered, and are handed out here.
        let segment = Segment {
            pfn: self.whole.pfn + first,
            pages,
        };
        let this = CarveoutPages {
            carveout: self.clone(),
            segment,
        };
        this.zero()?;
        Ok(this)
    }
}

/// Pages of a carveout, which go back there.
///
/// # Invariants
///
/// `segment` was handed out by `carveout`, to this value.
pub(crate) struct CarveoutPages {
    carveout: Arc<Carveout>,
    segment: Segment,
}

impl CarveoutPages {
    fn zero(&self) -> Result {
        for part in self.segment.parts(ZERO_STEP) {
            if signal::fatal_pending() {
                return Err(EINTR);
            }
            // SAFETY: The pages are memory that was handed out to this value, and nobody else has
            // seen them yet.
            unsafe { KernelMapping::of_pfns(part)?.fill_with_zeros(part.bytes()) };
        }
        Ok(())
    }
}

// SAFETY: The pages are owned, do not change, and were zeroed through a write-combined mapping.
// There is no cached mapping.
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
        // INVARIANT: The pages come back.
        self.carveout
            .allocator
            .free(self.segment.pfn - self.carveout.whole.pfn);
    }
}
