// SPDX-License-Identifier: GPL-2.0

//! What a buffer is made of.

use crate::decisions::segment::Segment;

/// How the CPU sees a buffer's memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Through its caches; importers and CPU access are kept coherent by cache maintenance.
    Cached,
    /// Past its caches, writes combined; there is no cache maintenance while the buffer lives.
    WriteCombined,
}

/// What the kernel knows of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backing {
    /// Each page has a `struct page`.
    Pages,
    /// There are page frames and nothing else. All of the memory is one segment.
    PfnOnly,
}

/// Memory that can back a buffer.
///
/// Dropping a value of the type gives the memory back.
///
/// # Safety
///
/// From its creation until it is dropped a value owns every page of every segment that
/// [`Memory::segments`] lists, and lists the same ones each time. Each page is known to the kernel
/// as [`Memory::backing`] says, was zeroed before anybody could see it, is ready to be seen as
/// [`Memory::caching`] says, and may be mapped anywhere while the value lives.
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
