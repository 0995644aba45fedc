// SPDX-License-Identifier: GPL-2.0

//! A first-fit allocator for the pages of a range.
//!
//! The maple tree inside has a lock of its own.

use kernel::{
    maple_tree::{
        InsertErrorKind,
        MapleTreeAlloc, //
    },
    prelude::*, //
};

/// Allocates pages of a range, by their index.
///
/// # Examples
///
/// ```
/// use crate::range_allocator::RangeAllocator;
///
/// let allocator = KBox::pin_init(RangeAllocator::new(10), GFP_KERNEL)?;
/// assert_eq!(allocator.alloc(4)?, 0);
/// assert_eq!(allocator.alloc(4)?, 4);
/// allocator.free(0);
/// assert_eq!(allocator.alloc(3)?, 0);
/// assert!(allocator.exclude(9)? && !allocator.exclude(7)?);
/// assert_eq!(allocator.alloc(2), Err(ENOMEM));
/// assert_eq!(allocator.alloc(1)?, 3);
/// assert_eq!(allocator.alloc(3), Err(ENOMEM));
/// ```
///
/// # Invariants
///
/// `used` has an entry for exactly the pages that are allocated.
#[pin_data]
pub(crate) struct RangeAllocator {
    pages: usize,
    #[pin]
    used: MapleTreeAlloc<KBox<usize>>,
}

// SAFETY: The tree has a lock of its own, and its values may be dropped by any thread.
unsafe impl Send for RangeAllocator {}
// SAFETY: As above.
unsafe impl Sync for RangeAllocator {}

impl RangeAllocator {
    /// Creates an allocator for a range of `pages` pages, all free.
    pub(crate) fn new(pages: usize) -> impl PinInit<Self> {
        // INVARIANT: Nothing is allocated yet.
        pin_init!(Self { pages, used <- MapleTreeAlloc::new() })
    }

    /// Allocates `pages` contiguous pages, not 0, at the lowest index where they fit, and returns
    /// the index of the first.
    ///
    /// May sleep. Fails with `ENOMEM` if they do not fit, or if the tree cannot allocate a node.
    pub(crate) fn alloc(&self, pages: usize) -> Result<usize> {
        // The tree needs an entry per allocation; its value is not used.
        let token = KBox::new(pages, GFP_KERNEL)?;
        self.used
            .alloc_range(pages, token, ..self.pages, GFP_KERNEL)
            .map_err(|_| ENOMEM)
    }

    /// Excludes the page at `index` from all allocations to come. Returns false, and does nothing,
    /// if it is allocated.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn exclude(&self, index: usize) -> Result<bool> {
        let token = KBox::new(1, GFP_KERNEL)?;
        let result = self.used.insert_range(index..=index, token, GFP_KERNEL);
        match result.map_err(|error| error.cause) {
            Ok(()) => Ok(true),
            Err(InsertErrorKind::Occupied) => Ok(false),
            Err(_) => Err(ENOMEM),
        }
    }

    /// Frees the allocation that begins at index `first`.
    pub(crate) fn free(&self, first: usize) {
        self.used.erase(first);
    }
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_range_allocator)]
mod tests {
    use super::*;

    const PAGES: usize = 97;
    const ROUNDS: usize = 4000;

    /// First fit by linear search, as a reference.
    fn lowest(used: &[bool; PAGES], pages: usize) -> Option<usize> {
        (0..=PAGES.checked_sub(pages)?)
            .find(|first| used.iter().skip(*first).take(pages).all(|used| !used))
    }

    fn mark(used: &mut [bool; PAGES], first: usize, pages: usize, as_used: bool) {
        for page in used.iter_mut().skip(first).take(pages) {
            *page = as_used;
        }
    }

    /// Returns the next number of a linear congruential generator.
    fn random(state: &mut u32) -> usize {
        *state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (*state >> 16) as usize
    }

    #[test]
    fn lowest_place_where_it_fits() -> Result {
        let allocator = KBox::pin_init(RangeAllocator::new(PAGES), GFP_KERNEL)?;
        let mut used = [false; PAGES];
        let mut taken: KVec<(usize, usize)> = KVec::new();
        let mut state = 1;
        for _ in 0..ROUNDS {
            if random(&mut state) % 2 == 0 && !taken.is_empty() {
                let which = random(&mut state) % taken.len();
                let (first, pages) = taken.remove(which).map_err(|_| EINVAL)?;
                allocator.free(first);
                mark(&mut used, first, pages, false);
            } else {
                let pages = 1 + random(&mut state) % 12;
                let first = allocator.alloc(pages).ok();
                assert_eq!(first, lowest(&used, pages));
                if let Some(first) = first {
                    mark(&mut used, first, pages, true);
                    taken.push((first, pages), GFP_KERNEL)?;
                }
            }
        }
        Ok(())
    }

    #[test]
    fn whole_range_and_no_more() -> Result {
        let allocator = KBox::pin_init(RangeAllocator::new(PAGES), GFP_KERNEL)?;
        assert_eq!(allocator.alloc(PAGES + 1), Err(ENOMEM));
        assert_eq!(allocator.alloc(usize::MAX), Err(ENOMEM));
        assert_eq!(allocator.alloc(PAGES), Ok(0));
        assert_eq!(allocator.alloc(1), Err(ENOMEM));
        allocator.free(0);
        assert_eq!(allocator.alloc(1), Ok(0));
        Ok(())
    }
}
