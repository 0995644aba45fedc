// SPDX-License-Identifier: GPL-2.0

//! What a device can reach by DMA.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::bindings as c;
use kernel::{bindings, error::to_result, prelude::*};

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
