// SPDX-License-Identifier: GPL-2.0

//! The module's tracepoints: `/sys/kernel/tracing/events/rk_dma_heap`.
//!
//! A disabled tracepoint costs a call and a jump. None of these functions sleeps.
//!
//! C header: `src/rk_dma_heap_trace.h`

use crate::bindings as c;
use kernel::prelude::*;

/// Traces the allocation of a buffer of `bytes` bytes.
pub(crate) fn allocate(heap: &CStr, bytes: usize) {
    // SAFETY: The name is a C string; a tracepoint copies it.
    unsafe { c::trace_allocate(heap.as_char_ptr(), bytes) };
}

/// Traces the release of a buffer of `bytes` bytes.
pub(crate) fn free(heap: &CStr, bytes: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_free(heap.as_char_ptr(), bytes) };
}

/// Traces that a pool had `runs` runs of `order` ready.
pub(crate) fn pool_hit(heap: &CStr, order: u32, runs: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_pool_hit(heap.as_char_ptr(), order, runs) };
}

/// Traces that `runs` runs of `order` had to be prepared or allocated.
pub(crate) fn pool_miss(heap: &CStr, order: u32, runs: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_pool_miss(heap.as_char_ptr(), order, runs) };
}

/// Traces that `pages` freed pages were added to the backlog.
pub(crate) fn deferred_free(heap: &CStr, pages: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_deferred_free(heap.as_char_ptr(), pages) };
}

/// Traces that the shrinker was asked for `wanted` pages and freed `freed`.
pub(crate) fn shrink(heap: &CStr, wanted: usize, freed: usize) {
    // SAFETY: As in `allocate()`.
    unsafe { c::trace_shrink(heap.as_char_ptr(), wanted, freed) };
}
