// SPDX-License-Identifier: GPL-2.0

//! All exporters of dma-bufs in the guest.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::kernel_module;
use guest_support::ktap::diagnose;
use guest_support::udmabuf;
use guest_support::v4l2::{
    BufferType,
    Device,
    PixFormat,
    GREY, //
};
use guest_support::vgem::Vgem;
use guest_support::vivid::{
    self,
    Access, //
};
use std::path::Path;

/// Size of the allocated buffers, if it can be chosen.
pub const SIZE: usize = 640 << 10;

/// A dma-buf, and the device that must stay open for it.
pub struct Exported {
    pub exporter: &'static str,
    pub buffer: Buffer,
    _device: Option<Device>,
}

fn exported(exporter: &'static str, buffer: Buffer) -> Exported {
    Exported {
        exporter,
        buffer,
        _device: None,
    }
}

/// Allocates a dma-buf from each exporter of this kernel except this module.
pub fn others() -> Result<Vec<Exported>> {
    let mut all = Vec::new();
    if kernel_module::exists("vgem") {
        all.push(exported("vgem", Vgem::open()?.allocate(SIZE)?));
    } else {
        diagnose("this kernel has no vgem");
    }
    if kernel_module::exists("vivid") {
        let camera = vivid::camera(Access::Kernel)?;
        camera.set_format(BufferType::Capture, PixFormat::new(1024, 640, GREY))?;
        let buffer = camera.allocate(BufferType::Capture)?;
        all.push(Exported {
            exporter: "videobuf2",
            buffer,
            _device: Some(camera),
        });
    } else {
        diagnose("this kernel has no vivid");
    }
    if Path::new("/dev/udmabuf").exists() {
        all.push(exported("udmabuf", udmabuf::allocate(SIZE)?));
    } else {
        diagnose("this kernel has no udmabuf");
    }
    ensure!(!all.is_empty(), "this kernel has no exporter but the heaps");
    Ok(all)
}

/// Allocates the same, and one per memory type of this module's heaps.
pub fn all() -> Result<Vec<Exported>> {
    let mut all = others()?;
    for heap in ["system", "system-uncached", "cma", "rk-dma-heap-cma"] {
        let buffer = Heap::open(heap)
            .and_then(|heap| heap.allocate(SIZE))
            .with_context(|| format!("heap {heap}"))?;
        all.push(exported(heap, buffer));
    }
    Ok(all)
}

/// Returns the sum of the sizes that the descriptors report, in KiB.
pub fn kib(buffers: &[Exported]) -> Result<u64> {
    let mut bytes = 0;
    for exported in buffers {
        bytes += exported.buffer.size()? as u64;
    }
    ensure!(bytes % 1024 == 0, "{bytes} bytes");
    Ok(bytes / 1024)
}
