// SPDX-License-Identifier: GPL-2.0

//! `rkheap peak`: the peak size of all buffers while a command runs.

use crate::exit::{
    Missing,
    Status, //
};
use crate::module;
use crate::output::{
    print_remark,
    Output, //
};
use crate::parse::{
    sum_file::{
        self,
        SumFile, //
    },
    OWN_ONLY, //
};
use crate::run::{
    self,
    CommandResult, //
};
use crate::system::{
    ReadResult,
    System, //
};
use crate::text;
use anyhow::{
    anyhow,
    bail,
    ensure,
    Context,
    Result, //
};
use serde::Serialize;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{
    ErrorKind,
    Write, //
};

/// The JSON output.
#[derive(Serialize)]
struct Report {
    run: CommandResult,
    /// Rounded down to `resolution_bytes`.
    peak_bytes: u64,
    resolution_bytes: u64,
    before_bytes: u64,
    after_bytes: u64,
    own_buffers_only: bool,
}

/// Runs the command. Fails with [`Missing`] if the module is not loaded or this user is not root.
pub fn run(system: &System, output: Output, command: &[OsString]) -> Result<Status> {
    let (before, own_only) = read(&sum_file::SIZE, system)?;
    reset_peak(system)?;
    let result = run::run(command, output.json)?;
    let (peak, _) = read(&sum_file::PEAK, system)?;
    let (after, _) = read(&sum_file::SIZE, system)?;
    let status = if result.is_success() {
        Status::Done
    } else {
        Status::CommandFailed
    };
    if output.json {
        output.print_json(&Report {
            run: result,
            peak_bytes: peak,
            resolution_bytes: sum_file::PEAK.unit,
            before_bytes: before,
            after_bytes: after,
            own_buffers_only: own_only,
        })?;
        return Ok(status);
    }
    if let Some(failure) = result.failure() {
        print_remark(&failure);
    }
    let whose = if own_only {
        " (the module's own buffers only)"
    } else {
        ""
    };
    output.print_lines(&[
        output.bold(&format!("peak: {} MiB{whose}", peak / sum_file::PEAK.unit)),
        format!("  before: {}", text::size(before)),
        format!("  after:  {}", text::size(after)),
        format!(
            "  so it took {} MiB more than there were before",
            (peak / sum_file::PEAK.unit).saturating_sub(before / sum_file::PEAK.unit)
        ),
    ])?;
    Ok(status)
}

/// Reads a node. Returns the size in bytes, and whether the node covers only the module's own
/// buffers.
fn read(file: &SumFile, system: &System) -> Result<(u64, bool)> {
    let path = file.path;
    let text = match system.read(path) {
        ReadResult::Content(content) => String::from_utf8_lossy(&content).into_owned(),
        ReadResult::Denied => bail!(Missing(format!(
            "{path} is readable by root only: use sudo"
        ))),
        ReadResult::Absent => bail!(Missing(format!(
            "{path} is missing, and only the module records the peak: {}",
            module::LOAD_HINT
        ))),
    };
    let (bytes, notes) = file
        .parse(&text)
        .ok_or_else(|| anyhow!("cannot parse {path}: {}", text::escaped(&text)))?;
    let others = notes.strip_prefix(OWN_ONLY);
    let remark = others.unwrap_or(notes);
    if !remark.is_empty() {
        print_remark(&format!("{path}:{}", text::escaped(remark)));
    }
    Ok((bytes, others.is_some()))
}

/// Resets the peak to the current size.
fn reset_peak(system: &System) -> Result<()> {
    let path = sum_file::PEAK.path;
    ensure!(
        system.is_running(),
        "COMMAND cannot run on a recorded system: remove --root"
    );
    let opened = OpenOptions::new().write(true).open(system.path(path));
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => anyhow::Error::new(Missing(format!(
            "{path} is writable by root only: use sudo rkheap peak"
        ))),
        _ => anyhow!("cannot open {path}: {error}"),
    })?;
    file.write_all(b"0")
        .with_context(|| format!("cannot reset {path}"))
}
