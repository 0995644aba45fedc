// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/sgt`: a line for each dma-buf, with the ranges that a device sees it at.
//!
//! The kernel tells nobody but the exporter how a dma-buf is mapped. So the ranges are shown of this module's own that are
//! mapped, and in advanced mode of those that can be mapped for a device of the module's own.

use super::{
    advanced,
    row::{self, Heading, Row},
};
use crate::{
    all_buffers::Found,
    cache_cleaner::Cleaner,
    exporter,
    proc_file::{reader_is_admin, List},
    rockchip,
    sg_table::MappedTable,
};
use kernel::{
    fmt,
    prelude::*,
    seq_file::{seq_print, SeqFile},
    sync::Arc,
};

/// The file's content.
pub(crate) struct Sgt;

/// What a line's entries after the first begin with.
const INDENT: &str = "                                                                 ";

impl List for Sgt {
    /// The device that dma-bufs are attached to in advanced mode.
    type State = Option<Arc<Cleaner>>;
    type Item = Found;

    fn open() -> Result<Self::State> {
        Ok(rockchip::device())
    }

    fn header(file: &SeqFile) -> Result {
        seq_print!(file, "{}", Heading("SGLIST"));
        Ok(())
    }

    fn at(_: &Self::State, position: u64) -> Option<(u64, Found)> {
        row::at(position)
    }

    fn show(device: &Self::State, file: &SeqFile, item: &Found) -> Result {
        seq_print!(file, "{}", Row(&item.dma_buf));
        let shown = reader_is_admin(file);
        let locked = item.dma_buf.try_lock();
        let Some(locked) = locked else {
            seq_print!(file, " (in use)\n");
            return Ok(());
        };
        if let Some(table) = exporter::mapped(&locked) {
            print(file, &table, shown);
            return Ok(());
        }
        drop(locked);
        // Others would see zeros, for which nothing needs to be mapped.
        if let Some(device) = device.as_ref().filter(|_| shown && advanced::is_on()) {
            match device.glance(&item.dma_buf) {
                Ok(glance) => {
                    if let Some(table) = glance.table() {
                        print(file, &table, shown);
                        return Ok(());
                    }
                }
                Err(error) if error == EBUSY => seq_print!(file, " (in use)"),
                // The exporter does not want such a device.
                Err(_) => {}
            }
        }
        seq_print!(file, "\n");
        Ok(())
    }
}

fn print(file: &SeqFile, table: &MappedTable<'_>, shown: bool) {
    for (number, (start, size)) in table.ranges().enumerate() {
        let indent = if number == 0 { " " } else { INDENT };
        let end = start.saturating_add((size as u64).saturating_sub(1));
        let (start, end) = if shown { (start, end) } else { (0, 0) };
        seq_print!(
            file,
            "{}{:>4}: {}..{} ({})\n",
            indent,
            number,
            Address(start),
            Address(end),
            Length(size)
        );
    }
}

/// An address as wide as the machine prints them.
pub(crate) struct Address(pub(crate) u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if cfg!(CONFIG_PHYS_ADDR_T_64BIT) { 18 } else { 10 };
        write!(f, "{:#0digits$x}", self.0)
    }
}

/// A number of bytes, right-aligned in 10.
struct Length(usize);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ ..1024 => write!(f, "{bytes:>10} Bytes"),
            bytes => write!(f, "{:>10} KiB", bytes / 1024),
        }
    }
}
