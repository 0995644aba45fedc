// SPDX-License-Identifier: GPL-2.0

//! Pages whose memory has failed.
//!
//! When hardware reports an error that it cannot correct, the kernel marks the page. A page that a
//! driver has allocated stays as it is otherwise: mapped, and allocated. The kernel tells a process
//! that accesses it, and relies on the driver not to use the page again.
//!
//! The page allocator drops a marked page when that is freed as a single one. One that is freed as
//! part of a larger block goes back to others, so such a block must not be freed.
//!
//! Marks are looked for only after the kernel has announced a failure, by the tracepoint
//! `memory_failure_event`. Until then each question costs a load.
//!
//! C headers: [`include/linux/page-flags.h`](srctree/include/linux/page-flags.h),
//! [`include/trace/events/memory-failure.h`](srctree/include/trace/events/memory-failure.h)

use crate::{
    abstractions::tracepoint::Probe,
    bindings as c,
    decisions::segment::Segment, //
};
use core::{
    ffi::c_void,
    ptr, //
};
use kernel::{
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Whether the kernel has announced a failure since [`Watch::start`].
static ANNOUNCED: Atomic<bool> = Atomic::new(false);

/// Lets [`has_failed`] look at pages from the first failure on, as long as this exists.
///
/// # Examples
///
/// ```
/// use crate::abstractions::memory_failure::{self, Watch};
/// use crate::abstractions::pages::{PageRun, Reclaim, Zone};
///
/// // The module has one of its own.
/// let watch = Watch::start()?;
/// let run = PageRun::allocate(2, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?;
/// assert_eq!(memory_failure::intact_pages(run.segment()), 4);
/// assert!(!memory_failure::has_failed(run.segment()));
/// drop(watch);
/// ```
#[must_use = "failures are not noticed any more when this is dropped"]
pub(crate) struct Watch {
    _probe: Option<Probe>,
}

impl Watch {
    /// Begins to watch. A kernel that does not handle failures of memory announces none.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn start() -> Result<Self> {
        // SAFETY: The call has no requirements.
        let announced = unsafe { c::memory_failure_event_probe(Some(announced)) };
        // Each watch needs data of its own. The function does not use it.
        let data = ptr::without_provenance_mut(WATCHES.fetch_add(1, Relaxed));
        // SAFETY: The function is of the tracepoint's type, and accesses nothing but a static.
        match unsafe { Probe::register(c"memory_failure_event", announced, data) } {
            Ok(probe) => Ok(Self {
                _probe: Some(probe),
            }),
            Err(error) if error == ENOENT => Ok(Self { _probe: None }),
            Err(error) => Err(error),
        }
    }
}

/// The number of watches ever started.
static WATCHES: Atomic<usize> = Atomic::new(1);

/// Called when the kernel has marked a page.
///
/// # Safety
///
/// There are no requirements. Tracepoints call functions of this type.
unsafe extern "C" fn announced(_data: *mut c_void, _pfn: c_ulong, _kind: c_int, _result: c_int) {
    ANNOUNCED.store(true, Relaxed);
}

/// Returns whether memory of one of the pages has failed. Does not sleep.
///
/// Looks at each page, but only after a failure anywhere.
#[inline]
pub(crate) fn has_failed(pages: Segment) -> bool {
    is_possible() && intact_pages(pages) < pages.pages
}

/// Returns whether memory may have failed while a [`Watch`] existed. Does not sleep.
#[inline]
pub(crate) fn is_possible() -> bool {
    ANNOUNCED.load(Relaxed)
}

/// Returns the number of pages before the first one whose memory has failed, ever. Does not sleep.
///
/// Page frames that the kernel has no `struct page` for are never marked.
#[cold]
pub(crate) fn intact_pages(pages: Segment) -> usize {
    // SAFETY: The function accepts any page frame number.
    unsafe { c::intact_pages(pages.pfn, pages.pages) }
}
