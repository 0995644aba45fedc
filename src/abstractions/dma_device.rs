// SPDX-License-Identifier: GPL-2.0

//! DMA limits of devices: the memory that they access, and whether they snoop CPU caches.
//!
//! C headers: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h),
//! [`include/linux/dma-direct.h`](srctree/include/linux/dma-direct.h)

use crate::{
    bindings as c,
    decisions::segment::Segment, //
};
use kernel::{
    bindings,
    device::Device,
    error::to_result,
    prelude::*, //
};

/// Returns the C structure of `device`.
pub(crate) fn raw(device: &Device) -> *mut bindings::device {
    // A `Device` is a transparent wrapper of an `Opaque`, so the C side may change it through a
    // shared reference.
    core::ptr::from_ref(device).cast_mut().cast()
}

/// The DMA parameters of a device that has none of its own.
pub(crate) type Parameters = bindings::device_dma_parameters;

/// Sets the DMA mask of `device` to 64 bits and its segment size to the maximum.
///
/// A device without DMA parameters gets some that are never freed: the device points to them as
/// long as it exists, which may be longer than its driver is bound and than this module is loaded.
///
/// May sleep. Fails with `ENOMEM`, and as `dma_set_mask()` does.
///
/// # Safety
///
/// The device must be valid, and must not be used for DMA during the call.
pub(crate) unsafe fn remove_dma_limits(device: *mut bindings::device) -> Result {
    // SAFETY: By the safety requirements the device is valid and is not used for DMA, so nothing
    // reads its parameters.
    unsafe {
        to_result(c::dma_coerce_mask_and_coherent(device, u64::MAX))?;
        if (*device).dma_parms.is_null() {
            let parameters = c::kzalloc_forever(size_of::<Parameters>());
            if parameters.is_null() {
                return Err(ENOMEM);
            }
            (*device).dma_parms = parameters.cast();
        }
        (*(*device).dma_parms).max_segment_size = u32::MAX;
    }
    Ok(())
}

/// Gives `device` the DMA parameters `parameters`, and removes its limits as [`remove_dma_limits`]
/// does.
///
/// # Safety
///
/// As for [`remove_dma_limits`]. The parameters must be valid as long as the device is used for
/// DMA.
pub(crate) unsafe fn set_parameters(
    device: *mut bindings::device,
    parameters: *mut Parameters,
) -> Result {
    // SAFETY: The safety requirements are the same.
    unsafe {
        (*device).dma_parms = parameters;
        remove_dma_limits(device)
    }
}

/// Returns the maximum size of a DMA segment for `device`, in bytes.
///
/// Returns [`usize::MAX`] for a device that sets no maximum. The DMA interface assumes 64 KiB then.
/// Most drivers of such devices rely on contiguous memory being one segment, which it is in buffers
/// of the kernel's own heaps.
///
/// # Examples
///
/// ```
/// use crate::abstractions::dma_device;
/// use kernel::{device::Device, faux};
///
/// let registration = faux::Registration::new(c"rk_dma_heap_example", None)?;
/// let raw = crate::abstractions::version::faux_device(&registration);
/// // SAFETY: The device is valid as long as its registration.
/// let device: &Device = unsafe { Device::from_raw(raw) };
/// assert_eq!(dma_device::raw(device), raw);
/// assert_eq!(dma_device::max_segment_size(device), usize::MAX);
///
/// // SAFETY: The device is valid, and has no other user.
/// unsafe { dma_device::remove_dma_limits(raw) }?;
/// assert_eq!(dma_device::max_segment_size(device), u32::MAX as usize);
/// ```
pub(crate) fn max_segment_size(device: &Device) -> usize {
    // SAFETY: The device is valid. A driver sets its parameters before it attaches the device to a
    // dma-buf.
    let parameters = unsafe { (*raw(device)).dma_parms.as_ref() };
    match parameters.map(|parameters| parameters.max_segment_size) {
        None | Some(0) => usize::MAX,
        Some(size) => size as usize,
    }
}

/// Returns whether `device` cannot access `segment` itself: a mapping of it leads to a bounce
/// buffer, or fails because there is none. Does not sleep.
///
/// That is so for memory that the device cannot address, and for all memory with `swiotlb=force`
/// and in confidential guests. It is never so behind an IOMMU.
///
/// # Examples
///
/// ```
/// use crate::{abstractions::dma_device, decisions::segment::Segment};
/// use kernel::{device::Device, faux};
///
/// let registration = faux::Registration::new(c"rk_dma_heap_example", None)?;
/// let raw = crate::abstractions::version::faux_device(&registration);
/// // SAFETY: The device is valid as long as its registration.
/// let device: &Device = unsafe { Device::from_raw(raw) };
/// let page = Segment { pfn: 16, pages: 1 };
///
/// // SAFETY: The device is valid, and has no other user.
/// unsafe { dma_device::remove_dma_limits(raw) }?;
/// assert!(!dma_device::bounces(device, page));
/// // SAFETY: `remove_dma_limits()` has set the mask, and the device has no other user.
/// unsafe { *(*raw).dma_mask = page.address() };
/// assert!(dma_device::bounces(device, page));
/// ```
pub(crate) fn bounces(device: &Device, segment: Segment) -> bool {
    let base = segment.address() as bindings::phys_addr_t;
    // SAFETY: The device is valid. The function reads its limits and has no other requirements.
    unsafe { c::dma_bounces(raw(device), base, segment.bytes()) }
}

/// Returns the largest size in bytes that can be mapped for `device` as one entry, if some of its
/// memory goes through bounce buffers. Returns [`usize::MAX`] otherwise. Does not sleep.
pub(crate) fn max_bounced_size(device: &Device) -> usize {
    // SAFETY: The device is valid. The function reads its limits and has no other requirements.
    unsafe { c::dma_max_bounced_size(raw(device)) }
}

/// Returns whether some memory may be mapped for `device` through a copy: a bounce buffer, or one
/// that [nobody knows of](is_unknown). Does not sleep.
pub(crate) fn may_copy(device: &Device) -> bool {
    // SAFETY: The device is valid. The function reads its limits and has no other requirements.
    unsafe { c::may_copy(raw(device)) }
}

/// Returns whether nothing is known about how `device` accesses memory that is mapped for it. Does
/// not sleep.
///
/// That is so if a hypervisor maps memory by DMA operations of its own. It is also so for a device
/// on no bus, which stands for software: what `/dev/xen/gntdev` imports is accessed by CPUs of
/// other guests, through the caches.
///
/// # Examples
///
/// ```
/// use crate::abstractions::dma_device;
/// use kernel::{device::Device, faux};
///
/// let registration = faux::Registration::new(c"rk_dma_heap_example", None)?;
/// let raw = crate::abstractions::version::faux_device(&registration);
/// // SAFETY: The device is valid as long as its registration.
/// let device: &Device = unsafe { Device::from_raw(raw) };
/// // SAFETY: The device is valid, and has no other user.
/// unsafe { dma_device::remove_dma_limits(raw) }?;
/// assert!(!dma_device::is_unknown(device));
/// assert!(!dma_device::may_copy(device));
///
/// // SAFETY: The device is valid, and nothing else reads the bus meanwhile.
/// let bus = unsafe { core::mem::replace(&mut (*raw).bus, core::ptr::null()) };
/// assert!(dma_device::is_unknown(device));
/// assert!(dma_device::may_copy(device));
/// // SAFETY: As above.
/// unsafe { (*raw).bus = bus };
/// ```
pub(crate) fn is_unknown(device: &Device) -> bool {
    // SAFETY: The device is valid.
    unsafe { c::dma_unknown(raw(device)) }
}

/// Returns whether `device` snoops the CPU's caches. Does not sleep.
pub(crate) fn snoops(device: &Device) -> bool {
    // SAFETY: The device is valid.
    unsafe { c::dev_is_dma_coherent(raw(device)) }
}
