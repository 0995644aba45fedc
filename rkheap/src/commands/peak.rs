// SPDX-License-Identifier: GPL-2.0

//! `rkheap peak`

use crate::buffers::LOAD_IT;
use crate::exit::{
    Missing,
    Status, //
};
use crate::output::{
    remark_line,
    Output, //
};
use crate::parse::OWN_ONLY;
use crate::run::{
    self,
    Ended, //
};
use crate::system::{
    Found,
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

const PEAK: &str = "/proc/rk_dmabuf/peak";
const SIZE: &str = "/proc/rk_dmabuf/size";

/// What the nodes count.
const RESOLUTION: u64 = 1 << 20;

#[derive(Serialize)]
struct Report {
    run: Ended,
    /// Rounded down to `resolution_bytes`.
    peak_bytes: u64,
    resolution_bytes: u64,
    before_bytes: u64,
    after_bytes: u64,
    own_buffers_only: bool,
}

pub fn run(system: &System, output: Output, command: &[OsString]) -> Result<Status> {
    let (before, own_only) = figure(system, SIZE, "Total: ", " KiB", 1 << 10)?;
    reset(system)?;
    let ended = run::run(command, output.json)?;
    let (peak, _) = figure(system, PEAK, "Peak: ", " MiB", RESOLUTION)?;
    let (after, _) = figure(system, SIZE, "Total: ", " KiB", 1 << 10)?;
    let status = if ended.is_success() {
        Status::Done
    } else {
        Status::CommandFailed
    };
    if output.json {
        output.value(&Report {
            run: ended,
            peak_bytes: peak,
            resolution_bytes: RESOLUTION,
            before_bytes: before,
            after_bytes: after,
            own_buffers_only: own_only,
        })?;
        return Ok(status);
    }
    if let Some(failure) = ended.failure() {
        remark_line(&failure);
    }
    let whose = if own_only {
        " (the module's own buffers only)"
    } else {
        ""
    };
    output.lines(&[
        output.bold(&format!("peak: {} MiB{whose}", peak / RESOLUTION)),
        format!("  before: {}", text::size(before)),
        format!("  after:  {}", text::size(after)),
        format!(
            "  so it took {} MiB more than there were before",
            (peak / RESOLUTION).saturating_sub(before / RESOLUTION)
        ),
    ])?;
    Ok(status)
}

/// A node with one number.
fn figure(
    system: &System,
    path: &str,
    before: &str,
    behind: &str,
    unit: u64,
) -> Result<(u64, bool)> {
    let text = match system.read(path) {
        Found::Content(content) => String::from_utf8_lossy(&content).into_owned(),
        Found::Denied => bail!(Missing(format!("{path} may not be read; try sudo"))),
        Found::Absent => bail!(Missing(format!(
            "{path} is not there, and nothing else knows the peak; {LOAD_IT}"
        ))),
    };
    number(&text, before, behind)
        .and_then(|(number, own_only)| Some((number.checked_mul(unit)?, own_only)))
        .ok_or_else(|| anyhow!("{path} could not be understood: {}", text::shown(&text)))
}

fn number(text: &str, before: &str, behind: &str) -> Option<(u64, bool)> {
    let line = text.lines().next()?;
    let (line, own_only) = match line.strip_suffix(OWN_ONLY) {
        Some(line) => (line, true),
        None => (line, false),
    };
    let number = line.strip_prefix(before)?.strip_suffix(behind)?;
    Some((number.parse().ok()?, own_only))
}

fn reset(system: &System) -> Result<()> {
    ensure!(
        system.is_running(),
        "nothing can be run on a recorded system"
    );
    let opened = OpenOptions::new().write(true).open(system.path(PEAK));
    let mut file = opened.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => anyhow::Error::new(Missing(format!(
            "{PEAK} is reset by root alone: sudo rkheap peak …"
        ))),
        _ => anyhow!("cannot open {PEAK}: {error}"),
    })?;
    file.write_all(b"0")
        .with_context(|| format!("cannot reset {PEAK}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_understood() {
        let parse = |text: &str| number(text, "Peak: ", " MiB");
        assert_eq!(parse("Peak: 32 MiB\n"), Some((32, false)));
        assert_eq!(
            parse(&format!("Peak: 32 MiB{OWN_ONLY}\n")),
            Some((32, true))
        );
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
