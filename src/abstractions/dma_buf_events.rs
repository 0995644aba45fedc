// SPDX-License-Identifier: GPL-2.0

//! Every dma-buf of the system, whoever exported it: those that there are, and those that come and
//! go.
//!
//! The kernel lets nobody know by an interface of its own. What is used instead: its iterator over
//! all dma-bufs, which is not exported but can be found by name; its tracepoint `dma_buf_export`;
//! and a hook in the function that is called when the last reference to a dma-buf has gone.
//!
//! C headers: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h),
//! [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use crate::{
    abstractions::{
        dma_buf::{
            DmaBuf,
            Exported, //
        },
        function_hook::{
            EntryHandler,
            FunctionHook, //
        },
        kernel_symbol, //
    },
    bindings as c, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    mem::transmute,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::aref::ARef, //
};

/// The tracepoint, as the kernel names it.
const EXPORT: &CStr = c"dma_buf_export";

/// The function that is called when nobody refers to a dma-buf any more: its inode is still there,
/// but not for long.
const RELEASE: &CStr = c"dma_buf_file_release";

/// Who wants to know.
pub(crate) trait Observer: 'static {
    /// A dma-buf was exported. Must not sleep: the lock of its name is held.
    fn exported(new: Exported<'_>);

    /// Nobody refers to a dma-buf any more; its file is about to go. Must not sleep, nor take a
    /// lock that anybody holds who lets go of one.
    fn released(dma_buf: &DmaBuf);
}

/// Calls of an [`Observer`]. The fields are dropped in this order, so that whatever was announced
/// also ends.
pub(crate) struct Events<O: Observer> {
    _export: ExportProbe<O>,
    _release: Option<FunctionHook<Released<O>>>,
}

impl<O: Observer> Events<O> {
    /// From now on the observer is told of dma-bufs that come and, with `release`, of those that
    /// go. Of a dma-buf that goes it may not have been told before.
    ///
    /// May sleep. Fails with `ENOENT` where the kernel has no such tracepoint, and as
    /// [`FunctionHook::new`] does.
    pub(crate) fn observe(release: bool) -> Result<Self> {
        // First, so that nothing is announced whose end would be missed.
        let release = release.then(|| FunctionHook::new(RELEASE)).transpose()?;
        Ok(Self {
            _export: ExportProbe::new()?,
            _release: release,
        })
    }
}

/// The tracepoint calls the observer.
///
/// # Invariants
///
/// `tracepoint` is the kernel's [`EXPORT`], and [`exported`] is registered with it, for as long as
/// this value is there.
struct ExportProbe<O: Observer> {
    tracepoint: NonNull<bindings::tracepoint>,
    _observer: PhantomData<O>,
}

// SAFETY: The kernel's own locks protect a tracepoint.
unsafe impl<O: Observer> Send for ExportProbe<O> {}
// SAFETY: As above.
unsafe impl<O: Observer> Sync for ExportProbe<O> {}

impl<O: Observer> ExportProbe<O> {
    fn new() -> Result<Self> {
        let mut found: *mut bindings::tracepoint = ptr::null_mut();
        // SAFETY: The function is called with each tracepoint and with `found`, which is there
        // during the call.
        unsafe { c::for_each_kernel_tracepoint(Some(compare), (&raw mut found).cast()) };
        let tracepoint = NonNull::new(found).ok_or(ENOENT)?;
        // SAFETY: The tracepoint is the kernel's. It calls its functions with their data and the
        // dma-buf.
        to_result(unsafe {
            c::tracepoint_probe_register(
                tracepoint.as_ptr(),
                exported::<O> as *mut c_void,
                ptr::null_mut(),
            )
        })?;
        // INVARIANT: Registered just now.
        Ok(Self {
            tracepoint,
            _observer: PhantomData,
        })
    }
}

impl<O: Observer> Drop for ExportProbe<O> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant it is registered. The second call waits until nobody is
        // in the function.
        unsafe {
            c::tracepoint_probe_unregister(
                self.tracepoint.as_ptr(),
                exported::<O> as *mut c_void,
                ptr::null_mut(),
            );
            c::tracepoint_synchronize_unregister();
        }
    }
}

/// # Safety
///
/// For `for_each_kernel_tracepoint()`: `found` points to a pointer to a tracepoint.
unsafe extern "C" fn compare(tracepoint: *mut bindings::tracepoint, found: *mut c_void) {
    // SAFETY: The tracepoint is valid and has a name.
    if unsafe { CStr::from_char_ptr((*tracepoint).name) } == EXPORT {
        // SAFETY: As the caller promises.
        unsafe { *found.cast() = tracepoint };
    }
}

/// # Safety
///
/// For the tracepoint: the dma-buf was just exported, and the lock of its name is held.
unsafe extern "C" fn exported<O: Observer>(_: *mut c_void, dma_buf: *mut bindings::dma_buf) {
    // SAFETY: As the caller promises.
    O::exported(unsafe { Exported::from_raw(dma_buf) });
}

/// Tells the observer of dma-bufs that nobody refers to any more.
struct Released<O: Observer>(PhantomData<O>);

impl<O: Observer> EntryHandler for Released<O> {
    fn entered([_inode, file]: [usize; 2]) {
        let file = file as *mut bindings::file;
        // SAFETY: The function's second argument is a file, which is valid during the call.
        let dma_buf = unsafe { (*file).private_data };
        // A dma-buf that could not be exported leaves a file without one.
        if !dma_buf.is_null() {
            // SAFETY: The file's dma-buf, which is valid during the call.
            O::released(unsafe { DmaBuf::from_raw(dma_buf.cast()) });
        }
    }
}

/// The kernel's iterator.
///
/// # Invariants
///
/// `begin` is `dma_buf_iter_begin()` and `next` is `dma_buf_iter_next()`.
pub(crate) struct DmaBufIter {
    begin: unsafe extern "C" fn() -> *mut bindings::dma_buf,
    next: unsafe extern "C" fn(*mut bindings::dma_buf) -> *mut bindings::dma_buf,
}

impl DmaBufIter {
    /// Looks it up; `None` where the kernel does not have it. May sleep.
    pub(crate) fn find() -> Option<Self> {
        let begin = kernel_symbol::address(c"dma_buf_iter_begin")?;
        let next = kernel_symbol::address(c"dma_buf_iter_next")?;
        // INVARIANT: Found by their names. SAFETY: In every kernel that this is built for, the
        // functions of these names have these types.
        Some(unsafe {
            Self {
                begin: transmute::<NonNull<c_void>, unsafe extern "C" fn() -> *mut bindings::dma_buf>(
                    begin,
                ),
                next: transmute::<
                    NonNull<c_void>,
                    unsafe extern "C" fn(*mut bindings::dma_buf) -> *mut bindings::dma_buf,
                >(next),
            }
        })
    }

    /// Calls `f` with each dma-buf that is there, newest first, until it fails. Those that come
    /// meanwhile may be missing.
    ///
    /// May sleep, and so may `f`. Fails as `f` does.
    pub(crate) fn try_for_each(&self, mut f: impl FnMut(&DmaBuf) -> Result) -> Result {
        // SAFETY: By the type's invariant, the kernel's function.
        let mut raw = unsafe { (self.begin)() };
        while let Some(current) = NonNull::new(raw) {
            // SAFETY: The iterator returns a reference, which is dropped or handed back to it.
            let dma_buf: ARef<DmaBuf> = unsafe { ARef::from_raw(current.cast()) };
            f(&dma_buf)?;
            // SAFETY: By the type's invariant, the kernel's function, which takes the reference.
            raw = unsafe { (self.next)(ARef::into_raw(dma_buf).cast().as_ptr()) };
        }
        Ok(())
    }
}
