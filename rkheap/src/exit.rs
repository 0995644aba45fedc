// SPDX-License-Identifier: GPL-2.0

//! The exit statuses of `rkheap`, and the errors that select them.

use std::fmt;
use std::process::ExitCode;

/// The exit statuses, as the help and the manual pages list them.
pub const STATUS_HELP: &str = "\
Exit status:
  0  success; no buffer was left behind, and all can be seen
  1  leak: buffers were left behind; doctor: something does not work
  2  the command line is invalid
  3  missing: the module, a node, a heap, or the permission to read it; map: a part of the map
  4  another error, for example a failed allocation
  5  COMMAND could not be started, or failed (a leak takes precedence)
  6  inconclusive: not all buffers can be seen, so others may have been left behind (a failure of
     COMMAND takes precedence)";

/// The result of a command that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Status {
    Done,
    Leak,
    /// Something on the machine does not work.
    Wrong,
    CommandFailed,
    Inconclusive,
    /// The output lacks something that this system, or this user, does not have.
    Incomplete,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        ExitCode::from(match status {
            Status::Done => 0,
            Status::Leak | Status::Wrong => 1,
            Status::Incomplete => 3,
            Status::CommandFailed => 5,
            Status::Inconclusive => 6,
        })
    }
}

/// A required object does not exist, or this user may not read it. Exit status 3.
#[derive(Debug)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// COMMAND could not be started. Exit status 5.
#[derive(Debug)]
pub struct CommandNotStarted(pub String);

impl fmt::Display for CommandNotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandNotStarted {}

/// Returns the exit status for an error.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    if error.is::<Missing>() {
        ExitCode::from(3)
    } else if error.is::<CommandNotStarted>() {
        ExitCode::from(5)
    } else {
        ExitCode::from(4)
    }
}
