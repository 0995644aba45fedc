// SPDX-License-Identifier: GPL-2.0

//! A range of addresses that is kept for mappings at addresses of one's own choice. Nothing else is
//! ever there, so whatever is mapped, moved and unmapped hits nothing that the program itself
//! needs.
//!
//! It is read and written by the kernel (`pread`, `pwrite`), which answers `EFAULT` where an access
//! would kill.

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

/// How many pages there are.
pub const PAGES: usize = 256;

/// What is known of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Nothing.
    Unknown,
    /// It is this page of the buffer with that serial number.
    Shared {
        serial: u64,
        number: usize,
        contents: Contents,
        own: bool,
    },
    /// It is nobody else's.
    Private,
}

pub struct Arena {
    start: usize,
    pages: Vec<Page>,
    /// Whether a child may have holes where this process has something.
    holes_in_children: bool,
    /// Through which it is read and written.
    copy: File,
}

/// Pages of the arena: some, and inside of it.
pub fn range(at: u8, pages: u8) -> Range<usize> {
    let start = usize::from(at) % PAGES;
    start..(start + usize::from(pages).max(1)).min(PAGES)
}

impl Arena {
    pub fn new() -> Result<Arena> {
        let len = PAGES * page_size();
        // SAFETY: The kernel picks an address where nothing else is.
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
        ensure!(start != libc::MAP_FAILED, "no addresses are left");
        let copy = File::from(memfd_create(c"copy", MFdFlags::MFD_CLOEXEC)?);
        copy.set_len(len as u64)?;
        Ok(Arena {
            start: start as usize,
            pages: vec![Page::Unknown; PAGES],
            holes_in_children: false,
            copy,
        })
    }

    /// The address of a page.
    pub fn address(&self, page: usize) -> usize {
        self.start + page.min(PAGES) * page_size()
    }

    fn pointer(&self, page: usize) -> *mut c_void {
        self.address(page) as *mut c_void
    }

    /// What is known of a page.
    pub fn page(&self, page: usize) -> Page {
        self.pages.get(page).copied().unwrap_or(Page::Unknown)
    }

    fn know(&mut self, range: Range<usize>, known: impl Fn(usize) -> Page) {
        for (index, page) in self.pages.get_mut(range).into_iter().flatten().enumerate() {
            *page = known(index);
        }
    }

    /// The process has written something else into its buffer.
    pub fn rewritten(&mut self, buffer: u64, new: Contents) {
        for page in &mut self.pages {
            match page {
                Page::Shared {
                    serial, contents, ..
                } if *serial == buffer => *contents = new,
                _ => {}
            }
        }
    }

    /// For a process that was just made: no buffer is its own.
    pub fn disown(&mut self) -> nix::Result<()> {
        if self.holes_in_children {
            // Before anything else comes to lie there.
            self.clear(0..PAGES)?;
        }
        for page in &mut self.pages {
            if let Page::Shared { own, .. } = page {
                *own = false;
            }
        }
        Ok(())
    }

    /// `mmap` of a file over a range; `known` says of each page what it is then.
    pub fn map(
        &mut self,
        range: Range<usize>,
        (fd, offset): (BorrowedFd<'_>, u64),
        (protection, flags): (i32, i32),
        known: impl Fn(usize) -> Page,
    ) -> nix::Result<()> {
        let offset = libc::off64_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
        let len = range.len() * page_size();
        // SAFETY: What lies in the arena is this one's alone, and no reference points there.
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
            // What was there is gone, if the kernel got as far as that.
            let errno = Errno::last();
            self.clear(range)?;
            return Err(errno);
        }
        self.know(range, known);
        Ok(())
    }

    /// Keeps a range for itself again, whatever was there.
    pub fn clear(&mut self, range: Range<usize>) -> nix::Result<()> {
        // SAFETY: As above.
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
        self.know(range, |_| Page::Unknown);
        Errno::result(result as isize).map(drop)
    }

    /// `munmap`, and the range is kept for the arena again.
    pub fn unmap(&mut self, range: Range<usize>) -> nix::Result<()> {
        // SAFETY: As above. This process has one thread, so nothing else can come to lie there in
        // between.
        let result = unsafe { libc::munmap(self.pointer(range.start), range.len() * page_size()) };
        self.clear(range)?;
        Errno::result(result).map(drop)
    }

    /// `mremap` of a range to another one.
    pub fn remap(&mut self, from: Range<usize>, to: Range<usize>, flags: i32) -> nix::Result<()> {
        let page = page_size();
        // SAFETY: Both ranges are the arena's.
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
            self.know(to.clone(), |index| {
                known.get(index).copied().unwrap_or(Page::Unknown)
            });
            // What was moved has left a hole; with `MREMAP_DONTUNMAP` it has left other memory.
            self.clear(from)?;
        } else {
            // The kernel may have unmapped either before it failed.
            self.clear(to)?;
            self.clear(from)?;
        }
        result
    }

    /// `mprotect`.
    pub fn protect(&self, range: Range<usize>, protection: i32) -> nix::Result<()> {
        let len = range.len() * page_size();
        // SAFETY: As above.
        let result = unsafe { libc::mprotect(self.pointer(range.start), len, protection) };
        Errno::result(result).map(drop)
    }

    /// `madvise`. Memory that is nobody else's may lose its contents by it, that of a buffer may
    /// not.
    pub fn advise(&mut self, range: Range<usize>, advice: i32) -> nix::Result<()> {
        let len = range.len() * page_size();
        self.holes_in_children |= advice == libc::MADV_DONTFORK;
        // SAFETY: As above; no page outside of the arena is changed.
        let result = unsafe { libc::madvise(self.pointer(range.start), len, advice) };
        Errno::result(result).map(drop)
    }

    /// `msync`, `mlock`, `munlock` or `mincore`.
    pub fn ask(&self, range: Range<usize>, question: Question) -> nix::Result<()> {
        let (start, len) = (self.pointer(range.start), range.len() * page_size());
        let mut answer = [0u8; PAGES];
        // SAFETY: None of these changes what is in memory, and the answer has room for each page.
        let result = unsafe {
            match question {
                Question::Msync(flags) => libc::msync(start, len, flags),
                Question::Mlock => libc::mlock(start, len),
                Question::Munlock => libc::munlock(start, len),
                Question::Mincore => libc::mincore(start, len, answer.as_mut_ptr().cast()),
            }
        };
        Errno::result(result).map(drop)
    }

    /// Reads a page, and checks it against what is known of it.
    pub fn check(&self, page: usize) -> Result<nix::Result<()>> {
        let len = page_size();
        // SAFETY: The kernel reads there or reports `EFAULT`.
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
                    "byte {at:#x} of page {number} of a buffer, mapped at page {page}, is {found:?}, expected {expected:?}"
                );
            }
        }
        Ok(Ok(()))
    }

    /// Writes a page: what is there already, where it is this process's own buffer, and `junk`
    /// where it is private.
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
        // SAFETY: The kernel writes to a page of the arena, to which no reference points, or
        // reports `EFAULT`.
        let result =
            unsafe { libc::pread64(self.copy.as_raw_fd(), self.pointer(page), bytes.len(), 0) };
        Ok(Some(Errno::result(result).map(drop)))
    }
}

/// What can be asked of a range that does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Msync(i32),
    Mlock,
    Munlock,
    Mincore,
}
