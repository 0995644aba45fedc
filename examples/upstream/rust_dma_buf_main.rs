// SPDX-License-Identifier: GPL-2.0

//! Rust DMA-BUF exporter sample.
//!
//! `/dev/rust_dma_buf/buffers` exports dma-bufs of zeroed pages. It uses the abstractions of
//! rk_dma_heap and what they need, and nothing of the heaps.

use abstractions::{
    char_device::{
        CharDevice,
        ChrdevRegion,
        Class, //
    },
    dma_buf::DmaBuf,
    exporter::{
        self,
        example::PageExporter, //
    },
    proc_file::{
        Directory,
        Show, //
    }, //
};
use kernel::{
    fs::file::FileDescriptorReservation,
    page::PAGE_SIZE,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow, //
    }, //
};

// The sample uses a part of them.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../../src/abstractions/mod.rs"]
mod abstractions;
#[path = "../../src/bindings.rs"]
mod bindings;
#[allow(dead_code, unused_imports)]
#[path = "../../src/decisions/mod.rs"]
mod decisions;

module! {
    type: RustDmaBuf,
    name: "rust_dma_buf",
    authors: ["The rk_dma_heap authors"],
    description: "Rust DMA-BUF exporter sample",
    license: "GPL v2",
}

/// `_IO('R', 0)`: exports a dma-buf of as many pages as the argument says, and returns its
/// descriptor.
const EXPORT: u32 = (b'R' as u32) << 8;

/// The largest number of pages of a dma-buf.
const MAX_PAGES: usize = 1024;

/// The number of dma-bufs that were exported.
static EXPORTED: Atomic<u32> = Atomic::new(0);

/// An open file of the device.
struct Opened;

/// The device.
struct Buffers;

#[vtable]
impl CharDevice for Buffers {
    type File = Arc<Opened>;

    fn open(_minor: u32) -> Result<Arc<Opened>> {
        Ok(Arc::new(Opened, GFP_KERNEL)?)
    }

    fn ioctl(_file: ArcBorrow<'_, Opened>, command: u32, argument: usize) -> Result<isize> {
        if command != EXPORT {
            return Err(ENOTTY);
        }
        if !(1..=MAX_PAGES).contains(&argument) {
            return Err(EINVAL);
        }
        let flags = kernel::bindings::O_RDWR | kernel::bindings::O_CLOEXEC;
        let descriptor = FileDescriptorReservation::get_unused_fd_flags(flags)?;
        let number = descriptor.reserved_fd();
        let pages = PageExporter::new(argument);
        let dma_buf = exporter::export(pages, argument * PAGE_SIZE, flags)?;
        DmaBuf::install(dma_buf, descriptor);
        EXPORTED.fetch_add(1, Relaxed);
        Ok(number as isize)
    }
}

/// `/proc/rust_dma_buf/exported`.
struct Exported;

#[vtable]
impl Show for Exported {
    fn show(&self, file: &SeqFile) -> Result {
        seq_print!(file, "{}\n", EXPORTED.load(Relaxed));
        Ok(())
    }
}

/// The loaded module. The fields are dropped in this order.
struct RustDmaBuf {
    _directory: Directory,
    _class: Class,
    _region: ChrdevRegion<Buffers>,
}

impl kernel::Module for RustDmaBuf {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let region = ChrdevRegion::new(c"rust_dma_buf", 1)?;
        let mut class = Class::new(c"rust_dma_buf")?;
        class.create_device(&region, 0, c"buffers")?;
        let mut directory = Directory::new(c"rust_dma_buf")?;
        directory.add(c"exported", 0o444, Exported)?;
        pr_info!("Rust DMA-BUF exporter sample (init)\n");
        Ok(Self {
            _directory: directory,
            _class: class,
            _region: region,
        })
    }
}

impl Drop for RustDmaBuf {
    fn drop(&mut self) {
        pr_info!("Rust DMA-BUF exporter sample (exit)\n");
    }
}
