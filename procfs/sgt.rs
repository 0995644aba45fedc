// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/sgt`: one line per dma-buf, with its ranges of device addresses.
//!
//! Only the exporter of a dma-buf knows its mappings. So this file shows the ranges of this
//! module's own dma-bufs that are mapped. In advanced mode it also shows those of all dma-bufs that
//! can be mapped for a device of this module.

use super::{
    advanced,
    row::{
        self,
        Heading,
        ADDRESS_DIGITS, //
    }, //
};
use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        exporter,
        proc_file::{
            reader_is_admin,
            List, //
        },
        seq_output::Output,
        sg_table::MappedTable, //
    },
    all_buffers::BufferInfo,
    rockchip, //
};
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::Arc, //
};

/// The contents of the file.
pub(crate) struct Sgt;

/// The indentation of all ranges after the first.
const INDENT: &[u8] = b"                                                                 ";

#[vtable]
impl List for Sgt {
    /// The device for attachments in advanced mode.
    type State = Option<Arc<Cleaner>>;
    type Item = BufferInfo;

    fn open() -> Result<Self::State> {
        Ok(rockchip::device())
    }

    fn header(file: &SeqFile) -> Result {
        seq_print!(file, "{}", Heading("SGLIST"));
        Ok(())
    }

    fn at(_: &Self::State, position: u64) -> Option<(u64, BufferInfo)> {
        row::buffer_at(position)
    }

    fn show(device: &Self::State, file: &SeqFile, item: &BufferInfo) -> Result {
        row::print(file, &item.dma_buf);
        let mut output = Output::new(file);
        let shown = reader_is_admin(file);
        let locked = item.dma_buf.try_lock();
        let Some(locked) = locked else {
            output.bytes(b" (in use)\n");
            return Ok(());
        };
        if let Some(table) = exporter::mapped(&locked) {
            print_ranges(&mut output, &table, shown);
            return Ok(());
        }
        drop(locked);
        // The ranges of other readers are printed as zeros, so nothing is mapped for them.
        if let Some(device) = device.as_ref().filter(|_| shown && advanced::is_on()) {
            match device.attach(&item.dma_buf) {
                Ok(attachment) => {
                    if let Some(table) = attachment.table() {
                        print_ranges(&mut output, &table, shown);
                        return Ok(());
                    }
                }
                Err(error) if error == EBUSY => output.bytes(b" (in use)"),
                // The exporter does not support this device.
                Err(_) => {}
            }
        }
        output.bytes(b"\n");
        Ok(())
    }
}

/// Prints the ranges of `table`. The addresses are 0 unless `shown`.
fn print_ranges(output: &mut Output<'_>, table: &MappedTable<'_>, shown: bool) {
    for (number, (start, size)) in table.ranges().enumerate() {
        output.bytes(if number == 0 { b" " } else { INDENT });
        let end = start.saturating_add((size as u64).saturating_sub(1));
        let (start, end) = if shown { (start, end) } else { (0, 0) };
        output.decimal(number as u64, 4);
        output.bytes(b": ");
        output.hexadecimal(start, ADDRESS_DIGITS);
        output.bytes(b"..");
        output.hexadecimal(end, ADDRESS_DIGITS);
        output.bytes(b" (");
        match size {
            bytes @ ..1024 => {
                output.decimal(bytes as u64, 10);
                output.bytes(b" Bytes)\n");
            }
            bytes => {
                output.decimal(bytes as u64 / 1024, 10);
                output.bytes(b" KiB)\n");
            }
        }
    }
}
