// SPDX-License-Identifier: GPL-2.0

//! The test driver that imports buffers: `/dev/rk_client/NAME`. It accesses buffers as a real
//! device and its driver do.
//!
//! C header: `tests/client/uapi.h`

mod attachment;
mod raw;

pub use attachment::{
    Attachment,
    Direction,
    Segment,
    View, //
};

use crate::dma_buf::Buffer;
use crate::kernel_module;
use crate::page_size;
use anyhow::{
    Context,
    Result, //
};
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};
use std::path::Path;

const MODULE: &str = "rk_client";
const MODULE_FILE: &str = "/lib/modules/rk_client.ko";
const DIRECTORY: &str = "/dev/rk_client";

/// `RK_CLIENT_USER`: the mapping of this process; accepted by [`Client::memory_type`] only.
const USER: u32 = 3;

/// The memory type in a page table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryType {
    Device,
    WriteCombined,
    WriteBack,
    /// Another type with its architecture-specific attribute.
    Other(u32),
}

/// An entry of a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The physical address of the byte that was looked up.
    pub physical_address: u64,
    pub writable: bool,
}

/// Returns whether the driver is loaded.
pub fn is_loaded() -> bool {
    kernel_module::is_loaded(MODULE)
}

/// Returns whether the module file of the driver exists.
pub fn is_available() -> bool {
    Path::new(MODULE_FILE).exists()
}

/// Loads the driver with `parameters` if it is not loaded.
pub fn load(parameters: &str) -> Result<()> {
    if is_loaded() {
        return Ok(());
    }
    reload(parameters)
}

/// Loads the driver with `parameters`, after it was unloaded if necessary.
pub fn reload(parameters: &str) -> Result<()> {
    kernel_module::reload(MODULE, Path::new(MODULE_FILE), parameters)
}

/// Unloads the driver and returns the result of the system call.
pub fn unload() -> nix::Result<()> {
    kernel_module::unload(MODULE)
}

/// An open device of the driver.
#[derive(Debug)]
pub struct Client(File);

impl Client {
    /// Opens the first device by name: a device of the device tree if there is one, else the device
    /// that the driver registers itself.
    pub fn open() -> Result<Self> {
        let entries =
            std::fs::read_dir(DIRECTORY).with_context(|| format!("cannot list {DIRECTORY}"))?;
        let names = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<Vec<_>>>()?;
        let first = names.iter().min().context("the driver has no device")?;
        Self::open_device(&first.to_string_lossy())
    }

    /// Opens a device by name.
    pub fn open_device(name: &str) -> Result<Self> {
        let path = Path::new(DIRECTORY).join(name);
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Client(file))
    }

    /// Attaches a buffer to the device.
    pub fn attach(&self, buffer: &Buffer) -> nix::Result<Attachment<'_>> {
        self.attach_sized(buffer, buffer.size().unwrap_or(0))
    }

    /// Attaches a buffer of known size to the device, which saves a system call.
    pub fn attach_sized(&self, buffer: &Buffer, len: usize) -> nix::Result<Attachment<'_>> {
        let mut argument = raw::Attach {
            fd: buffer.raw_fd(),
            handle: 0,
        };
        // SAFETY: The kernel only reads and writes `argument`.
        unsafe { raw::attach(self.0.as_raw_fd(), &mut argument) }?;
        Ok(Attachment {
            client: self,
            handle: argument.handle,
            len,
        })
    }

    /// Issues an ioctl that has no effect, because its handle does not exist.
    pub fn no_op(&self) -> nix::Result<()> {
        // SAFETY: The kernel only reads the handle.
        match unsafe { raw::unmap(self.0.as_raw_fd(), &0) } {
            Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error),
            // Valid handles start at 1.
            Ok(_) => Err(Errno::EEXIST),
        }
    }

    /// Uses the handle of an attachment to another open device with this one.
    pub fn foreign(&self, other: &Attachment<'_>) -> Attachment<'_> {
        Attachment {
            client: self,
            handle: other.handle,
            len: other.len,
        }
    }

    /// Attaches a buffer and maps it for the device for reading and writing.
    pub fn import(&self, buffer: &Buffer) -> Result<Attachment<'_>> {
        let attachment = self.attach(buffer).context("cannot attach the buffer")?;
        attachment
            .map(Direction::Both)
            .context("cannot map the buffer for the device")?;
        Ok(attachment)
    }

    /// Returns the memory type of `address` in the page tables of this process.
    pub fn memory_type(&self, address: usize) -> nix::Result<MemoryType> {
        self.query_type(0, USER, address as u64)
    }

    /// Lets the driver allocate and free `length` bytes of coherent memory for the device.
    pub fn allocates_coherent(&self, length: usize) -> nix::Result<()> {
        let argument = raw::Coherent {
            length: length as u64,
        };
        // SAFETY: The kernel only reads `argument`.
        unsafe { raw::coherent(self.0.as_raw_fd(), &argument) }.map(drop)
    }

    /// Maps `length` bytes into the kernel by `vmap()`, which take address space but no memory,
    /// until this is dropped.
    pub fn occupy_address_space(&self, length: usize) -> nix::Result<()> {
        let argument = raw::Coherent {
            length: length as u64,
        };
        // SAFETY: The kernel only reads `argument`.
        unsafe { raw::occupy(self.0.as_raw_fd(), &argument) }.map(drop)
    }

    /// Returns how many bytes below 4 GiB the kernel gives the driver at a time, without killing a
    /// process for them. They are free again when this returns.
    pub fn low_memory(&self) -> nix::Result<usize> {
        let mut argument = raw::Low::default();
        // SAFETY: The kernel only writes `argument`.
        unsafe { raw::low(self.0.as_raw_fd(), &mut argument) }?;
        Ok(argument.count as usize * page_size())
    }

    /// Returns how often the driver's own operations were called for a mapping that the exporter
    /// has set up, since the driver was loaded.
    pub fn late_calls(&self) -> nix::Result<u32> {
        let mut argument = raw::LateCalls::default();
        // SAFETY: The kernel only writes `argument`.
        unsafe { raw::late_calls(self.0.as_raw_fd(), &mut argument) }?;
        Ok(argument.count)
    }

    /// Returns the entry for `address` in the page tables of this process as a driver finds it, and
    /// `None` if there is none.
    pub fn follow(&self, address: usize) -> nix::Result<Option<Entry>> {
        let mut argument = raw::Follow {
            address: address as u64,
            ..raw::Follow::default()
        };
        // SAFETY: The kernel only reads and writes `argument`.
        match unsafe { raw::follow(self.0.as_raw_fd(), &mut argument) } {
            Ok(_) => Ok(Some(Entry {
                physical_address: argument.physical_address,
                writable: argument.writable != 0,
            })),
            Err(Errno::EINVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells the kernel that the page at a physical address has failed, and returns its answer.
    /// With `action_required` this process has accessed it.
    pub fn fail_page(
        &self,
        physical_address: u64,
        action_required: bool,
    ) -> nix::Result<nix::Result<()>> {
        let mut argument = raw::Fail {
            physical_address,
            action_required: action_required.into(),
            result: 0,
        };
        // SAFETY: The kernel only reads and writes `argument`.
        unsafe { raw::fail(self.0.as_raw_fd(), &mut argument) }?;
        Ok(match argument.result {
            0 => Ok(()),
            error => Err(Errno::from_raw(-error)),
        })
    }

    /// Exports a page of the driver. When a device is attached to it for the first time, another
    /// thread holds the reservation lock for that time, from before the core acquires it.
    pub fn export(&self, milliseconds: u32) -> nix::Result<Buffer> {
        let mut argument = raw::Export {
            milliseconds,
            ..raw::Export::default()
        };
        // SAFETY: The kernel only reads and writes `argument`.
        unsafe { raw::export(self.0.as_raw_fd(), &mut argument) }?;
        // SAFETY: The descriptor is new, and nobody else owns it.
        Ok(Buffer::from(unsafe { OwnedFd::from_raw_fd(argument.fd) }))
    }

    fn query_type(&self, handle: u32, view: u32, position: u64) -> nix::Result<MemoryType> {
        let mut argument = raw::TypeQuery {
            handle,
            view,
            position,
            memory_type: 0,
            attribute: 0,
        };
        // SAFETY: The kernel only reads and writes the struct.
        unsafe { raw::memory_type(self.0.as_raw_fd(), &mut argument) }?;
        Ok(match argument.memory_type {
            1 => MemoryType::Device,
            2 => MemoryType::WriteCombined,
            3 => MemoryType::WriteBack,
            _ => MemoryType::Other(argument.attribute),
        })
    }
}
