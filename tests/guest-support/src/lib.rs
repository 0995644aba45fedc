// SPDX-License-Identifier: GPL-2.0

//! Support library of the guest programs.
//!
//! Each kernel interface has a module ([`heap`], [`dma_buf`], [`vgem`], [`v4l2`], …) with two
//! layers: calls that accept any input, for tests with invalid input, and owning types for all
//! other purposes. [`ktap`] runs tests and reports their results.
//!
//! The library does not depend on a page size, an architecture or the name of a heap.

pub mod allocator;
pub mod channel;
pub mod checkers;
pub mod client;
pub mod cpu;
pub mod dma_buf;
pub mod edu;
pub mod heap;
pub mod heaps_file;
pub mod kept_ranges;
pub mod kernel_module;
pub mod ktap;
pub mod mapping;
pub mod memory;
pub mod mib_file;
pub mod module;
pub mod page_cache;
pub mod pattern;
pub mod process;
pub mod retry;
pub mod tracing;
pub mod udmabuf;
pub mod v4l2;
pub mod vgem;
pub mod vivid;

use nix::errno::Errno;
use std::fmt::Debug;

/// Returns the page size of the running kernel, in bytes.
pub fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| usize::try_from(size).ok())
        .expect("every kernel reports its page size")
}

/// Formats a physical address or a size with the width that the kernel of this machine uses.
pub fn wide(number: u64) -> String {
    match cfg!(target_pointer_width = "64") {
        true => format!("{number:#018x}"),
        false => format!("{number:#010x}"),
    }
}

/// Checks that a call failed with the expected error.
pub fn expect_errno<T: Debug>(
    what: impl AsRef<str>,
    result: nix::Result<T>,
    expected: Errno,
) -> anyhow::Result<()> {
    let what = what.as_ref();
    match result {
        Err(errno) if errno == expected => Ok(()),
        Err(errno) => anyhow::bail!("{what}: failed with {errno:?}, expected {expected:?}"),
        Ok(value) => anyhow::bail!("{what}: succeeded ({value:?}), expected {expected:?}"),
    }
}

/// Returns the error number of an [`std::io::Error`].
pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
