// SPDX-License-Identifier: GPL-2.0

//! Everybody in the guest who can make a dma-buf.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
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

/// The size of what [`make`] makes, as far as it can be chosen.
pub const SIZE: usize = 640 << 10;

/// A dma-buf, and what has to stay open for it.
pub struct Made {
    pub exporter: &'static str,
    pub buffer: Buffer,
    _device: Option<Device>,
}

fn made(exporter: &'static str, buffer: Buffer) -> Made {
    Made {
        exporter,
        buffer,
        _device: None,
    }
}

/// A dma-buf of each exporter but this module.
pub fn others() -> Result<Vec<Made>> {
    let mut all = vec![made("vgem", Vgem::open()?.allocate(SIZE)?)];
    let camera = vivid::camera(Access::Kernel)?;
    camera.set_format(BufferType::Capture, PixFormat::new(1024, 640, GREY))?;
    let buffer = camera.allocate(BufferType::Capture)?;
    all.push(Made {
        exporter: "videobuf2",
        buffer,
        _device: Some(camera),
    });
    if Path::new("/dev/udmabuf").exists() {
        all.push(made("udmabuf", udmabuf::allocate(SIZE)?));
    } else {
        diagnose("this kernel has no udmabuf");
    }
    ensure!(all.len() >= 2);
    Ok(all)
}

/// The same, and one of each kind of heap.
pub fn all() -> Result<Vec<Made>> {
    let mut all = others()?;
    for heap in ["system", "system-uncached", "cma", "rk-dma-heap-cma"] {
        let buffer = Heap::open(heap)
            .and_then(|heap| heap.allocate(SIZE))
            .with_context(|| format!("heap {heap}"))?;
        all.push(made(heap, buffer));
    }
    Ok(all)
}

/// The sum of their sizes, in KiB, as their descriptors know them.
pub fn kib(buffers: &[Made]) -> Result<u64> {
    let mut bytes = 0;
    for made in buffers {
        bytes += made.buffer.size()? as u64;
    }
    ensure!(bytes % 1024 == 0, "{bytes} bytes");
    Ok(bytes / 1024)
}
