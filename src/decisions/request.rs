// SPDX-License-Identifier: GPL-2.0

//! A request for a buffer, checked once.

use kernel::{
    bindings,
    page::PAGE_SIZE,
    prelude::*, //
};

/// A request for a buffer, checked.
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
/// `size` is a whole number of pages and not 0; `flags` are a dma-buf's file flags and nothing
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    size: usize,
    flags: u32,
}

impl Request {
    /// Checks what came from outside: `size` in bytes is rounded up to whole pages.
    ///
    /// Fails with `EINVAL` where the size is 0 or wraps when it is rounded, and where a flag is not
    /// known: `fd_flags` may be `O_CLOEXEC` and an access mode, `heap_flags` must be 0. Fails with
    /// `ENOMEM` where a 32-bit kernel could not even count the bytes.
    pub(crate) fn new(size: u64, fd_flags: u32, heap_flags: u64) -> Result<Self> {
        if fd_flags & !(bindings::O_CLOEXEC | bindings::O_ACCMODE) != 0 || heap_flags != 0 {
            return Err(EINVAL);
        }
        let size = size
            .checked_next_multiple_of(PAGE_SIZE as u64)
            .ok_or(EINVAL)?;
        if size == 0 {
            return Err(EINVAL);
        }
        // INVARIANT: Rounded, not 0, and the flags were checked above.
        Ok(Self {
            size: usize::try_from(size).map_err(|_| ENOMEM)?,
            flags: fd_flags,
        })
    }

    /// The size in bytes: whole pages, not 0.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The flags for the file and its descriptor.
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_request)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_SIZE as u64;

    #[test]
    fn sizes_are_rounded_up_to_pages() {
        for (asked, given) in [
            (1, PAGE_SIZE),
            (PAGE - 1, PAGE_SIZE),
            (PAGE, PAGE_SIZE),
            (PAGE + 1, 2 * PAGE_SIZE),
        ] {
            assert_eq!(
                Request::new(asked, 0, 0).map(|request| request.size()),
                Ok(given)
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
            assert!(request.map_or_else(|error| error == EINVAL, |request| request.flags() == flag));
        }
        for bit in 0..u64::BITS {
            assert_eq!(Request::new(PAGE, 0, 1 << bit), Err(EINVAL));
        }
    }
}
