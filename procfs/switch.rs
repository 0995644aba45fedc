// SPDX-License-Identifier: GPL-2.0

//! A file that shows whether something is on, and switches it: `1` and `0`.

use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    }, //
};

/// Prints whether it is on.
pub(crate) fn show(file: &SeqFile, on: bool) -> Result {
    seq_print!(file, "{}\n", u8::from(on));
    Ok(())
}

/// Whether what was written switches it on. Fails with `EINVAL` where it is neither.
pub(crate) fn parse(text: &[u8]) -> Result<bool> {
    match text {
        b"0" => Ok(false),
        b"1" => Ok(true),
        _ => Err(EINVAL),
    }
}
