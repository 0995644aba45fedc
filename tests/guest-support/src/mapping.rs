// SPDX-License-Identifier: GPL-2.0

//! Memory mappings whose contents may change at any time.
//!
//! Devices and other processes write to a buffer concurrently, so no references to its memory are
//! created. Every access is a volatile read or write.

use crate::pattern::Pattern;
use anyhow::{
    ensure,
    Result, //
};
use nix::errno::Errno;
use nix::sys::mman::{
    MRemapFlags,
    MapFlags,
    MmapAdvise,
    ProtFlags, //
};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::ptr::NonNull;

/// The unit of access.
pub const WORD: usize = size_of::<u64>();

/// A range of mapped pages, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Maps a file at an address that the kernel chooses.
    pub fn of_fd(
        fd: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> nix::Result<Mapping> {
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        let length = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // SAFETY: The kernel chooses an unused address.
        let start = unsafe { nix::sys::mman::mmap(None, length, protection, flags, fd, offset) }?;
        Ok(Mapping {
            start: start.cast(),
            len,
        })
    }

    /// Lets the kernel use single pages for this mapping, so that each can be pinned or freed.
    pub fn in_single_pages(&self) -> nix::Result<()> {
        // A kernel without transparent huge pages uses nothing else, and does not know the advice.
        if !Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            return Ok(());
        }
        let start = self.start.cast();
        // SAFETY: Concerns a mapping of this process, whose contents do not change.
        unsafe { nix::sys::mman::madvise(start, self.len, MmapAdvise::MADV_NOHUGEPAGE) }
    }

    /// Creates a shared mapping of a file for reading and writing at an address that is `skew`
    /// bytes above a multiple of `alignment`. `alignment` is a power of two, and `skew` is smaller.
    pub fn aligned(
        fd: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        alignment: usize,
        skew: usize,
    ) -> nix::Result<Mapping> {
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        let length = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        let mut reserved = Mapping::anonymous(len + 2 * alignment)?;
        let start = reserved.address().next_multiple_of(alignment) + skew;
        // SAFETY: The range is part of the reservation. The rest of the reservation behind the
        // range is unmapped here, and the rest before it when `reserved` is dropped.
        unsafe {
            let start = nix::sys::mman::mmap(
                NonZeroUsize::new(start),
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_FIXED,
                fd,
                offset,
            )?;
            let (before, end) = (start.as_ptr() as usize - reserved.address(), reserved.len);
            let behind = before + len.next_multiple_of(crate::page_size());
            let rest = reserved.start.add(behind).cast();
            nix::sys::mman::munmap(rest, end - behind)?;
            reserved.len = before;
            if before == 0 {
                std::mem::forget(reserved);
            }
            Ok(Mapping {
                start: start.cast(),
                len,
            })
        }
    }

    /// Maps a file at the given address. Fails with `EEXIST` if the range is in use.
    pub fn of_fd_at(
        address: usize,
        fd: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> nix::Result<Mapping> {
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        let length = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        let address = NonZeroUsize::new(address).ok_or(Errno::EINVAL)?;
        let flags = flags | MapFlags::MAP_FIXED_NOREPLACE;
        // SAFETY: `MAP_FIXED_NOREPLACE` does not replace existing mappings.
        let start =
            unsafe { nix::sys::mman::mmap(Some(address), length, protection, flags, fd, offset) }?;
        Ok(Mapping {
            start: start.cast(),
            len,
        })
    }

    /// Creates a private anonymous mapping.
    pub fn anonymous(len: usize) -> nix::Result<Mapping> {
        let length = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // SAFETY: The kernel chooses an unused address.
        let start = unsafe {
            nix::sys::mman::mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE,
            )
        }?;
        Ok(Mapping {
            start: start.cast(),
            len,
        })
    }

    /// Returns the length in bytes.
    #[allow(clippy::len_without_is_empty)] // no mapping is empty
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns the address of the first byte.
    pub fn address(&self) -> usize {
        self.start.as_ptr() as usize
    }

    fn pointer(&self, offset: usize, len: usize) -> NonNull<c_void> {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "access outside the mapping"
        );
        // SAFETY: The offset is inside the mapping, as checked above.
        unsafe { self.start.add(offset) }.cast()
    }

    /// Reads the word at `offset`, which is a multiple of the word size.
    pub fn read(&self, offset: usize) -> u64 {
        assert!(offset % WORD == 0);
        // SAFETY: The word is inside the mapping and aligned. Access to an unreadable page kills
        // the process, which callers expect.
        unsafe { self.pointer(offset, WORD).cast::<u64>().read_volatile() }
    }

    /// Writes the word at `offset`, which is a multiple of the word size.
    pub fn write(&self, offset: usize, value: u64) {
        assert!(offset % WORD == 0);
        // SAFETY: As for `read`.
        unsafe {
            self.pointer(offset, WORD)
                .cast::<u64>()
                .write_volatile(value);
        }
    }

    /// Writes a byte every `step` bytes.
    pub fn touch(&self, step: usize) {
        for offset in (0..self.len).step_by(step) {
            // SAFETY: The byte is inside the mapping. Access to a page that is not writable kills
            // the process, which callers expect.
            unsafe { self.start.add(offset).write_volatile(1) };
        }
    }

    /// Copies bytes out of the mapping.
    pub fn copy_out(&self, offset: usize, len: usize) -> Vec<u8> {
        let source = self.pointer(offset, len).cast::<u8>();
        // SAFETY: The range is inside the mapping, as checked by `pointer`.
        (0..len)
            .map(|i| unsafe { source.add(i).read_volatile() })
            .collect()
    }

    /// Copies bytes into the mapping.
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let target = self.pointer(offset, bytes.len()).cast::<u8>();
        for (i, byte) in bytes.iter().enumerate() {
            // SAFETY: The byte is inside the mapping, as checked by `pointer`.
            unsafe { target.add(i).write_volatile(*byte) }
        }
    }

    /// Fills the mapping with `pattern`, starting at byte `base` of the pattern.
    pub fn fill(&self, pattern: Pattern, base: usize) {
        for offset in (0..self.len).step_by(WORD) {
            self.write(offset, pattern.word(base + offset));
        }
    }

    /// Checks that the mapping contains `pattern`, starting at byte `base` of the pattern.
    pub fn check(&self, pattern: Pattern, base: usize) -> Result<()> {
        self.check_range(0, self.len, pattern, base)
    }

    /// Checks that the `len` bytes at `offset` contain `pattern`.
    pub fn check_range(
        &self,
        offset: usize,
        len: usize,
        pattern: Pattern,
        base: usize,
    ) -> Result<()> {
        for offset in (offset..offset + len).step_by(WORD) {
            let (found, expected) = (self.read(offset), pattern.word(base + offset));
            ensure!(
                found == expected,
                "byte {offset:#x} of the mapping (byte {:#x} of the buffer) holds {found:#018x}, \
                expected {expected:#018x}",
                base + offset,
            );
        }
        Ok(())
    }

    /// Checks that the mapping contains only zeroes.
    pub fn check_zero(&self) -> Result<()> {
        self.check_zero_range(0, self.len)
    }

    /// Checks that a range of the mapping contains only zeroes.
    pub fn check_zero_range(&self, offset: usize, len: usize) -> Result<()> {
        for offset in (offset..offset + len).step_by(WORD) {
            let found = self.read(offset);
            ensure!(
                found == 0,
                "byte {offset:#x} holds {found:#018x}, expected zero"
            );
        }
        Ok(())
    }

    /// Calls `mprotect` on the mapping.
    pub fn protect(&self, protection: ProtFlags) -> nix::Result<()> {
        self.protect_range(0, self.len, protection)
    }

    /// Calls `mprotect` on a range.
    pub fn protect_range(
        &self,
        offset: usize,
        len: usize,
        protection: ProtFlags,
    ) -> nix::Result<()> {
        // SAFETY: The range belongs to this mapping.
        unsafe { nix::sys::mman::mprotect(self.pointer(offset, len), len, protection) }
    }

    /// Calls `munmap` on a range. The rest of the mapping stays usable; access to the removed range
    /// kills the process.
    pub fn unmap_range(&self, offset: usize, len: usize) -> nix::Result<()> {
        let start = self.pointer(offset, len);
        let length = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        // SAFETY: The range belongs to this mapping. It is reserved again, so that no other mapping
        // uses it.
        unsafe {
            nix::sys::mman::munmap(start, len)?;
            nix::sys::mman::mmap_anonymous(
                NonZeroUsize::new(start.as_ptr() as usize),
                length,
                ProtFlags::PROT_NONE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE,
            )?;
        }
        Ok(())
    }

    /// Calls `mremap` with another length.
    pub fn resize(&mut self, len: usize, flags: MRemapFlags) -> nix::Result<()> {
        // SAFETY: The range belongs to this mapping, and there are no references to it.
        let start =
            unsafe { nix::sys::mman::mremap(self.start.cast(), self.len, len, flags, None) }?;
        self.start = start.cast();
        self.len = len;
        Ok(())
    }

    /// Moves the mapping with `mremap` to an address that is `skew` bytes above a multiple of
    /// `alignment`, as in [`Mapping::aligned`].
    pub fn move_to(&mut self, alignment: usize, skew: usize) -> nix::Result<()> {
        let reserved = Mapping::anonymous(self.len + 2 * alignment)?;
        let target = reserved.address().next_multiple_of(alignment) + skew;
        drop(reserved);
        // SAFETY: The range belongs to this mapping, and there are no references to it. The target
        // range is unused, because nothing was mapped since the reservation was dropped.
        let start = unsafe {
            nix::sys::mman::mremap(
                self.start.cast(),
                self.len,
                self.len,
                MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED,
                NonNull::new(target as *mut c_void),
            )
        }?;
        self.start = start.cast();
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The range belongs to this mapping.
        let _ = unsafe { nix::sys::mman::munmap(self.start.cast(), self.len) };
    }
}
