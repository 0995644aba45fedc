// SPDX-License-Identifier: GPL-2.0

//! Runs suites on the host with `cargo test`.

use std::fs::File;
use std::io::{
    BufRead,
    BufReader,
    Write, //
};
use std::process::{
    Command,
    Stdio, //
};

use anyhow::{
    Context,
    Result, //
};

use crate::count::{
    Count,
    Outcome, //
};
use crate::progress::Progress;
use crate::Paths;

/// Runs the tests of `packages` and writes their output to the suite's log file.
///
/// Fails if cargo cannot be started or its output cannot be read or logged.
pub fn run(name: &str, packages: &[&str], paths: &Paths, progress: &Progress) -> Result<Outcome> {
    let log = paths.logs.join(format!("{name}.log"));
    let mut log_file = File::create(&log)?;
    let mut command = Command::new("cargo");
    command
        .current_dir(&paths.project)
        .args(["test", "--no-fail-fast"])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file.try_clone()?);
    let mut cargo = command.spawn().context("cannot run cargo")?;
    let stdout = cargo.stdout.take().context("cargo has no output")?;
    let mut output = String::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        writeln!(log_file, "{line}")?;
        if line.starts_with("test ") && line.contains(" ... ") {
            progress.count_test();
        }
        output.push_str(&line);
        output.push('\n');
    }
    let success = cargo.wait()?.success();
    Ok(outcome_of(&output, success, &log.display().to_string()))
}

/// Adds up the summaries of all test programs in `output`. `success` is cargo's own result.
fn outcome_of(output: &str, success: bool, log: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for line in output.lines() {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let number = |label: &str| -> usize {
                counts
                    .split(['.', ';'])
                    .find_map(|part| part.trim().strip_suffix(label)?.trim().parse().ok())
                    .unwrap_or(0)
            };
            outcome.count += Count {
                passed: number("passed"),
                failed: number("failed"),
                skipped: number("ignored"),
            };
        } else if line.starts_with("test ")
            && (line.ends_with(" FAILED") || line.contains("... ignored"))
        {
            outcome.remarks.push(line.to_owned());
        }
    }
    if !outcome.remarks.is_empty() {
        outcome.remarks.push(format!("complete output: {log}"));
    }
    if !success && outcome.count.failed == 0 {
        outcome.fail(format!("cargo test failed outside of a test; see {log}"));
    }
    if success && outcome.count == Count::default() {
        outcome.fail("no test was run".to_owned());
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_test_programs_are_added_up() {
        let output = "running 3 tests\n\
            test a ... ok\n\
            test b ... ignored, why\n\
            test c ... ok\n\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; \
            finished in 0.00s\n\
            test d ... FAILED\n\
            test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; \
            finished in 0.00s\n";
        let outcome = outcome_of(output, false, "LOG");
        assert_eq!(
            outcome.count,
            Count {
                passed: 2,
                failed: 1,
                skipped: 1
            }
        );
        assert_eq!(
            outcome.remarks,
            [
                "test b ... ignored, why",
                "test d ... FAILED",
                "complete output: LOG"
            ]
        );
    }

    #[test]
    fn build_errors_and_empty_runs_are_failures() {
        assert_eq!(outcome_of("", false, "LOG").count.failed, 1);
        assert_eq!(outcome_of("", true, "LOG").count.failed, 1);
    }
}
