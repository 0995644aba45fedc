// SPDX-License-Identifier: GPL-2.0

//! The memory of a buffer.

use crate::decisions::segment::Segment;

/// The memory attributes of CPU mappings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Mappings are cached. Cache maintenance keeps devices and CPU coherent.
    Cached,
    /// Mappings are write-combined. The buffer needs no cache maintenance while it exists.
    WriteCombined,
}

/// The representation of memory in the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Each page has a `struct page`.
    Pages,
    /// The page frames have no `struct page`. All of the memory is one segment.
    PfnOnly,
}

/// Memory that can back a buffer.
///
/// Dropping a value frees the memory.
///
/// # Safety
///
/// From its creation until it is dropped, a value must own each page of each segment that
/// [`Memory::segments`] lists. All calls must list the same segments, and so must each clone of the
/// iterator. [`Memory::chunks`] must return the number of their chunks. Each page must
///
/// - be represented in the kernel as [`Memory::backing`] returns,
/// - have been zeroed before anything else could read it,
/// - be prepared for mappings as [`Memory::caching`] returns,
/// - be free to be mapped by the kernel, processes and devices until the value is dropped.
///
/// # Examples
///
/// ```
/// use crate::abstractions::pages::{PageRun, Reclaim, Zone};
/// use crate::decisions::memory::{Backing, Caching, Memory};
/// use crate::decisions::segment::Segment;
///
/// struct Run(PageRun);
///
/// // SAFETY: The run owns its pages, which are zeroed and need no preparation for cached access.
/// unsafe impl Memory for Run {
///     type Segments<'a> = core::option::IntoIter<Segment>;
///
///     fn segments(&self) -> Self::Segments<'_> {
///         Some(self.0.segment()).into_iter()
///     }
///
///     fn pages(&self) -> usize {
///         self.0.pages()
///     }
///
///     fn caching(&self) -> Caching {
///         Caching::Cached
///     }
/// }
///
/// let run = Run(PageRun::allocate(1, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?);
/// assert_eq!(run.segments().map(|segment| segment.pages).sum::<usize>(), run.pages());
/// assert!(run.backing() == Backing::Pages);
/// ```
pub(crate) unsafe trait Memory: Send + Sync + 'static {
    /// The iterator that [`Memory::segments`] returns.
    type Segments<'a>: Iterator<Item = Segment> + Clone;

    /// Returns the segments in buffer order.
    fn segments(&self) -> Self::Segments<'_>;

    /// Returns the size in pages, which is the sum over all segments.
    fn pages(&self) -> usize;

    /// Returns the number of [chunks](Segment::chunks) of all segments. `max_pages` is not 0.
    fn chunks(&self, max_pages: usize) -> usize {
        self.segments()
            .map(|segment| segment.pages.div_ceil(max_pages.max(1)))
            .sum()
    }

    /// Returns the memory attributes of all CPU mappings. The value never changes.
    fn caching(&self) -> Caching;

    /// Returns the representation of the memory in the kernel. The value never changes.
    fn backing(&self) -> Backing {
        Backing::Pages
    }

    /// Returns whether the memory is RAM that a contiguous heap has taken because its area has no
    /// place. The value never changes.
    fn is_beyond_area(&self) -> bool {
        false
    }
}
