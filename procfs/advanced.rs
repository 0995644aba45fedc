// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/advanced`: whether `sgt` shows the ranges of every dma-buf (1), for which it
//! attaches a device of the module's own to those that nobody has mapped, while it prints them; or
//! of those alone whose mappings it can see (0).

use super::switch;
use crate::abstractions::proc_file::Show;
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

static ADVANCED: Atomic<bool> = Atomic::new(false);

/// Switches the mode.
pub(crate) fn set(advanced: bool) {
    ADVANCED.store(advanced, Relaxed);
}

/// Whether the mode is on.
pub(crate) fn is_on() -> bool {
    ADVANCED.load(Relaxed)
}

/// The file's content.
pub(crate) struct Advanced;

impl Show for Advanced {
    fn show(&self, file: &SeqFile) -> Result {
        switch::show(file, is_on())
    }

    fn write(&self, text: &[u8]) -> Result {
        set(switch::parse(text)?);
        Ok(())
    }
}
