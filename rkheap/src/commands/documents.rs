// SPDX-License-Identifier: GPL-2.0

//! `rkheap completions` and `rkheap man`. Both are generated from the definition of the command
//! line.

use crate::arguments::Arguments;
use crate::exit::Status;
use crate::output::Output;
use anyhow::{
    Context,
    Result, //
};
use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::Path;

/// Prints the completion script for a shell.
pub fn completions(output: Output, shell: Shell) -> Result<Status> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "rkheap", &mut text);
    output.print_text(&String::from_utf8_lossy(&text))?;
    Ok(Status::Done)
}

/// Prints the manual page, or writes one page per command into `folder`.
pub fn manual(output: Output, folder: Option<&Path>) -> Result<Status> {
    let command = Arguments::command().disable_help_subcommand(true);
    match folder {
        None => {
            let mut page = Vec::new();
            Man::new(command)
                .render(&mut page)
                .context("cannot generate the manual page")?;
            output.print_text(&String::from_utf8_lossy(&page))?;
        }
        Some(folder) => clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write manual pages into {}", folder.display()))?,
    }
    Ok(Status::Done)
}
