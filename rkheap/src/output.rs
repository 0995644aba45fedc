// SPDX-License-Identifier: GPL-2.0

//! Output of the commands: text or JSON on standard output, remarks on standard error.

use crate::text::escaped_json;
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

/// When text is colored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

/// The output format.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub json: bool,
    colored: bool,
}

impl Output {
    /// Creates an output. [`ColorChoice::Auto`] depends on standard output and the environment.
    pub fn new(json: bool, color: ColorChoice) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let colored = match color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                std::io::stdout().is_terminal()
                    && !set("NO_COLOR")
                    && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
            }
        };
        Output { json, colored }
    }

    /// Returns whether text is colored.
    pub fn is_colored(&self) -> bool {
        self.colored
    }

    /// Styles `text` as a heading.
    pub fn bold(&self, text: &str) -> String {
        self.styled(text, "1")
    }

    /// Styles the first line of a table as its heading.
    pub fn with_heading(&self, mut table: Vec<String>) -> Vec<String> {
        if let Some(heading) = table.first_mut() {
            *heading = self.bold(heading);
        }
        table
    }

    /// Styles `text` as a warning.
    pub fn warning(&self, text: &str) -> String {
        self.styled(text, "1;31")
    }

    fn styled(&self, text: &str, style: &str) -> String {
        if self.colored {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Prints text. Ignores `EPIPE`, because the reader may close the pipe at any time.
    pub fn print_text(&self, text: &str) -> Result<()> {
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
    pub fn print_lines(&self, lines: &[String]) -> Result<()> {
        self.print_text(&(lines.join("\n") + "\n"))
    }

    /// Prints a value as JSON.
    pub fn print_json(&self, value: &impl Serialize) -> Result<()> {
        self.print_text(&json(value)?)
    }

    /// Prints one line per remark, unless the output is JSON, which has a field for remarks.
    pub fn print_remarks(&self, remarks: &[String]) {
        if !self.json {
            for remark in remarks {
                print_remark(remark);
            }
        }
    }
}

/// Prints a line to standard error. Ignores errors, because there is no other output for them.
pub fn print_remark(text: &str) {
    let _ = writeln!(std::io::stderr(), "rkheap: {text}");
}

/// Serializes a value as JSON that ends with a newline.
pub fn json(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(value).context("cannot serialize JSON")?;
    Ok(escaped_json(&json) + "\n")
}
