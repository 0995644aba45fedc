// SPDX-License-Identifier: GPL-2.0

//! What a buffer is made of.

use core::iter;
use kernel::{bindings, page::PAGE_SHIFT};

/// How the CPU sees a buffer's memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Through its caches; importers and CPU access are kept coherent by cache maintenance.
    Cached,
    /// Past its caches, writes combined; there is no cache maintenance while the buffer lives.
    WriteCombined,
}

/// A physically contiguous range of page frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number of the first page frame.
    pub(crate) frame: usize,
    /// The number of pages.
    pub(crate) pages: usize,
}

impl Segment {
    /// The physical address of the first byte.
    #[inline]
    pub(crate) fn address(&self) -> u64 {
        (self.frame as u64) << PAGE_SHIFT
    }

    /// The size in bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.pages << PAGE_SHIFT
    }

    /// The segment without its first `pages` pages; `None` where nothing is left.
    #[inline]
    pub(crate) fn skip(&self, pages: usize) -> Option<Self> {
        let left = self.pages.checked_sub(pages)?;
        (left > 0).then_some(Self {
            frame: self.frame + pages,
            pages: left,
        })
    }

    /// The segment cut to at most `pages` pages.
    #[inline]
    pub(crate) fn truncate(&self, pages: usize) -> Self {
        Self {
            frame: self.frame,
            pages: self.pages.min(pages),
        }
    }

    /// The segment in parts of at most `PAGES` pages, in order.
    #[inline]
    pub(crate) fn parts<const PAGES: usize>(self) -> impl Iterator<Item = Self> {
        const { assert!(PAGES > 0) };
        let mut rest = Some(self);
        iter::from_fn(move || {
            let left = rest?;
            let part = left.truncate(PAGES);
            rest = left.skip(part.pages);
            Some(part)
        })
    }
}

/// A physical address as C has it: 32 bits wide on some machines.
#[allow(clippy::useless_conversion)] // on the others
pub(crate) fn physical(address: bindings::phys_addr_t) -> u64 {
    address.into()
}

/// What the kernel knows of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Each page has a `struct page`.
    Pages,
    /// There are page frames and nothing else. All of the memory is one segment.
    Frames,
}

/// Memory that can back a buffer.
///
/// Dropping a value of the type gives the memory back.
///
/// # Safety
///
/// From its creation until it is dropped a value owns every page of every segment that [`Memory::segments`] lists, and
/// lists the same ones each time. Each page is known to the kernel as [`Memory::backing`] says, was zeroed before anybody could see it, is
/// ready to be seen as [`Memory::caching`] says, and may be mapped anywhere while the value lives.
pub(crate) unsafe trait Memory: Send + Sync + 'static {
    /// The iterator that [`Memory::segments`] returns.
    type Segments<'a>: Iterator<Item = Segment> + Clone;

    /// The segments, in the order in which they make up the buffer.
    fn segments(&self) -> Self::Segments<'_>;

    /// The size in pages: the sum over the segments.
    fn pages(&self) -> usize;

    /// How the CPU sees the memory, in every mapping. Never changes.
    fn caching(&self) -> Caching;

    /// What the kernel knows of the memory. Never changes.
    fn backing(&self) -> Backing {
        Backing::Pages
    }
}
