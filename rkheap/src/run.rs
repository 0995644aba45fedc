// SPDX-License-Identifier: GPL-2.0

//! Running COMMAND.

use crate::exit::CannotRun;
use crate::text::shown;
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

/// How COMMAND ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    pub command: Vec<String>,
    pub exit_status: Option<i32>,
    pub signal: Option<i32>,
}

impl Ended {
    pub fn is_success(&self) -> bool {
        self.exit_status == Some(0)
    }

    /// In words, where it did not succeed.
    pub fn failure(&self) -> Option<String> {
        let command = shown(self.command.first().map_or("", |command| command));
        match (self.exit_status, self.signal) {
            (Some(0), _) => None,
            (Some(status), _) => Some(format!("{command} ended with exit status {status}")),
            (None, Some(signal)) => Some(format!("{command} was killed by signal {signal}")),
            (None, None) => Some(format!("{command} ended in an unknown way")),
        }
    }
}

/// Runs COMMAND on this terminal and waits for it. What is typed to interrupt it does not end this
/// program, which has to tell what came of it. With `own_stdout`, what COMMAND prints to standard
/// output goes to standard error instead.
pub fn run(command: &[OsString], own_stdout: bool) -> Result<Ended> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(CannotRun("no COMMAND was given".to_owned()).into());
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let mut handlers = Vec::new();
    for signal in [SIGINT, SIGQUIT] {
        let handler = signal_hook::flag::register(signal, interrupted.clone());
        handlers.push(handler.context("cannot handle signals")?);
    }
    let mut child = Command::new(program);
    child.args(arguments);
    if own_stdout {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned();
        child.stdout(stderr.context("cannot pass on standard error")?);
    }
    let status = child.spawn().and_then(|mut child| child.wait());
    for handler in handlers {
        signal_hook::low_level::unregister(handler);
    }
    let status = status.map_err(|error| {
        CannotRun(format!(
            "cannot run {}: {error}",
            shown(&program.to_string_lossy())
        ))
    })?;
    Ok(Ended {
        command: command
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        exit_status: status.code(),
        signal: status.signal(),
    })
}
