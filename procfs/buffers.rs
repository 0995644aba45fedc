// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/buffers`: a record for each dma-buf, with who made it and who holds it. For
//! root alone: it tells what other users' processes have open.
//!
//! The first line names the columns. They are separated by spaces and never change their names; new
//! ones are added at the end. In names, what is not visible, and what separates, is printed as `\`
//! and three octal digits; `-` stands for nothing.
//!
//! | column | content |
//! | --- | --- |
//! | `inode` | the inode number, as `stat()` of a descriptor and `/proc/PID/fdinfo` know it |
//! | `size` | in bytes |
//! | `exporter`, `name` | as in `/proc/PID/fdinfo` |
//! | `age_ms` | milliseconds since it was exported |
//! | `pid`, `thread` | the process that exported it, and the name of the thread that did |
//! | `references` | descriptors, mappings, importers and whoever else holds it |
//! | `devices` | the attached devices, with commas between |
//! | `holders` | the processes that hold it when the file is opened, with commas between: `PID:NAME:fd=N:map=N` |

use super::row;
use crate::{
    abstractions::{
        proc_file::List,
        seq_output::Output, //
    },
    all_buffers::{
        BufferInfo,
        Origin, //
    },
    decisions::text,
    holders::Holders, //
};
use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    }, //
};

/// The file's content.
pub(crate) struct Buffers;

impl List for Buffers {
    type State = Holders;
    type Item = BufferInfo;

    fn open() -> Result<Holders> {
        Holders::collect()
    }

    fn header(file: &SeqFile) -> Result {
        seq_print!(
            file,
            "inode size exporter name age_ms pid thread references devices holders{}\n",
            row::COVERAGE_NOTE
        );
        Ok(())
    }

    fn at(_: &Holders, position: u64) -> Option<(u64, BufferInfo)> {
        row::buffer_at(position)
    }

    fn show(holders: &Holders, file: &SeqFile, item: &BufferInfo) -> Result {
        let dma_buf = &item.dma_buf;
        let mut output = Output::new(file);
        output.decimal(dma_buf.inode(), 0);
        output.bytes(b" ");
        output.decimal(dma_buf.size() as u64, 0);
        output.bytes(b" ");
        output.field(dma_buf.exporter().to_bytes());
        output.bytes(b" ");
        output.field(text::until_nul(&dma_buf.name()));
        output.bytes(b" ");
        origin(&mut output, item.origin.as_ref());
        // One of them is this reader's.
        output.decimal(dma_buf.references().saturating_sub(1) as u64, 0);
        output.bytes(b" ");

        let mut first = true;
        for device in dma_buf.lock_interruptible()?.devices() {
            separate(&mut output, &mut first);
            output.field(device.name().to_bytes());
        }
        output.bytes(if first { b"- " } else { b" " });

        let mut first = true;
        for holder in holders.of_dma_buf(dma_buf.inode()) {
            separate(&mut output, &mut first);
            output.decimal(holder.pid as u64, 0);
            output.bytes(b":");
            output.field(holder.name.as_bytes());
            output.bytes(b":fd=");
            output.decimal(u64::from(holder.descriptors), 0);
            output.bytes(b":map=");
            output.decimal(u64::from(holder.mappings), 0);
        }
        output.bytes(if first { b"-\n" } else { b"\n" });
        Ok(())
    }
}

fn origin(output: &mut Output<'_>, origin: Option<&Origin>) {
    let Some(origin) = origin else {
        // From before the module was loaded.
        output.bytes(b"- - - ");
        return;
    };
    output.decimal(origin.age() as u64, 0);
    output.bytes(b" ");
    output.decimal(origin.pid as u64, 0);
    output.bytes(b" ");
    output.field(origin.thread.as_bytes());
    output.bytes(b" ");
}

fn separate(output: &mut Output<'_>, first: &mut bool) {
    if !core::mem::take(first) {
        output.bytes(b",");
    }
}
