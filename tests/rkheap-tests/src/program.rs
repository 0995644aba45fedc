// SPDX-License-Identifier: GPL-2.0

//! Runs the program under test and reads its output.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{
    BufRead,
    BufReader,
    Read, //
};
use std::process::{
    Command,
    Output,
    Stdio, //
};

pub const PROGRAM: &str = "rkheap";

/// The exit status and the output of a run.
#[derive(Debug)]
#[must_use]
pub struct ProgramOutput {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `rkheap` with these arguments.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<ProgramOutput> {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run rkheap")?;
    Ok(output.into())
}

/// Runs `rkheap` with the words of `line`, and calls `then` once it has printed a line of output.
pub fn rkheap_and(line: &str, then: impl FnOnce() -> Result<()>) -> Result<ProgramOutput> {
    let mut program = Command::new(PROGRAM)
        .args(line.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run rkheap")?;
    let mut stdout = BufReader::new(program.stdout.take().context("no standard output")?);
    let mut bytes = Vec::new();
    let read = stdout.read_until(b'\n', &mut bytes);
    if let Err(error) = read.map_err(Into::into).and_then(|_| then()) {
        program.kill()?;
        program.wait()?;
        return Err(error);
    }
    stdout.read_to_end(&mut bytes)?;
    let mut output = program.wait_with_output()?;
    output.stdout = bytes;
    Ok(output.into())
}

/// Runs `rkheap` with the words of `line`.
pub fn rkheap(line: &str) -> Result<ProgramOutput> {
    run(line.split(' '))
}

/// Runs `rkheap --json` with the words of `line`, expects success, and returns the JSON.
pub fn json(line: &str) -> Result<Value> {
    let output = rkheap(&format!("--json {line}"))?;
    output.expect(0)?;
    output.json()
}

impl From<Output> for ProgramOutput {
    fn from(output: Output) -> Self {
        ProgramOutput {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl ProgramOutput {
    /// Checks the exit status.
    pub fn expect(&self, status: i32) -> Result<&Self> {
        ensure!(
            self.status == Some(status),
            "exit status {:?}, expected {status}: {} {}",
            self.status,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// Parses standard output as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {self:?}"))
    }

    /// Checks that standard error contains `message`.
    pub fn reports(&self, message: &str) -> Result<()> {
        ensure!(
            self.stderr.contains(message),
            "{message:?} is not reported: {:?}",
            self.stderr
        );
        Ok(())
    }
}

/// Returns a number of a JSON object.
pub fn number(value: &Value, field: &str) -> Result<u64> {
    let number = value.get(field).and_then(Value::as_u64);
    number.with_context(|| format!("no number {field} in {value}"))
}

/// Returns a string of a JSON object.
pub fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    let text = value.get(field).and_then(Value::as_str);
    text.with_context(|| format!("no string {field} in {value}"))
}

/// Returns an array of a JSON object.
pub fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    let list = value.get(field).and_then(Value::as_array);
    list.with_context(|| format!("no array {field} in {value}"))
}
