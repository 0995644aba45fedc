// SPDX-License-Identifier: GPL-2.0

//! Devices that look at buffers the way a real device and its driver would: `/dev/rk_client/NAME`.
//!
//! C header: `tests/client/uapi.h`

use crate::dma_buf::Buffer;
use crate::kernel_module;
use anyhow::{
    Context,
    Result, //
};
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

const MODULE: &str = "rk_client";
const MODULE_FILE: &str = "/lib/modules/rk_client.ko";
const DIRECTORY: &str = "/dev/rk_client";

/// Where memory is seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum View {
    /// The memory that the device reaches, through the kernel's own, cached mapping of it.
    Cached,
    /// The same through a fresh mapping that bypasses the caches, as a device that does not snoop.
    Uncached,
    /// The exporter's kernel mapping, after [`Attachment::vmap`].
    Kernel,
}

/// `RK_CLIENT_USER`: where memory is seen from, too, but only by [`Client::memory_type`].
const USER: u32 = 3;

/// `enum rk_client_operation`
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Operation {
    Read,
    Write,
    Fill,
    FindNonzero,
}

/// How the page tables say that the CPU treats memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryType {
    Device,
    WriteCombined,
    WriteBack,
    /// Something else: what the architecture calls it.
    Other(u32),
}

/// A direction of DMA, as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    Both,
    ToDevice,
    FromDevice,
}

/// A piece of a buffer, as the device gets to see it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    pub dma_address: u64,
    pub physical_address: u64,
    pub length: u64,
}

#[repr(C)]
pub struct Attach {
    fd: i32,
    handle: u32,
}

#[repr(C)]
pub struct Transfer {
    handle: u32,
    direction: u32,
}

#[repr(C)]
pub struct Segments {
    handle: u32,
    count: u32,
    segments: u64,
}

#[repr(C)]
pub struct Access {
    handle: u32,
    view: u32,
    operation: u32,
    value: u32,
    offset: u64,
    length: u64,
    data: u64,
    found: u64,
}

#[repr(C)]
pub struct TypeQuery {
    handle: u32,
    view: u32,
    position: u64,
    memory_type: u32,
    attribute: u32,
}

#[repr(C)]
pub struct Hold {
    handle: u32,
    milliseconds: u32,
}

#[repr(C)]
pub struct Coherent {
    length: u64,
}

mod raw {
    use super::{
        Access,
        Attach,
        Coherent,
        Hold,
        Segments,
        Transfer,
        TypeQuery, //
    };

    nix::ioctl_readwrite!(attach, b'r', 0x00, Attach);
    nix::ioctl_write_ptr!(detach, b'r', 0x01, u32);
    nix::ioctl_write_ptr!(map, b'r', 0x02, Transfer);
    nix::ioctl_write_ptr!(unmap, b'r', 0x03, u32);
    nix::ioctl_readwrite!(segments, b'r', 0x04, Segments);
    nix::ioctl_readwrite!(access, b'r', 0x05, Access);
    nix::ioctl_write_ptr!(vmap, b'r', 0x06, u32);
    nix::ioctl_write_ptr!(vunmap, b'r', 0x07, u32);
    nix::ioctl_write_ptr!(begin, b'r', 0x08, Transfer);
    nix::ioctl_write_ptr!(end, b'r', 0x09, Transfer);
    nix::ioctl_readwrite!(memory_type, b'r', 0x0a, TypeQuery);
    nix::ioctl_write_ptr!(hold, b'r', 0x0b, Hold);
    nix::ioctl_write_ptr!(coherent, b'r', 0x0c, Coherent);
}

/// Whether the driver is loaded.
pub fn is_loaded() -> bool {
    kernel_module::is_loaded(MODULE)
}

/// Whether the driver can be loaded.
pub fn is_available() -> bool {
    Path::new(MODULE_FILE).exists()
}

/// Loads the driver, unless it is loaded. `parameters` only count if it was not.
pub fn load(parameters: &str) -> Result<()> {
    if is_loaded() {
        return Ok(());
    }
    kernel_module::load(Path::new(MODULE_FILE), parameters)?
        .with_context(|| format!("cannot load {MODULE_FILE} with {parameters:?}"))
}

/// Unloads the driver; the kernel's own answer.
pub fn unload() -> nix::Result<()> {
    kernel_module::unload(MODULE)
}

/// A device, open.
#[derive(Debug)]
pub struct Client(File);

impl Client {
    /// Opens a device: the first of the device tree's by name, else the one that the driver makes
    /// itself.
    pub fn open() -> Result<Self> {
        let entries =
            std::fs::read_dir(DIRECTORY).with_context(|| format!("cannot list {DIRECTORY}"))?;
        let names = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<Vec<_>>>()?;
        let first = names.iter().min().context("the driver has no device")?;
        Self::open_device(&first.to_string_lossy())
    }

    /// Opens the device of that name.
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

    /// The same with a buffer whose size is known, which is one call of the kernel less.
    pub fn attach_sized(&self, buffer: &Buffer, len: usize) -> nix::Result<Attachment<'_>> {
        let mut argument = Attach {
            fd: buffer.raw_fd(),
            handle: 0,
        };
        // SAFETY: The kernel reads and writes the one struct.
        unsafe { raw::attach(self.0.as_raw_fd(), &mut argument) }?;
        Ok(Attachment {
            client: self,
            handle: argument.handle,
            len,
        })
    }

    /// A request for which nothing is done: there is no such handle.
    pub fn nothing(&self) -> nix::Result<()> {
        // SAFETY: The kernel reads one number.
        match unsafe { raw::unmap(self.0.as_raw_fd(), &0) } {
            Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error),
            // Handles begin with 1.
            Ok(_) => Err(Errno::EEXIST),
        }
    }

    /// The handle of an attachment to another open device, used with this one.
    pub fn foreign(&self, other: &Attachment<'_>) -> Attachment<'_> {
        Attachment {
            client: self,
            handle: other.handle,
            len: other.len,
        }
    }

    /// Attaches a buffer and maps it for the device, which may then read and write it.
    pub fn import(&self, buffer: &Buffer) -> Result<Attachment<'_>> {
        let attachment = self.attach(buffer).context("cannot attach the buffer")?;
        attachment
            .map(Direction::Both)
            .context("cannot map the buffer for the device")?;
        Ok(attachment)
    }

    /// How this process's page tables say that `address` is treated.
    pub fn memory_type(&self, address: usize) -> nix::Result<MemoryType> {
        self.query_type(0, USER, address as u64)
    }

    /// Whether the device's driver gets `length` bytes of coherent memory, which it gives back at
    /// once.
    pub fn allocates_coherent(&self, length: usize) -> nix::Result<()> {
        let argument = Coherent {
            length: length as u64,
        };
        // SAFETY: The kernel reads the one struct.
        unsafe { raw::coherent(self.0.as_raw_fd(), &argument) }.map(drop)
    }

    fn query_type(&self, handle: u32, view: u32, position: u64) -> nix::Result<MemoryType> {
        let mut argument = TypeQuery {
            handle,
            view,
            position,
            memory_type: 0,
            attribute: 0,
        };
        // SAFETY: The kernel reads and writes the one struct.
        unsafe { raw::memory_type(self.0.as_raw_fd(), &mut argument) }?;
        Ok(match argument.memory_type {
            1 => MemoryType::Device,
            2 => MemoryType::WriteCombined,
            3 => MemoryType::WriteBack,
            _ => MemoryType::Other(argument.attribute),
        })
    }
}

/// A buffer that is attached to a device; detached when dropped.
#[derive(Debug)]
pub struct Attachment<'a> {
    client: &'a Client,
    handle: u32,
    len: usize,
}

impl Attachment<'_> {
    fn fd(&self) -> i32 {
        self.client.0.as_raw_fd()
    }

    fn transfer(&self, direction: Direction) -> Transfer {
        Transfer {
            handle: self.handle,
            direction: direction as u32,
        }
    }

    /// Maps the buffer for the device.
    pub fn map(&self, direction: Direction) -> nix::Result<()> {
        // SAFETY: The kernel reads the one struct.
        unsafe { raw::map(self.fd(), &self.transfer(direction)) }.map(drop)
    }

    /// Holds the buffer's reservation lock for that time.
    pub fn hold(&self, milliseconds: u32) -> nix::Result<()> {
        let hold = Hold {
            handle: self.handle,
            milliseconds,
        };
        // SAFETY: The kernel reads the one struct.
        unsafe { raw::hold(self.fd(), &hold) }.map(drop)
    }

    /// Undoes [`Attachment::map`].
    pub fn unmap(&self) -> nix::Result<()> {
        // SAFETY: The kernel reads one number.
        unsafe { raw::unmap(self.fd(), &self.handle) }.map(drop)
    }

    /// Has the exporter map the buffer for the kernel.
    pub fn vmap(&self) -> nix::Result<()> {
        // SAFETY: The kernel reads one number.
        unsafe { raw::vmap(self.fd(), &self.handle) }.map(drop)
    }

    /// Undoes [`Attachment::vmap`].
    pub fn vunmap(&self) -> nix::Result<()> {
        // SAFETY: The kernel reads one number.
        unsafe { raw::vunmap(self.fd(), &self.handle) }.map(drop)
    }

    /// `dma_buf_begin_cpu_access()`
    pub fn begin_cpu_access(&self, direction: Direction) -> nix::Result<()> {
        // SAFETY: The kernel reads the one struct.
        unsafe { raw::begin(self.fd(), &self.transfer(direction)) }.map(drop)
    }

    /// `dma_buf_end_cpu_access()`
    pub fn end_cpu_access(&self, direction: Direction) -> nix::Result<()> {
        // SAFETY: The kernel reads the one struct.
        unsafe { raw::end(self.fd(), &self.transfer(direction)) }.map(drop)
    }

    /// The pieces of the buffer, as they are mapped for the device.
    pub fn segments(&self) -> nix::Result<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            let mut argument = Segments {
                handle: self.handle,
                count: segments.len() as u32,
                segments: segments.as_mut_ptr() as u64,
            };
            // SAFETY: The kernel writes the struct and at most `count` segments.
            unsafe { raw::segments(self.fd(), &mut argument) }?;
            let count = argument.count as usize;
            if count <= segments.len() {
                segments.truncate(count);
                return Ok(segments);
            }
            segments.resize(count, Segment::default());
        }
    }

    fn access(
        &self,
        view: View,
        operation: Operation,
        offset: usize,
        length: usize,
        value: u8,
        data: u64,
    ) -> nix::Result<u64> {
        let mut argument = Access {
            handle: self.handle,
            view: view as u32,
            operation: operation as u32,
            value: value.into(),
            offset: offset as u64,
            length: length as u64,
            data,
            found: 0,
        };
        // SAFETY: The kernel reads and writes the struct, and what `data` points to if the
        // operation says so.
        unsafe { raw::access(self.fd(), &mut argument) }?;
        Ok(argument.found)
    }

    /// Reads from the buffer.
    pub fn read(&self, view: View, offset: usize, bytes: &mut [u8]) -> nix::Result<()> {
        let data = bytes.as_mut_ptr() as u64;
        self.access(view, Operation::Read, offset, bytes.len(), 0, data)
            .map(drop)
    }

    /// Writes to the buffer.
    pub fn write(&self, view: View, offset: usize, bytes: &[u8]) -> nix::Result<()> {
        let data = bytes.as_ptr() as u64;
        self.access(view, Operation::Write, offset, bytes.len(), 0, data)
            .map(drop)
    }

    /// Fills the whole buffer with one byte.
    pub fn fill(&self, view: View, value: u8) -> nix::Result<()> {
        self.access(view, Operation::Fill, 0, self.len, value, 0)
            .map(drop)
    }

    /// The place of the first byte that is not zero.
    pub fn find_nonzero(&self, view: View) -> nix::Result<Option<usize>> {
        let found = self.access(view, Operation::FindNonzero, 0, self.len, 0, 0)? as usize;
        Ok((found < self.len).then_some(found))
    }

    /// How the kernel's page tables say that the memory at `offset` is treated, seen from `view`.
    pub fn memory_type(&self, view: View, offset: usize) -> nix::Result<MemoryType> {
        self.client
            .query_type(self.handle, view as u32, offset as u64)
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        // SAFETY: The kernel reads one number.
        let _ = unsafe { raw::detach(self.fd(), &self.handle) };
    }
}
