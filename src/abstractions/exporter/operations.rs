// SPDX-License-Identifier: GPL-2.0

//! An [`Exporter`] as C calls it.

use super::{
    attached,
    exporter,
    view::View,
    Attached,
    Exporter,
    Private, //
};
use crate::{
    abstractions::{
        kernel_mapping::KernelMapping,
        sg_table::Direction,
        sized_kmalloc::SizedBox,
        user_mapping::{
            Fault,
            Populated, //
        }, //
    },
    decisions::segment::Segment, //
};
use core::{
    any::TypeId,
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    device::Device,
    error::from_result,
    ffi::c_int,
    mm::virt::VmaNew,
    prelude::*, //
};

/// The C operations of an [`Exporter`].
pub(super) struct Operations<T>(PhantomData<T>);

impl<T: Exporter> Operations<T> {
    pub(super) const TABLE: bindings::dma_buf_ops = bindings::dma_buf_ops {
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

    /// # Safety
    ///
    /// For the dma-buf core: `attachment` is one to `dma_buf` and nobody else knows it yet.
    unsafe extern "C" fn attach(
        dma_buf: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The core passes a dma-buf of this exporter and a valid device.
            let (exporter, device) =
                unsafe { (exporter::<T>(dma_buf), Device::from_raw((*attachment).dev)) };
            let private = SizedBox::new(exporter.attach(device)?, GFP_KERNEL)?;
            // SAFETY: The field is the exporter's.
            unsafe { (*attachment).priv_ = SizedBox::into_raw(private).cast() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// For the dma-buf core: `attachment` was attached and is not mapped.
    unsafe extern "C" fn detach(
        _: *mut bindings::dma_buf,
        attachment: *mut bindings::dma_buf_attachment,
    ) {
        // SAFETY: `attach()` has set the field, and the core calls this once for it, after the last
        // use.
        drop(unsafe { SizedBox::from_raw((*attachment).priv_.cast::<T::Attachment>()) });
    }

    /// # Safety
    ///
    /// For the dma-buf core: `attachment` is attached, and the reservation lock is held.
    unsafe extern "C" fn map(
        attachment: *mut bindings::dma_buf_attachment,
        direction: Direction,
    ) -> *mut bindings::sg_table {
        // SAFETY: As the core promises.
        let (exporter, device, private) = unsafe { attached::<T>(attachment) };
        match exporter.map(private, device, direction) {
            Ok(table) => table.as_raw(),
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// For the dma-buf core: `attachment` is mapped, and the reservation lock is held.
    unsafe extern "C" fn unmap(
        attachment: *mut bindings::dma_buf_attachment,
        _: *mut bindings::sg_table,
        direction: Direction,
    ) {
        // SAFETY: As the core promises.
        let (exporter, device, private) = unsafe { attached::<T>(attachment) };
        exporter.unmap(private, device, direction);
    }

    /// # Safety
    ///
    /// For the dma-buf core: `dma_buf` is valid and its reservation lock is not held.
    unsafe extern "C" fn begin_cpu_access(
        dma_buf: *mut bindings::dma_buf,
        direction: Direction,
    ) -> c_int {
        // SAFETY: As the core promises.
        unsafe { Self::cpu_access(dma_buf, direction, T::begin_cpu_access) }
    }

    /// # Safety
    ///
    /// For the dma-buf core: `dma_buf` is valid and its reservation lock is not held.
    unsafe extern "C" fn end_cpu_access(
        dma_buf: *mut bindings::dma_buf,
        direction: Direction,
    ) -> c_int {
        // SAFETY: As the core promises.
        unsafe { Self::cpu_access(dma_buf, direction, T::end_cpu_access) }
    }

    /// # Safety
    ///
    /// `dma_buf` must be valid during the call, have been exported with `T`, and its reservation
    /// lock not be held.
    unsafe fn cpu_access(
        dma_buf: *mut bindings::dma_buf,
        direction: Direction,
        access: impl FnOnce(&T, Attached<'_, T>, Direction) -> Result,
    ) -> c_int {
        // SAFETY: As the caller promises.
        let exporter = unsafe { exporter::<T>(dma_buf) };
        if !exporter.syncs() {
            return 0;
        }
        // SAFETY: As above.
        let attached = unsafe { Attached::lock(dma_buf) };
        from_result(|| access(exporter, attached, direction).map(|()| 0))
    }

    /// # Safety
    ///
    /// For the dma-buf core: `area` is being set up and lies inside the dma-buf.
    unsafe extern "C" fn mmap(
        dma_buf: *mut bindings::dma_buf,
        area: *mut bindings::vm_area_struct,
    ) -> c_int {
        // SAFETY: The core passes a dma-buf of this exporter and an area that is being set up.
        let (exporter, new) = unsafe { (exporter::<T>(dma_buf), VmaNew::from_raw(area)) };
        from_result(|| {
            if exporter.mmap(new)? == Populated::Partly {
                // SAFETY: The area is being set up, and these are for areas of dma-bufs of this
                // exporter.
                unsafe { (*area).vm_ops = &Self::FAULTS };
            }
            Ok(0)
        })
    }

    const FAULTS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        huge_fault: Some(Self::huge_fault),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// For the kernel's memory management: a fault in an area to which `mmap()` has given these
    /// operations.
    unsafe extern "C" fn fault(raw: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: As the caller promises.
        unsafe { Self::huge_fault(raw, 0) }
    }

    /// # Safety
    ///
    /// As for `fault()`.
    unsafe extern "C" fn huge_fault(
        raw: *mut bindings::vm_fault,
        order: u32,
    ) -> bindings::vm_fault_t {
        // SAFETY: The file of the area is that of a dma-buf of this exporter, which it keeps.
        unsafe {
            let fault = Fault::from_raw(raw, order);
            exporter::<T>((*fault.file()).private_data.cast()).fault(&fault)
        }
    }

    /// # Safety
    ///
    /// For the dma-buf core: there is no kernel mapping yet, and the reservation lock is held.
    unsafe extern "C" fn vmap(
        dma_buf: *mut bindings::dma_buf,
        map: *mut bindings::iosys_map,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The core passes a dma-buf of this exporter.
            let mapping = unsafe { exporter::<T>(dma_buf) }.vmap()?;
            // SAFETY: `map` is valid for writing.
            unsafe {
                (*map).__bindgen_anon_1.vaddr = mapping.into_raw().cast();
                (*map).is_iomem = false;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// For the dma-buf core: `map` is what `vmap()` set, and its last user is gone.
    unsafe extern "C" fn vunmap(dma_buf: *mut bindings::dma_buf, map: *mut bindings::iosys_map) {
        // SAFETY: The core passes a dma-buf of this exporter.
        let backing = unsafe { exporter::<T>(dma_buf) }.backing();
        // SAFETY: `map` holds what `vmap()` gave up, and nobody uses it any more.
        unsafe {
            if let Some(address) = NonNull::new((*map).__bindgen_anon_1.vaddr) {
                drop(KernelMapping::from_raw(address.cast(), backing));
            }
            (*map).__bindgen_anon_1.vaddr = ptr::null_mut();
        }
    }

    /// # Safety
    ///
    /// For the dma-buf core: nobody uses `dma_buf` any more.
    unsafe extern "C" fn release(dma_buf: *mut bindings::dma_buf) {
        // SAFETY: `priv` is the box that `export()` gave up; this is its last use.
        let private = unsafe { SizedBox::from_raw((*dma_buf).priv_.cast::<Private<T>>()) };
        T::released(&private.extra);
    }

    pub(super) const VIEW: View = View {
        extra_type: TypeId::of::<T::Extra>,
        extra: Self::extra,
        segments: Self::segments,
        mapped: Self::mapped,
    };

    /// # Safety
    ///
    /// `dma_buf` must be valid and have been exported with `T`.
    unsafe fn extra(dma_buf: *mut bindings::dma_buf) -> NonNull<()> {
        // SAFETY: `priv` is the box that `export()` gave up, as the caller promises.
        NonNull::from(unsafe { &(*(*dma_buf).priv_.cast::<Private<T>>()).extra }).cast()
    }

    /// # Safety
    ///
    /// `dma_buf` must be valid and have been exported with `T`.
    unsafe fn segments(dma_buf: *mut bindings::dma_buf, f: &mut dyn FnMut(Segment)) {
        // SAFETY: As the caller promises.
        unsafe { exporter::<T>(dma_buf) }.for_each_segment(f);
    }

    /// # Safety
    ///
    /// `attachment` must be one to a dma-buf that was exported with `T`, whose reservation lock
    /// must be held.
    unsafe fn mapped(
        attachment: *mut bindings::dma_buf_attachment,
    ) -> Option<NonNull<bindings::sg_table>> {
        // SAFETY: As the caller promises.
        let (_, _, private) = unsafe { attached::<T>(attachment) };
        NonNull::new(T::mapped(private)?.as_raw())
    }
}
