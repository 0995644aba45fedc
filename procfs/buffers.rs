// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/buffers`: a record for each dma-buf, with who made it and who holds it. For root alone: it tells what
//! other users' processes have open.
//!
//! The first line names the columns. They are separated by spaces and never change their names; new ones are added at the
//! end. In names, what is not visible, and what separates, is printed as `\` and three octal digits; `-` stands for nothing.
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
    all_buffers::Found,
    holders::Holders,
    proc_file::List,
    text::{self, Field},
};
use kernel::{
    prelude::*,
    seq_file::{seq_print, SeqFile},
};

/// The file's content.
pub(crate) struct Buffers;

impl List for Buffers {
    type State = Holders;
    type Item = Found;

    fn open() -> Result<Holders> {
        Holders::now()
    }

    fn header(file: &SeqFile) -> Result {
        seq_print!(
            file,
            "inode size exporter name age_ms pid thread references devices holders{}\n",
            row::COVERAGE
        );
        Ok(())
    }

    fn at(_: &Holders, position: u64) -> Option<(u64, Found)> {
        row::at(position)
    }

    fn show(holders: &Holders, file: &SeqFile, item: &Found) -> Result {
        let dma_buf = &item.dma_buf;
        let name = dma_buf.name();
        seq_print!(
            file,
            "{} {} {} {} ",
            dma_buf.inode(),
            dma_buf.size(),
            Field(dma_buf.exporter().to_bytes()),
            Field(text::trimmed(&name))
        );
        match &item.origin {
            Some(origin) => seq_print!(
                file,
                "{} {} {} ",
                origin.age(),
                origin.process,
                Field(origin.thread.as_bytes())
            ),
            // From before the module was loaded.
            None => seq_print!(file, "- - - "),
        }
        // One of them is this reader's.
        seq_print!(file, "{} ", dma_buf.references().saturating_sub(1));

        let mut separator = "";
        for device in dma_buf.lock()?.devices() {
            seq_print!(file, "{}{}", separator, Field(device.name().to_bytes()));
            separator = ",";
        }
        seq_print!(file, "{} ", if separator.is_empty() { "-" } else { "" });

        let mut separator = "";
        for holder in holders.of(dma_buf.inode()) {
            seq_print!(
                file,
                "{}{}:{}:fd={}:map={}",
                separator,
                holder.process,
                Field(holder.name.as_bytes()),
                holder.descriptors,
                holder.mappings
            );
            separator = ",";
        }
        seq_print!(file, "{}\n", if separator.is_empty() { "-" } else { "" });
        Ok(())
    }
}
