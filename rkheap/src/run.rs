// SPDX-License-Identifier: GPL-2.0

//! Runs the COMMAND of `rkheap leak` and `rkheap peak`.

use crate::exit::CommandNotStarted;
use crate::text::escaped;
use anyhow::{
    Context,
    Result, //
};
use serde::Serialize;
use signal_hook::consts::{
    SIGINT,
    SIGQUIT, //
};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

/// COMMAND and its exit status or signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct CommandResult {
    pub command: Vec<String>,
    pub exit_status: Option<i32>,
    pub signal: Option<i32>,
}

impl CommandResult {
    /// Returns whether COMMAND exited with status 0.
    pub fn is_success(&self) -> bool {
        self.exit_status == Some(0)
    }

    /// Describes the failure; `None` if COMMAND succeeded.
    pub fn failure(&self) -> Option<String> {
        let command = escaped(self.command.first().map_or("", |command| command));
        match (self.exit_status, self.signal) {
            (Some(0), _) => None,
            (Some(status), _) => Some(format!("{command} ended with exit status {status}")),
            (None, Some(signal)) => Some(format!("{command} was killed by signal {signal}")),
            (None, None) => Some(format!(
                "{command} ended with neither an exit status nor a signal"
            )),
        }
    }
}

/// Runs COMMAND on this terminal and waits for its end.
///
/// `SIGINT` and `SIGQUIT` from the terminal do not end this process, because it still has to report
/// the result. With `stdout_to_stderr`, standard output of COMMAND goes to standard error.
///
/// Fails with [`CommandNotStarted`] if COMMAND is empty or cannot be started.
pub fn run(command: &[OsString], stdout_to_stderr: bool) -> Result<CommandResult> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(CommandNotStarted("COMMAND is missing: give it after `--`".to_owned()).into());
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut handlers = Vec::new();
    for signal in [SIGINT, SIGQUIT] {
        let handler = signal_hook::flag::register(signal, interrupted.clone());
        handlers.push(handler.context("cannot handle signals")?);
    }
    let mut child = Command::new(program);
    child.args(arguments);
    if stdout_to_stderr {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned();
        child.stdout(stderr.context("cannot duplicate standard error")?);
    }
    let status = child.spawn().and_then(|mut child| child.wait());
    for handler in handlers {
        signal_hook::low_level::unregister(handler);
    }
    let status = status.map_err(|error| {
        CommandNotStarted(format!(
            "cannot run {}: {error}",
            escaped(&program.to_string_lossy())
        ))
    })?;
    Ok(CommandResult {
        command: command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        exit_status: status.code(),
        signal: status.signal(),
    })
}
