// SPDX-License-Identifier: GPL-2.0

//! Export and release events of all dma-bufs of the system, and iteration over the existing ones.
//!
//! The kernel has no interface for modules that reports these events. This module uses:
//!
//! - for exports, the tracepoint `dma_buf_export`,
//! - for releases, a hook of the dentry operation that is called when nothing refers to a dma-buf
//!   any more, neither by its file nor by a path, before its exporter frees the memory,
//! - for existing dma-bufs, the kernel's iterator, which is not exported and is found by name.
//!
//! [`Observer::exported`] is called with the name lock of the dma-buf held.
//!
//! Releases may be missed: an administrator can disarm all kprobes, or set `kernel.ftrace_enabled`
//! to 0 on kernels that allow it with a permanent callback, and with several callbacks at the
//! function the core drops calls that seem to recurse. So observers must not rely on a release for
//! the validity of memory.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)

use crate::{
    abstractions::{
        dma_buf::{
            DmaBuf,
            Exported,
            UncountedDmaBuf, //
        },
        function_hook::{
            EntryHandler,
            FunctionHook, //
        },
        kernel_symbol,
        tracepoint::Probe, //
    },
    bindings as c, //
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::aref::ARef, //
};

/// Receives events about dma-bufs.
pub(crate) trait Observer: 'static {
    /// A dma-buf was exported. Must not sleep, as the name lock is held. It may acquire spin locks,
    /// and allocate memory with `GFP_ATOMIC`.
    fn exported(new: Exported<'_>);

    /// Nothing refers to the dma-buf any more, and its exporter is about to release it. Its file
    /// and its inode may have been freed.
    ///
    /// Not called for each release, see above. Must not sleep: of spin locks it may acquire only
    /// raw ones, none of which is held by a thread that drops a reference to a dma-buf. It must
    /// neither allocate nor free memory.
    fn released(dma_buf: &UncountedDmaBuf);
}

/// Registration of an [`Observer`]. Dropping it unregisters the observer and may sleep.
///
/// The fields are dropped in this order, so a release is reported for each export that was.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     dma_buf::{Exported, UncountedDmaBuf},
///     dma_buf_events::{Events, Observer},
///     exporter::{self, example::PageExporter},
/// };
/// use kernel::{page::PAGE_SIZE, sync::atomic::{Atomic, Relaxed}};
///
/// static LAST_SIZE: Atomic<usize> = Atomic::new(0);
///
/// struct Example;
///
/// impl Observer for Example {
///     fn exported(new: Exported<'_>) {
///         LAST_SIZE.store(new.dma_buf().size(), Relaxed);
///     }
///
///     fn released(_dma_buf: &UncountedDmaBuf) {}
/// }
///
/// let events = Events::<Example>::register(true)?;
/// drop(exporter::export(PageExporter::new(3), 3 * PAGE_SIZE, 0)?);
/// assert_eq!(LAST_SIZE.load(Relaxed), 3 * PAGE_SIZE);
///
/// drop(events);
/// drop(exporter::export(PageExporter::new(1), PAGE_SIZE, 0)?);
/// assert_eq!(LAST_SIZE.load(Relaxed), 3 * PAGE_SIZE);
/// ```
#[must_use]
pub(crate) struct Events<O: Observer> {
    _export: Probe,
    _release: Option<FunctionHook<ReleaseHandler<O>>>,
}

impl<O: Observer> Events<O> {
    /// Registers the observer for exports and, with `release`, for releases. A release is also
    /// reported for a dma-buf that was exported before.
    ///
    /// May sleep. Fails with `ENOENT` if the kernel does not have the tracepoint, with `EEXIST` if
    /// the observer is registered, and as [`FunctionHook::new`] does.
    pub(crate) fn register(release: bool) -> Result<Self> {
        // The hook comes first, so a release is reported for each export that is.
        let release = release.then(FunctionHook::new).transpose()?;
        // SAFETY: The call has no requirements.
        let function = unsafe { c::dma_buf_export_probe(Some(exported::<O>)) };
        // SAFETY: The tracepoint calls its functions with the new dma-buf, whose name lock it
        // holds. The function needs no data.
        let export = unsafe { Probe::register(c"dma_buf_export", function, ptr::null_mut()) }?;
        Ok(Self {
            _export: export,
            _release: release,
        })
    }
}

/// # Safety
///
/// `dma_buf` must have just been exported, and its name lock must be held during the call.
unsafe extern "C" fn exported<O: Observer>(_: *mut c_void, dma_buf: *mut bindings::dma_buf) {
    // SAFETY: By the safety requirements. The exporting thread holds a reference and the lock.
    O::exported(unsafe { Exported::from_raw(dma_buf) });
}

/// Reports releases to an [`Observer`].
struct ReleaseHandler<O: Observer>(PhantomData<O>);

// SAFETY: The function takes a dentry.
unsafe impl<O: Observer> EntryHandler for ReleaseHandler<O> {
    /// The `d_release` operation of the dentries of dma-bufs. It calls that of the exporter.
    const FUNCTION: &'static CStr = c"dma_buf_release";

    unsafe fn entered([dentry, _]: [usize; 2]) {
        let dentry = dentry as *mut bindings::dentry;
        // SAFETY: By the safety requirements this is the function's argument, a dentry, which is
        // valid during the call.
        let dma_buf = unsafe { (*dentry).d_fsdata };
        // The field is null if exporting failed.
        if !dma_buf.is_null() {
            // SAFETY: The dma-buf of the dentry is valid, as the function that releases it has just
            // been entered.
            O::released(unsafe { UncountedDmaBuf::from_raw(dma_buf.cast()) });
        }
    }
}

/// The kernel's iterator over all dma-bufs.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     dma_buf_events::DmaBufIter,
///     exporter::{self, example::PageExporter},
/// };
/// use kernel::page::PAGE_SIZE;
///
/// let new = exporter::export(PageExporter::new(1), PAGE_SIZE, 0)?;
/// if let Some(existing) = DmaBufIter::new() {
///     let mut found = false;
///     existing.try_for_each(|dma_buf| {
///         found |= dma_buf.inode() == new.inode();
///         Ok(())
///     })?;
///     assert!(found);
///     assert_eq!(existing.try_for_each(|_| Err(EIO)), Err(EIO));
/// }
/// ```
///
/// # Invariants
///
/// `dma_buf_iter_begin()` and `dma_buf_iter_next()` were found.
pub(crate) struct DmaBufIter(());

impl DmaBufIter {
    /// Looks up the functions.
    ///
    /// May sleep. Returns `None` if the kernel does not have them or has no kprobes.
    pub(crate) fn new() -> Option<Self> {
        let begin = kernel_symbol::lookup(c"dma_buf_iter_begin")?;
        let next = kernel_symbol::lookup(c"dma_buf_iter_next")?;
        // SAFETY: These are the functions' addresses.
        unsafe {
            c::found_dma_buf_iter_begin(begin.as_ptr());
            c::found_dma_buf_iter_next(next.as_ptr());
        }
        // INVARIANT: The functions were found by these names.
        Some(Self(()))
    }

    /// Calls `f` for each dma-buf, newest first, until it fails. dma-bufs that are exported during
    /// the call may be missing.
    ///
    /// May sleep, and so may `f`. Fails as `f` does.
    pub(crate) fn try_for_each(&self, mut f: impl FnMut(&DmaBuf) -> Result) -> Result {
        // SAFETY: By the type invariants the function was found.
        let mut raw = unsafe { c::dma_buf_iter_begin() };
        while let Some(current) = NonNull::new(raw) {
            // SAFETY: The iterator returns a dma-buf and a reference to it.
            let dma_buf: ARef<DmaBuf> = unsafe { ARef::from_raw(current.cast()) };
            f(&dma_buf)?;
            // SAFETY: By the type invariants the function was found. It drops the reference to the
            // dma-buf that it is called with.
            raw = unsafe { c::dma_buf_iter_next(ARef::into_raw(dma_buf).cast().as_ptr()) };
        }
        Ok(())
    }
}
