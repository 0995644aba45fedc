// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/rk-dma-heap-info`: what the heaps of `/dev/rk_dma_heap` have handed out, in the vendor's format.

use super::sgt::Address;
use crate::{
    all_buffers,
    dma_buf::DmaBuf,
    exporter,
    heap::Heap,
    memory::Segment,
    proc_file::{reader_is_admin, Show},
    rockchip,
    text::{self, Column},
};
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
};

/// The file's content.
pub(crate) struct Info;

impl Show for Info {
    fn show(file: &SeqFile) -> Result {
        let shown = reader_is_admin(file);
        let mut total: u64 = 0;
        for heap in rockchip::heaps()? {
            for found in all_buffers::iter() {
                let Some(segment) = exporter::segment_of(&found.dma_buf, heap.account()) else {
                    continue;
                };
                total += found.dma_buf.size() as u64;
                seq_print!(
                    file,
                    "dma-heap:<{}> -dmabuf\ti_ino = {}\n",
                    Column(heap.name().to_bytes()),
                    found.dma_buf.inode()
                );
                let name = found.dma_buf.name();
                alloc(file, text::trimmed(&name), segment, shown);
                devices(file, &found.dma_buf)?;
            }
            for array in heap.page_arrays()? {
                total += array.segment.bytes() as u64;
                seq_print!(
                    file,
                    "dma-heap:<{}> -non dmabuf\n",
                    Column(heap.name().to_bytes())
                );
                alloc(file, array.name.to_bytes(), array.segment, shown);
            }
        }
        seq_print!(file, "\nTotal : {:#x} ({} KiB)\n", total, total / 1024);
        Ok(())
    }
}

fn alloc(file: &SeqFile, name: &[u8], segment: Segment, shown: bool) {
    let size = segment.bytes() as u64;
    let (start, end) = match shown {
        true => (segment.address(), segment.address() + (size - 1)),
        false => (0, 0),
    };
    seq_print!(
        file,
        "\tAlloc by ({:<20})\t[{}-{}]\t{} ({} KiB)\n",
        Column(name),
        Address(start),
        Address(end),
        Address(size),
        size / 1024
    );
}

fn devices(file: &SeqFile, dma_buf: &DmaBuf) -> Result {
    seq_print!(file, "\t\tAttached Devices:\n");
    let mut count = 0;
    for device in dma_buf.lock()?.devices() {
        seq_print!(file, "\t\t{}\n", Column(device.name().to_bytes()));
        count += 1;
    }
    seq_print!(file, "Total {} devices attached\n\n", count);
    Ok(())
}
