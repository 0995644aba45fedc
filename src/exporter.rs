// SPDX-License-Identifier: GPL-2.0

//! Exporting dma-bufs, and looking at those that this module has exported.
//!
//! A driver implements [`Exporter`] for the type that stands behind a dma-buf and calls [`export`]. The value lives as
//! long as the dma-buf does: while a file descriptor, a mapping or an importer holds it.
//!
//! # Locks
//!
//! The dma-buf core holds the reservation lock around [`Exporter::map`], [`Exporter::unmap`] and [`Exporter::vmap`]; this
//! module takes it around [`Exporter::begin_cpu_access`] and [`Exporter::end_cpu_access`]. What an attachment holds is
//! reached under that lock only, or when nobody else can reach it (attach, detach), so it needs none of its own.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/dma-buf.html>

mod view;

use view::View;
pub(crate) use view::{mapped, record_slot, segment_of};

use crate::{
    all_buffers::{self, Slot},
    dma_buf::{DmaBuf, Locked},
    kernel_mapping::KernelMapping,
    memory::Backing,
    segment::Segment,
    sg_table::{Direction, SgTable},
    small_allocation::SmallBox,
    user_mapping::{Fault, Populated},
    version,
};
use core::{
    ffi::c_void,
    marker::PhantomData,
    ptr::{self, NonNull},
};
use kernel::{
    bindings,
    device::Device,
    error::{from_err_ptr, from_result},
    ffi::c_int,
    mm::virt::VmaNew,
    prelude::*,
    sync::aref::ARef,
};

/// What stands behind a dma-buf.
pub(crate) trait Exporter: Send + Sync + Sized + 'static {
    /// What the exporter keeps for each attached device.
    type Attachment: Send;

    /// The exporter's name, as shown in `/sys/kernel/debug/dma_buf/bufinfo` and in the buffer's `fdinfo`.
    fn name(&self) -> &CStr;

    /// A device is attached. May sleep.
    fn attach(&self, device: &Device) -> Result<Self::Attachment>;

    /// The attached device needs the scatter list with its own addresses. May sleep; the reservation lock is held.
    ///
    /// The list must stay where it is and stay mapped until [`Exporter::unmap`].
    fn map<'a>(
        &'a self,
        attachment: &'a mut Self::Attachment,
        device: &Device,
        direction: Direction,
    ) -> Result<&'a SgTable>;

    /// The attached device is done with what [`Exporter::map`] gave. May sleep; the reservation lock is held.
    fn unmap(&self, attachment: &mut Self::Attachment, device: &Device, direction: Direction);

    /// Whether the CPU's caches have to be looked after around an access: if not, the next two are never called.
    fn syncs(&self) -> bool;

    /// The CPU is about to access the memory. May sleep; the reservation lock is held.
    fn begin_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result;

    /// The CPU is done. May sleep; the reservation lock is held.
    fn end_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result;

    /// A process maps the buffer. The area lies inside the buffer, as the core has checked. May sleep.
    ///
    /// The area keeps the buffer alive through its file. What is not populated is asked for, page by page or more, by
    /// [`Exporter::fault`] and [`Exporter::huge_fault`].
    fn mmap(&self, area: &VmaNew) -> Result<Populated>;

    /// A process has touched what was not populated. May sleep.
    fn fault(&self, fault: &Fault) -> bindings::vm_fault_t;

    /// The same, where an entry of `order` might do. May sleep.
    #[cfg(all(CONFIG_TRANSPARENT_HUGEPAGE, CONFIG_64BIT))]
    fn huge_fault(&self, fault: &Fault, order: u32) -> bindings::vm_fault_t;

    /// The first kernel mapping is needed; it is dropped with its last user. May sleep; the reservation lock is held.
    fn vmap(&self) -> Result<KernelMapping>;

    /// What the kernel knows of the memory. Never changes.
    fn backing(&self) -> Backing;

    /// Calls `f` for each segment of the memory, in order. Does not sleep.
    fn for_each_segment(&self, f: &mut dyn FnMut(Segment));

    /// The scatter list of an attachment, where it is mapped. The reservation lock is held.
    fn mapped(attachment: &Self::Attachment) -> Option<&SgTable>;
}

/// What `priv` of a dma-buf of this module points to: how to look at it without knowing its exporter, and the exporter.
#[repr(C)]
struct Private<T> {
    view: View,
    /// Where the dma-buf's record lies.
    record: Slot,
    exporter: T,
}

/// Exports `exporter` as a dma-buf of `size` bytes, a whole number of pages.
///
/// `flags` are those of the file: an access mode, nothing else counts. The module cannot be unloaded while the dma-buf
/// lives. May sleep. Fails with `ENOMEM` or as the C side does; the exporter is dropped then.
pub(crate) fn export<T: Exporter>(
    exporter: impl Init<T, Error>,
    size: usize,
    flags: u32,
) -> Result<ARef<DmaBuf>> {
    // Made where it stays: an exporter may be large.
    let private = try_init!(Private {
        view: Operations::<T>::VIEW,
        record: Slot::new(),
        exporter <- exporter,
    }? Error);
    let raw = SmallBox::into_raw(SmallBox::try_init(private, GFP_KERNEL)?);
    // SAFETY: The box stays where it is until `release()` or the end of this function.
    let name = unsafe { &(*raw).exporter }.name();

    let info = bindings::dma_buf_export_info {
        // The name is borrowed from the exporter, which is only ever shared until `release()` drops it, so the
        // borrow is good for as long as the C side may look at it.
        exp_name: name.as_char_ptr(),
        owner: version::this_module(),
        ops: &Operations::<T>::TABLE,
        size,
        flags: flags as c_int,
        resv: ptr::null_mut(),
        priv_: raw.cast(),
    };
    // SAFETY: `info` is valid, and `priv` is what the operations expect.
    match from_err_ptr(unsafe { bindings::dma_buf_export(&info) }) {
        Ok(dma_buf) => {
            // SAFETY: The new dma-buf comes with one reference, which is passed on.
            Ok(unsafe { ARef::from_raw(NonNull::new_unchecked(dma_buf.cast())) })
        }
        Err(error) => {
            // SAFETY: There is no dma-buf that could use the exporter.
            drop(unsafe { SmallBox::from_raw(raw) });
            Err(error)
        }
    }
}

/// The devices attached to a dma-buf, its reservation lock held.
///
/// # Invariants
///
/// The dma-buf was exported with `T`.
pub(crate) struct Attached<'a, T: Exporter> {
    locked: Locked<'a>,
    _exporter: PhantomData<&'a T>,
}

impl<'a, T: Exporter> Attached<'a, T> {
    /// Takes the lock.
    ///
    /// # Safety
    ///
    /// `dma_buf` must have been exported with `T` and stay valid for `'a`.
    unsafe fn lock(dma_buf: *mut bindings::dma_buf) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            // SAFETY: As the caller promises.
            locked: unsafe { DmaBuf::from_raw(dma_buf) }.lock(),
            _exporter: PhantomData,
        }
    }

    /// Calls `f` for each attached device, in the dma-buf's own order.
    pub(crate) fn for_each(&mut self, mut f: impl FnMut(&Device, &mut T::Attachment)) {
        for attachment in self.locked.attachments() {
            // SAFETY: The dma-buf was exported with `T`, by the type's invariant, and the lock is held.
            let (_, device, private) = unsafe { attached::<T>(attachment) };
            f(device, private);
        }
    }

    /// The address and size of the kernel mapping, if there is one.
    pub(crate) fn kernel_mapping(&self) -> Option<(NonNull<c_void>, usize)> {
        let dma_buf = self.locked.dma_buf();
        let raw = dma_buf.as_raw();
        // SAFETY: The dma-buf is valid; the lock protects its kernel mapping. This exporter only sets virtual addresses.
        unsafe {
            if (*raw).vmapping_counter == 0 {
                return None;
            }
            let address = (*raw).vmap_ptr.__bindgen_anon_1.vaddr;
            Some((NonNull::new(address.cast())?, dma_buf.size()))
        }
    }
}

/// The C operations of an [`Exporter`].
struct Operations<T>(PhantomData<T>);

/// The exporter behind `dma_buf`.
///
/// # Safety
///
/// `dma_buf` must be valid for `'a` and have been exported with `T`.
unsafe fn exporter<'a, T: Exporter>(dma_buf: *mut bindings::dma_buf) -> &'a T {
    // SAFETY: `priv` is the box that `export()` gave up, which `release()` takes back last of all.
    unsafe { &(*(*dma_buf).priv_.cast::<Private<T>>()).exporter }
}

/// The exporter behind `attachment`, its device, and what the exporter keeps for it.
///
/// # Safety
///
/// `attachment` must be one to a dma-buf that was exported with `T`, whose reservation lock must be held for `'a`.
unsafe fn attached<'a, T: Exporter>(
    attachment: *mut bindings::dma_buf_attachment,
) -> (&'a T, &'a Device, &'a mut T::Attachment) {
    // SAFETY: `priv` was set by `attach()`, which is called before the attachment enters the dma-buf's list; `detach()` is
    // called after it has left. The lock is held, so nobody else has a reference to it.
    unsafe {
        (
            exporter((*attachment).dmabuf),
            Device::from_raw((*attachment).dev),
            &mut *(*attachment).priv_.cast(),
        )
    }
}

impl<T: Exporter> Operations<T> {
    const TABLE: bindings::dma_buf_ops = bindings::dma_buf_ops {
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
            let private = SmallBox::new(exporter.attach(device)?, GFP_KERNEL)?;
            // SAFETY: The field is the exporter's.
            unsafe { (*attachment).priv_ = SmallBox::into_raw(private).cast() };
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
        // SAFETY: `attach()` has set the field, and the core calls this once for it, after the last use.
        drop(unsafe { SmallBox::from_raw((*attachment).priv_.cast::<T::Attachment>()) });
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
    /// `dma_buf` must be valid during the call, have been exported with `T`, and its reservation lock not be held.
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
                // SAFETY: The area is being set up, and these are for areas of dma-bufs of this exporter.
                unsafe { (*area).vm_ops = &Self::FAULTS };
            }
            Ok(0)
        })
    }

    const FAULTS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        #[cfg(all(CONFIG_TRANSPARENT_HUGEPAGE, CONFIG_64BIT))]
        huge_fault: Some(Self::huge_fault),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// For the kernel's memory management: a fault in an area to which `mmap()` has given these operations.
    unsafe extern "C" fn fault(raw: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: The file of the area is that of a dma-buf of this exporter, which it keeps.
        unsafe {
            let fault = Fault::from_raw(raw);
            exporter::<T>((*fault.file()).private_data.cast()).fault(&fault)
        }
    }

    /// # Safety
    ///
    /// As for `fault()`.
    #[cfg(all(CONFIG_TRANSPARENT_HUGEPAGE, CONFIG_64BIT))]
    unsafe extern "C" fn huge_fault(
        raw: *mut bindings::vm_fault,
        order: u32,
    ) -> bindings::vm_fault_t {
        // SAFETY: As in `fault()`.
        unsafe {
            let fault = Fault::from_raw(raw);
            exporter::<T>((*fault.file()).private_data.cast()).huge_fault(&fault, order)
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
        let private = unsafe { SmallBox::from_raw((*dma_buf).priv_.cast::<Private<T>>()) };
        all_buffers::released_own(&private.record);
    }

    const VIEW: View = View {
        segments: Self::segments,
        mapped: Self::mapped,
    };

    /// # Safety
    ///
    /// `dma_buf` must be valid and have been exported with `T`.
    unsafe fn segments(dma_buf: *mut bindings::dma_buf, f: &mut dyn FnMut(Segment)) {
        // SAFETY: As the caller promises.
        unsafe { exporter::<T>(dma_buf) }.for_each_segment(f);
    }

    /// # Safety
    ///
    /// `attachment` must be one to a dma-buf that was exported with `T`, whose reservation lock must be held.
    unsafe fn mapped(
        attachment: *mut bindings::dma_buf_attachment,
    ) -> Option<NonNull<bindings::sg_table>> {
        // SAFETY: As the caller promises.
        let (_, _, private) = unsafe { attached::<T>(attachment) };
        NonNull::new(T::mapped(private)?.as_raw())
    }
}
