// SPDX-License-Identifier: GPL-2.0

//! Bindings for C functions and constants that [`kernel::bindings`] lacks, generated from
//! `src/bindings.h`.
//!
//! Structures that [`kernel::bindings`] has are taken from there. `heaps/` and `procfs/` must not
//! use this module.

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
