// SPDX-License-Identifier: GPL-2.0

//! Validation of requests for buffers.

use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*, //
};

/// A validated request for a buffer.
///
/// # Examples
///
/// ```
/// use crate::decisions::request::Request;
/// use kernel::page::PAGE_SIZE;
///
/// assert_eq!(Request::new(1, 0, 0)?.size(), PAGE_SIZE);
/// assert_eq!(Request::new(1, 0, 1), Err(EINVAL));
/// ```
///
/// # Invariants
///
/// `size` is a multiple of the page size and not 0. `flags` contains file flags that dma-bufs
/// support only, and `heap_flags` [`UNCACHED`] at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    size: usize,
    flags: u32,
    heap_flags: u32,
}

/// The heap flag of `/dev/rk_dma_heap` for write-combined buffers: `RK_DMA_HEAP_UNCACHED`.
pub(crate) const UNCACHED: u32 = 1;

impl Request {
    /// Validates the arguments and rounds `size`, in bytes, up to whole pages.
    ///
    /// `fd_flags` may contain `O_CLOEXEC` and an access mode. `heap_flags` must be 0: the heaps of
    /// `/dev/dma_heap` have none.
    ///
    /// Fails with `EINVAL` if the size is 0 or overflows when it is rounded, and if a flag is
    /// unknown. Fails with `ENOMEM` if the size exceeds the address space of a 32-bit kernel.
    pub(crate) fn new(size: u64, fd_flags: u32, heap_flags: u64) -> Result<Self> {
        if heap_flags != 0 {
            return Err(EINVAL);
        }
        Self::new_rockchip(size, fd_flags, 0)
    }

    /// Validates the arguments as [`Request::new`] does, for a heap of `/dev/rk_dma_heap`:
    /// `heap_flags` may contain [`UNCACHED`].
    pub(crate) fn new_rockchip(size: u64, fd_flags: u32, heap_flags: u64) -> Result<Self> {
        if fd_flags & !(bindings::O_CLOEXEC | bindings::O_ACCMODE) != 0
            || heap_flags & !u64::from(UNCACHED) != 0
        {
            return Err(EINVAL);
        }
        let size = size
            .checked_next_multiple_of(PAGE_SIZE as u64)
            .ok_or(EINVAL)?;
        if size == 0 {
            return Err(EINVAL);
        }
        // INVARIANT: The size was rounded and is not 0, and the flags were checked above.
        Ok(Self {
            size: usize::try_from(size).map_err(|_| ENOMEM)?,
            flags: fd_flags,
            heap_flags: heap_flags as u32,
        })
    }

    /// Returns the size in bytes: whole pages, not 0.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Returns the flags of the file and its descriptor.
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    /// Returns the flags for the heap.
    pub(crate) fn heap_flags(&self) -> u32 {
        self.heap_flags
    }

    /// Returns whether the buffer is to be write-combined, whatever the heap's other buffers are.
    pub(crate) fn is_uncached(&self) -> bool {
        self.heap_flags & UNCACHED != 0
    }
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_request)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_SIZE as u64;

    #[test]
    fn sizes_are_rounded_up_to_pages() {
        for (size, rounded) in [
            (1, PAGE_SIZE),
            (PAGE - 1, PAGE_SIZE),
            (PAGE, PAGE_SIZE),
            (PAGE + 1, 2 * PAGE_SIZE),
        ] {
            assert_eq!(
                Request::new(size, 0, 0).map(|request| request.size()),
                Ok(rounded)
            );
        }
    }

    #[test]
    fn no_size_and_sizes_that_wrap_are_refused() {
        assert_eq!(Request::new(0, 0, 0), Err(EINVAL));
        assert_eq!(Request::new(u64::MAX, 0, 0), Err(EINVAL));
        assert_eq!(Request::new(u64::MAX - PAGE + 2, 0, 0), Err(EINVAL));
        let largest = Request::new(u64::MAX - PAGE + 1, 0, 0);
        assert!(largest.is_ok() == (usize::BITS == 64));
        assert!(largest.is_ok() || largest == Err(ENOMEM));
    }

    #[test]
    fn each_flag_that_is_not_known_is_refused() {
        let known = bindings::O_CLOEXEC | bindings::O_ACCMODE;
        for bit in 0..u32::BITS {
            let flag = 1 << bit;
            let request = Request::new(PAGE, flag, 0);
            assert_eq!(request.is_ok(), flag & known != 0);
            match request {
                Ok(request) => assert_eq!(request.flags(), flag),
                Err(error) => assert_eq!(error, EINVAL),
            }
        }
        for bit in 0..u64::BITS {
            assert_eq!(Request::new(PAGE, 0, 1 << bit), Err(EINVAL));
            let rockchip = Request::new_rockchip(PAGE, 0, 1 << bit);
            assert_eq!(
                rockchip.map(|request| request.is_uncached()),
                if bit == 0 { Ok(true) } else { Err(EINVAL) }
            );
        }
        let plain = Request::new_rockchip(PAGE, 0, 0);
        assert_eq!(plain.map(|request| request.is_uncached()), Ok(false));
    }
}
