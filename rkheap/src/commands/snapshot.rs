// SPDX-License-Identifier: GPL-2.0

//! `rkheap snapshot`: the format of snapshots, which `rkheap leak` compares.

use crate::buffer::Buffer;
use crate::exit::{
    Missing,
    Status, //
};
use crate::output::Output;
use crate::parse::sum_file;
use crate::processes;
use crate::survey::Survey;
use crate::system::System;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use std::io::Read;
use std::path::Path;

/// The version of the format.
const VERSION: u32 = 1;

/// All buffers at one point in time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The version of the format.
    pub rkheap_snapshot: u32,
    /// Identifies the boot, because inode numbers are valid only until the next one.
    pub boot_id: String,
    /// Whether `buffers` has all buffers, not only those that the user could see.
    pub complete: bool,
    /// The number of dma-bufs that are known to exist, and that nothing identifies later.
    #[serde(default)]
    pub unidentified: usize,
    /// The sum of the sizes of all dma-bufs in bytes, if the module is loaded.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// The PIDs of all processes that had not ended before the buffers were listed.
    pub processes: Vec<u32>,
    pub buffers: Vec<Buffer>,
}

impl Snapshot {
    /// Takes a snapshot. Also returns the survey, for its remarks. Fails with [`Missing`] if
    /// `/proc` is not mounted.
    pub fn take(system: &System) -> Result<(Self, Survey)> {
        // A process that is not among these has released its buffers.
        let processes = processes::pids(system);
        let survey = Survey::take(system);
        // A buffer without an inode number cannot be identified later.
        let (buffers, unidentified): (Vec<Buffer>, Vec<Buffer>) = survey
            .buffers
            .iter()
            .cloned()
            .partition(|buffer| buffer.inode.is_some());
        let snapshot = Snapshot {
            rkheap_snapshot: VERSION,
            boot_id: boot_id(system),
            complete: survey.complete,
            unidentified: unidentified.len(),
            total_bytes: total(system),
            processes,
            buffers,
        };
        if snapshot.processes.is_empty() {
            return Err(Missing(
                "/proc lists no processes: run `mount -t proc proc /proc`".to_owned(),
            )
            .into());
        }
        Ok((snapshot, survey))
    }

    /// Loads a snapshot from a file; `-` is standard input. Fails with [`Missing`] if the file does
    /// not exist.
    pub fn load(path: &Path) -> Result<Self> {
        let text = if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("cannot read the snapshot from standard input")?;
            text
        } else {
            match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Missing(format!(
                        "snapshot {} does not exist: take one with `rkheap snapshot > FILE`",
                        path.display()
                    ))
                    .into())
                }
                Err(error) => bail!("cannot read {}: {error}", path.display()),
            }
        };
        let snapshot: Snapshot = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not a snapshot: take one with `rkheap snapshot > FILE`",
                path.display()
            )
        })?;
        ensure!(
            snapshot.rkheap_snapshot == VERSION,
            "{} has format {}, but this rkheap supports {VERSION}: take a new snapshot",
            path.display(),
            snapshot.rkheap_snapshot
        );
        Ok(snapshot)
    }

    /// Returns whether the snapshot identifies all dma-bufs of the system.
    pub fn identifies_all(&self) -> bool {
        self.complete && self.unidentified == 0
    }

    /// Returns whether `later` was taken in the same boot.
    pub fn is_of_same_boot(&self, later: &Snapshot) -> bool {
        self.boot_id == later.boot_id
    }
}

/// Returns the sum of the sizes of all dma-bufs in bytes, if the module knows it.
fn total(system: &System) -> Option<u64> {
    let text = system.text(sum_file::SIZE.path)?;
    let (bytes, notes) = sum_file::SIZE.parse(&text)?;
    // A note says what the sum lacks.
    notes.is_empty().then_some(bytes)
}

/// Returns the boot ID of the kernel.
fn boot_id(system: &System) -> String {
    let id = system.text("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

/// Runs the command.
pub fn run(system: &System, output: Output) -> Result<Status> {
    let (snapshot, survey) = Snapshot::take(system)?;
    output.print_json(&snapshot)?;
    output.print_remarks(&survey.remarks);
    Ok(Status::Done)
}
