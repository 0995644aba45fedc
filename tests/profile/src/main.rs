// SPDX-License-Identifier: GPL-2.0

//! Prints the instructions of an allocation, a close, an import and of loading by function: for the
//! in-tree heap, for the module, and for the module without tracking and default names.

mod functions;
mod locks;
mod locks_document;
mod operations;

use anyhow::{
    ensure,
    Context,
    Result, //
};
use clap::Parser;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{
    Command,
    Stdio, //
};

use functions::{
    by_function,
    functions, //
};
use operations::{
    on_each_side,
    Operation,
    Side,
    LOAD,
    LOCKED,
    OPERATIONS, //
};

/// Print the instructions of an allocation, a close, an import and of loading by function
#[derive(Parser)]
struct Arguments {
    /// Measure the locks of an allocation and of a close only
    #[arg(long)]
    locks: bool,

    /// Root directory of the project
    #[arg(long, hide = true)]
    project: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if !arguments.locks {
        let mut text = String::from(functions::HEAD);
        for operation in OPERATIONS {
            let profiles = on_each_side(operation, |side| {
                let symbols = run(&arguments, side, operation)?;
                by_function(&symbols, &arguments.counts(), operation.rounds)
            })?;
            text += &functions::table(operation, &profiles)?;
        }
        arguments.publish("docs/profile.md", &text)?;
    }
    let mut text = String::from(locks_document::HEAD);
    for operation in LOCKED {
        let locks = on_each_side(operation, |side| {
            let symbols = run(&arguments, side, operation)?;
            let trace = fs::read_to_string(arguments.trace())?;
            locks::uses(&trace, &functions(&symbols))
        })?;
        text += &locks_document::table(operation, &locks)?;
    }
    arguments.publish("docs/locks.md", &text)
}

impl Arguments {
    /// Returns the file for the executions of each instruction.
    fn counts(&self) -> PathBuf {
        self.project.join("build/profile-counts")
    }

    /// Returns the file for all instructions in their order.
    fn trace(&self) -> PathBuf {
        self.project.join("build/profile-trace")
    }

    /// Prints a document and writes it to a file of the project.
    fn publish(&self, name: &str, text: &str) -> Result<()> {
        print!("{text}");
        let file = self.project.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Boots a machine that performs the operation. Returns the content of its `/proc/kallsyms`. The
/// plugin writes the counts, or the trace if the operation is one of [`LOCKED`].
fn run(arguments: &Arguments, side: &Side, operation: &Operation) -> Result<String> {
    let project = &arguments.project;
    let plugin = project.join("target/release/libprofile_plugin.so");
    let mut options = format!("{},out={}", plugin.display(), arguments.counts().display());
    if LOCKED.iter().any(|locked| locked.title == operation.title) {
        write!(options, ",trace={}", arguments.trace().display())?;
    }
    let command = if operation.command == LOAD {
        // Whoever looks for the modules also reads their files into memory.
        format!(
            "folder=$(dirname $(find /lib/modules -name system_heap.ko)); \
             cat $folder/*.ko /lib/modules/*.ko >/dev/null; profile-guest {} load",
            side.modules
        )
    } else {
        format!(
            "{}; profile-guest --heap {} --size {} --rounds {} {}",
            side.load, operation.heap, operation.size, operation.rounds, operation.command
        )
    };
    let output = Command::new(project.join("qemu/vm"))
        .args(["--target", "bench", "--icount", "--timeout", "600"])
        .args(["--append", "nokaslr", "--no-module"])
        .args(["--plugin", &options])
        .args(["--", &command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "qemu/vm: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
