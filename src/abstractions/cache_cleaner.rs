// SPDX-License-Identifier: GPL-2.0

//! Cleaning the CPU's caches over memory that is accessed uncached.
//!
//! # Coherency of write-combined buffers
//!
//! The pages of a write-combined buffer are also mapped cached: in the kernel's linear map, and on
//! 32-bit arm in temporary mappings of high memory. Two mappings of different memory types are
//! coherent only if no cache line of the memory is dirty and nothing reads through the cached
//! mapping:
//!
//! * Only the kernel writes the pages through a cached mapping, to zero them before they are
//!   exported. [`Cleaner::clean`] then writes back and invalidates every line.
//! * While the pages are exported, user and kernel mappings are write-combined, and neither the
//!   kernel nor a driver accesses the pages through the linear map. A CPU may still load lines
//!   speculatively. Such lines are clean, so they are never written back, and nothing reads them: a
//!   device that snoops the caches, or is served by a copy that the kernel makes through the linear
//!   map, must not be attached to such a buffer or mapped for it.
//! * Freed pages are zeroed through the linear map before they back another buffer, which
//!   overwrites every such line, and cleaned again if that buffer is write-combined. Or they return
//!   to the page allocator or the area, whose next user does not rely on their content.
//!
//! On arm64 and 32-bit arm the streaming DMA interface cleans the caches, for a device that does
//! not snoop them. It takes physical addresses, maps high memory temporarily, and includes outer
//! caches. On x86 devices snoop, so a write-combined buffer has no advantage, and the memory type
//! of each page would have to be changed in the linear map first. Write-combined heaps are not
//! supported there ([`WRITE_COMBINED_WORKS`]).
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::{
    abstractions::{
        dma_buf::{
            DmaBuf,
            MappedAttachment, //
        },
        dma_device,
        sg_table::Direction,
        version, //
    },
    bindings as c,
    decisions::segment::Segment, //
};
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
    faux,
    ffi::c_ulong,
    prelude::*, //
};

/// Whether devices may not snoop the CPU's caches on this architecture.
const DEVICES_MAY_NOT_SNOOP: bool = cfg!(any(CONFIG_ARM64, CONFIG_ARM));

/// Whether the DMA interface of this architecture discards dirty lines of memory that it maps for a
/// device that only writes. What the CPU had written, such as zeroes, is lost where the device
/// writes nothing.
pub(crate) const MAPPING_DISCARDS: bool = cfg!(CONFIG_ARM);

/// Whether write-combined buffers are supported on this architecture.
pub(crate) const WRITE_COMBINED_WORKS: bool = DEVICES_MAY_NOT_SNOOP;

/// A device on the faux bus through which the CPU's caches are cleaned.
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
/// - The device has a 64-bit DMA mask.
/// - The device does not snoop the CPU's caches if the architecture has devices that do not.
/// - `reaches_memory` is whether the device accesses all memory without a bounce buffer.
#[must_use]
pub(crate) struct Cleaner {
    device: faux::Registration,
    /// What the device points to, so it is dropped after the device.
    _parameters: KBox<dma_device::Parameters>,
    reaches_memory: bool,
}

impl Cleaner {
    /// Creates a cleaner with a device named `name`.
    ///
    /// May sleep. Fails with `ENODEV` if the device cannot be created, and as
    /// [`dma_device::set_parameters`] does.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let mut parameters = KBox::new(pin_init::zeroed::<dma_device::Parameters>(), GFP_KERNEL)?;
        let registration = faux::Registration::new(name, None)?;
        let raw = version::faux_device(&registration);
        // INVARIANT: The device has no firmware node, so it keeps the architecture's default. On
        // arm and arm64 that is no snooping.
        // SAFETY: The device is valid. It was just created, so it has no other user. The parameters
        // live longer than its registration.
        unsafe { dma_device::set_parameters(raw, &raw mut *parameters) }?;
        // SAFETY: The device is valid as long as its registration.
        let device: &Device = unsafe { Device::from_raw(raw) };
        // INVARIANT: The device addresses all memory, so a bounce buffer is used for all memory or
        // for none.
        let reaches_memory = !dma_device::bounces(device, Segment { pfn: 0, pages: 1 });
        Ok(Self {
            device: registration,
            _parameters: parameters,
            reaches_memory,
        })
    }

    /// Returns whether [`Cleaner::clean`] works. It does not with `swiotlb=force` and in
    /// confidential guests: what it would clean is a bounce buffer, not the memory.
    pub(crate) fn reaches_memory(&self) -> bool {
        self.reaches_memory
    }

    /// Returns whether [`Cleaner::write_back`] works and some devices on this architecture may see
    /// its effect.
    #[inline]
    pub(crate) fn is_effective(&self) -> bool {
        DEVICES_MAY_NOT_SNOOP && self.reaches_memory
    }

    /// Writes back and invalidates every cache line of `segment`.
    ///
    /// Does not sleep. Fails with `EIO` if the memory cannot be mapped for the device, and unless
    /// [`Cleaner::reaches_memory`].
    ///
    /// # Safety
    ///
    /// The caller must own the segment's pages, and each of them must have a `struct page`.
    pub(crate) unsafe fn clean(&self, segment: Segment) -> Result {
        // Mapping writes the lines back. Unmapping invalidates them.
        // SAFETY: The safety requirements are the same.
        unsafe { self.with_mapping(segment, DataDirection::Bidirectional, 0, |_, _| ()) }
    }

    /// Writes back every cache line of `segment`, which may stay in the caches.
    ///
    /// That is half of the work of [`Cleaner::clean`], and enough for memory that is mapped cached:
    /// a line that is not dirty is never written over what a device writes to the memory.
    ///
    /// Does not sleep. Fails as [`Cleaner::clean`] does.
    ///
    /// # Safety
    ///
    /// As for [`Cleaner::clean`].
    pub(crate) unsafe fn write_back(&self, segment: Segment) -> Result {
        // Mapping writes the lines back. The device does not write, so unmapping does nothing.
        // SAFETY: The safety requirements are the same.
        unsafe { self.with_mapping(segment, DataDirection::ToDevice, 0, |_, _| ()) }
    }

    /// Makes what devices that do not snoop have written to `segment` visible to the CPU.
    ///
    /// Does not sleep. Fails with `EIO` if the memory cannot be mapped for the device, or only
    /// through a bounce buffer.
    ///
    /// # Safety
    ///
    /// As for [`Cleaner::clean`].
    pub(crate) unsafe fn sync_for_cpu(&self, segment: Segment, direction: Direction) -> Result {
        let sync = |device, address| {
            // SAFETY: The memory is mapped for the device at this address.
            unsafe { c::dma_sync_single_for_cpu(device, address, segment.bytes(), direction) };
        };
        // SAFETY: The safety requirements are the same.
        unsafe { self.without_maintenance(segment, sync) }
    }

    /// Makes what the CPU has written to `segment` visible to devices that do not snoop.
    ///
    /// Does not sleep. Fails as [`Cleaner::sync_for_cpu`] does.
    ///
    /// # Safety
    ///
    /// As for [`Cleaner::clean`].
    pub(crate) unsafe fn sync_for_device(&self, segment: Segment, direction: Direction) -> Result {
        let sync = |device, address| {
            // SAFETY: The memory is mapped for the device at this address.
            unsafe { c::dma_sync_single_for_device(device, address, segment.bytes(), direction) };
        };
        // SAFETY: The safety requirements are the same.
        unsafe { self.without_maintenance(segment, sync) }
    }

    /// Calls `sync` while `segment` is mapped for the device. Mapping and unmapping themselves do
    /// no cache maintenance.
    ///
    /// # Safety
    ///
    /// As for [`Cleaner::clean`].
    unsafe fn without_maintenance(
        &self,
        segment: Segment,
        sync: impl FnOnce(*mut bindings::device, bindings::dma_addr_t),
    ) -> Result {
        // The debugging of the DMA interface accepts any direction of a sync then.
        let direction = DataDirection::Bidirectional;
        // SAFETY: The safety requirements are the same.
        unsafe { self.with_mapping(segment, direction, c::DMA_ATTR_SKIP_CPU_SYNC, sync) }
    }

    /// Calls `sync` while `segment` is mapped for the device in `direction` with `attributes`. Does
    /// nothing if all devices snoop the caches.
    ///
    /// # Safety
    ///
    /// As for [`Cleaner::clean`].
    unsafe fn with_mapping(
        &self,
        segment: Segment,
        direction: DataDirection,
        attributes: c_ulong,
        sync: impl FnOnce(*mut bindings::device, bindings::dma_addr_t),
    ) -> Result {
        if !DEVICES_MAY_NOT_SNOOP {
            return Ok(());
        }
        // The maintenance would be that of a bounce buffer.
        if !self.reaches_memory {
            return Err(EIO);
        }
        let device = version::faux_device(&self.device);
        let size = segment.bytes();
        let direction = direction.into();
        // SAFETY: By the safety requirements the pages are valid. By the type invariants the device
        // has a DMA mask.
        let address = unsafe {
            let head = c::pfn_to_page(segment.pfn);
            bindings::dma_map_page_attrs(device, head, 0, size, direction, attributes)
        };
        // SAFETY: The address was returned by a mapping for this device.
        if unsafe { c::dma_mapping_error(device, address) } != 0 {
            return Err(EIO);
        }
        sync(device, address);
        // SAFETY: The memory was mapped above with these arguments.
        unsafe { bindings::dma_unmap_page_attrs(device, address, size, direction, attributes) };
        Ok(())
    }

    /// Attaches the device to `dma_buf` and maps the memory for it.
    ///
    /// May sleep. Fails as [`MappedAttachment::new`] does.
    pub(crate) fn attach<'a>(&'a self, dma_buf: &'a DmaBuf) -> Result<MappedAttachment<'a>> {
        // SAFETY: The device lives as long as `self`, and has a DMA mask by the type invariants.
        unsafe { MappedAttachment::new(dma_buf, self.device()) }
    }

    /// Returns the device. It is valid as long as `self`.
    pub(crate) fn device(&self) -> *mut bindings::device {
        version::faux_device(&self.device)
    }
}
