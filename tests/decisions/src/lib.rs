// SPDX-License-Identifier: GPL-2.0

//! The parts of the module that decide without the kernel, built as ordinary Rust. The tests beside
//! them say what holds whatever comes in; they are tried with random input (`PROPTEST_CASES` says
//! how often).

#![cfg(test)]

// These files know the `kernel` crate by its name. All that they need of it is constants and an
// error type.
extern crate self as kernel;

/// Sizes of pages.
pub mod page {
    /// For 4 KiB.
    pub const PAGE_SHIFT: usize = 12;
    /// The size in bytes.
    pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
}

/// Strings of C.
pub mod str {
    pub use core::ffi::CStr;
}

/// Constants of C.
pub mod bindings {
    /// Closed by `exec()`.
    pub const O_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
    /// The bits for read and write.
    pub const O_ACCMODE: u32 = libc::O_ACCMODE as u32;
}

/// What every part uses.
pub mod prelude {
    /// An error number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Error(i32);

    /// As in the kernel.
    pub type Result<T = (), E = Error> = core::result::Result<T, E>;

    /// Something that came in is not right.
    pub const EINVAL: Error = Error(libc::EINVAL);
    /// There is not that much memory.
    pub const ENOMEM: Error = Error(libc::ENOMEM);
}

// Not all of it is of use without a kernel.
#[allow(dead_code)]
#[path = "../../../src/decisions/mod.rs"]
mod decisions;
use decisions::{
    digits,
    ram_share,
    request,
    segment,
    text, //
};

mod digits_hold;
mod ram_share_holds;
mod request_holds;
mod segment_holds;
mod text_holds;
