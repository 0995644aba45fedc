// SPDX-License-Identifier: GPL-2.0

//! Requests to contiguous memory areas, by all their users.
//!
//! The kernel announces each request by the tracepoint `cma_alloc_start`, before it searches the
//! area, and its end by `cma_alloc_finish`. Both are called by the requesting task, which holds no
//! lock of the area and may sleep.
//!
//! C header: [`include/trace/events/cma.h`](srctree/include/trace/events/cma.h)

use crate::{
    abstractions::{
        cma::Area,
        tracepoint::Probe, //
    },
    bindings as c, //
};
use core::{
    ffi::c_void,
    marker::PhantomData, //
};
use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_ulong, //
    },
    prelude::*,
    sync::Arc, //
};

/// The area of a request, identified by the address of its name, which is part of the area.
#[derive(Clone, Copy)]
pub(crate) struct RequestedArea(*const c_char);

impl RequestedArea {
    /// Returns `area` as a request names it.
    #[cfg(CONFIG_KUNIT)]
    pub(crate) fn of(area: Area) -> Self {
        Self(area.name().as_char_ptr())
    }

    /// Returns whether this is `area`.
    pub(crate) fn is(&self, area: Area) -> bool {
        area.name().as_char_ptr() == self.0
    }
}

/// The size of a request and of its area.
#[derive(Clone, Copy)]
pub(crate) struct RequestSize {
    /// The number of requested pages.
    pub(crate) pages: usize,
    /// The number of free pages of the area.
    pub(crate) available: usize,
    /// The number of pages of the area, in use or not.
    pub(crate) total: usize,
}

/// Receives events about requests. The functions are called by the requesting task, which may be
/// preempted and holds no spin lock.
///
/// They must not allocate memory, and must not wait for long: the kernel waits for them before any
/// function is unregistered from any tracepoint.
pub(crate) trait Observer: Send + Sync + 'static {
    /// The calling task requests pages of `area`, which is searched when this returns.
    fn started(&self, area: RequestedArea, size: RequestSize);

    /// The calling task's request to `area` has ended.
    fn finished(&self, area: RequestedArea);
}

/// Registration of an [`Observer`]. Dropping it unregisters the observer and may sleep.
///
/// The fields are dropped in this order, so no start is reported after the last end. The end of a
/// request that is served meanwhile is not reported.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     cma::Area,
///     cma_requests::{Observer, RequestSize, RequestedArea, Requests},
/// };
/// use kernel::sync::{atomic::{Atomic, Relaxed}, Arc};
///
/// struct Example {
///     started: Atomic<usize>,
///     finished: Atomic<usize>,
/// }
///
/// impl Observer for Example {
///     fn started(&self, area: RequestedArea, size: RequestSize) {
///         if Area::default().is_some_and(|default| area.is(default)) && size.pages == 11 {
///             self.started.fetch_add(1, Relaxed);
///         }
///     }
///
///     fn finished(&self, area: RequestedArea) {
///         if Area::default().is_some_and(|default| area.is(default)) {
///             self.finished.fetch_add(1, Relaxed);
///         }
///     }
/// }
///
/// let new = Example { started: Atomic::new(0), finished: Atomic::new(0) };
/// let example = Arc::new(new, GFP_KERNEL)?;
/// let requests = Requests::observe(example.clone())?;
/// if let Some(area) = Area::default() {
///     drop(area.allocate(11, 0));
///     assert_eq!(example.started.load(Relaxed), 1);
///     assert!(example.finished.load(Relaxed) >= 1);
///
///     drop(requests);
///     drop(area.allocate(11, 0));
///     assert_eq!(example.started.load(Relaxed), 1);
/// }
/// ```
#[must_use = "the observer is unregistered when this is dropped"]
pub(crate) struct Requests<O: Observer> {
    _start: Probe,
    _finish: Probe,
    /// Keeps what the data of both points to.
    _observer: Arc<O>,
}

impl<O: Observer> Requests<O> {
    /// Reports the requests of all tasks to `observer`. A request that runs meanwhile may be
    /// reported at its end only.
    ///
    /// May sleep. Fails with `ENOENT` if the kernel does not announce requests, and with `ENOMEM`.
    pub(crate) fn observe(observer: Arc<O>) -> Result<Self> {
        let data = Arc::as_ptr(&observer).cast_mut().cast();
        // SAFETY: The calls have no requirements.
        let (start, finish) = unsafe {
            (
                c::cma_alloc_start_probe(Some(Events::<O>::started)),
                c::cma_alloc_finish_probe(Some(Events::<O>::finished)),
            )
        };
        // SAFETY: The function is of the tracepoint's type. The observer that the data points to is
        // dropped after the probe.
        let finish = unsafe { Probe::register(c"cma_alloc_finish", finish, data) }?;
        // SAFETY: As above.
        let start = unsafe { Probe::register(c"cma_alloc_start", start, data) }?;
        Ok(Self {
            _start: start,
            _finish: finish,
            _observer: observer,
        })
    }
}

/// The functions that the tracepoints call.
struct Events<O: Observer>(PhantomData<O>);

impl<O: Observer> Events<O> {
    /// # Safety
    ///
    /// `observer` must point to an `O`, and the other arguments must be those of the tracepoint.
    unsafe extern "C" fn started(
        observer: *mut c_void,
        name: *const c_char,
        pages: c_ulong,
        available: c_ulong,
        total: c_ulong,
        _align: c_uint,
    ) {
        let size = RequestSize {
            pages,
            available,
            total,
        };
        // SAFETY: By the safety requirements.
        unsafe { &*observer.cast::<O>() }.started(RequestedArea(name), size);
    }

    /// # Safety
    ///
    /// As for [`Events::started`].
    unsafe extern "C" fn finished(
        observer: *mut c_void,
        name: *const c_char,
        _pfn: c_ulong,
        _page: *const bindings::page,
        _pages: c_ulong,
        _align: c_uint,
        _errno: c_int,
    ) {
        // SAFETY: By the safety requirements.
        unsafe { &*observer.cast::<O>() }.finished(RequestedArea(name));
    }
}
