// SPDX-License-Identifier: GPL-2.0

//! The module's tracepoints: `/sys/kernel/tracing/events/rk_dma_heap`.
//!
//! A tracepoint that is off costs a call and a jump. None of these functions sleeps.
//!
//! C header: `src/rk_dma_heap_trace.h`

use crate::bindings as c;
use kernel::prelude::*;

/// A buffer of `bytes` bytes was handed out.
pub(crate) fn allocate(heap: &CStr, bytes: usize) {
    // SAFETY: The name is a C string; a tracepoint copies it.
    unsafe { c::trace_allocate(heap.as_char_ptr(), bytes) };
}

/// A buffer of `bytes` bytes is gone.
pub(crate) fn free(heap: &CStr, bytes: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_free(heap.as_char_ptr(), bytes) };
}

/// `runs` runs of `order` were taken from a pool, ready.
pub(crate) fn pool_hit(heap: &CStr, order: u32, runs: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_pool_hit(heap.as_char_ptr(), order, runs) };
}

/// `runs` runs of `order` had to be made ready or allocated.
pub(crate) fn pool_miss(heap: &CStr, order: u32, runs: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_pool_miss(heap.as_char_ptr(), order, runs) };
}

/// `pages` pages came back and went to the backlog.
pub(crate) fn deferred_free(heap: &CStr, pages: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_deferred_free(heap.as_char_ptr(), pages) };
}

/// The kernel asked for `wanted` pages, and `freed` were given back.
pub(crate) fn shrink(heap: &CStr, wanted: usize, freed: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_shrink(heap.as_char_ptr(), wanted, freed) };
}
