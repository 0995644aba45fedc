// SPDX-License-Identifier: GPL-2.0

//! DMA-BUF file descriptors and the kernel's list of all DMA-BUFs.
//!
//! C header: `include/uapi/linux/dma-buf.h`

use crate::mapping::Mapping;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use nix::errno::Errno;
use nix::sys::mman::{
    MapFlags,
    ProtFlags, //
};
use nix::unistd::Whence;
use std::ffi::CString;
use std::os::fd::{
    AsFd,
    AsRawFd,
    BorrowedFd,
    FromRawFd,
    OwnedFd,
    RawFd, //
};

pub const SYNC_READ: u64 = 1;
pub const SYNC_WRITE: u64 = 2;
pub const SYNC_RW: u64 = SYNC_READ | SYNC_WRITE;
pub const SYNC_START: u64 = 0;
pub const SYNC_END: u64 = 1 << 2;

/// The maximum length of a name, without the terminating null byte.
pub const NAME_MAX: usize = 31;

/// `struct dma_buf_export_sync_file`.
#[repr(C)]
#[derive(Debug)]
pub struct ExportSyncFile {
    flags: u32,
    fd: i32,
}

mod raw {
    nix::ioctl_write_ptr!(sync, b'b', 0, u64);
    nix::ioctl_write_ptr_bad!(
        set_name_32,
        nix::request_code_write!(b'b', 1, 4),
        libc::c_char
    );
    nix::ioctl_write_ptr_bad!(
        set_name_64,
        nix::request_code_write!(b'b', 1, 8),
        libc::c_char
    );
    nix::ioctl_readwrite!(export_sync_file, b'b', 2, super::ExportSyncFile);
}

/// The two ioctl numbers of `DMA_BUF_SET_NAME`, one for each pointer size.
#[derive(Clone, Copy, Debug)]
pub enum SetName {
    Pointer32,
    Pointer64,
}

/// The contents of `/proc/PID/fdinfo/FD` for a buffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FdInfo {
    pub size: usize,
    pub count: usize,
    pub exporter: String,
    pub name: Option<String>,
}

/// A DMA-BUF.
#[derive(Debug)]
pub struct Buffer {
    fd: OwnedFd,
}

impl From<OwnedFd> for Buffer {
    fn from(fd: OwnedFd) -> Self {
        Buffer { fd }
    }
}

impl AsFd for Buffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Buffer {
    /// Returns the size in bytes, determined by seeking to the end.
    pub fn size(&self) -> Result<usize> {
        let end = self.seek(0, Whence::SeekEnd)?;
        usize::try_from(end).context("the size is negative")
    }

    /// Calls `lseek` with any arguments.
    #[allow(clippy::useless_conversion, reason = "off_t has 32 bits on 32-bit arm")]
    pub fn seek(&self, offset: i64, whence: Whence) -> nix::Result<i64> {
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        let position = nix::unistd::lseek(&self.fd, offset, whence)?;
        #[allow(clippy::useless_conversion)] // 32 bits wide on some architectures
        Ok(i64::from(position))
    }

    /// Creates a shared mapping of the whole buffer for reading and writing.
    pub fn map(&self) -> Result<Mapping> {
        self.map_range(0, self.size()?)
            .context("cannot map the buffer")
    }

    /// Creates a shared mapping of a range for reading and writing.
    pub fn map_range(&self, offset: usize, len: usize) -> nix::Result<Mapping> {
        self.map_with(
            offset as u64,
            len,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
        )
    }

    /// Creates a shared mapping of the first `len` bytes for reading and writing at an unused
    /// address.
    pub fn map_at(&self, address: usize, len: usize) -> nix::Result<Mapping> {
        Mapping::of_fd_at(
            address,
            self.as_fd(),
            0,
            len,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
        )
    }

    /// Calls `mmap` with any arguments.
    pub fn map_with(
        &self,
        offset: u64,
        len: usize,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> nix::Result<Mapping> {
        Mapping::of_fd(self.as_fd(), offset, len, protection, flags)
    }

    /// `DMA_BUF_IOCTL_SYNC`.
    pub fn sync(&self, flags: u64) -> nix::Result<()> {
        // SAFETY: The kernel only reads `flags`.
        unsafe { raw::sync(self.fd.as_raw_fd(), &flags) }.map(drop)
    }

    /// `DMA_BUF_IOCTL_SYNC` with any address as its argument.
    ///
    /// The kernel only reads, so an invalid address is safe.
    pub fn sync_at(&self, address: usize) -> nix::Result<()> {
        // SAFETY: The kernel reads one `u64` at the address or returns `EFAULT`.
        unsafe { raw::sync(self.fd.as_raw_fd(), address as *const u64) }.map(drop)
    }

    /// Runs `access` between the start and the end of a CPU access.
    pub fn with_cpu_access<T>(&self, access: impl FnOnce() -> T) -> Result<T> {
        self.sync(SYNC_START | SYNC_RW)
            .context("DMA_BUF_SYNC_START failed")?;
        let result = access();
        self.sync(SYNC_END | SYNC_RW)
            .context("DMA_BUF_SYNC_END failed")?;
        Ok(result)
    }

    /// `DMA_BUF_SET_NAME`.
    pub fn set_name(&self, name: &str, variant: SetName) -> nix::Result<()> {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        let fd = self.fd.as_raw_fd();
        // SAFETY: The kernel reads a C string that outlives the call.
        unsafe {
            match variant {
                SetName::Pointer32 => raw::set_name_32(fd, name.as_ptr()),
                SetName::Pointer64 => raw::set_name_64(fd, name.as_ptr()),
            }
        }
        .map(drop)
    }

    /// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`.
    pub fn export_sync_file(&self, flags: u64) -> nix::Result<OwnedFd> {
        let mut argument = ExportSyncFile {
            flags: flags as u32,
            fd: -1,
        };
        // SAFETY: The kernel only reads and writes `argument`. It installs a descriptor that
        // nothing else owns.
        unsafe {
            raw::export_sync_file(self.fd.as_raw_fd(), &mut argument)?;
            Ok(OwnedFd::from_raw_fd(argument.fd))
        }
    }

    /// Reads the information about this descriptor in `/proc`.
    pub fn info(&self) -> Result<FdInfo> {
        let path = format!("/proc/self/fdinfo/{}", self.fd.as_raw_fd());
        let text = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        // A name may contain any bytes.
        FdInfo::parse(&String::from_utf8_lossy(&text))
    }

    /// Returns the inode number, which is the same for all descriptors of a buffer.
    pub fn inode(&self) -> Result<u64> {
        #[allow(clippy::unnecessary_cast)] // 32 bits wide on some architectures
        Ok(nix::sys::stat::fstat(&self.fd)?.st_ino as u64)
    }

    /// Creates another descriptor of the same buffer.
    pub fn duplicate(&self) -> Result<Buffer> {
        Ok(Buffer::from(self.fd.try_clone()?))
    }

    /// Returns the number of the descriptor.
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl FdInfo {
    fn parse(text: &str) -> Result<FdInfo> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        };
        let required =
            |name: &str| field(name).with_context(|| format!("fdinfo has no field {name}: {text}"));
        Ok(FdInfo {
            size: required("size")?.trim().parse()?,
            count: required("count")?.trim().parse()?,
            exporter: required("exp_name")?.to_owned(),
            name: field("name").map(str::to_owned),
        })
    }
}

/// The number and the total size of all DMA-BUFs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    pub buffers: usize,
    pub bytes: usize,
}

const BUFFER_LIST: &str = "/sys/kernel/debug/dma_buf/bufinfo";

fn buffer_list() -> Result<String> {
    std::fs::read_to_string(BUFFER_LIST).with_context(|| {
        format!("cannot read {BUFFER_LIST}: mount debugfs on /sys/kernel/debug and run as root")
    })
}

/// Returns the number and the total size of all DMA-BUFs in the system.
pub fn totals() -> Result<Totals> {
    parse_totals(&buffer_list()?)
}

fn parse_totals(list: &str) -> Result<Totals> {
    let line = list
        .lines()
        .rev()
        .find(|line| line.starts_with("Total ") && line.ends_with(" bytes"))
        .with_context(|| format!("no total in {BUFFER_LIST}"))?;
    let numbers: Vec<usize> = line
        .split(|c: char| !c.is_ascii_digit())
        .filter(|word| !word.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [buffers, bytes] = numbers[..] else {
        bail!("invalid total in {BUFFER_LIST}: {line}");
    };
    Ok(Totals { buffers, bytes })
}

/// Returns the names of the devices that are attached to a buffer.
pub fn attached_devices(buffer: &Buffer) -> Result<Vec<String>> {
    parse_attached(&buffer_list()?, buffer.inode()?)
}

fn parse_attached(list: &str, inode: u64) -> Result<Vec<String>> {
    // Line of a buffer: size, flags, mode, count, exporter, inode, name. Its devices follow.
    let mut lines = list.lines().skip_while(|line| {
        let mut fields = line.split('\t');
        fields.nth(5).and_then(|field| field.trim().parse().ok()) != Some(inode)
    });
    ensure!(
        lines.next().is_some(),
        "buffer {inode} is not in {BUFFER_LIST}"
    );
    Ok(lines
        .skip_while(|line| !line.contains("Attached Devices:"))
        .skip(1)
        .take_while(|line| !line.starts_with("Total "))
        .map(|line| line.trim().to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "\nDma-buf Objects:\nsize    \tflags   \tmode    \tcount   \texp_name\tino     \tname\n\
        00065536\t00000002\t00080007\t00000003\tsystem\t00000007\tfront\n\
        \tAttached Devices:\n\tvgem\n\tvivid.0\nTotal 2 devices attached\n\n\
        00004096\t00000002\t00080007\t00000001\tsystem\t00000009\t<none>\n\
        \tAttached Devices:\nTotal 0 devices attached\n\n\
        \nTotal 2 objects, 69632 bytes\n";

    #[test]
    fn bufinfo_is_parsed() {
        let expected = Totals {
            buffers: 2,
            bytes: 69632,
        };
        assert_eq!(parse_totals(LIST).unwrap(), expected);
        assert_eq!(parse_attached(LIST, 7).unwrap(), ["vgem", "vivid.0"]);
        assert!(parse_attached(LIST, 9).unwrap().is_empty());
        assert!(parse_attached(LIST, 8).is_err());
        assert!(parse_totals("nothing").is_err());
    }

    #[test]
    fn fdinfo_is_parsed() {
        let text = "pos:\t0\nflags:\t02\nsize:\t4096\ncount:\t1\nexp_name:\tsystem\n";
        let mut expected = FdInfo {
            size: 4096,
            count: 1,
            exporter: "system".into(),
            name: None,
        };
        assert_eq!(FdInfo::parse(text).unwrap(), expected);
        expected.name = Some("a b".into());
        assert_eq!(
            FdInfo::parse(&format!("{text}name:\ta b\n")).unwrap(),
            expected
        );
        assert!(FdInfo::parse("size:\t4096\n").is_err());
    }
}
