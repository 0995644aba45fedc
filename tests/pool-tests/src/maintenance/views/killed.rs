// SPDX-License-Identifier: GPL-2.0

//! Processes that are killed while they get a view of a large buffer.

use super::{
    with_scene_of,
    Scene, //
};
use crate::maintenance::watch::for_cpu;
use anyhow::{
    bail,
    Context,
    Result, //
};
use guest_support::cpu::bind_to_cpu;
use guest_support::process::Child;
use std::thread::sleep;
use std::time::Duration;

/// The size of a buffer whose maintenance takes long enough for a process to be killed meanwhile.
const SIZE: usize = 192 << 20;

/// Runs a test with a large buffer of clean memory, and with this process on the CPU of its
/// children, so that it interrupts them when it wakes. On a CPU of their own they might be done by
/// then, if those of the guest do not run at the same time.
fn with_large_scene(test: impl FnOnce(&Scene<'_>) -> Result<()>) -> Result<()> {
    bind_to_cpu(0)?;
    with_scene_of("", "system", SIZE, |scene| {
        scene.device.unmap()?;
        scene.watch.trace.clear()?;
        test(scene)
    })
}

/// Runs `view` in another process, and kills that while it makes the view.
fn kill_during(scene: &Scene<'_>, view: impl FnOnce() -> Result<()>) -> Result<()> {
    let child = Child::run(view)?;
    while !scene.watch.trace.has_events()? {
        sleep(Duration::from_millis(1));
    }
    // Kills it, and waits.
    drop(child);
    Ok(())
}

/// A process is killed while the kernel maps a buffer of clean memory for it: the mapping is made,
/// since the dma-buf core warns of each that fails, and all lines are invalidated.
pub fn killed_in_kernel() -> Result<()> {
    with_large_scene(|scene| {
        kill_during(scene, || Ok(scene.device.vmap()?))?;
        scene.device.vunmap().context("there is no mapping")?;
        scene.expect("vmap", for_cpu(SIZE as u64))
    })
}

/// How often a process is killed until that comes in time. On a busy machine it may come too late.
const ATTEMPTS: usize = 6;

/// A process that maps a large buffer of clean memory can be killed, and the next one invalidates
/// all of it.
pub fn killed() -> Result<()> {
    for _ in 0..ATTEMPTS {
        let mut in_time = false;
        with_large_scene(|scene| {
            kill_during(scene, || scene.buffer.map().map(drop))?;
            in_time = scene.watch.take(scene.segments)?.for_cpu < SIZE as u64;
            if !in_time {
                return Ok(());
            }
            let _mapping = scene.buffer.map()?;
            scene.expect("mmap", for_cpu(SIZE as u64))
        })?;
        if in_time {
            return Ok(());
        }
    }
    bail!("each process had ended before it was killed")
}
