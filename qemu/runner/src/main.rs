// SPDX-License-Identifier: GPL-2.0

//! `qemu/vm`: boots a target, runs one command in it, and tells by its exit status how that went.

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
            // Neither `--help` nor a usage error can be written where nobody reads; the status
            // still tells.
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
