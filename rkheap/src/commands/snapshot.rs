// SPDX-License-Identifier: GPL-2.0

//! `rkheap snapshot`, and what `rkheap leak` compares.

use crate::buffers::{
    self,
    Buffer,
    Survey, //
};
use crate::exit::{
    Missing,
    Status, //
};
use crate::output::Output;
use crate::processes;
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

/// All buffers at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub rkheap_snapshot: u32,
    /// Inode numbers are given anew after each boot.
    pub boot_id: String,
    /// Whether these were all buffers, or those alone that the user could see.
    pub complete: bool,
    /// The processes that there were.
    pub processes: Vec<u32>,
    pub buffers: Vec<Buffer>,
}

impl Snapshot {
    /// Takes one. Fails where no buffer can be told from another.
    pub fn take(system: &System) -> Result<(Self, Survey)> {
        let survey = buffers::survey(system);
        let snapshot = Snapshot {
            rkheap_snapshot: VERSION,
            boot_id: boot_id(system),
            complete: survey.complete,
            processes: processes::all(system),
            // Without a number a buffer cannot be known again.
            buffers: survey
                .buffers
                .iter()
                .filter(|buffer| buffer.inode.is_some())
                .cloned()
                .collect(),
        };
        if snapshot.processes.is_empty() {
            return Err(Missing("there is no process in /proc: mount it".to_owned()).into());
        }
        Ok((snapshot, survey))
    }

    /// Reads one that was printed before; `-` is standard input.
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
                        "there is no snapshot {}; `rkheap snapshot > FILE` makes one",
                        path.display()
                    ))
                    .into())
                }
                Err(error) => bail!("cannot read {}: {error}", path.display()),
            }
        };
        let snapshot: Snapshot = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is no snapshot; `rkheap snapshot > FILE` makes one",
                path.display()
            )
        })?;
        ensure!(
            snapshot.rkheap_snapshot == VERSION,
            "{} has format {}, this rkheap knows {VERSION}; make it anew",
            path.display(),
            snapshot.rkheap_snapshot
        );
        Ok(snapshot)
    }

    /// Whether `later` was made in the same run of the machine.
    pub fn is_of_same_boot(&self, later: &Snapshot) -> bool {
        self.boot_id == later.boot_id
    }
}

fn boot_id(system: &System) -> String {
    let id = system.text("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

pub fn run(system: &System, output: Output) -> Result<Status> {
    let (snapshot, survey) = Snapshot::take(system)?;
    output.value(&snapshot)?;
    output.remarks(&survey.remarks);
    Ok(Status::Done)
}
