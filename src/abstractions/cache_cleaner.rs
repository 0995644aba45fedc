// SPDX-License-Identifier: GPL-2.0

//! Cleaning the CPU's caches over memory, before it is seen past them.
//!
//! # What makes a write-combined buffer right
//!
//! Its pages are also mapped, cached, in the kernel's linear map (and, on 32-bit arm, in the
//! passing mappings of high memory). The same memory is thus mapped with two memory types, which is
//! right only as long as no cache line of it is dirty, and as long as nobody reads it through the
//! cached mapping:
//!
//! * Whoever writes the pages through a cached mapping does it before they are handed out: the
//!   kernel, to zero them. [`Cleaner::clean`] then writes every line back to memory and drops it.
//! * While they are handed out, user and kernel mappings are write-combined, and neither the kernel
//!   nor a driver touches them through the linear map. A CPU may still load lines through it
//!   speculatively; such lines are clean, so they are never written back over what was written past
//!   the cache, and nobody reads them.
//! * When they come back they are zeroed first of all, which overwrites every such line whole, and
//!   cleaned again where the next buffer is write-combined.
//!
//! On **arm64** and **32-bit arm** the cleaning is the streaming DMA interface's own, for a device
//! that does not snoop the caches: it works by physical address, maps high memory for the time it
//! needs, and reaches outer caches too. On **x86** devices snoop, so a write-combined buffer would
//! gain nothing, and mapping it would need every page's type to be changed in the linear map first:
//! there, write-combined heaps are left out ([`WRITE_COMBINED_WORKS`]).
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::{
    abstractions::{
        dma_buf::{
            DmaBuf,
            MappedAttachment, //
        },
        dma_device,
        version, //
    },
    bindings as c,
    decisions::segment::Segment, //
};
use kernel::{
    bindings,
    dma::DataDirection,
    faux,
    prelude::*, //
};

/// Whether this kernel's architecture can have write-combined buffers.
pub(crate) const WRITE_COMBINED_WORKS: bool = cfg!(any(CONFIG_ARM64, CONFIG_ARM));

/// Cleans the CPU's caches over memory.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     cache_cleaner::Cleaner,
///     pages::{PageRun, Reclaim, Zone},
/// };
///
/// let cleaner = Cleaner::new(c"example")?;
/// let mut run = PageRun::allocate(0, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?;
/// run.zero();
/// run.clean(&cleaner)?;
/// ```
///
/// # Invariants
///
/// The device has a DMA mask that reaches all memory, and does not snoop the CPU's caches where the
/// architecture lets a device choose.
pub(crate) struct Cleaner {
    device: faux::Registration,
}

impl Cleaner {
    /// A cleaner, with a device named `name` on the faux bus.
    ///
    /// May sleep. Fails with `ENODEV` where there can be no such device, or as `dma_set_mask()`
    /// does.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let this = Self {
            device: faux::Registration::new(name, None)?,
        };
        // INVARIANT: No firmware describes the device, so it keeps the architecture's default: on
        // arm, no snooping. SAFETY: The device was just made, nobody else uses it yet.
        unsafe { dma_device::reach_everything(version::faux_device(&this.device)) }?;
        Ok(this)
    }

    /// Writes every cache line of `segment` back to memory and drops it.
    ///
    /// Does not sleep. Fails with `EIO` where the memory cannot be mapped for the device.
    ///
    /// # Safety
    ///
    /// The caller must own the segment's pages, and they must have a `struct page`.
    pub(crate) unsafe fn clean(&self, segment: Segment) -> Result {
        let device = version::faux_device(&self.device);
        let direction = DataDirection::Bidirectional.into();
        // SAFETY: The pages are valid, as the caller promises, and the device has a DMA mask.
        let address = unsafe {
            let head = c::pfn_to_page(segment.pfn);
            bindings::dma_map_page_attrs(device, head, 0, segment.bytes(), direction, 0)
        };
        // SAFETY: The address is what the mapping of this device gave.
        if unsafe { c::dma_mapping_error(device, address) } != 0 {
            return Err(EIO);
        }
        // Mapping has written the lines back; unmapping drops them.
        // SAFETY: The mapping was just made with these values.
        unsafe { bindings::dma_unmap_page_attrs(device, address, segment.bytes(), direction, 0) };
        Ok(())
    }

    /// Attaches the device to `dma_buf` for a moment. May sleep. Fails as [`MappedAttachment::new`]
    /// does.
    pub(crate) fn glance<'a>(&'a self, dma_buf: &'a DmaBuf) -> Result<MappedAttachment<'a>> {
        // SAFETY: The device is there as long as this value, and can do DMA, by the type's
        // invariant.
        unsafe { MappedAttachment::new(dma_buf, self.device()) }
    }

    /// The device, for whoever needs one that reaches all memory.
    pub(crate) fn device(&self) -> *mut bindings::device {
        version::faux_device(&self.device)
    }
}
