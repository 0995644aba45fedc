// SPDX-License-Identifier: GPL-2.0

//! The user's terminal during an interactive session in the guest.

use std::io::{
    self,
    IsTerminal,
    Read,
    Write, //
};
use std::os::unix::net::UnixStream;
use std::thread;

use anyhow::{
    ensure,
    Context,
    Result, //
};
use nix::sys::termios::{
    cfmakeraw,
    tcgetattr,
    tcsetattr,
    SetArg,
    Termios, //
};

/// Ctrl-]. All other keys, including Ctrl-C, go to the guest.
const KILL_KEY: u8 = 0x1d;

/// Standard input in raw mode; the previous mode is restored on drop.
#[must_use]
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    pub fn new() -> Result<Self> {
        ensure!(
            io::stdin().is_terminal(),
            "--shell needs a terminal on standard input: give a COMMAND instead"
        );
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)
            .context("cannot set the terminal to raw mode")?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

/// Returns the size of the terminal as arguments of `stty`, or an empty string if it is unknown.
pub fn size_arguments() -> String {
    let output = std::process::Command::new("stty")
        .arg("size")
        .stdin(std::process::Stdio::inherit())
        .output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [rows, columns] => format!("rows {rows} cols {columns}"),
        _ => String::new(),
    }
}

/// Sends keys to the guest. Calls `kill` when the kill key is pressed.
pub fn pump_keys(mut to: UnixStream, kill: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(length @ 1..) = io::stdin().lock().read(&mut buffer) {
            if buffer[..length].contains(&KILL_KEY) {
                kill();
                return;
            }
            if to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    });
}
