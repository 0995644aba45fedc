// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/rk-dma-heap-info`: the allocations of the heaps of `/dev/rk_dma_heap`, in the
//! vendor's format. Names are blank for readers that may not see the allocating process.

use super::row::{
    self,
    ADDRESS_DIGITS, //
};
use crate::{
    abstractions::{
        dma_buf::UncountedDmaBuf,
        privilege::Privileges,
        proc_file::Show,
        seq_output::Output,
        signal,
        task, //
    },
    all_buffers,
    buffer,
    decisions::{
        segment::Segment,
        text, //
    },
    heap::Heap,
    rockchip, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile, //
};

/// The contents of the file.
pub(crate) struct Info;

#[vtable]
impl Show for Info {
    fn show(&self, file: &SeqFile) -> Result {
        let privileges = Privileges::of(file);
        let shown = privileges.sees_addresses;
        let mut output = Output::new(file);
        let mut total: u64 = 0;
        let heaps = rockchip::heaps()?;
        for found in all_buffers::iter() {
            signal::check_fatal()?;
            task::reschedule();
            let of_heap = heaps.iter().find_map(|heap| {
                let segment = buffer::contiguous_segment(&found.dma_buf, heap.account())?;
                Some((heap, segment))
            });
            let Some((heap, segment)) = of_heap else {
                continue;
            };
            total += found.dma_buf.size() as u64;
            output.bytes(b"dma-heap:<");
            output.column(heap.name().to_bytes(), 0);
            output.bytes(b"> -dmabuf\ti_ino = ");
            output.decimal(found.dma_buf.inode(), 0);
            output.bytes(b"\n");
            let name = row::visible_name(file, privileges, &found.dma_buf);
            print_allocation(&mut output, text::until_nul(&name), segment, shown);
            print_devices(&mut output, &found.dma_buf)?;
        }
        for heap in heaps {
            total += heap.total() as u64;
            for array in heap.page_arrays()?.values() {
                total += array.segment.bytes() as u64;
                output.bytes(b"dma-heap:<");
                output.column(heap.name().to_bytes(), 0);
                output.bytes(b"> -non dmabuf\n");
                // A driver allocates for any process, so an array belongs to no user.
                let owner = if privileges.inspects_all {
                    array.owner.to_bytes()
                } else {
                    b""
                };
                print_allocation(&mut output, owner, array.segment, shown);
            }
        }
        output.bytes(b"\nTotal : ");
        output.hexadecimal(total, 0);
        print_kib(&mut output, total);
        Ok(())
    }
}

/// Prints the owner and the addresses of an allocation. The addresses are 0 unless `shown`.
fn print_allocation(output: &mut Output<'_>, name: &[u8], segment: Segment, shown: bool) {
    let size = segment.bytes() as u64;
    let (start, end) = match shown {
        true => (segment.address(), segment.address() + (size - 1)),
        false => (0, 0),
    };
    output.bytes(b"\tAlloc by (");
    output.column(name, 20);
    output.bytes(b")\t[");
    output.hexadecimal(start, ADDRESS_DIGITS);
    output.bytes(b"-");
    output.hexadecimal(end, ADDRESS_DIGITS);
    output.bytes(b"]\t");
    output.hexadecimal(size, ADDRESS_DIGITS);
    print_kib(output, size);
}

/// Prints a size in KiB and ends the line.
fn print_kib(output: &mut Output<'_>, bytes: u64) {
    output.bytes(b" (");
    output.decimal(bytes / 1024, 0);
    output.bytes(b" KiB)\n");
}

/// Prints the devices that are attached to `dma_buf`.
fn print_devices(output: &mut Output<'_>, dma_buf: &UncountedDmaBuf) -> Result {
    output.bytes(b"\t\tAttached Devices:\n");
    let mut count = 0;
    for device in dma_buf.lock_interruptible()?.devices() {
        output.bytes(b"\t\t");
        output.column(device.name().to_bytes(), 0);
        output.bytes(b"\n");
        count += 1;
    }
    output.bytes(b"Total ");
    output.decimal(count, 0);
    output.bytes(b" devices attached\n\n");
    Ok(())
}
