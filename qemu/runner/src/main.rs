// SPDX-License-Identifier: GPL-2.0

//! `qemu/vm`: boots a target and runs one command in it. The exit status states the result.

mod arguments;
mod console;
mod device_tree;
mod guest;
mod initramfs;
mod machine;
mod ports;
mod target;
mod terminal;
mod verdict;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing fails if the output is closed; the status still states the result.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                verdict::USAGE
            } else {
                0
            });
        }
    };
    match guest::run(&arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("vm: {error:#}");
            ExitCode::from(verdict::NOT_STARTED)
        }
    }
}
