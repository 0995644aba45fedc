// SPDX-License-Identifier: GPL-2.0

//! `rkheap snapshot`: the format of snapshots, which `rkheap leak` compares.

use crate::buffer::Buffer;
use crate::exit::{
    Missing,
    Status, //
};
use crate::output::Output;
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
    /// The PIDs of all processes.
    pub processes: Vec<u32>,
    pub buffers: Vec<Buffer>,
}

impl Snapshot {
    /// Takes a snapshot. Also returns the survey, for its remarks. Fails with [`Missing`] if
    /// `/proc` is not mounted.
    pub fn take(system: &System) -> Result<(Self, Survey)> {
        let survey = Survey::take(system);
        let snapshot = Snapshot {
            rkheap_snapshot: VERSION,
            boot_id: boot_id(system),
            complete: survey.complete,
            processes: processes::pids(system),
            // A buffer without an inode number cannot be identified later.
            buffers: survey
                .buffers
                .iter()
                .filter(|buffer| buffer.inode.is_some())
                .cloned()
                .collect(),
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

    /// Returns whether `later` was taken in the same boot.
    pub fn is_of_same_boot(&self, later: &Snapshot) -> bool {
        self.boot_id == later.boot_id
    }
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
