// SPDX-License-Identifier: GPL-2.0

//! C functions and constants that the `kernel` crate's bindings lack.
//!
//! Generated from `src/bindings.h`; structures are those of [`kernel::bindings`] where it has them.
//! Code in `heaps/` and `procfs/` does not use this module.

#![allow(
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]

use kernel::{
    bindings::*,
    ffi, //
};

include!(env!("RK_DMA_HEAP_BINDINGS"));
