// SPDX-License-Identifier: GPL-2.0

//! `rkheap` looks into DMA-BUF heaps. It reads what the module `rk_dma_heap` and the kernel publish
//! under `/proc`, `/sys` and `/dev`, and keeps nothing itself.
//!
//! [`parse`] understands the files, one module a file. [`system`] finds them; [`buffers`],
//! [`heaps`] and [`areas`] put together what they say, whichever of them there are. [`layout`] says
//! who holds which range. Each of [`commands`] prints some of that, as text or as JSON.

pub mod areas;
pub mod arguments;
pub mod buffers;
pub mod commands;
pub mod exit;
pub mod heap_node;
pub mod heaps;
pub mod layout;
pub mod output;
pub mod parse;
pub mod processes;
pub mod ranges;
pub mod run;
pub mod svg;
pub mod system;
pub mod table;
pub mod text;
pub mod top;
