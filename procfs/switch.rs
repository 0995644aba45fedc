// SPDX-License-Identifier: GPL-2.0

//! The format of files that show and set a switch: `0` or `1`.

use kernel::{
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    }, //
};

/// Prints the state of a switch.
pub(crate) fn show(file: &SeqFile, on: bool) -> Result {
    seq_print!(file, "{}\n", u8::from(on));
    Ok(())
}

/// Parses the new state of a switch. Fails with `EINVAL` for anything but `0` and `1`.
pub(crate) fn parse(text: &[u8]) -> Result<bool> {
    match text {
        b"0" => Ok(false),
        b"1" => Ok(true),
        _ => Err(EINVAL),
    }
}
