// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/dev`: one line per dma-buf, with the attached devices.
//!
//! The name is blank for readers that may not see the exporting process.

use super::row::{
    self,
    Heading, //
};
use crate::{
    abstractions::{
        privilege::Reader,
        proc_file::List,
        seq_output::Output, //
    },
    all_buffers::BufferInfo, //
};
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    }, //
};

/// The contents of the file.
pub(crate) struct Dev;

#[vtable]
impl List for Dev {
    type State = Reader;
    type Item = BufferInfo;

    fn open() -> Result<Reader> {
        Ok(Reader::default())
    }

    fn header(file: &SeqFile) -> Result {
        seq_print!(file, "{}", Heading("AttachedDevices"));
        Ok(())
    }

    fn at(_: &Reader, position: u64) -> Option<(u64, BufferInfo)> {
        row::buffer_at(position)
    }

    fn show(reader: &Reader, file: &SeqFile, item: &BufferInfo) -> Result {
        row::print(file, reader.privileges(file), &item.dma_buf);
        let mut output = Output::new(file);
        for device in item.dma_buf.lock_interruptible()?.devices() {
            output.bytes(b" ");
            output.column(device.name().to_bytes(), 0);
        }
        output.bytes(b"\n");
        Ok(())
    }
}
