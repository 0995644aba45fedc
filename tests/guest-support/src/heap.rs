// SPDX-License-Identifier: GPL-2.0

//! DMA-BUF heaps: `/dev/dma_heap/NAME`.
//!
//! C header: `include/uapi/linux/dma-heap.h`

use crate::dma_buf::Buffer;
use crate::expect_errno;
use anyhow::{
    bail,
    Context,
    Result, //
};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::fs::{
    File,
    OpenOptions, //
};
use std::os::fd::{
    AsFd,
    AsRawFd,
    BorrowedFd,
    FromRawFd,
    OwnedFd,
    RawFd, //
};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{
    Path,
    PathBuf, //
};
use std::time::{
    Duration,
    Instant, //
};

/// The directory of the heaps' device nodes.
pub const HEAP_DIRECTORY: &str = "/dev/dma_heap";

/// `struct dma_heap_allocation_data`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocationData {
    pub len: u64,
    pub fd: u32,
    pub fd_flags: u32,
    pub heap_flags: u64,
}

const _: () = assert!(size_of::<AllocationData>() == 24);

impl AllocationData {
    /// Creates a request for a readable and writable buffer with a close-on-exec descriptor.
    pub fn read_write(len: u64) -> Self {
        AllocationData {
            len,
            fd_flags: (libc::O_RDWR | libc::O_CLOEXEC) as u32,
            ..Default::default()
        }
    }

    /// Returns the bytes of the struct, for ioctls with other struct sizes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of::<Self>());
        bytes.extend_from_slice(&self.len.to_ne_bytes());
        bytes.extend_from_slice(&self.fd.to_ne_bytes());
        bytes.extend_from_slice(&self.fd_flags.to_ne_bytes());
        bytes.extend_from_slice(&self.heap_flags.to_ne_bytes());
        bytes
    }
}

/// The copy direction that is encoded in an ioctl number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    None,
    Write,
    Read,
    ReadWrite,
}

/// The parts of an ioctl number. `Request::default()` is `DMA_HEAP_IOCTL_ALLOC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub direction: Direction,
    pub ioctl_type: u8,
    pub number: u8,
    pub size: usize,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            direction: Direction::ReadWrite,
            ioctl_type: b'H',
            number: 0,
            size: size_of::<AllocationData>(),
        }
    }
}

impl Request {
    /// The ioctl that the vendor's drivers and libraries use on `/dev/rk_dma_heap/*`.
    pub fn vendor() -> Self {
        Request {
            ioctl_type: b'R',
            ..Default::default()
        }
    }

    /// The standard ioctl with another struct size.
    pub fn of_size(size: usize) -> Self {
        Request {
            size,
            ..Default::default()
        }
    }

    /// Returns the encoded ioctl number.
    pub fn code(&self) -> u32 {
        let code = match self.direction {
            Direction::None => {
                // `_IO` cannot encode a size, so the number is derived from `_IOW`.
                let write_only = nix::request_code_write!(self.ioctl_type, self.number, self.size);
                write_only & !nix::request_code_write!(0u8, 0u8, 0usize)
            }
            Direction::Write => nix::request_code_write!(self.ioctl_type, self.number, self.size),
            Direction::Read => nix::request_code_read!(self.ioctl_type, self.number, self.size),
            Direction::ReadWrite => {
                nix::request_code_readwrite!(self.ioctl_type, self.number, self.size)
            }
        };
        #[allow(clippy::unnecessary_cast)] // wider on some architectures
        let code = code as u32;
        code
    }
}

/// Returns whether a heap, by its name or path, is the module's, not the kernel's own.
pub fn is_own(heap: &str) -> Result<bool> {
    let name = heap.rsplit('/').next().unwrap_or(heap);
    let list = std::fs::read_to_string("/proc/rk_dma_heap/heaps")?;
    let mut names = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next());
    Ok(name == "rk-dma-heap-cma" || names.any(|own| own == name))
}

/// Returns the sorted names of all heaps in `/dev/dma_heap`.
pub fn names() -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(HEAP_DIRECTORY) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot list {HEAP_DIRECTORY}"))?,
    };
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// An open heap.
#[derive(Debug)]
pub struct Heap {
    path: PathBuf,
    file: File,
}

impl Heap {
    /// Opens a heap by name for reading and writing.
    pub fn open(name: &str) -> Result<Self> {
        Self::open_with(name, OFlag::O_RDWR)
    }

    /// Opens a heap by name with the given flags.
    pub fn open_with(name: &str, flags: OFlag) -> Result<Self> {
        Self::open_path(&Path::new(HEAP_DIRECTORY).join(name), flags)
    }

    /// Opens a heap by the path of its device node.
    pub fn open_path(path: &Path, flags: OFlag) -> Result<Self> {
        let mode = flags & OFlag::O_ACCMODE;
        let file = OpenOptions::new()
            .read(mode != OFlag::O_WRONLY)
            .write(mode != OFlag::O_RDONLY)
            .custom_flags((flags & !OFlag::O_ACCMODE).bits())
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Heap {
            path: path.to_owned(),
            file,
        })
    }

    /// Returns the path of the device node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Allocates a readable and writable buffer with a close-on-exec descriptor.
    pub fn allocate(&self, len: usize) -> Result<Buffer> {
        self.allocate_with(&AllocationData::read_write(len as u64))
            .with_context(|| format!("cannot allocate {len} bytes from {}", self.path.display()))
    }

    /// Returns the time in which a request for `len` bytes fails with `ENOMEM`. The shortest of
    /// some tries counts, because the machine may be busy.
    pub fn refusal(&self, len: u64) -> Result<Duration> {
        const TRIES: usize = 4;
        let mut shortest = Duration::MAX;
        for _ in 0..TRIES {
            let start = Instant::now();
            let answer = self.allocate_with(&AllocationData::read_write(len));
            shortest = start.elapsed().min(shortest);
            expect_errno(format!("{len:#x} bytes"), answer, Errno::ENOMEM)?;
        }
        Ok(shortest)
    }

    /// Allocates buffers of `len` bytes until that fails with `ENOMEM`.
    pub fn exhaust(&self, len: usize) -> Result<Vec<Buffer>> {
        let data = AllocationData::read_write(len as u64);
        let mut held = Vec::new();
        loop {
            match self.allocate_with(&data) {
                Ok(buffer) => held.push(buffer),
                Err(Errno::ENOMEM) => return Ok(held),
                Err(errno) => bail!("allocation fails with {errno:?}, expected ENOMEM"),
            }
        }
    }

    /// Allocates a buffer as specified by `data`; `data` is not changed.
    pub fn allocate_with(&self, data: &AllocationData) -> nix::Result<Buffer> {
        let mut data = *data;
        self.allocate_raw(&mut data)?;
        let fd = RawFd::try_from(data.fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: The kernel has installed this descriptor for this call; nothing else owns it.
        Ok(Buffer::from(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Issues the ioctl. The kernel writes its results to `data`. On success the caller owns the
    /// new descriptor `data.fd`.
    pub fn allocate_raw(&self, data: &mut AllocationData) -> nix::Result<i32> {
        // SAFETY: `data` has the size of the request and is mutably borrowed.
        unsafe { self.ioctl_at(Request::default(), std::ptr::from_mut(data) as usize) }
    }

    /// Issues any ioctl with `argument` as its argument.
    ///
    /// # Panics
    ///
    /// Panics if `argument` is shorter than the size of the request, because the kernel would write
    /// past its end.
    pub fn ioctl(&self, request: Request, argument: &mut [u8]) -> nix::Result<i32> {
        assert!(argument.len() >= request.size);
        // SAFETY: `argument` has at least `request.size` bytes, as checked above, and is mutably
        // borrowed.
        unsafe { self.ioctl_at(request, argument.as_mut_ptr() as usize) }
    }

    /// Issues any ioctl with any address as its argument.
    ///
    /// # Safety
    ///
    /// The `request.size` bytes at `address` must be either unmapped or writable by the kernel.
    pub unsafe fn ioctl_at(&self, request: Request, address: usize) -> nix::Result<i32> {
        // SAFETY: By the safety requirements of this function.
        Errno::result(unsafe {
            libc::ioctl(
                self.file.as_raw_fd(),
                request.code() as libc::Ioctl,
                address,
            )
        })
    }
}

impl AsFd for Heap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Existing binaries contain these numbers.
    #[test]
    fn request_codes_match_the_uapi() {
        assert_eq!(Request::default().code(), 0xc018_4800);
        assert_eq!(Request::vendor().code(), 0xc018_5200);
        assert_eq!(Request::of_size(16).code(), 0xc010_4800);
        let none = Request {
            direction: Direction::None,
            ..Default::default()
        };
        assert_eq!(none.code(), 0x0018_4800);
    }

    #[test]
    fn bytes_match_the_struct() {
        let data = AllocationData {
            len: 0x0102_0304_0506_0708,
            fd: 9,
            fd_flags: 10,
            heap_flags: 11,
        };
        let bytes = data.to_bytes();
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[..8], data.len.to_ne_bytes());
        assert_eq!(bytes[8..12], 9u32.to_ne_bytes());
        assert_eq!(bytes[16..], 11u64.to_ne_bytes());
    }
}
