// SPDX-License-Identifier: GPL-2.0

//! The modules of `src/decisions`, compiled for the host, and their property tests.
//!
//! Each property is tested with random input. `PROPTEST_CASES` sets the number of cases.

#![cfg(test)]

// The modules import constants and error types from a crate with the name `kernel`, which this
// crate provides.
extern crate self as kernel;

/// Page sizes.
pub mod page {
    /// The shift of a 4 KiB page.
    pub const PAGE_SHIFT: usize = 12;
    /// The page size in bytes.
    pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
}

/// C strings.
pub mod str {
    pub use core::ffi::CStr;
}

/// C constants.
pub mod bindings {
    /// The descriptor is closed on `exec()`.
    pub const O_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
    /// The mask of the access modes.
    pub const O_ACCMODE: u32 = libc::O_ACCMODE as u32;
}

/// Common imports.
pub mod prelude {
    /// An error number.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Error(i32);

    /// The result type of the kernel.
    pub type Result<T = (), E = Error> = core::result::Result<T, E>;

    /// Invalid argument.
    pub const EINVAL: Error = Error(libc::EINVAL);
    /// Out of memory.
    pub const ENOMEM: Error = Error(libc::ENOMEM);
}

// Some functions are used by the kernel module only.
#[allow(dead_code)]
#[path = "../../../src/decisions/mod.rs"]
mod decisions;
use decisions::{
    area_survey,
    cache_state,
    default_name,
    digits,
    heap_name,
    ram_share,
    request,
    reserve,
    segment,
    sync_direction,
    text, //
};

mod area_survey_holds;
mod cache_model;
mod cache_state_holds;
mod cache_state_properties;
mod cache_world;
mod default_name_holds;
mod digits_hold;
mod heap_name_holds;
mod ram_share_holds;
mod request_holds;
mod reserve_holds;
mod segment_holds;
mod text_holds;
