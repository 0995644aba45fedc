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

/// How the lines of the parser begin that are not about a test.
const FRAME: &[&str] = &[
    "====",
    "Testing complete",
    "Test results stored in",
    "Failures: ",
];

/// What the parser counts. Tests that are in the plan but not in the output are `crashed`.
#[derive(Deserialize)]
struct Misc {
    passed: usize,
    failed: usize,
    crashed: usize,
    skipped: usize,
    errors: usize,
}

#[derive(Deserialize)]
struct Group {
    misc: Misc,
}

/// Whether a line ends a test that is not part of another.
pub fn is_result(line: &str) -> bool {
    let rest = line
        .strip_prefix("ok ")
        .or_else(|| line.strip_prefix("not ok "));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Parses what a program printed into `log`, with the parser in the kernel source.
pub fn parse(kernel_source: &Path, log: &Path) -> Result<Outcome> {
    let parser = kernel_source.join("tools/testing/kunit/kunit.py");
    let result = log.with_extension("json");
    let output = Command::new("python3")
        // The kernel source is not ours to write to.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(&parser)
        .args(["parse", "--failed"])
        .arg(format!("--json={}", result.display()))
        .arg(log)
        .output()
        .context("cannot run python3")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    // Its exit status only says whether all passed.
    let json = std::fs::read_to_string(&result).with_context(|| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        format!("{} wrote no result: {stdout}{stderr}", parser.display())
    })?;
    let printed = std::fs::read(log)?;
    judge(&json, &stdout, &String::from_utf8_lossy(&printed))
}

fn judge(json: &str, summary: &str, printed: &str) -> Result<Outcome> {
    let group: Group =
        serde_json::from_str(json).context("kunit.py wrote something else than expected")?;
    let misc = group.misc;
    let mut outcome = Outcome {
        count: Count {
            passed: misc.passed,
            failed: misc.failed + misc.crashed,
            skipped: misc.skipped,
        },
        remarks: failures(summary),
    };
    if misc.errors > 0 && outcome.count.failed == 0 {
        outcome.fail(format!("kunit.py finds {} errors in the KTAP", misc.errors));
    }
    // Results behind the planned ones are not looked at by the parser.
    let planned = plan(printed).unwrap_or(0);
    let results = printed.lines().filter(|line| is_result(line)).count();
    if results > planned {
        outcome.fail(format!(
            "{planned} tests were planned, but {results} have a result"
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

fn plan(printed: &str) -> Option<usize> {
    printed
        .lines()
        .find_map(|line| line.strip_prefix("1..")?.parse().ok())
}

/// The lines about failed tests, without the time before them and the parser's frame around them.
fn failures(summary: &str) -> Vec<String> {
    summary
        .lines()
        .map(|line| line.split_once("] ").map_or(line, |(_, text)| text))
        .filter(|line| {
            !FRAME.iter().any(|start| line.starts_with(start)) && !line.trim().is_empty()
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(passed: usize, failed: usize, crashed: usize, skipped: usize, errors: usize) -> String {
        format!(
            r#"{{"name": "KUnit Test Group", "sub_groups": [], "test_cases": [], "misc": {{"tests": 9,
            "passed": {passed}, "failed": {failed}, "crashed": {crashed}, "skipped": {skipped}, "errors": {errors}}}}}"#
        )
    }

    #[test]
    fn crashed_tests_have_failed() {
        let printed = "KTAP version 1\n1..3\nok 1 - a\nnot ok 2 - b\n";
        let summary = "[05:26:54] ====\n[05:26:54] # why\n[05:26:54] [FAILED] b\n[05:26:54] Testing complete. Ran 3";
        let outcome = judge(&json(1, 1, 1, 0, 1), summary, printed).unwrap();
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
        let printed = "KTAP version 1\n1..1\nok 1 - a\nok 2 - b\n";
        assert_eq!(
            judge(&json(1, 0, 0, 0, 0), "", printed)
                .unwrap()
                .count
                .failed,
            1
        );
        let printed = "KTAP version 1\nok 1 - a\n";
        assert_eq!(
            judge(&json(1, 0, 0, 0, 0), "", printed)
                .unwrap()
                .count
                .failed,
            1
        );
        let printed = "KTAP version 1\n1..1\n    ok 1 - inner\n    ok 2 - inner\nok 1 - a\n";
        assert_eq!(
            judge(&json(2, 0, 0, 0, 0), "", printed)
                .unwrap()
                .count
                .failed,
            0
        );
    }

    #[test]
    fn errors_alone_are_a_failure() {
        let printed = "KTAP version 1\n1..2\nok 1 - a\nok 3 - b\n";
        assert_eq!(
            judge(&json(2, 0, 0, 0, 1), "", printed)
                .unwrap()
                .count
                .failed,
            1
        );
    }

    #[test]
    fn nothing_run_is_an_error() {
        assert!(judge(&json(0, 0, 0, 0, 0), "", "").is_err());
        assert!(judge("{}", "", "").is_err());
    }

    #[test]
    fn skips_say_why() {
        let printed = "KTAP version 1\n1..1\nok 1 - a # SKIP no device\n";
        let outcome = judge(&json(0, 0, 0, 1, 0), "", printed).unwrap();
        assert_eq!(outcome.remarks, ["skipped: ok 1 - a # SKIP no device"]);
    }
}
