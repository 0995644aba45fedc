// SPDX-License-Identifier: GPL-2.0

//! Exporting dma-bufs, and looking at those that this module has exported.
//!
//! A driver implements [`Exporter`] for the type that stands behind a dma-buf and calls [`export`].
//! The value lives as long as the dma-buf does: while a file descriptor, a mapping or an importer
//! holds it.
//!
//! # Locks
//!
//! The dma-buf core holds the reservation lock around [`Exporter::map`], [`Exporter::unmap`] and
//! [`Exporter::vmap`]; this module takes it around [`Exporter::begin_cpu_access`] and
//! [`Exporter::end_cpu_access`]. What an attachment holds is reached under that lock only, or when
//! nobody else can reach it (attach, detach), so it needs none of its own.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/dma-buf.html>

mod operations;
mod view;

use operations::Operations;
use view::View;
pub(crate) use view::{
    extra,
    for_each_segment,
    mapped, //
};

use crate::{
    abstractions::{
        dma_buf::{
            DmaBuf,
            Locked, //
        },
        kernel_mapping::KernelMapping,
        sg_table::{
            Direction,
            SgTable, //
        },
        sized_kmalloc::SizedBox,
        user_mapping::{
            Fault,
            Populated, //
        },
        version, //
    },
    decisions::{
        memory::Backing,
        segment::Segment, //
    }, //
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
    device::Device,
    error::from_err_ptr,
    ffi::c_int,
    mm::virt::VmaNew,
    prelude::*,
    sync::aref::ARef, //
};

/// What stands behind a dma-buf.
pub(crate) trait Exporter: Send + Sync + Sized + 'static {
    /// What the exporter keeps for each attached device.
    type Attachment: Send;

    /// What the exporter's owner keeps with each dma-buf. It is created with the dma-buf, lives as
    /// long, and is found with [`extra`].
    type Extra: Default + Send + Sync + 'static;

    /// The exporter's name, as shown in `/sys/kernel/debug/dma_buf/bufinfo` and in the buffer's
    /// `fdinfo`.
    fn name(&self) -> &CStr;

    /// A device is attached. May sleep.
    fn attach(&self, device: &Device) -> Result<Self::Attachment>;

    /// The attached device needs the scatter list with its own addresses. May sleep; the
    /// reservation lock is held.
    ///
    /// The list must stay where it is and stay mapped until [`Exporter::unmap`].
    fn map<'a>(
        &'a self,
        attachment: &'a mut Self::Attachment,
        device: &Device,
        direction: Direction,
    ) -> Result<&'a SgTable>;

    /// The attached device is done with what [`Exporter::map`] gave. May sleep; the reservation
    /// lock is held.
    fn unmap(&self, attachment: &mut Self::Attachment, device: &Device, direction: Direction);

    /// Whether the CPU's caches have to be looked after around an access: if not, the next two are
    /// never called.
    fn syncs(&self) -> bool;

    /// The CPU is about to access the memory. May sleep; the reservation lock is held.
    fn begin_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result;

    /// The CPU is done. May sleep; the reservation lock is held.
    fn end_cpu_access(&self, attached: Attached<'_, Self>, direction: Direction) -> Result;

    /// A process maps the buffer. The area lies inside the buffer, as the core has checked. May
    /// sleep.
    ///
    /// The area keeps the buffer alive through its file. What is not populated is asked for by
    /// [`Exporter::fault`].
    fn mmap(&self, area: &VmaNew) -> Result<Populated>;

    /// A process has touched what was not populated. May sleep.
    fn fault(&self, fault: &Fault) -> bindings::vm_fault_t;

    /// The first kernel mapping is needed; it is dropped with its last user. May sleep; the
    /// reservation lock is held.
    fn vmap(&self) -> Result<KernelMapping>;

    /// What the kernel knows of the memory. Never changes.
    fn backing(&self) -> Backing;

    /// Calls `f` for each segment of the memory, in order. Does not sleep.
    fn for_each_segment(&self, f: &mut dyn FnMut(Segment));

    /// The scatter list of an attachment, where it is mapped. The reservation lock is held.
    fn mapped(attachment: &Self::Attachment) -> Option<&SgTable>;

    /// The dma-buf is being released; `extra` and the exporter are dropped after this. May sleep.
    fn released(extra: &Self::Extra);
}

/// What `priv` of a dma-buf of this module points to: how to look at it without knowing its
/// exporter, and the exporter.
#[repr(C)]
struct Private<T: Exporter> {
    view: &'static View,
    extra: T::Extra,
    exporter: T,
}

/// Exports `exporter` as a dma-buf of `size` bytes, a whole number of pages.
///
/// `flags` are those of the file: an access mode, nothing else counts. The module cannot be
/// unloaded while the dma-buf lives. May sleep. Fails with `ENOMEM` or as the C side does; the
/// exporter is dropped then.
pub(crate) fn export<T: Exporter>(
    exporter: impl Init<T, Error>,
    size: usize,
    flags: u32,
) -> Result<ARef<DmaBuf>> {
    // Made where it stays: an exporter may be large.
    let private = try_init!(Private {
        view: &Operations::<T>::VIEW,
        extra: T::Extra::default(),
        exporter <- exporter,
    }? Error);
    let raw = SizedBox::into_raw(SizedBox::try_init(private, GFP_KERNEL)?);
    // SAFETY: The box stays where it is until `release()` or the end of this function.
    let name = unsafe { &(*raw).exporter }.name();

    let info = bindings::dma_buf_export_info {
        // The name is borrowed from the exporter, which is only ever shared until `release()` drops
        // it, so the borrow is good for as long as the C side may look at it.
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
            drop(unsafe { SizedBox::from_raw(raw) });
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
            // SAFETY: The dma-buf was exported with `T`, by the type's invariant, and the lock is
            // held.
            let (_, device, private) = unsafe { attached::<T>(attachment) };
            f(device, private);
        }
    }

    /// The address and size of the kernel mapping, if there is one.
    pub(crate) fn kernel_mapping(&self) -> Option<(NonNull<c_void>, usize)> {
        let dma_buf = self.locked.dma_buf();
        let raw = dma_buf.as_raw();
        // SAFETY: The dma-buf is valid; the lock protects its kernel mapping. This exporter only
        // sets virtual addresses.
        unsafe {
            if (*raw).vmapping_counter == 0 {
                return None;
            }
            let address = (*raw).vmap_ptr.__bindgen_anon_1.vaddr;
            Some((NonNull::new(address.cast())?, dma_buf.size()))
        }
    }
}

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
/// `attachment` must be one to a dma-buf that was exported with `T`, whose reservation lock must be
/// held for `'a`.
unsafe fn attached<'a, T: Exporter>(
    attachment: *mut bindings::dma_buf_attachment,
) -> (&'a T, &'a Device, &'a mut T::Attachment) {
    // SAFETY: `priv` was set by `attach()`, which is called before the attachment enters the
    // dma-buf's list; `detach()` is called after it has left. The lock is held, so nobody else has
    // a reference to it.
    unsafe {
        (
            exporter((*attachment).dmabuf),
            Device::from_raw((*attachment).dev),
            &mut *(*attachment).priv_.cast(),
        )
    }
}
