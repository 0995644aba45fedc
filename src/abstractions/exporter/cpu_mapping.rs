// SPDX-License-Identifier: GPL-2.0

//! The C operations of an [`Exporter`] that map a dma-buf for the CPU: for processes and for the
//! kernel.

use super::{
    exporter,
    importers,
    importers::SharedMapping,
    operations::OperationsVTable,
    Attached,
    Exporter,
    Importers,
    Viewer, //
};
use crate::abstractions::{
    kernel_mapping::kept,
    user_mapping::Fault, //
};
use core::ptr;
use kernel::{
    bindings,
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

impl<T: Exporter> OperationsVTable<T> {
    /// # Safety
    ///
    /// `dma_buf` must be valid and have been exported with `T`. `vma` must be a new VMA that lies
    /// inside the dma-buf.
    pub(super) unsafe extern "C" fn mmap(
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
    pub(super) unsafe extern "C" fn vmap(
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
    pub(super) unsafe extern "C" fn vunmap(
        dma_buf: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) {
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
}
