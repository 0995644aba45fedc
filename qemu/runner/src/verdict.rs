// SPDX-License-Identifier: GPL-2.0

//! Determines the exit status of a run.

use regex::Regex;

use crate::console::Report;

pub const USAGE: u8 = 64;
pub const NOT_STARTED: u8 = 68;
pub const DIED: u8 = 69;
pub const REPORTED: u8 = 70;
pub const LOAD_FAILED: u8 = 71;
pub const NOT_REPORTED: u8 = 72;
/// The kernel hung before it started init: nothing of this project has run.
pub const NOT_BOOTED: u8 = 73;
pub const TIMED_OUT: u8 = 124;

/// What the guest's init sent on the control port.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Control {
    pub booted: bool,
    pub ready: bool,
    pub status: Option<u8>,
    pub load_failed: bool,
    pub failure: Option<String>,
}

impl Control {
    pub fn parse(bytes: &[u8]) -> Self {
        let mut control = Self::default();
        for line in String::from_utf8_lossy(bytes).lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("booted", _) => control.booted = true,
                ("ready", _) => control.ready = true,
                ("status", number) => control.status = number.parse().ok(),
                ("load-failed", _) => control.load_failed = true,
                ("failed", text) => control.failure = Some(text.into()),
                _ => {}
            }
        }
        control
    }
}

/// Result of a run.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    pub status: u8,
    /// Line for standard error.
    pub reason: Option<String>,
    /// Whether to print the end of the console log.
    pub show_log: bool,
}

/// Determines the result. A kernel report has priority: afterwards the guest's messages are not
/// reliable.
pub fn judge(
    control: &Control,
    reports: &[Report],
    expected: Option<&Regex>,
    timed_out: bool,
    timeout_seconds: u64,
) -> Verdict {
    let verdict = |status, reason: Option<String>, show_log| Verdict {
        status,
        reason,
        show_log,
    };
    let unexpected = reports
        .iter()
        .filter(|report| !report.matches(expected))
        .count();
    if unexpected > 0 {
        return verdict(
            REPORTED,
            Some(format!("{unexpected} kernel report(s): see above")),
            false,
        );
    }
    if timed_out && *control == Control::default() {
        return verdict(
            NOT_BOOTED,
            Some("the kernel hung before it started init: run the command again".into()),
            true,
        );
    }
    if timed_out {
        let during = match control {
            Control {
                status: Some(status),
                ..
            } => format!("COMMAND had ended with {status}, power-off hung"),
            Control { ready: true, .. } => "COMMAND was running".into(),
            _ => "COMMAND had not started".into(),
        };
        return verdict(
            TIMED_OUT,
            Some(format!(
                "timed out after {timeout_seconds} s ({during}): raise the limit with --timeout"
            )),
            true,
        );
    }
    if let Some(failure) = &control.failure {
        return verdict(
            DIED,
            Some(format!("the guest could not be set up: {failure}")),
            true,
        );
    }
    if control.load_failed {
        return verdict(LOAD_FAILED, None, false);
    }
    if expected.is_some() && reports.is_empty() {
        return verdict(
            NOT_REPORTED,
            Some("the expected kernel report did not appear".into()),
            false,
        );
    }
    match control.status {
        Some(status) => verdict(status, None, false),
        // The machine died after the expected report, which is a success.
        None if expected.is_some() => verdict(0, None, false),
        None => {
            let when = if control.ready {
                "while COMMAND was running"
            } else {
                "before COMMAND started"
            };
            verdict(
                DIED,
                Some(format!(
                    "the virtual machine died {when}: see the end of its console log above"
                )),
                true,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(line: &str) -> Report {
        Report {
            lines: vec![line.into()],
        }
    }

    fn status(control: &str, reports: &[Report], expected: Option<&str>, timed_out: bool) -> u8 {
        let expected = expected.map(|pattern| Regex::new(pattern).unwrap());
        judge(
            &Control::parse(control.as_bytes()),
            reports,
            expected.as_ref(),
            timed_out,
            9,
        )
        .status
    }

    #[test]
    fn the_commands_status_is_passed_on() {
        assert_eq!(status("ready\nstatus 0\n", &[], None, false), 0);
        assert_eq!(status("ready\nstatus 137\n", &[], None, false), 137);
    }

    #[test]
    fn a_report_outweighs_everything() {
        for control in [
            "",
            "ready\n",
            "ready\nstatus 0\n",
            "load-failed\n",
            "failed x\n",
        ] {
            assert_eq!(status(control, &[report("BUG: x")], None, false), REPORTED);
            assert_eq!(status(control, &[report("BUG: x")], None, true), REPORTED);
            assert_eq!(
                status(
                    control,
                    &[report("BUG: x"), report("WARNING: y")],
                    Some("BUG"),
                    false
                ),
                REPORTED
            );
        }
    }

    #[test]
    fn an_expected_report_must_come() {
        assert_eq!(
            status("ready\nstatus 3\n", &[report("BUG: x")], Some("BUG"), false),
            3
        );
        assert_eq!(
            status("ready\n", &[report("Kernel panic")], Some("panic"), false),
            0
        );
        assert_eq!(
            status("ready\nstatus 0\n", &[], Some("BUG"), false),
            NOT_REPORTED
        );
        assert_eq!(
            status("ready\n", &[report("BUG: x")], Some("BUG"), true),
            TIMED_OUT
        );
    }

    #[test]
    fn what_else_can_go_wrong() {
        assert_eq!(status("", &[], None, true), NOT_BOOTED);
        assert_eq!(status("booted\n", &[], None, true), TIMED_OUT);
        assert_eq!(status("ready\n", &[], None, true), TIMED_OUT);
        assert_eq!(status("ready\nstatus 0\n", &[], None, true), TIMED_OUT);
        assert_eq!(status("load-failed\n", &[], None, false), LOAD_FAILED);
        assert_eq!(status("failed no port\n", &[], None, false), DIED);
        assert_eq!(status("ready\n", &[], None, false), DIED);
        assert_eq!(status("", &[], None, false), DIED);
        assert_eq!(status("ready\nstatus x\n", &[], None, false), DIED);
    }
}
