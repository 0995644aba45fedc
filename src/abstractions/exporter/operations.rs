// SPDX-License-Identifier: GPL-2.0

//! The C operations of an [`Exporter`].

use super::{
    attached,
    exporter,
    importers,
    importers::{
        Importer,
        SharedMapping, //
    },
    view::{
        Extra,
        View, //
    },
    Attached,
    Exporter,
    Importers,
    Private,
    Viewer, //
};
use crate::{
    abstractions::{
        kernel_mapping::kept,
        sg_table::Direction,
        sized_kmalloc::SizedBox,
        user_mapping::Fault, //
    },
    decisions::segment::Segment, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::from_result,
    ffi::c_int,
    mm::virt::VmaNew,
    prelude::*, //
};

/// A mapping of a process or of the kernel that is being made. It has begun, and ends when this is
/// dropped.
struct NewView<'a, T: Exporter>(&'a T);

impl<T: Exporter> NewView<'_, T> {
    /// Begins a view. May sleep. Fails as [`Exporter::begin_view`] does.
    ///
    /// # Safety
    ///
    /// `dma_buf` must be valid as long as the result and have been exported with `T`.
    #[inline(always)]
    unsafe fn begin(dma_buf: *mut bindings::dma_buf, viewer: Viewer) -> Result<Self> {
        // SAFETY: By the safety requirements.
        let exporter = unsafe { exporter::<T>(dma_buf) };
        // SAFETY: By the safety requirements.
        exporter.begin_view(viewer, || unsafe {
            Attached::lock(importers::<T>(dma_buf))
        })?;
        Ok(Self(exporter))
    }

    /// The mapping was made: whatever removes it ends the view.
    fn keep(self) {
        core::mem::forget(self);
    }
}

impl<T: Exporter> Drop for NewView<'_, T> {
    fn drop(&mut self) {
        self.0.end_view();
    }
}

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
    /// `dma_buf` must be valid and have been exported with `T`. `vma` must be a new VMA that lies
    /// inside the dma-buf.
    unsafe extern "C" fn mmap(
        dma_buf: *mut bindings::dma_buf,
        vma: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let (exporter, new) = unsafe { (exporter::<T>(dma_buf), VmaNew::from_raw(vma)) };
        from_result(|| {
            // SAFETY: By the safety requirements.
            let view = unsafe { NewView::<T>::begin(dma_buf, Viewer::Process) }?;
            exporter.mmap(new)?;
            view.keep();
            // Also if no fault can occur: an importer that maps the dma-buf into a process may have
            // left its own operations in the VMA, which can outlive what they refer to. SAFETY: The
            // VMA is being set up. The operations are those for VMAs of dma-bufs of `T`.
            unsafe { (*vma).vm_ops = Self::FAULTS };
            Ok(0)
        })
    }

    /// The operations of each VMA that `mmap()` has set up.
    const FAULTS: &'static bindings::vm_operations_struct = &bindings::vm_operations_struct {
        open: Some(Self::open),
        close: Some(Self::close),
        fault: Some(Self::fault),
        huge_fault: Some(Self::huge_fault),
        ..pin_init::zeroed()
    };

    /// Counts a VMA that was split off, copied for another process, or is being moved.
    ///
    /// # Safety
    ///
    /// `vma` must be a copy of a VMA whose operations [`Self::mmap`] has set and which exists.
    unsafe extern "C" fn open(vma: *mut bindings::vm_area_struct) {
        // Nothing is to be done first, which could fail: there is a view already.
        // SAFETY: By the safety requirements the VMA holds a reference to the file of a dma-buf of
        // this exporter.
        let view = unsafe {
            let dma_buf = (*(*vma).vm_file).private_data.cast();
            NewView::<T>::begin(dma_buf, Viewer::Process)
        };
        if let Ok(view) = view {
            view.keep();
        }
    }

    /// # Safety
    ///
    /// `vma` must be a VMA whose operations [`Self::mmap`] has set. Nothing must be mapped in it.
    unsafe extern "C" fn close(vma: *mut bindings::vm_area_struct) {
        // SAFETY: By the safety requirements the VMA holds a reference to the file of a dma-buf of
        // this exporter.
        unsafe { exporter::<T>((*(*vma).vm_file).private_data.cast()) }.end_view();
    }

    /// # Safety
    ///
    /// `raw` must be a fault that the kernel is handling, in a VMA whose operations
    /// [`Self::mmap`] has set.
    unsafe extern "C" fn fault(raw: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the safety requirements.
        unsafe { Self::huge_fault(raw, 0) }
    }

    /// # Safety
    ///
    /// As for [`Self::fault`].
    unsafe extern "C" fn huge_fault(
        raw: *mut bindings::vm_fault,
        order: u32,
    ) -> bindings::vm_fault_t {
        // SAFETY: By the safety requirements. The VMA holds a reference to the file of a dma-buf
        // of this exporter.
        unsafe {
            let fault = Fault::from_raw(raw, order);
            exporter::<T>((*fault.file()).private_data.cast()).fault(&fault)
        }
    }

    /// # Safety
    ///
    /// `dma_buf` must be valid, have been exported with `T` and have no kernel mapping. Its
    /// reservation lock must be held. `map` must be valid for writing.
    unsafe extern "C" fn vmap(
        dma_buf: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let (exporter, importers) =
                unsafe { (exporter::<T>(dma_buf), importers::<T>(dma_buf)) };
            // SAFETY: By the safety requirements.
            let view = unsafe { NewView::<T>::begin(dma_buf, Viewer::Kernel) }?;
            // Neither making a mapping nor taking it back needs the lock.
            let kept = match Self::replace_mapping(importers, SharedMapping::None) {
                SharedMapping::Kept(kept) => kept.take(),
                _ => None,
            };
            let mapping = match kept {
                Some(mapping) => mapping,
                None => exporter.vmap()?,
            };
            // SAFETY: By the safety requirements `map` is valid for writing.
            unsafe {
                (*map).__bindgen_anon_1.vaddr = mapping.address().cast();
                (*map).is_iomem = false;
            }
            if !mapping.is_linear() {
                importers.create()?;
                Self::replace_mapping(importers, SharedMapping::Used(mapping));
            }
            view.keep();
            Ok(0)
        })
    }

    /// Replaces the mapping that kernel users share, and returns the former one. May sleep.
    ///
    /// The reservation lock must be held, so nobody else replaces it meanwhile.
    fn replace_mapping(importers: &Importers, mapping: SharedMapping) -> SharedMapping {
        // Without a list there has been no such mapping.
        importers.lock().map_or(SharedMapping::None, |mut list| {
            list.replace_kernel_mapping(mapping)
        })
    }

    /// # Safety
    ///
    /// `dma_buf` must be valid and have been exported with `T`. `map` must be the result of
    /// [`Self::vmap`] for it and have no other user.
    unsafe extern "C" fn vunmap(dma_buf: *mut bindings::dma_buf, map: *mut bindings::iosys_map) {
        // SAFETY: By the safety requirements.
        let importers = unsafe { importers::<T>(dma_buf) };
        if let SharedMapping::Used(mapping) = Self::replace_mapping(importers, SharedMapping::None)
        {
            // Neither keeping nor unmapping it needs the lock.
            if let Some(kept) = kept::keep(mapping) {
                Self::replace_mapping(importers, SharedMapping::Kept(kept));
            }
        }
        // SAFETY: By the safety requirements.
        unsafe { exporter::<T>(dma_buf) }.end_view();
        // SAFETY: By the safety requirements `map` is valid.
        unsafe { (*map).__bindgen_anon_1.vaddr = ptr::null_mut() };
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
