// SPDX-License-Identifier: GPL-2.0

//! The program `rkheap`.

use clap::Parser;
use rkheap::arguments::Arguments;
use rkheap::{
    commands,
    exit,
    output, //
};
use std::process::ExitCode;

fn main() -> ExitCode {
    match commands::run(Arguments::parse()) {
        Ok(status) => status.into(),
        Err(error) => {
            output::print_remark(&format!("{error:#}"));
            exit::code_of(&error)
        }
    }
}
