// SPDX-License-Identifier: GPL-2.0

//! Hibernation: the kernel reads all memory through the caches, and no buffer knows of that view.

use super::{
    flushed,
    second_round,
    Scene, //
};
use crate::maintenance::watch::{
    expect,
    Watch,
    NONE, //
};
use crate::maintenance::PAGES;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::skip;
use guest_support::module::Module;
use guest_support::page_size;
use std::fs::File;
use std::path::Path;

const SNAPSHOT: &str = "/dev/snapshot";

/// The kernel reads all memory for hibernation, through the caches. The file stands for that: it is
/// through which a program saves memory.
pub(super) fn begins_and_ends(scene: &Scene<'_>) -> Result<()> {
    let heap = Heap::open("system")?;
    let unmapped = heap.allocate(page_size())?;
    if !Path::new(SNAPSHOT).exists() {
        return Err(skip("this kernel has no hibernation"));
    }
    let snapshot = File::open(SNAPSHOT).context(SNAPSHOT)?;
    scene.expect("hibernation begins", flushed())?;
    scene.expect_maintained("during hibernation")?;
    let maps_free = |buffer: &Buffer| -> Result<bool> {
        Ok(second_round(scene.watch, scene.client, buffer)? == NONE)
    };
    ensure!(!maps_free(&unmapped)?, "a buffer that had no importer");
    let new = heap.allocate(page_size())?;
    ensure!(!maps_free(&new)?, "a buffer of that time");
    drop(snapshot);
    scene.expect_maintained("afterwards")?;
    ensure!(!maps_free(&new)?, "a buffer of that time, afterwards");
    ensure!(maps_free(&heap.allocate(page_size())?)?, "a new buffer");
    Ok(())
}

/// The module is loaded while a program saves memory, or restores it, and nobody tells it when that
/// began.
pub(super) fn has_begun_at_load(name: &str) -> Result<()> {
    if !Path::new(SNAPSHOT).exists() {
        return Err(skip("this kernel has no hibernation"));
    }
    client::load("")?;
    let client = Client::open()?;
    for restores in [false, true] {
        let mut options = File::options();
        let snapshot = options.read(!restores).write(restores).open(SNAPSHOT);
        let snapshot = snapshot.with_context(|| format!("{SNAPSHOT}, restores: {restores}"))?;
        let module = Module::load("")?;
        let heap = Heap::open(name)?;
        let watch = Watch::start()?;
        let of_new_buffer = || second_round(&watch, &client, &heap.allocate(PAGES * page_size())?);
        expect("during hibernation", of_new_buffer()?, flushed())?;
        drop(snapshot);
        let afterwards = format!("afterwards, restores: {restores}");
        expect(&afterwards, of_new_buffer()?, NONE)?;
        drop((watch, heap));
        module.unload()?;
    }
    Ok(())
}
