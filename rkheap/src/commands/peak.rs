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
use crate::parse::OWN_ONLY;
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

/// A node with one number of bytes.
struct SizeNode {
    path: &'static str,
    /// The text before the number.
    prefix: &'static str,
    /// The text after the number.
    suffix: &'static str,
    /// The unit of the number, in bytes.
    unit: u64,
}

const PEAK: SizeNode = SizeNode {
    path: "/proc/rk_dmabuf/peak",
    prefix: "Peak: ",
    suffix: " MiB",
    unit: 1 << 20,
};

const SIZE: SizeNode = SizeNode {
    path: "/proc/rk_dmabuf/size",
    prefix: "Total: ",
    suffix: " KiB",
    unit: 1 << 10,
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
    let (before, own_only) = SIZE.read(system)?;
    reset_peak(system)?;
    let result = run::run(command, output.json)?;
    let (peak, _) = PEAK.read(system)?;
    let (after, _) = SIZE.read(system)?;
    let status = if result.is_success() {
        Status::Done
    } else {
        Status::CommandFailed
    };
    if output.json {
        output.print_json(&Report {
            run: result,
            peak_bytes: peak,
            resolution_bytes: PEAK.unit,
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
        output.bold(&format!("peak: {} MiB{whose}", peak / PEAK.unit)),
        format!("  before: {}", text::size(before)),
        format!("  after:  {}", text::size(after)),
        format!(
            "  so it took {} MiB more than there were before",
            (peak / PEAK.unit).saturating_sub(before / PEAK.unit)
        ),
    ])?;
    Ok(status)
}

impl SizeNode {
    /// Reads the node. Returns the size in bytes, and whether the node covers only the module's own
    /// buffers.
    fn read(&self, system: &System) -> Result<(u64, bool)> {
        let path = self.path;
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
        let (bytes, notes) = self
            .parse(&text)
            .ok_or_else(|| anyhow!("cannot parse {path}: {}", text::escaped(&text)))?;
        let others = notes.strip_prefix(OWN_ONLY);
        let remark = others.unwrap_or(notes);
        if !remark.is_empty() {
            print_remark(&format!("{path}:{}", text::escaped(remark)));
        }
        Ok((bytes, others.is_some()))
    }

    /// Returns the size in bytes, and the notes that follow it.
    fn parse<'a>(&self, text: &'a str) -> Option<(u64, &'a str)> {
        let line = text.lines().next()?;
        let (line, notes) = line.split_at(line.find(" (").unwrap_or(line.len()));
        let number = line.strip_prefix(self.prefix)?.strip_suffix(self.suffix)?;
        let bytes = number.parse::<u64>().ok()?.checked_mul(self.unit)?;
        Some((bytes, notes))
    }
}

/// Resets the peak to the current size.
fn reset_peak(system: &System) -> Result<()> {
    let path = PEAK.path;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_parsed() {
        fn parse(text: &str) -> Option<(u64, &str)> {
            PEAK.parse(text)
        }
        assert_eq!(parse("Peak: 32 MiB\n"), Some((32 << 20, "")));
        for notes in [OWN_ONLY, " (inexact: exports or releases were missed)"] {
            assert_eq!(
                parse(&format!("Peak: 32 MiB{notes}\n")),
                Some((32 << 20, notes))
            );
        }
        for text in [
            "",
            "Peak:  MiB",
            "Peak: -1 MiB",
            "Peak: 99999999999999999999 MiB",
            "32",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
