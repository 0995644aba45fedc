// SPDX-License-Identifier: GPL-2.0

//! `rkheap peak`: the peak size of all buffers while a command runs, and what made it up.

mod highest;

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
use crate::table::{
    Align,
    Table, //
};
use crate::text;
use anyhow::{
    anyhow,
    bail,
    ensure,
    Context,
    Result, //
};
use highest::Highest;
use serde::Serialize;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{
    ErrorKind,
    Write, //
};

/// The JSON output.
#[derive(Serialize)]
struct Report<'a> {
    run: &'a CommandResult,
    /// Rounded down to `resolution_bytes`.
    peak_bytes: u64,
    resolution_bytes: u64,
    before_bytes: u64,
    after_bytes: u64,
    own_buffers_only: bool,
    /// The highest sum that was seen, which a short peak exceeds, and its parts.
    seen_bytes: u64,
    parts: &'a [highest::Part],
}

/// Runs the command. Fails with [`Missing`] if the module is not loaded or this user is not root.
pub fn run(system: &System, output: Output, command: &[OsString]) -> Result<Status> {
    let (before, own_only) = read(&sum_file::SIZE, system)?;
    reset_peak(system)?;
    let (result, highest) = highest::during(system, || run::run(command, output.json));
    let result = result?;
    let file = match system.exists(sum_file::PEAK_BYTES.path) {
        true => sum_file::PEAK_BYTES,
        false => sum_file::PEAK,
    };
    let (peak, _) = read(&file, system)?;
    let (after, _) = read(&sum_file::SIZE, system)?;
    let status = if result.is_success() {
        Status::Done
    } else {
        Status::CommandFailed
    };
    if output.json {
        output.print_json(&Report {
            run: &result,
            peak_bytes: peak,
            resolution_bytes: file.unit,
            before_bytes: before,
            after_bytes: after,
            own_buffers_only: own_only,
            seen_bytes: highest.bytes,
            parts: &highest.parts,
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
    let exact = match file.unit {
        1 => format!(" ({peak} bytes)"),
        _ => String::new(),
    };
    let mut lines = vec![
        output.bold(&format!("peak: {}{exact}{whose}", text::size(peak))),
        format!("  before: {}", text::size(before)),
        format!("  after:  {}", text::size(after)),
        format!(
            "  so it took {} more than there were before",
            text::size(peak.saturating_sub(before))
        ),
    ];
    lines.extend(composition(output, peak, &highest));
    output.print_lines(&lines)?;
    Ok(status)
}

/// Returns the parts of the highest sum that was seen.
fn composition(output: Output, peak: u64, highest: &Highest) -> Vec<String> {
    if highest.parts.is_empty() {
        return Vec::new();
    }
    // The peak is one of whole MiB, or exact.
    let seen = match highest.bytes < peak {
        true => format!(
            "it was too short to be seen; made up of, when {} were seen:",
            text::size(highest.bytes)
        ),
        false => "made up of:".to_owned(),
    };
    let mut table = Table::new(&[
        ("PROCESS", Align::Left),
        ("PID", Align::Right),
        ("NAME", Align::Left),
        ("HEAP", Align::Left),
        ("SIZE", Align::Right),
        ("COUNT", Align::Right),
        ("SUM", Align::Right),
    ]);
    for part in &highest.parts {
        let before = if part.existed_before { " (before)" } else { "" };
        table.add_row(vec![
            format!("{}{before}", text::escaped_or_dash(&part.process)),
            part.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            text::escaped_or_dash(part.name.as_deref().unwrap_or_default()),
            text::escaped_or_dash(&part.exporter),
            text::size(part.size),
            part.count.to_string(),
            text::size(part.bytes),
        ]);
    }
    let mut lines = vec![seen];
    lines.extend(output.with_heading(table.lines("  ")));
    lines
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
