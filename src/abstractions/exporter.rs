// SPDX-License-Identifier: GPL-2.0

//! Exporting dma-bufs, and access to those that this module has exported.
//!
//! A driver implements [`Exporter`] for the type that owns the memory and calls [`export`]. The
//! value lives as long as the dma-buf, which file descriptors, mappings and importers hold
//! references to.
//!
//! # Locks
//!
//! - The dma-buf core holds the reservation lock when it calls [`Exporter::map`],
//!   [`Exporter::unmap`] and [`Exporter::vmap`].
//! - The lock of the importers is a mutex of this module ([`Attached`]), acquired after the
//!   reservation lock or without it. It is held during [`Exporter::map`], [`Exporter::unmap`],
//!   [`Exporter::begin_cpu_access`] and [`Exporter::end_cpu_access`]. [`Exporter::begin_view`] may
//!   acquire it: for a process with the lock of its memory map held, else with the reservation
//!   lock.
//!
//! CPU access does not acquire the reservation lock, which every submission of work for a GPU
//! needs. The data of an attachment changes only with both locks held, so either one suffices to
//! read it. None is needed before the attachment enters the core's list of attachments, and after
//! it has left that: it is mapped, and in the list of [`Attached`], only in between.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/dma-buf.html>

mod cpu_mapping;
#[cfg(any(CONFIG_KUNIT, rk_sample))]
pub(crate) mod example;
mod importers;
mod operations;
mod view;

pub(crate) use importers::Attached;
use importers::{
    Importer,
    Importers, //
};
use operations::OperationsVTable;
use view::View;
pub(crate) use view::{
    end_tracking,
    extra,
    for_each_segment,
    mapped,
    Extra,
    ExtraKey, //
};

use crate::{
    abstractions::{
        dma_buf::DmaBuf,
        kernel_mapping::KernelMapping,
        sg_table::{
            Direction,
            SgTable, //
        },
        sized_kmalloc::{
            self,
            SizedBox, //
        },
        user_mapping::Fault,
        version, //
    },
    decisions::segment::Segment, //
};
use core::{
    mem::offset_of,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    device::Device,
    error::from_err_ptr,
    ffi::c_int,
    mm::virt::VmaNew,
    prelude::*,
    sync::aref::ARef, //
};

/// Who maps the memory of a dma-buf.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Viewer {
    /// A process. Its mapping may fail at any time.
    Process,
    /// The kernel. The dma-buf core warns if its mapping fails, so a signal must not be the cause.
    Kernel,
}

/// The memory of a dma-buf and its operations.
///
/// # Examples
///
/// `src/abstractions/exporter/example.rs` implements this trait for zeroed pages.
///
/// ```
/// use crate::abstractions::exporter::{self, example::{PageExporter, Tag}};
/// use kernel::{page::PAGE_SIZE, sync::atomic::Relaxed};
///
/// let dma_buf = exporter::export(PageExporter::new(4), 4 * PAGE_SIZE, 0)?;
/// assert_eq!(dma_buf.size(), 4 * PAGE_SIZE);
/// assert_eq!(dma_buf.exporter(), c"rk_dma_heap_example");
///
/// // The data that was created with the dma-buf is found by its type.
/// exporter::extra::<Tag>(&dma_buf).ok_or(EINVAL)?.value.store(7, Relaxed);
/// assert_eq!(exporter::extra::<Tag>(&dma_buf).ok_or(EINVAL)?.value.load(Relaxed), 7);
/// # #[derive(Default)]
/// # struct Other;
/// # static KEY: exporter::ExtraKey = exporter::ExtraKey::new();
/// # // SAFETY: No other type uses this key.
/// # unsafe impl exporter::Extra for Other {
/// #     const KEY: &'static exporter::ExtraKey = &KEY;
/// # }
/// assert!(exporter::extra::<Other>(&dma_buf).is_none());
///
/// let mut pages = 0;
/// exporter::for_each_segment(&dma_buf, &mut |segment| pages += segment.pages);
/// assert_eq!(pages, 4);
///
/// // The memory must be as large as the dma-buf.
/// let failed = exporter::export(PageExporter::new(4), 5 * PAGE_SIZE, 0);
/// assert_eq!(failed.err(), Some(EINVAL));
/// ```
///
/// An importer attaches a device and maps the memory:
///
/// ```
/// use crate::abstractions::{
///     cache_cleaner::Cleaner,
///     exporter::{self, example::PageExporter},
/// };
/// use kernel::page::PAGE_SIZE;
///
/// let dma_buf = exporter::export(PageExporter::new(2), 2 * PAGE_SIZE, 0)?;
/// let device = Cleaner::new(c"rk_dma_heap_example")?;
/// let attachment = device.attach(&dma_buf)?;
/// let table = attachment.table().ok_or(EINVAL)?;
/// assert_eq!(table.ranges().map(|(_, size)| size).sum::<usize>(), 2 * PAGE_SIZE);
///
/// let guard = dma_buf.lock_interruptible()?;
/// assert_eq!(guard.devices().count(), 1);
/// assert!(exporter::mapped(&guard).is_some());
/// drop(guard);
///
/// drop(attachment);
/// assert!(exporter::mapped(&dma_buf.lock_interruptible()?).is_none());
/// ```
///
/// # Safety
///
/// Importers and processes access the memory through what the methods return, so implementors must
/// ensure that:
///
/// - the value owns memory of [`Exporter::size`] bytes, in the segments that
///   [`Exporter::for_each_segment`] lists, until it is dropped;
/// - the scatter list that [`Exporter::map`] returns describes this memory, is mapped for the
///   device, and is neither moved nor unmapped before [`Exporter::unmap`];
/// - [`Exporter::mapped`] returns a scatter list if and only if it is mapped, which changes in
///   [`Exporter::map`] and [`Exporter::unmap`] only;
/// - [`Exporter::mmap`] and [`Exporter::fault`] map only this memory, and the result of the latter
///   is valid for what it did;
/// - the mapping that [`Exporter::vmap`] returns is one of this memory, at least as large as the
///   dma-buf.
#[vtable]
pub(crate) unsafe trait Exporter: Send + Sync + Sized + 'static {
    /// The data of an attachment.
    type Attachment: Send + Sync;

    /// Data that is created with each dma-buf and lives as long. [`extra`] returns it.
    type Extra: Extra;

    /// Returns the exporter's name, which `/sys/kernel/debug/dma_buf/bufinfo` and the `fdinfo` of
    /// the dma-buf show.
    fn name(&self) -> &CStr;

    /// Returns the size of the memory in bytes. Never changes.
    fn size(&self) -> usize;

    /// Attaches `device`: returns an initializer of the data. May sleep, as the initializer may.
    fn attach(&self, device: &Device) -> Result<impl Init<Self::Attachment, Error>>;

    /// Maps the memory for the attached device and returns its scatter list.
    ///
    /// May sleep. The reservation lock and that of the importers are held.
    fn map<'a>(
        &'a self,
        attachment: &'a mut Self::Attachment,
        device: &Device,
        direction: Direction,
    ) -> Result<&'a SgTable>;

    /// Unmaps the scatter list that [`Exporter::map`] returned. It stays mapped until this was
    /// called as often as [`Exporter::map`].
    ///
    /// May sleep. The lock of the importers is held, and the reservation lock, unless a driver
    /// detaches without unmapping; `direction` is another one then.
    fn unmap(&self, attachment: &mut Self::Attachment, device: &Device, direction: Direction);

    /// A mapping of `viewer` is about to be made: everything that devices wrote must be visible
    /// through it. `lock` acquires the lock of the importers.
    ///
    /// May sleep. The mapping is not made if this fails, as it may for a process if a fatal signal
    /// is pending. Otherwise [`Exporter::end_view`] is called when it is gone, or was not made.
    fn begin_view<'a>(
        &'a self,
        viewer: Viewer,
        lock: impl FnOnce() -> Attached<'a, Self>,
    ) -> Result;

    /// A mapping is gone for which [`Exporter::begin_view`] was called. Does not sleep.
    fn end_view(&self);

    /// The CPU will read the memory through its caches, without a mapping that anybody tells of:
    /// everything that devices wrote, and from now on write, must be visible through them. `lock`
    /// acquires the lock of the importers.
    ///
    /// May sleep.
    fn end_tracking<'a>(&'a self, lock: impl FnOnce() -> Attached<'a, Self>) -> Result;

    /// Returns whether CPU access needs cache maintenance. If not, [`Exporter::begin_cpu_access`]
    /// and [`Exporter::end_cpu_access`] are not called. The value never changes.
    fn syncs(&self) -> bool;

    /// Prepares the memory for CPU access. May sleep. The lock of the importers is held.
    fn begin_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result;

    /// Ends CPU access. May sleep. The lock of the importers is held.
    fn end_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result;

    /// Maps the memory to a process. The core has checked that the VMA lies inside the dma-buf.
    ///
    /// May sleep. The VMA holds a reference to the dma-buf's file. [`Exporter::fault`] is called
    /// for pages that are not populated.
    fn mmap(&self, vma: &VmaNew) -> Result;

    /// Handles a page fault in a VMA that [`Exporter::mmap`] has set up. May sleep.
    fn fault(&self, fault: &Fault) -> bindings::vm_fault_t;

    /// Creates the kernel mapping for its first user. It is dropped with its last user.
    ///
    /// May sleep. The reservation lock is held.
    fn vmap(&self) -> Result<KernelMapping>;

    /// Calls `f` for each segment of the memory, in order. Does not sleep.
    fn for_each_segment(&self, f: &mut dyn FnMut(Segment));

    /// Returns the scatter list of an attachment if it is mapped. The reservation lock is held.
    fn mapped(attachment: &Self::Attachment) -> Option<&SgTable>;

    /// The dma-buf is being released. `extra` and the exporter are dropped afterwards. May sleep.
    fn released(extra: &Self::Extra);
}

/// The private data of a dma-buf of this module.
///
/// `view` is the first field and `extra` the second, so they can be read without knowledge of `T`.
#[repr(C)]
struct Private<T: Exporter> {
    view: &'static View,
    extra: T::Extra,
    importers: Importers,
    exporter: T,
}

/// Exports `exporter` as a dma-buf of `size` bytes, a multiple of the page size.
///
/// `flags` are the file's; only the access mode has an effect. The module cannot be unloaded while
/// the dma-buf exists.
///
/// May sleep. Fails with `ENOMEM`, with `EINVAL` if `size` exceeds [`Exporter::size`], as the
/// initializer does, and as `dma_buf_export()` does. The exporter is dropped on failure.
pub(crate) fn export<T: Exporter>(
    exporter: impl Init<T, Error>,
    size: usize,
    flags: u32,
) -> Result<ARef<DmaBuf>> {
    const { assert!(offset_of!(Private<T>, view) == 0) };
    // The slab cache of a larger one is determined at run time, and has twice the size.
    const { assert!(size_of::<Private<T>>() <= sized_kmalloc::MAX_SIZE) };
    // The exporter may be large, so it is initialized in place.
    let private = try_init!(Private {
        view: OperationsVTable::<T>::VIEW,
        extra: T::Extra::default(),
        importers: Importers::new(),
        exporter <- exporter,
    }? Error);
    let private = SizedBox::try_init(private, GFP_KERNEL)?;
    if size > private.exporter.size() {
        return Err(EINVAL);
    }
    let raw = SizedBox::into_raw(private);
    // SAFETY: The box is valid until `release()` or the end of this function.
    let exporter = unsafe { &(*raw).exporter };
    let (name, syncs) = (exporter.name(), exporter.syncs());

    let info = bindings::dma_buf_export_info {
        // `name()` borrows the name from the exporter. Until `release()` drops the exporter there
        // are only shared references to it, so the name is valid as long as the dma-buf.
        exp_name: name.as_char_ptr(),
        owner: version::this_module(),
        ops: OperationsVTable::<T>::build(syncs),
        size,
        flags: flags as c_int,
        resv: ptr::null_mut(),
        priv_: raw.cast(),
    };
    // SAFETY: `info` is valid. `priv_` is the private data that the operations require.
    match from_err_ptr(unsafe { bindings::dma_buf_export(&info) }) {
        Ok(dma_buf) => {
            // SAFETY: The call returns a dma-buf and a reference to it.
            Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(dma_buf.cast())) })
        }
        Err(error) => {
            // SAFETY: The box was converted above. No dma-buf uses it.
            drop(unsafe { SizedBox::from_raw(raw) });
            Err(error)
        }
    }
}

/// Returns the exporter of `dma_buf`.
///
/// # Safety
///
/// `dma_buf` must be valid for `'a` and have been exported with `T`.
unsafe fn exporter<'a, T: Exporter>(dma_buf: *mut bindings::dma_buf) -> &'a T {
    // SAFETY: By the safety requirements `priv` is the private data that `export()` has set.
    // `release()` frees it when the dma-buf has no other user.
    unsafe { &(*(*dma_buf).priv_.cast::<Private<T>>()).exporter }
}

/// Returns the importers of `dma_buf`.
///
/// # Safety
///
/// As for [`exporter`].
unsafe fn importers<'a, T: Exporter>(dma_buf: *mut bindings::dma_buf) -> &'a Importers {
    // SAFETY: As in `exporter()`.
    unsafe { &(*(*dma_buf).priv_.cast::<Private<T>>()).importers }
}

/// Returns the exporter, the device and the data of `attachment`.
///
/// # Safety
///
/// - `attachment` must be an attachment to a dma-buf that was exported with `T`.
/// - The reservation lock of the dma-buf and the lock of its importers must be held for `'a`.
/// - There must be no other reference to the attachment's data during `'a`.
unsafe fn attached<'a, T: Exporter>(
    attachment: *mut bindings::dma_buf_attachment,
) -> (&'a T, &'a Device, &'a mut T::Attachment) {
    // SAFETY: By the safety requirements. `attach()` has set `priv` before the attachment entered
    // the dma-buf's list, and `detach()` is called after it has left the list.
    unsafe {
        (
            exporter((*attachment).dmabuf),
            Device::from_raw((*attachment).dev),
            &mut (*(*attachment).priv_.cast::<Importer<T>>()).data,
        )
    }
}
