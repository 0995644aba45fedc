// SPDX-License-Identifier: GPL-2.0

//! What `rkheap` says by its exit status.

use std::fmt;
use std::process::ExitCode;

/// The exit statuses, in the words of the manual.
pub const HELP: &str = "\
Exit status:
  0  done, and nothing was found that should not be
  1  leak: something was left behind
  2  the command line is wrong
  3  something is missing: the module, a node, a heap, or the right to read it
  4  something else failed, an allocation for example
  5  COMMAND could not be run, or did not succeed (a leak outweighs this)";

/// How a run ended that did what it was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Done,
    Leak,
    CommandFailed,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        ExitCode::from(match status {
            Status::Done => 0,
            Status::Leak => 1,
            Status::CommandFailed => 5,
        })
    }
}

/// Something that has to be there is not, or may not be read.
#[derive(Debug)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// COMMAND could not be started.
#[derive(Debug)]
pub struct CannotRun(pub String);

impl fmt::Display for CannotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotRun {}

/// The exit status of a run that failed.
pub fn of_error(error: &anyhow::Error) -> ExitCode {
    if error.is::<Missing>() {
        ExitCode::from(3)
    } else if error.is::<CannotRun>() {
        ExitCode::from(5)
    } else {
        ExitCode::from(4)
    }
}
