// SPDX-License-Identifier: GPL-2.0

//! Code that does not depend on a running kernel: checks, arithmetic and text.
//!
//! `tests/decisions` compiles these modules for the host and tests them with random input. A module
//! here may import its siblings, and constants and error types of the `kernel` crate, nothing else.

pub(crate) mod area_survey;
pub(crate) mod cache_state;
pub(crate) mod default_name;
pub(crate) mod digits;
pub(crate) mod heap_name;
pub(crate) mod memory;
pub(crate) mod ram_search;
pub(crate) mod ram_share;
pub(crate) mod request;
pub(crate) mod reserve;
pub(crate) mod segment;
pub(crate) mod sync_direction;
pub(crate) mod text;
