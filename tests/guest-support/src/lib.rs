// SPDX-License-Identifier: GPL-2.0

//! What the guest programs share.
//!
//! One module for each kernel interface ([`heap`], [`dma_buf`], [`vgem`], [`v4l2`], …), each in two
//! layers: calls that can be given any input, for tests of bad input, and owning types for
//! everything else. [`ktap`] runs tests and reports them.
//!
//! Nothing here knows a page size, an architecture or the name of a heap.

pub mod allocator;
pub mod checkers;
pub mod client;
pub mod dma_buf;
pub mod heap;
pub mod kernel_module;
pub mod ktap;
pub mod mapping;
pub mod memory;
pub mod module;
pub mod pattern;
pub mod process;
pub mod tracing;
pub mod udmabuf;
pub mod v4l2;
pub mod vgem;
pub mod vivid;

use nix::errno::Errno;
use std::fmt::Debug;

/// The page size of the running kernel.
pub fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| usize::try_from(size).ok())
        .expect("every kernel tells its page size")
}

/// A physical address, or a size, as wide as the kernel of this machine prints it.
pub fn wide(number: u64) -> String {
    match cfg!(target_pointer_width = "64") {
        true => format!("{number:#018x}"),
        false => format!("{number:#010x}"),
    }
}

/// Checks that a call failed, and with this very error.
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

/// The error number inside an [`std::io::Error`], for the calls whose crate hands those out.
pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
