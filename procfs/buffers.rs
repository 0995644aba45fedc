// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/buffers`: one line per dma-buf, with its exporter and its holders.
//!
//! Only those with `CAP_SYS_ADMIN` in the initial user namespace may open it, because it shows
//! which dma-bufs the processes of other users hold. `open()` fails with `EPERM` otherwise.
//!
//! The first line names the columns. They are separated by spaces and never change their names; new
//! ones are added at the end. In names, separators and bytes that are not printable are escaped as
//! `\` and three octal digits. `-` is an empty value.
//!
//! | column | content |
//! | --- | --- |
//! | `inode` | the inode number, as in `stat()` of a descriptor and in `/proc/PID/fdinfo` |
//! | `size` | the size in bytes |
//! | `exporter`, `name` | as in `/proc/PID/fdinfo` |
//! | `age_ms` | the time since the export, in milliseconds |
//! | `pid`, `thread` | the process ID and the thread name of the exporting thread |
//! | `references` | the number of references: descriptors, mappings, importers and others |
//! | `devices` | the attached devices, separated by commas |
//! | `holders` | the processes that hold it, separated by commas, as `PID:NAME:fd=N:map=N` |
//!
//! The holders are those at the time when the file was opened.

use super::row;
use crate::{
    abstractions::{
        privilege,
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

/// The contents of the file.
pub(crate) struct Buffers;

#[vtable]
impl List for Buffers {
    type State = Holders;
    type Item = BufferInfo;

    fn open() -> Result<Holders> {
        privilege::require_admin()?;
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
        print_origin(&mut output, item.origin.as_ref());
        output.decimal(dma_buf.references() as u64, 0);

        let mut first = true;
        for device in dma_buf.lock_interruptible()?.devices() {
            output.bytes(if core::mem::take(&mut first) {
                b" "
            } else {
                b","
            });
            output.field(device.name().to_bytes());
        }
        output.bytes(if first { b" - " } else { b" " });

        let mut first = true;
        for holder in holders.of_dma_buf(dma_buf.inode()) {
            print_separator(&mut output, &mut first);
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

/// Prints the columns `age_ms`, `pid` and `thread`.
fn print_origin(output: &mut Output<'_>, origin: Option<&Origin>) {
    let Some(origin) = origin else {
        // The origin is unknown.
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

/// Prints a comma before each element but the first.
fn print_separator(output: &mut Output<'_>, first: &mut bool) {
    if !core::mem::take(first) {
        output.bytes(b",");
    }
}
