// SPDX-License-Identifier: GPL-2.0

//! The program under test, run and listened to.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use serde_json::Value;
use std::ffi::OsStr;
use std::process::{
    Command,
    Stdio, //
};

pub const PROGRAM: &str = "rkheap";

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs it with these arguments.
pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Result<Ran> {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run rkheap")?;
    Ok(Ran {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs it with the words of `line`.
pub fn rkheap(line: &str) -> Result<Ran> {
    run(line.split(' '))
}

/// Runs it with the words of `line` and expects success; its JSON.
pub fn json(line: &str) -> Result<Value> {
    let ran = rkheap(&format!("--json {line}"))?;
    ran.expect(0)?;
    ran.json()
}

impl Ran {
    /// Expects this exit status.
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

    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {self:?}"))
    }

    /// Expects the words on standard error.
    pub fn says(&self, words: &str) -> Result<()> {
        ensure!(
            self.stderr.contains(words),
            "{words:?} is not said: {:?}",
            self.stderr
        );
        Ok(())
    }
}

/// A number in JSON.
pub fn number(value: &Value, field: &str) -> Result<u64> {
    let number = value.get(field).and_then(Value::as_u64);
    number.with_context(|| format!("no number {field} in {value}"))
}

/// A text in JSON.
pub fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    let text = value.get(field).and_then(Value::as_str);
    text.with_context(|| format!("no text {field} in {value}"))
}

/// A list in JSON.
pub fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    let list = value.get(field).and_then(Value::as_array);
    list.with_context(|| format!("no list {field} in {value}"))
}
