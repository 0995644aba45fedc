// SPDX-License-Identifier: GPL-2.0

//! Where output goes: text or JSON to standard output in one piece, remarks to standard error.

use crate::text::printable_json;
use anyhow::{
    Context,
    Result, //
};
use serde::Serialize;
use std::io::{
    ErrorKind,
    IsTerminal,
    Write, //
};

/// When text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
    coloured: bool,
}

impl Output {
    pub fn new(json: bool, colour: Colour) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let coloured = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                std::io::stdout().is_terminal()
                    && !set("NO_COLOR")
                    && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
            }
        };
        Output { json, coloured }
    }

    /// Whether text is coloured.
    pub fn is_coloured(&self) -> bool {
        self.coloured
    }

    /// A heading.
    pub fn bold(&self, text: &str) -> String {
        self.styled(text, "1")
    }

    /// What needs attention.
    pub fn alarming(&self, text: &str) -> String {
        self.styled(text, "1;31")
    }

    fn styled(&self, text: &str, style: &str) -> String {
        if self.coloured {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Prints text. Whoever reads it may have enough of it at any time.
    pub fn text(&self, text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.context("cannot write to standard output"),
        }
    }

    /// Prints lines.
    pub fn lines(&self, lines: &[String]) -> Result<()> {
        self.text(&(lines.join("\n") + "\n"))
    }

    /// Prints a value as JSON.
    pub fn value(&self, value: &impl Serialize) -> Result<()> {
        self.text(&json(value)?)
    }

    /// Prints remarks, each a line; JSON has them among its fields.
    pub fn remarks(&self, remarks: &[String]) {
        if !self.json {
            for remark in remarks {
                remark_line(remark);
            }
        }
    }
}

/// Says something on standard error. If nobody listens there, nothing is to be done about it.
pub fn remark_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "rkheap: {text}");
}

/// A value as JSON with a line's end.
pub fn json(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(value).context("cannot be told as JSON")?;
    Ok(printable_json(&json) + "\n")
}
