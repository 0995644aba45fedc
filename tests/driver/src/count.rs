// SPDX-License-Identifier: GPL-2.0

//! Counts of test results.

use std::fmt;
use std::ops::AddAssign;

/// Numbers of test results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Count {
    /// Returns whether a test passed and none failed. A run without tests is no success.
    pub fn is_success(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The results of a suite.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    pub count: Count,
    /// Lines about failed and skipped tests, to be printed.
    pub remarks: Vec<String>,
    /// Why the suite was not begun.
    pub left_out: Option<&'static str>,
}

impl Outcome {
    /// Returns the outcome of a suite that failed as a whole.
    pub fn failure(reason: String) -> Outcome {
        let mut outcome = Outcome::default();
        outcome.fail(reason);
        outcome
    }

    /// Returns the outcome of a suite that was not begun, which counts as one skipped test.
    pub fn left_out(reason: &'static str) -> Outcome {
        Outcome {
            count: Count {
                skipped: 1,
                ..Count::default()
            },
            left_out: Some(reason),
            ..Outcome::default()
        }
    }

    /// Returns whether the suite did what it should: its tests passed, or it was left out.
    pub fn is_success(&self) -> bool {
        self.left_out.is_some() || self.count.is_success()
    }

    /// Returns whether a test of the suite failed, or none ran although the suite was not left out.
    pub fn has_failed(&self) -> bool {
        let none_ran = self.count == Count::default() && self.left_out.is_none();
        self.count.failed > 0 || none_ran
    }

    /// Adds one failure.
    pub fn fail(&mut self, reason: String) {
        self.count.failed += 1;
        self.remarks.push(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_test_run_is_no_success() {
        let skipped = Count {
            skipped: 3,
            ..Count::default()
        };
        let failed = Count {
            passed: 3,
            failed: 1,
            ..Count::default()
        };
        let passed = Count {
            passed: 1,
            skipped: 1,
            ..Count::default()
        };
        assert!(!Count::default().is_success());
        assert!(!skipped.is_success());
        assert!(!failed.is_success());
        assert!(passed.is_success());
    }

    #[test]
    fn what_was_left_out_is_counted_and_no_failure() {
        let outcome = Outcome::left_out("the time is up");
        assert!(outcome.is_success());
        assert_eq!(outcome.count.to_string(), "0 passed, 0 failed, 1 skipped");
        assert!(!Outcome::failure("reason".to_owned()).is_success());
        assert!(!Outcome::default().is_success());
    }

    #[test]
    fn a_suite_of_skipped_tests_has_neither_failed_nor_succeeded() {
        let mut outcome = Outcome::default();
        assert!(outcome.has_failed());
        outcome.count.skipped = 2;
        assert!(!outcome.has_failed() && !outcome.is_success());
        outcome.fail("reason".to_owned());
        assert!(outcome.has_failed());
        assert!(!Outcome::left_out("the time is up").has_failed());
    }

    #[test]
    fn last_line_has_the_documented_format() {
        let mut count = Count {
            passed: 1,
            failed: 2,
            skipped: 3,
        };
        count += count;
        assert_eq!(count.to_string(), "2 passed, 4 failed, 6 skipped");
    }
}
