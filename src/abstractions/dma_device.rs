// SPDX-License-Identifier: GPL-2.0

//! What a device can reach by DMA.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::bindings as c;
use kernel::{
    bindings,
    device::Device,
    error::to_result,
    prelude::*, //
};

/// The C structure of a device.
pub(crate) fn raw(device: &Device) -> *mut bindings::device {
    // A `Device` is nothing but the C structure, and may be changed through a shared reference.
    core::ptr::from_ref(device).cast_mut().cast()
}

/// Gives `device` a 64-bit DMA mask and the largest segment size.
///
/// May sleep. Fails with `ENOMEM`, or as `dma_set_mask()` does.
///
/// # Safety
///
/// The device must be valid, and nobody may use it for DMA meanwhile.
pub(crate) unsafe fn reach_everything(device: *mut bindings::device) -> Result {
    // SAFETY: As the caller promises. What is allocated goes with the device.
    unsafe {
        to_result(c::dma_coerce_mask_and_coherent(device, u64::MAX))?;
        if (*device).dma_parms.is_null() {
            let size = size_of::<bindings::device_dma_parameters>();
            let parameters =
                c::devm_kmalloc(device, size, bindings::GFP_KERNEL | bindings::__GFP_ZERO);
            if parameters.is_null() {
                return Err(ENOMEM);
            }
            (*device).dma_parms = parameters.cast();
        }
        (*(*device).dma_parms).max_segment_size = u32::MAX;
    }
    Ok(())
}

/// The longest segment, in bytes, that `device` says it takes.
///
/// The DMA interface takes 64 KiB for the answer of a device that says nothing. Most of those only
/// never said it, and count on memory that is contiguous to come as one segment, as it does from
/// the kernel's own heaps: they get any.
pub(crate) fn longest_segment(device: &Device) -> usize {
    // SAFETY: The device is valid, and a driver sets its parameters before it attaches the device
    // to anything.
    let parameters = unsafe { (*raw(device)).dma_parms.as_ref() };
    match parameters.map(|parameters| parameters.max_segment_size) {
        None | Some(0) => usize::MAX,
        Some(longest) => longest as usize,
    }
}
