// SPDX-License-Identifier: GPL-2.0

//! Reads KTAP with the kernel's own parser, `tools/testing/kunit/kunit.py`.

use std::path::Path;
use std::process::Command;

use anyhow::{
    bail,
    Context,
    Result, //
};
use serde::Deserialize;

use crate::count::{
    Count,
    Outcome, //
};

/// Prefixes of the parser's lines that do not describe a test.
const PARSER_FRAME: &[&str] = &[
    "====",
    "Testing complete",
    "Test results stored in",
    "Failures: ",
];

/// The parser's counts. A planned test without a result counts as `crashed`.
#[derive(Default, Deserialize)]
struct Misc {
    passed: usize,
    failed: usize,
    crashed: usize,
    skipped: usize,
    errors: usize,
}

/// The part of the parser's JSON that holds the counts.
#[derive(Deserialize)]
struct Group {
    misc: Misc,
}

/// Returns whether a line is the result of a top-level test.
pub fn is_result(line: &str) -> bool {
    let rest = line
        .strip_prefix("ok ")
        .or_else(|| line.strip_prefix("not ok "));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Parses the KTAP in `log` with the parser in the kernel source.
///
/// Fails if the parser writes no valid result, or if there is no test.
pub fn parse(kernel_source: &Path, log: &Path) -> Result<Outcome> {
    let parser = kernel_source.join("tools/testing/kunit/kunit.py");
    let result = log.with_extension("json");
    let output = Command::new("python3")
        // The kernel source is shared and must not change.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(&parser)
        .args(["parse", "--failed"])
        .arg(format!("--json={}", result.display()))
        .arg(log)
        .output()
        .context("cannot run python3")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    // The exit status only says whether all tests passed, as the result does.
    let json = std::fs::read_to_string(&result).with_context(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("{} wrote no result: {stdout}{stderr}", parser.display())
    })?;
    let printed = std::fs::read(log)?;
    outcome_of(&json, &stdout, &String::from_utf8_lossy(&printed))
}

/// Computes the outcome from the parser's JSON, its printed summary and the KTAP itself.
fn outcome_of(json: &str, summary: &str, printed: &str) -> Result<Outcome> {
    let group: Group =
        serde_json::from_str(json).context("kunit.py wrote JSON in an unknown format")?;
    let misc = group.misc;
    let mut outcome = Outcome {
        count: Count {
            passed: misc.passed,
            failed: misc.failed + misc.crashed,
            skipped: misc.skipped,
        },
        remarks: failures(summary),
        ..Outcome::default()
    };
    if misc.errors > 0 && outcome.count.failed == 0 {
        outcome.fail(format!("kunit.py found {} errors in the KTAP", misc.errors));
    }
    // The parser ignores results beyond the plan.
    let planned = plan(printed).unwrap_or(0);
    let results = printed.lines().filter(|line| is_result(line)).count();
    if results > planned {
        outcome.fail(format!(
            "{results} tests have a result, but only {planned} were planned"
        ));
    }
    let skips = printed
        .lines()
        .filter(|line| is_result(line) && line.contains(" # SKIP"));
    outcome
        .remarks
        .extend(skips.map(|line| format!("skipped: {line}")));
    if outcome.count == Count::default() {
        bail!("no test was run");
    }
    Ok(outcome)
}

/// Returns the number of planned top-level tests.
fn plan(printed: &str) -> Option<usize> {
    printed
        .lines()
        .find_map(|line| line.strip_prefix("1..")?.parse().ok())
}

/// Returns the lines about failed tests, without timestamps and the parser's frame.
fn failures(summary: &str) -> Vec<String> {
    summary
        .lines()
        .map(|line| line.split_once("] ").map_or(line, |(_, text)| text))
        .filter(|line| {
            !PARSER_FRAME.iter().any(|start| line.starts_with(start)) && !line.trim().is_empty()
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(misc: &Misc) -> String {
        let Misc {
            passed,
            failed,
            crashed,
            skipped,
            errors,
        } = misc;
        format!(
            r#"{{"name": "KUnit Test Group", "sub_groups": [], "test_cases": [],
            "misc": {{"tests": 9, "passed": {passed}, "failed": {failed}, "crashed": {crashed},
            "skipped": {skipped}, "errors": {errors}}}}}"#
        )
    }

    /// Returns the number of failures in `printed`, of which the parser counts `passed` passes and
    /// `errors` errors.
    fn failed(passed: usize, errors: usize, printed: &str) -> usize {
        let misc = Misc {
            passed,
            errors,
            ..Misc::default()
        };
        outcome_of(&json(&misc), "", printed).unwrap().count.failed
    }

    #[test]
    fn crashed_tests_count_as_failed() {
        let printed = "KTAP version 1\n1..3\nok 1 - a\nnot ok 2 - b\n";
        let summary = "[05:26:54] ====\n\
            [05:26:54] # why\n\
            [05:26:54] [FAILED] b\n\
            [05:26:54] Testing complete. Ran 3";
        let misc = Misc {
            passed: 1,
            failed: 1,
            crashed: 1,
            errors: 1,
            ..Misc::default()
        };
        let outcome = outcome_of(&json(&misc), summary, printed).unwrap();
        assert_eq!(
            outcome.count,
            Count {
                passed: 1,
                failed: 2,
                skipped: 0
            }
        );
        assert_eq!(outcome.remarks, ["# why", "[FAILED] b"]);
    }

    #[test]
    fn results_beyond_the_plan_are_a_failure() {
        let beyond = "KTAP version 1\n1..1\nok 1 - a\nok 2 - b\n";
        assert_eq!(failed(1, 0, beyond), 1);
        let no_plan = "KTAP version 1\nok 1 - a\n";
        assert_eq!(failed(1, 0, no_plan), 1);
        let nested = "KTAP version 1\n1..1\n    ok 1 - inner\n    ok 2 - inner\nok 1 - a\n";
        assert_eq!(failed(2, 0, nested), 0);
    }

    #[test]
    fn parser_errors_alone_are_a_failure() {
        let printed = "KTAP version 1\n1..2\nok 1 - a\nok 3 - b\n";
        assert_eq!(failed(2, 1, printed), 1);
    }

    #[test]
    fn empty_run_is_an_error() {
        assert!(outcome_of(&json(&Misc::default()), "", "").is_err());
        assert!(outcome_of("{}", "", "").is_err());
    }

    #[test]
    fn skipped_tests_keep_their_reason() {
        let printed = "KTAP version 1\n1..1\nok 1 - a # SKIP no device\n";
        let misc = Misc {
            skipped: 1,
            ..Misc::default()
        };
        let outcome = outcome_of(&json(&misc), "", printed).unwrap();
        assert_eq!(outcome.remarks, ["skipped: ok 1 - a # SKIP no device"]);
    }
}
