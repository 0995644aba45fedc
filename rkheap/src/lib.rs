// SPDX-License-Identifier: GPL-2.0

//! `rkheap` shows the state of DMA-BUF heaps. It reads what the module `rk_dma_heap` and the kernel
//! publish under `/proc`, `/sys` and `/dev`, and stores nothing.
//!
//! [`parse`] parses the files, one module per file, and [`system`] reads them. [`survey`],
//! [`heaps`], [`areas`] and [`area_use`] combine all files that exist. [`layout`] computes the held
//! and free ranges of an area, and [`doctor`] finds what does not work. Each of the [`commands`]
//! prints a part of this as text or as JSON.

pub mod access;
pub mod area_use;
pub mod areas;
pub mod arguments;
pub mod buffer;
pub mod commands;
pub mod doctor;
pub mod exit;
pub mod heap_node;
pub mod heaps;
pub mod interruption;
pub mod kernel_iterator;
pub mod layout;
pub mod legend;
pub mod module;
pub mod output;
pub mod parse;
pub mod processes;
pub mod ranges;
pub mod run;
pub mod series;
pub mod shortage;
pub mod stacks;
pub mod survey;
pub mod svg;
pub mod system;
pub mod table;
pub mod text;
pub mod top;
