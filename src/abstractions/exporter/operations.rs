// SPDX-License-Identifier: GPL-2.0

//! The C operations of an [`Exporter`]: for importers, and for access by the CPU. Those that map a
//! dma-buf for the CPU are in [`cpu_mapping`](super::cpu_mapping).

use super::{
    attached,
    exporter,
    importers,
    importers::Importer,
    view::{
        Extra,
        View, //
    },
    Attached,
    Exporter,
    Private, //
};
use crate::{
    abstractions::{
        sg_table::Direction,
        sized_kmalloc::SizedBox, //
    },
    decisions::segment::Segment, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::from_result,
    ffi::c_int,
    prelude::*, //
};

/// A vtable for the operations of an [`Exporter`].
pub(super) struct OperationsVTable<T>(PhantomData<T>);

impl<T: Exporter> OperationsVTable<T> {
    const VTABLE: bindings::dma_buf_ops = bindings::dma_buf_ops {
        attach: Some(Self::attach),
        detach: Some(Self::detach),
        map_dma_buf: Some(Self::map),
        unmap_dma_buf: Some(Self::unmap),
        begin_cpu_access: Some(Self::begin_cpu_access),
        end_cpu_access: Some(Self::end_cpu_access),
        mmap: Some(Self::mmap),
        vmap: Some(Self::vmap),
        vunmap: Some(Self::vunmap),
        release: Some(Self::release),
        ..pin_init::zeroed()
    };

    /// The vtable of memory whose CPU access needs no cache maintenance.
    const WITHOUT_SYNCS: bindings::dma_buf_ops = bindings::dma_buf_ops {
        begin_cpu_access: None,
        end_cpu_access: None,
        ..Self::VTABLE
    };

    /// Returns the vtable of memory of which [`Exporter::syncs`] returns `syncs`.
    pub(super) const fn build(syncs: bool) -> &'static bindings::dma_buf_ops {
        match syncs {
            true => &Self::VTABLE,
            false => &Self::WITHOUT_SYNCS,
        }
    }

    /// # Safety
    ///
    /// `attachment` must be a new attachment to `dma_buf`, which was exported with `T`, and not be
    /// in its list yet.
    unsafe extern "C" fn attach(
        dma_buf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements the dma-buf was exported with `T`, and the
            // attachment is valid and has a device.
            let (exporter, device) =
                unsafe { (exporter::<T>(dma_buf), Device::from_raw((*attachment).dev)) };
            // SAFETY: By the safety requirements the dma-buf was exported with `T`.
            unsafe { importers::<T>(dma_buf) }.create()?;
            // The data is large, so it is initialized in place.
            let private = Importer::<T>::new(exporter.attach(device)?);
            let private = SizedBox::into_raw(SizedBox::try_init(private, GFP_KERNEL)?);
            // SAFETY: The attachment is valid. The field is reserved for the exporter.
            unsafe { (*attachment).priv_ = private.cast() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// [`Self::attach`] must have succeeded for `attachment`, which must not be mapped, not be in
    /// the dma-buf's list, and not be used after this call.
    unsafe extern "C" fn detach(
        dma_buf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) {
        // SAFETY: By the safety requirements. Only `map()` and `unmap()` of this attachment change
        // its data.
        let is_mapped = T::mapped(unsafe { attached::<T>(attachment) }.2).is_some();
        // A driver that has forgotten to unmap must leave neither a stale entry in the list nor
        // device addresses of memory that is freed.
        if is_mapped {
            // SAFETY: By the safety requirements the dma-buf was exported with `T`.
            let importers = unsafe { importers::<T>(dma_buf) }.lock();
            if let (Some(mut importers), Some(this)) = (importers, NonNull::new(attachment)) {
                importers.remove(this);
                // SAFETY: By the safety requirements. The attachment has left both lists, so there
                // is no other reference to its data.
                let (exporter, device, data) = unsafe { attached::<T>(attachment) };
                while T::mapped(data).is_some() {
                    exporter.unmap(data, device, DataDirection::Bidirectional.into());
                }
            }
        }
        // SAFETY: `attach()` has set the field. The attachment has left the core's list and that of
        // the importers, so it has no other user.
        drop(unsafe { SizedBox::from_raw((*attachment).priv_.cast::<Importer<T>>()) });
    }

    /// # Safety
    ///
    /// `attachment` must be an attachment to a dma-buf that was exported with `T`, whose
    /// reservation lock must be held.
    unsafe extern "C" fn map(
        attachment: *mut bindings::dma_buf_attachment,
        direction: Direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: By the safety requirements.
        let importers = unsafe { importers::<T>((*attachment).dmabuf) }.lock();
        // `attach()` has created the list.
        let (Some(mut importers), Some(this)) = (importers, NonNull::new(attachment)) else {
            return EINVAL.to_ptr();
        };
        // SAFETY: By the safety requirements. Both locks are held, so there is no other reference
        // to the attachment's data.
        let (exporter, device, private) = unsafe { attached::<T>(attachment) };
        let is_new = T::mapped(private).is_none();
        match exporter.map(private, device, direction) {
            Ok(table) => {
                let table = table.as_raw();
                if is_new {
                    // SAFETY: An attachment that is not mapped is not in the list. `unmap()`
                    // removes it.
                    unsafe { importers.add(this) };
                }
                table
            }
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// As for [`Self::map`]. `attachment` must be mapped.
    unsafe extern "C" fn unmap(
        attachment: *mut bindings::dma_buf_attachment,
        _: *mut bindings::sg_table,
        direction: Direction,
    ) {
        // SAFETY: By the safety requirements.
        let importers = unsafe { importers::<T>((*attachment).dmabuf) }.lock();
        // SAFETY: By the safety requirements. Both locks are held, so there is no other reference
        // to the attachment's data.
        let (exporter, device, private) = unsafe { attached::<T>(attachment) };
        exporter.unmap(private, device, direction);
        if T::mapped(private).is_none() {
            if let (Some(mut importers), Some(this)) = (importers, NonNull::new(attachment)) {
                importers.remove(this);
            }
        }
    }

    /// # Safety
    ///
    /// As for [`Self::cpu_access`].
    unsafe extern "C" fn begin_cpu_access(
        dma_buf: *mut bindings::dma_buf,
        direction: Direction,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { Self::cpu_access(dma_buf, direction, T::begin_cpu_access) }
    }

    /// # Safety
    ///
    /// As for [`Self::cpu_access`].
    unsafe extern "C" fn end_cpu_access(
        dma_buf: *mut bindings::dma_buf,
        direction: Direction,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { Self::cpu_access(dma_buf, direction, T::end_cpu_access) }
    }

    /// Calls `access` with the lock of the importers held.
    ///
    /// # Safety
    ///
    /// `dma_buf` must be valid during the call and have been exported with `T`.
    unsafe fn cpu_access(
        dma_buf: *mut bindings::dma_buf,
        direction: Direction,
        access: impl FnOnce(&T, Attached<'_, T>, Direction) -> Result,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let exporter = unsafe { exporter::<T>(dma_buf) };
        // SAFETY: By the safety requirements.
        let attached = unsafe { Attached::lock(importers::<T>(dma_buf)) };
        from_result(|| access(exporter, attached, direction).map(|()| 0))
    }

    /// # Safety
    ///
    /// `dma_buf` must have been exported with `T` and have no other user.
    unsafe extern "C" fn release(dma_buf: *mut bindings::dma_buf) {
        // SAFETY: `export()` has set `priv` to this box. By the safety requirements it has no other
        // user.
        let private = unsafe { SizedBox::from_raw((*dma_buf).priv_.cast::<Private<T>>()) };
        T::released(&private.extra);
    }

    /// The functions that access a dma-buf of this exporter.
    pub(super) const VIEW: &'static View = &View {
        extra_key: <T::Extra as Extra>::KEY,
        segments: Self::segments,
        mapped: Self::mapped,
        end_tracking: Self::end_tracking,
    };

    /// # Safety
    ///
    /// As for [`View::end_tracking`].
    unsafe fn end_tracking(dma_buf: *mut bindings::dma_buf) -> Result {
        // SAFETY: By the safety requirements.
        let exporter = unsafe { exporter::<T>(dma_buf) };
        // SAFETY: By the safety requirements.
        exporter.end_tracking(|| unsafe { Attached::lock(importers::<T>(dma_buf)) })
    }

    /// # Safety
    ///
    /// As for [`View::segments`].
    unsafe fn segments(dma_buf: *mut bindings::dma_buf, f: &mut dyn FnMut(Segment)) {
        // SAFETY: By the safety requirements.
        unsafe { exporter::<T>(dma_buf) }.for_each_segment(f);
    }

    /// # Safety
    ///
    /// As for [`View::mapped`].
    unsafe fn mapped(
        attachment: *mut bindings::dma_buf_attachment,
    ) -> Option<NonNull<bindings::sg_table>> {
        // SAFETY: By the safety requirements `attach()` has set `priv`, and the reservation lock is
        // held, so there is no exclusive reference to the attachment's data.
        let private = unsafe { &(*(*attachment).priv_.cast::<Importer<T>>()).data };
        NonNull::new(T::mapped(private)?.as_raw())
    }
}
