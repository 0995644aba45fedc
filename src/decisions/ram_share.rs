// SPDX-License-Identifier: GPL-2.0

//! Limits for buffers and pools as shares of the RAM.

use kernel::page::PAGE_SHIFT;

/// Returns `percent` percent of `pages`, rounded down.
///
/// # Examples
///
/// ```
/// use crate::decisions::ram_share::share;
///
/// assert_eq!(share(1001, 50), 500);
/// ```
pub(crate) fn share(pages: usize, percent: u8) -> usize {
    let percent = usize::from(percent);
    // The division is first, so that the multiplication cannot overflow.
    pages / 100 * percent + pages % 100 * percent / 100
}

/// Returns the limit for prepared pages in page pools: `percent` percent of `ram` pages, but at
/// most `mib` MiB.
///
/// # Examples
///
/// ```
/// use crate::decisions::ram_share::pool_pages;
/// use kernel::page::PAGE_SIZE;
///
/// let pages_per_mib = (1 << 20) / PAGE_SIZE;
/// assert_eq!(pool_pages(1000 * pages_per_mib, 10, 64), 64 * pages_per_mib);
/// ```
pub(crate) fn pool_pages(ram: usize, percent: u8, mib: u32) -> usize {
    share(ram, percent).min(pages_of_mib(mib))
}

/// Returns the number of pages of `mib` MiB. What no number can hold is the largest one.
pub(crate) fn pages_of_mib(mib: u32) -> usize {
    (mib as usize).saturating_mul(1 << (20 - PAGE_SHIFT))
}

/// Returns how many whole MiB `pages` pages are.
pub(crate) fn mib_of_pages(pages: usize) -> usize {
    pages >> (20 - PAGE_SHIFT)
}

#[cfg(CONFIG_KUNIT)]
#[kernel::prelude::kunit_tests(rk_dma_heap_ram_share)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_down_and_never_wrap() {
        assert_eq!(share(0, 100), 0);
        assert_eq!(share(1, 99), 0);
        assert_eq!(share(199, 50), 99);
        assert_eq!(share(200, 50), 100);
        assert_eq!(share(usize::MAX, 100), usize::MAX);
        assert_eq!(share(usize::MAX, 0), 0);
    }

    #[test]
    fn pools_keep_to_the_lower_bound() {
        let mib = 1 << (20 - PAGE_SHIFT);
        assert_eq!(pool_pages(1000 * mib, 10, 1024), 100 * mib);
        assert_eq!(pool_pages(1000 * mib, 10, 50), 50 * mib);
        assert_eq!(pool_pages(1000 * mib, 0, 50), 0);
        assert_eq!(pool_pages(1000 * mib, 100, 0), 0);
        assert_eq!(
            pool_pages(usize::MAX, 100, u32::MAX),
            (u32::MAX as usize).saturating_mul(mib)
        );
    }
}
