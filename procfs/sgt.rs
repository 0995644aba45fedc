// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/sgt`: one line per dma-buf, with its ranges of device addresses.
//!
//! Only the exporter of a dma-buf knows its mappings. So this file shows the ranges of this
//! module's own dma-bufs that are mapped. In advanced mode it also shows those of all dma-bufs that
//! can be mapped for a device of this module. Names are blank for readers that may not see the
//! exporting process.
//!
//! The ranges are copied with the reservation lock held and printed later, [`LINES`] at a time: a
//! scatter list may be longer than any buffer of the sequence file.

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
        dma_buf::Pinned,
        exporter,
        privilege::Reader,
        proc_file::List,
        seq_output::Output,
        signal, //
    },
    all_buffers::{
        self,
        BufferInfo, //
    },
    mapped_ranges::{
        self,
        Range,
        TrialMappings, //
    },
    rockchip, //
};
use core::{
    cell::Cell,
    mem::{
        self,
        size_of, //
    },
    ops::Deref, //
};
use kernel::{
    alloc::flags::{
        GFP_KERNEL_ACCOUNT,
        __GFP_NOWARN, //
    },
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// The contents of the file.
pub(crate) struct Sgt;

/// The indentation of all ranges after the first.
const INDENT: &[u8] = b"                                                                 ";

/// The number of lines that are printed at a time, which fit in a page.
const LINES: usize = 32;

/// The number of bits of a position that count pieces of [`LINES`] lines of one dma-buf. The other
/// bits identify the dma-buf, newest first.
const PIECE_BITS: u32 = 20;

/// The maximum size in bytes of the copies of all open files. Any user may open many.
const MAX_COPIES: usize = 16 << 20;

/// The size in bytes of the copies of all open files.
static COPIES: Atomic<usize> = Atomic::new(0);

/// A copy of the ranges of a scatter list, which is charged to the reader.
#[derive(Default)]
struct Copied {
    ranges: KVVec<Range>,
    /// The part of [`COPIES`].
    bytes: usize,
}

impl Copied {
    /// Reserves capacity for `count` ranges. May sleep. Fails with `ENOMEM`.
    fn reserve(&mut self, count: usize) -> Result {
        let bytes = count.checked_mul(size_of::<Range>()).ok_or(ENOMEM)?;
        let others = COPIES.fetch_add(bytes, Relaxed);
        self.bytes += bytes;
        if others.saturating_add(bytes) > MAX_COPIES {
            return Err(ENOMEM);
        }
        self.ranges.clear();
        Ok(self
            .ranges
            .reserve(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        COPIES.fetch_sub(self.bytes, Relaxed);
    }
}

impl Deref for Copied {
    type Target = [Range];

    fn deref(&self) -> &[Range] {
        &self.ranges
    }
}

/// The state of an open file.
pub(crate) struct State {
    reader: Reader,
    /// The mappings of advanced mode.
    trials: Option<Arc<TrialMappings>>,
    /// The dma-buf that is being printed.
    current: Cell<Option<Current>>,
}

/// The ranges of a dma-buf, copied when its first line was printed.
struct Current {
    inode: u64,
    ranges: Copied,
}

/// Lines that are printed at a time.
pub(crate) enum Piece {
    /// The row of a dma-buf, with its first ranges.
    First(BufferInfo),
    /// The ranges of the dma-buf in [`State::current`] from this number on.
    Further(usize),
}

/// Returns the position of the first piece of a dma-buf.
fn position_of(inode: u64) -> u64 {
    ((i64::MAX as u64) >> PIECE_BITS).saturating_sub(inode) << PIECE_BITS
}

/// Returns the inode number and the piece at `position`.
fn at_position(position: u64) -> (u64, usize) {
    let inode = ((i64::MAX as u64) >> PIECE_BITS).saturating_sub(position >> PIECE_BITS);
    (inode, (position & ((1 << PIECE_BITS) - 1)) as usize)
}

#[vtable]
impl List for Sgt {
    type State = State;
    type Item = Piece;

    fn open() -> Result<State> {
        Ok(State {
            reader: Reader::default(),
            trials: rockchip::trial_mappings(),
            current: Cell::new(None),
        })
    }

    fn header(file: &SeqFile) -> Result {
        seq_print!(file, "{}", Heading("SGLIST"));
        Ok(())
    }

    fn at(state: &State, position: u64) -> Option<(u64, Piece)> {
        let (inode, piece) = at_position(position);
        if piece == 0 {
            let found = all_buffers::newest_up_to(inode)?;
            return Some((position_of(found.dma_buf.inode()), Piece::First(found)));
        }
        let current = state.current.take();
        let first = piece * LINES;
        if let Some(current) = current.filter(|current| current.inode == inode) {
            if first < current.ranges.len() {
                state.current.set(Some(current));
                return Some((position, Piece::Further(first)));
            }
        }
        let found = all_buffers::newest_up_to(inode.checked_sub(1)?)?;
        Some((position_of(found.dma_buf.inode()), Piece::First(found)))
    }

    fn show(state: &State, file: &SeqFile, piece: &Piece) -> Result {
        let privileges = state.reader.privileges(file);
        let shown = privileges.sees_addresses;
        let mut output = Output::new(file);
        match piece {
            Piece::First(info) => {
                state.current.set(None);
                row::print(file, privileges, &info.dma_buf);
                // The ranges of other readers are printed as zeros, so nothing is mapped for them.
                let trials = state.trials.as_deref();
                let trials = trials.filter(|_| shown && advanced::is_on());
                match ranges_of(&info.dma_buf, trials) {
                    Ok(ranges) if ranges.is_empty() => output.bytes(b"\n"),
                    Ok(ranges) => {
                        print_ranges(&mut output, &ranges, 0, shown);
                        if ranges.len() > LINES {
                            state.current.set(Some(Current {
                                inode: info.dma_buf.inode(),
                                ranges,
                            }));
                        }
                    }
                    Err(error) if error == EBUSY => output.bytes(b" (in use)\n"),
                    // The reader gets the rows of other dma-bufs.
                    Err(error) if error == ENOMEM => output.bytes(b" (no memory)\n"),
                    Err(error) => return Err(error),
                }
            }
            Piece::Further(first) => {
                let current = state.current.take();
                if let Some(current) = &current {
                    print_ranges(&mut output, &current.ranges, *first, shown);
                }
                state.current.set(current);
            }
        }
        Ok(())
    }
}

/// Returns the ranges of `dma_buf` for a device that has mapped it, if that is visible, or else
/// those of a mapping by `trials`. They are empty if there is none, or if the exporter does not
/// support its device.
///
/// May sleep. Fails with `EBUSY` if the reservation lock is held, with `ENOMEM`, and with `EINTR`
/// on a fatal signal.
fn ranges_of(dma_buf: &Pinned, trials: Option<&TrialMappings>) -> Result<Copied> {
    let mut copied = Copied::default();
    loop {
        signal::check_fatal()?;
        let locked = dma_buf.try_lock().ok_or(EBUSY)?;
        let Some(table) = exporter::mapped(&locked) else {
            break;
        };
        let missing = mapped_ranges::copy(&table, &mut copied.ranges);
        drop(locked);
        if missing == 0 {
            return Ok(copied);
        }
        copied.reserve(missing)?;
    }
    let Some(trials) = trials else {
        return Ok(Copied::default());
    };
    copied.reserve(LINES)?;
    loop {
        signal::check_fatal()?;
        // Exporters expect that importers hold a reference to the file.
        let Some(file) = dma_buf.file() else {
            return Ok(Copied::default());
        };
        let missing;
        (copied.ranges, missing) = match trials.ranges(file, mem::take(&mut copied.ranges)) {
            Ok(answer) => answer,
            Err(error) if [EBUSY, EINTR, ENOMEM].contains(&error) => return Err(error),
            // The exporter does not support this device.
            Err(_) => return Ok(Copied::default()),
        };
        if missing == 0 {
            return Ok(copied);
        }
        copied.reserve(missing)?;
    }
}

/// Prints up to [`LINES`] of `ranges`, from number `first` on. The addresses are 0 unless `shown`.
fn print_ranges(output: &mut Output<'_>, ranges: &[Range], first: usize, shown: bool) {
    for (number, &(start, size)) in ranges.iter().enumerate().skip(first).take(LINES) {
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
