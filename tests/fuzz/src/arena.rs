// SPDX-License-Identifier: GPL-2.0

//! An address range for mappings at fixed addresses. It is reserved for the arena, so mapping,
//! moving and unmapping in it never affects other memory of the program.
//!
//! The arena is accessed through `pread` and `pwrite`, which return `EFAULT` where a direct access
//! would kill the process.

use crate::contents::Contents;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::page_size;
use nix::errno::Errno;
use nix::sys::memfd::{
    memfd_create,
    MFdFlags, //
};
use std::ffi::c_void;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{
    AsRawFd,
    BorrowedFd, //
};
use std::os::unix::fs::FileExt;

/// Number of pages in the arena.
pub const PAGES: usize = 256;

/// The expected state of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The state is unknown.
    Unknown,
    /// A page of the buffer with this serial number.
    Shared {
        serial: u64,
        number: usize,
        contents: Contents,
        own: bool,
    },
    /// Private memory of this process.
    Private,
}

pub struct Arena {
    start: usize,
    pages: Vec<Page>,
    /// Whether child processes lack some mappings (`MADV_DONTFORK`).
    holes_in_children: bool,
    /// The file through which the arena is read and written.
    copy: File,
}

/// Returns a non-empty range of pages within the arena.
pub fn range(at: u8, pages: u8) -> Range<usize> {
    let start = usize::from(at) % PAGES;
    start..(start + usize::from(pages).max(1)).min(PAGES)
}

impl Arena {
    pub fn new() -> Result<Arena> {
        let len = PAGES * page_size();
        // SAFETY: The kernel chooses an unused address.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        ensure!(start != libc::MAP_FAILED, "the address space is exhausted");
        let copy = File::from(memfd_create(c"copy", MFdFlags::MFD_CLOEXEC)?);
        copy.set_len(len as u64)?;
        Ok(Arena {
            start: start as usize,
            pages: vec![Page::Unknown; PAGES],
            holes_in_children: false,
            copy,
        })
    }

    /// Returns the address of a page.
    pub fn address(&self, page: usize) -> usize {
        self.start + page.min(PAGES) * page_size()
    }

    fn pointer(&self, page: usize) -> *mut c_void {
        self.address(page) as *mut c_void
    }

    /// Returns the expected state of a page.
    pub fn page(&self, page: usize) -> Page {
        self.pages.get(page).copied().unwrap_or(Page::Unknown)
    }

    fn set_known(&mut self, range: Range<usize>, known: impl Fn(usize) -> Page) {
        for (index, page) in self.pages.get_mut(range).into_iter().flatten().enumerate() {
            *page = known(index);
        }
    }

    /// Records that this process has written new contents to a buffer.
    pub fn update_contents(&mut self, buffer: u64, new: Contents) {
        for page in &mut self.pages {
            match page {
                Page::Shared {
                    serial, contents, ..
                } if *serial == buffer => *contents = new,
                _ => {}
            }
        }
    }

    /// Marks all buffers as foreign in a child process.
    pub fn disown(&mut self) -> nix::Result<()> {
        if self.holes_in_children {
            // Reserve the range again before other mappings use it.
            self.clear(0..PAGES)?;
        }
        for page in &mut self.pages {
            if let Page::Shared { own, .. } = page {
                *own = false;
            }
        }
        Ok(())
    }

    /// Maps a file over a range with `mmap`; `known` returns the new state of each page.
    pub fn map(
        &mut self,
        range: Range<usize>,
        (fd, offset): (BorrowedFd<'_>, u64),
        (protection, flags): (i32, i32),
        known: impl Fn(usize) -> Page,
    ) -> nix::Result<()> {
        let offset = libc::off64_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        let len = range.len() * page_size();
        // SAFETY: The range belongs to the arena, and there are no references to it.
        let result = unsafe {
            libc::mmap64(
                self.pointer(range.start),
                len,
                protection,
                flags | libc::MAP_FIXED,
                fd.as_raw_fd(),
                offset,
            )
        };
        if result == libc::MAP_FAILED {
            // The kernel may have removed the previous mappings.
            let errno = Errno::last();
            self.clear(range)?;
            return Err(errno);
        }
        self.set_known(range, known);
        Ok(())
    }

    /// Replaces all mappings in a range by the reservation.
    pub fn clear(&mut self, range: Range<usize>) -> nix::Result<()> {
        // SAFETY: As in `map`.
        let result = unsafe {
            libc::mmap(
                self.pointer(range.start),
                range.len() * page_size(),
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        self.set_known(range, |_| Page::Unknown);
        Errno::result(result as isize).map(drop)
    }

    /// Unmaps a range with `munmap` and reserves it again.
    pub fn unmap(&mut self, range: Range<usize>) -> nix::Result<()> {
        // SAFETY: As in `map`. This process is single-threaded, so no other mapping can use the
        // range in between.
        let result = unsafe { libc::munmap(self.pointer(range.start), range.len() * page_size()) };
        self.clear(range)?;
        Errno::result(result).map(drop)
    }

    /// Moves a range with `mremap`.
    pub fn remap(&mut self, from: Range<usize>, to: Range<usize>, flags: i32) -> nix::Result<()> {
        let page = page_size();
        // SAFETY: Both ranges belong to the arena, and there are no references to them.
        let result = unsafe {
            libc::mremap(
                self.pointer(from.start),
                from.len() * page,
                to.len() * page,
                flags | libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                self.pointer(to.start),
            )
        };
        let result = Errno::result(result as isize).map(drop);
        let known: Vec<_> = from.clone().map(|page| self.page(page)).collect();
        if result.is_ok() {
            self.set_known(to.clone(), |index| {
                known.get(index).copied().unwrap_or(Page::Unknown)
            });
            // The move leaves a hole, or with `MREMAP_DONTUNMAP` other memory.
            self.clear(from)?;
        } else {
            // The kernel may have unmapped either range before it failed.
            self.clear(to)?;
            self.clear(from)?;
        }
        result
    }

    /// Calls `mprotect`.
    pub fn protect(&self, range: Range<usize>, protection: i32) -> nix::Result<()> {
        let len = range.len() * page_size();
        // SAFETY: As in `map`.
        let result = unsafe { libc::mprotect(self.pointer(range.start), len, protection) };
        Errno::result(result).map(drop)
    }

    /// Calls `madvise`. It may discard the contents of private memory, but not those of a buffer.
    pub fn advise(&mut self, range: Range<usize>, advice: i32) -> nix::Result<()> {
        let len = range.len() * page_size();
        self.holes_in_children |= advice == libc::MADV_DONTFORK;
        // SAFETY: As in `map`. The call affects pages of the arena only.
        let result = unsafe { libc::madvise(self.pointer(range.start), len, advice) };
        Errno::result(result).map(drop)
    }

    /// Calls `msync`, `mlock`, `munlock` or `mincore`.
    pub fn query(&self, range: Range<usize>, query: RangeQuery) -> nix::Result<()> {
        let (start, len) = (self.pointer(range.start), range.len() * page_size());
        let mut page_states = [0u8; PAGES];
        // SAFETY: These calls do not change the contents of memory, and `page_states` has an
        // element for each page.
        let result = unsafe {
            match query {
                RangeQuery::Msync(flags) => libc::msync(start, len, flags),
                RangeQuery::Mlock => libc::mlock(start, len),
                RangeQuery::Munlock => libc::munlock(start, len),
                RangeQuery::Mincore => libc::mincore(start, len, page_states.as_mut_ptr().cast()),
            }
        };
        Errno::result(result).map(drop)
    }

    /// Reads a page and checks it against its expected state.
    pub fn check(&self, page: usize) -> Result<nix::Result<()>> {
        let len = page_size();
        // SAFETY: The kernel reads the page or returns `EFAULT`.
        let result = unsafe { libc::pwrite64(self.copy.as_raw_fd(), self.pointer(page), len, 0) };
        let copied = match Errno::result(result) {
            Ok(copied) => copied as usize,
            Err(errno) => return Ok(Err(errno)),
        };
        if copied < len {
            return Ok(Err(Errno::EFAULT));
        }
        if let Page::Shared {
            number, contents, ..
        } = self.page(page)
        {
            let mut found = vec![0; len];
            self.copy.read_exact_at(&mut found, 0)?;
            let expected = contents.page(number);
            let wrong = found.iter().zip(&expected).position(|(a, b)| a != b);
            if let Some(at) = wrong {
                let (found, expected) = (found.get(at..at + 1), expected.get(at..at + 1));
                anyhow::bail!(
                    "byte {at:#x} of page {number} of a buffer, mapped at page {page}, \
                    is {found:?}, expected {expected:?}"
                );
            }
        }
        Ok(Ok(()))
    }

    /// Writes a page: the expected contents if it belongs to a buffer of this process, `junk` if it
    /// is private.
    pub fn write(&mut self, page: usize, junk: u8) -> Result<Option<nix::Result<()>>> {
        let bytes = match self.page(page) {
            Page::Shared {
                number,
                contents,
                own: true,
                ..
            } => contents.page(number),
            Page::Private => vec![junk; page_size()],
            _ => return Ok(None),
        };
        self.copy
            .write_all_at(&bytes, 0)
            .context("cannot fill the copy")?;
        // SAFETY: The kernel writes to a page of the arena, to which there are no references, or
        // returns `EFAULT`.
        let result =
            unsafe { libc::pread64(self.copy.as_raw_fd(), self.pointer(page), bytes.len(), 0) };
        Ok(Some(Errno::result(result).map(drop)))
    }
}

/// A system call on a range that does not change its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeQuery {
    Msync(i32),
    Mlock,
    Munlock,
    Mincore,
}
