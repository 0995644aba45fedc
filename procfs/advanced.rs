// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dmabuf/advanced`: the advanced mode of `sgt`, 0 or 1.
//!
//! In advanced mode `sgt` shows the ranges of every dma-buf. It attaches a device of this module to
//! each dma-buf without a visible mapping while it prints it. Otherwise it shows the ranges only of
//! dma-bufs whose mappings are visible.

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

/// Whether the mode is on.
static ADVANCED: Atomic<bool> = Atomic::new(false);

/// Switches the mode on or off.
pub(crate) fn set(advanced: bool) {
    ADVANCED.store(advanced, Relaxed);
}

/// Returns whether the mode is on.
pub(crate) fn is_on() -> bool {
    ADVANCED.load(Relaxed)
}

/// The contents of the file.
pub(crate) struct Advanced;

#[vtable]
impl Show for Advanced {
    fn show(&self, file: &SeqFile) -> Result {
        switch::show(file, is_on())
    }

    fn write(&self, text: &[u8]) -> Result {
        set(switch::parse(text)?);
        Ok(())
    }
}
