// SPDX-License-Identifier: GPL-2.0

//! The test driver that allocates from heaps through the kernel interface: `/dev/rk_allocator`.
//!
//! C header: `tests/client/allocator_uapi.h`

mod allocation;
mod raw;

use crate::dma_buf::Buffer;
use crate::kernel_module;
use crate::mapping::Mapping;
use crate::page_size;
use anyhow::{
    Context,
    Result, //
};
use nix::sys::mman::{
    MapFlags,
    ProtFlags, //
};
use std::fs::File;
use std::os::fd::{
    AsFd,
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};
use std::path::Path;

pub use allocation::Allocation;
pub use raw::Description;
use raw::{
    name,
    AllocationKind,
    CheckArgument,
    HoldArgument,
    OwnHeap,
    Request,
    NAME_SIZE, //
};

const MODULE: &str = "rk_allocator";
const MODULE_FILE: &str = "/lib/modules/rk_allocator.ko";
const NODE: &str = "/dev/rk_allocator";

/// The kernel functions that the driver calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Interface {
    /// `rk_dma_heap_*()`, linked.
    Rockchip,
    /// `dma_heap_*()`, looked up at run time.
    Android,
}

/// An invalid way to free a page array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Mistake {
    Short = 1,
    Long,
    SecondPage,
    ForeignPage,
}

/// The properties of the driver's own heap.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeapOptions {
    /// It has page arrays and single pages.
    pub contiguous: bool,
    /// An operation is missing.
    pub incomplete: bool,
    /// A heap without the operation to allocate buffers is permitted.
    pub permit_noalloc: bool,
    /// How long it takes to allocate a buffer.
    pub delay_ms: u32,
    /// The size of its pools.
    pub pool_bytes: u64,
    /// What it reports as handed out.
    pub handed_out: u64,
}

/// A check that the driver makes itself.
#[derive(Clone, Copy, Debug)]
pub enum Check<'a> {
    /// The DMA parameters of a device after its driver was unbound.
    UnboundDevice,
    /// So many single pages of this heap. An odd number of the round forbids to sleep.
    SinglePages(&'a str, usize, u32),
    /// A mapping of page frames: physical address and size in bytes.
    Frames(u64, usize),
    /// More puts than references to this heap.
    Puts(&'a str),
    /// Another heap of this name is added and removed.
    PassingHeap(&'a str),
}

/// Loads the driver if it is not loaded.
pub fn load() -> Result<()> {
    if kernel_module::is_loaded(MODULE) {
        return Ok(());
    }
    kernel_module::load(Path::new(MODULE_FILE), "")?
        .with_context(|| format!("cannot load {MODULE_FILE}"))
}

/// Unloads the driver and returns the result of the system call.
pub fn unload() -> nix::Result<()> {
    kernel_module::unload(MODULE)
}

/// An open file of the driver.
#[derive(Debug)]
pub struct Allocator(File);

impl Allocator {
    /// Loads the driver if it is not loaded, and opens its device.
    pub fn open() -> Result<Self> {
        load()?;
        let file = File::options().read(true).write(true).open(NODE);
        Ok(Allocator(
            file.with_context(|| format!("cannot open {NODE}"))?,
        ))
    }

    fn request(
        &self,
        interface: Interface,
        kind: AllocationKind,
        heap: &str,
        owner: Option<&str>,
        length: usize,
        heap_flags: u32,
    ) -> nix::Result<Request> {
        let mut request = Request {
            interface: interface as u32,
            kind: kind as u32,
            heap: name(heap)?,
            name: name(owner.unwrap_or(""))?,
            length: length as u64,
            fd_flags: (libc::O_RDWR | libc::O_CLOEXEC) as u32,
            heap_flags,
            fd: -1,
            handle: 0,
            physical_address: 0,
        };
        // SAFETY: The kernel only reads and writes `request`.
        unsafe { raw::allocate(self.0.as_raw_fd(), &mut request) }?;
        Ok(request)
    }

    /// Lets the driver allocate a buffer, to which the driver holds the reference.
    pub fn buffer(
        &self,
        interface: Interface,
        heap: &str,
        owner: Option<&str>,
        length: usize,
    ) -> nix::Result<Allocation<'_>> {
        let request = self.request(interface, AllocationKind::Buffer, heap, owner, length, 0)?;
        Ok(self.allocation(&request))
    }

    /// Lets the driver allocate a buffer of one byte with the given heap flags.
    pub fn buffer_with_flags(
        &self,
        interface: Interface,
        heap: &str,
        heap_flags: u32,
    ) -> nix::Result<Allocation<'_>> {
        let request = self.request(interface, AllocationKind::Buffer, heap, None, 1, heap_flags)?;
        Ok(self.allocation(&request))
    }

    /// Lets the driver allocate a buffer and install a descriptor for it in this process.
    pub fn descriptor(
        &self,
        interface: Interface,
        heap: &str,
        owner: Option<&str>,
        length: usize,
    ) -> nix::Result<Buffer> {
        let request = self.request(
            interface,
            AllocationKind::Descriptor,
            heap,
            owner,
            length,
            0,
        )?;
        // SAFETY: The kernel has installed this descriptor for this call; nothing else owns it.
        Ok(Buffer::from(unsafe { OwnedFd::from_raw_fd(request.fd) }))
    }

    /// Lets the driver allocate a page array.
    pub fn pages(
        &self,
        heap: &str,
        owner: Option<&str>,
        length: usize,
    ) -> nix::Result<Allocation<'_>> {
        let request = self.request(
            Interface::Rockchip,
            AllocationKind::Pages,
            heap,
            owner,
            length,
            0,
        )?;
        Ok(self.allocation(&request))
    }

    fn allocation(&self, request: &Request) -> Allocation<'_> {
        Allocation {
            allocator: self,
            handle: request.handle,
            physical_address: request.physical_address,
        }
    }

    /// Lets the driver register a heap of its own.
    pub fn add_heap(&self, heap: &str, contiguous: bool, incomplete: bool) -> nix::Result<()> {
        let options = HeapOptions {
            contiguous,
            incomplete,
            ..HeapOptions::default()
        };
        self.add_heap_with(heap, options)
    }

    /// Lets the driver register a heap of its own with these properties.
    pub fn add_heap_with(&self, heap: &str, options: HeapOptions) -> nix::Result<()> {
        let argument = OwnHeap {
            name: name(heap)?,
            contiguous: options.contiguous.into(),
            incomplete: options.incomplete.into(),
            permit_noalloc: options.permit_noalloc.into(),
            delay_ms: options.delay_ms,
            pool_bytes: options.pool_bytes,
            handed_out: options.handed_out,
        };
        // SAFETY: The kernel only reads `argument`.
        unsafe { raw::add_heap(self.0.as_raw_fd(), &argument) }.map(drop)
    }

    /// Lets the driver drop the reference to its own heap.
    pub fn remove_heap(&self) -> nix::Result<()> {
        // SAFETY: The ioctl has no argument.
        unsafe { raw::remove_heap(self.0.as_raw_fd()) }.map(drop)
    }

    /// Lets the driver forget its own heap, without dropping the reference.
    pub fn forget_heap(&self) -> nix::Result<()> {
        // SAFETY: The ioctl has no argument.
        unsafe { raw::forget_heap(self.0.as_raw_fd()) }.map(drop)
    }

    /// Lets the driver check something. Fails with `EIO` if a promise does not hold.
    pub fn check(&self, check: Check<'_>) -> nix::Result<()> {
        let mut argument = CheckArgument {
            heap: [0; NAME_SIZE],
            kind: 0,
            round: 0,
            address: 0,
            length: 0,
        };
        match check {
            Check::UnboundDevice => {}
            Check::SinglePages(heap, pages, round) => {
                argument.kind = 1;
                argument.heap = name(heap)?;
                argument.length = pages as u64;
                argument.round = round;
            }
            Check::Frames(address, size) => {
                argument.kind = 2;
                argument.address = address;
                argument.length = size as u64;
            }
            Check::Puts(heap) => {
                argument.kind = 3;
                argument.heap = name(heap)?;
            }
            Check::PassingHeap(heap) => {
                argument.kind = 4;
                argument.heap = name(heap)?;
            }
        }
        // SAFETY: The kernel only reads `argument`.
        unsafe { raw::check(self.0.as_raw_fd(), &argument) }.map(drop)
    }

    /// Lets the driver hold a reference to the page at `address`, until [`Allocator::let_go`].
    pub fn hold(&self, address: u64) -> nix::Result<()> {
        self.hold_pages(address, 1)
    }

    /// Lets the driver hold a reference to each of `pages` pages, until [`Allocator::let_go`].
    pub fn hold_pages(&self, address: u64, pages: usize) -> nix::Result<()> {
        let pages = pages as u64;
        // SAFETY: The kernel only reads the argument.
        unsafe { raw::hold(self.0.as_raw_fd(), &HoldArgument { address, pages }) }.map(drop)
    }

    /// Lets the driver drop the references that it holds.
    pub fn let_go(&self) -> nix::Result<()> {
        // SAFETY: The ioctl has no argument.
        unsafe { raw::let_go(self.0.as_raw_fd()) }.map(drop)
    }

    /// Maps the page of [`Allocator::hold`]. The mapping holds a reference to the page.
    pub fn map_held(&self) -> nix::Result<Mapping> {
        Mapping::of_fd(
            self.0.as_fd(),
            0,
            page_size(),
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
        )
    }

    /// Returns the properties of a heap as the kernel interface reports them.
    pub fn describe(&self, heap: &str) -> nix::Result<Description> {
        let mut description = Description {
            heap: name(heap)?,
            name: [0; NAME_SIZE],
            own_data: 0,
            no_data: 0,
            device_bits: 0,
            has_area: 0,
            set_no_device: 0,
            set_device: 0,
            set_bits: 0,
            set_segment_size: 0,
            buffers: 0,
            arrays: 0,
            returned: 0,
            padding: 0,
        };
        // SAFETY: The kernel only reads and writes the struct.
        unsafe { raw::describe(self.0.as_raw_fd(), &mut description) }?;
        Ok(description)
    }
}
