// SPDX-License-Identifier: GPL-2.0

//! Abstractions over the kernel's C interfaces that the `kernel` crate lacks.
//!
//! Each module covers one kernel concept, names the C header it wraps, and knows nothing of heaps.
//! A module here may import the `kernel` crate, [`crate::bindings`], [`crate::decisions`] and its
//! siblings, nothing else.

pub(crate) mod area_pages;
pub(crate) mod background;
pub(crate) mod cache_cleaner;
pub(crate) mod call_gate;
pub(crate) mod char_device;
pub(crate) mod cma;
pub(crate) mod cma_requests;
pub(crate) mod command_line;
pub(crate) mod debugfs;
pub(crate) mod device_tree;
pub(crate) mod dma_buf;
pub(crate) mod dma_buf_events;
pub(crate) mod dma_device;
pub(crate) mod exporter;
pub(crate) mod free_memory;
pub(crate) mod function_hook;
pub(crate) mod global_lock;
pub(crate) mod hibernation;
pub(crate) mod irq_spin_lock;
pub(crate) mod kernel_mapping;
pub(crate) mod kernel_module;
pub(crate) mod kernel_symbol;
pub(crate) mod killable_call;
pub(crate) mod killable_mutex;
pub(crate) mod memory_cgroup;
pub(crate) mod memory_failure;
pub(crate) mod memory_map;
pub(crate) mod notifier;
pub(crate) mod once_box;
pub(crate) mod oom_notifier;
pub(crate) mod pages;
#[cfg(CONFIG_DMABUF_HEAPS)]
pub(crate) mod path;
pub(crate) mod pause;
pub(crate) mod phys_addr;
pub(crate) mod privilege;
pub(crate) mod proc_file;
pub(crate) mod process;
pub(crate) mod rate_limit;
pub(crate) mod raw_spin_lock;
pub(crate) mod reclaimable;
pub(crate) mod seq_output;
pub(crate) mod sg_table;
pub(crate) mod shrinker;
pub(crate) mod signal;
pub(crate) mod single_pages;
pub(crate) mod sized_kmalloc;
pub(crate) mod static_cell;
pub(crate) mod sysfs;
pub(crate) mod task;
pub(crate) mod tracepoint;
pub(crate) mod user_mapping;
pub(crate) mod version;
pub(crate) mod vmap_purge;
