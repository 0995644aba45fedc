// SPDX-License-Identifier: GPL-2.0

//! `rkheap doctor`: what does not work on this machine, why, and what mends it.

use crate::arguments::Doctor;
use crate::doctor::{
    self,
    Finding,
    State, //
};
use crate::exit::Status;
use crate::output::Output;
use crate::system::System;
use anyhow::Result;
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    wrong: usize,
    findings: &'a [Finding],
}

/// Runs the command.
pub fn run(system: &System, output: Output, options: &Doctor) -> Result<Status> {
    let findings = doctor::examine(system, options.stack);
    let wrong = findings
        .iter()
        .filter(|finding| finding.state == State::Wrong)
        .count();
    if output.json {
        output.print_json(&Report {
            wrong,
            findings: &findings,
        })?;
    } else {
        let lines: Vec<String> = findings
            .iter()
            .flat_map(|finding| lines(output, finding))
            .collect();
        output.print_lines(&lines)?;
    }
    Ok(match wrong {
        0 => Status::Done,
        _ => Status::Wrong,
    })
}

/// Returns the line of a finding, and one with its cure.
fn lines(output: Output, finding: &Finding) -> Vec<String> {
    let state = match finding.state {
        State::Ok => "ok   ".to_owned(),
        State::Note => "note ".to_owned(),
        State::Wrong => output.warning("WRONG"),
    };
    let mut lines = vec![format!(
        "{state}  {:<10} {}",
        finding.subject, finding.found
    )];
    lines.extend(
        finding
            .cure
            .iter()
            .map(|cure| format!("{:>18}-> {cure}", "")),
    );
    lines
}
