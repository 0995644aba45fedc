// SPDX-License-Identifier: GPL-2.0

//! The command line.

use crate::exit;
use crate::output::Colour;
use crate::text::parse_size;
use clap::{
    Args,
    Parser,
    Subcommand,
    ValueEnum,
    ValueHint, //
};
use std::ffi::OsString;
use std::path::PathBuf;

/// Look into DMA-BUF heaps: who holds which memory, what was left behind, what it takes at the most
///
/// rkheap reads what the module rk_dma_heap and the kernel publish under /proc, /sys and /dev.
/// Without the module, and without root, it shows what there is to see, and says what is missing
/// and how to get it.
#[derive(Parser)]
#[command(name = "rkheap", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Arguments {
    /// Print JSON, with sizes in bytes; what COMMAND prints then goes to standard error
    #[arg(long, global = true)]
    pub json: bool,

    /// When to colour text
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,

    /// Read a system that was recorded in this folder
    #[arg(
        long,
        global = true,
        hide = true,
        value_name = "DIR",
        default_value = "/"
    )]
    pub root: PathBuf,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// List the heaps: backing, size, used, pooled, largest free range
    Ls,

    /// Watch who holds how much; what grows comes first
    ///
    /// Keys: h by heap, p by process, e by exporter; g sort by growth, s by size; r measure growth
    /// from now on; space stops and goes on; q ends. Where standard output is no terminal, and with
    /// --json or --count, it prints a table, or an object a line, after each interval.
    Top(Top),

    /// Run COMMAND and list the buffers that are there afterwards and were not before
    ///
    /// With --since, nothing is run: what has come since the snapshot is listed. Buffers of whoever
    /// else works meanwhile are listed too; each line names the process that made the buffer, and
    /// those that hold it.
    Leak(Leak),

    /// Print all buffers as a snapshot, for `leak --since`
    Snapshot,

    /// Run COMMAND and tell the most that all buffers took together meanwhile
    ///
    /// The figure is that of /proc/rk_dmabuf/peak, in whole MiB, which is reset before: that needs
    /// root.
    Peak(Run),

    /// Show who holds which range of a heap's contiguous area, and the largest gap
    Map(Map),

    /// Allocate from a heap and hold it until interrupted
    Alloc(Alloc),

    /// Measure how long allocating, writing and freeing take
    Bench(Bench),

    /// Print the completions for a shell
    Completions { shell: clap_complete::Shell },

    /// Print the manual page, or write all of them into a folder
    #[command(hide = true)]
    Man {
        /// Write a page for each command into DIR
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// What `top` adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// By the heap or other exporter's name, heaps without buffers too
    Heap,
    /// By the processes that hold buffers; what several hold counts for each
    #[default]
    Process,
    /// By the exporter's name
    Exporter,
}

#[derive(Args)]
pub struct Top {
    /// What to add up
    #[arg(long, default_value = "process")]
    pub by: By,

    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: f64,

    /// End after so many looks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Args)]
pub struct Leak {
    /// Compare with this snapshot instead of running something; - is standard input
    #[arg(
        long,
        value_name = "SNAPSHOT",
        conflicts_with = "run",
        required_unless_present = "run"
    )]
    pub since: Option<PathBuf>,

    /// How long to wait after COMMAND for what is still being released
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub settle: f64,

    /// What to run
    #[arg(value_name = "COMMAND", last = true, value_hint = ValueHint::CommandWithArguments)]
    pub run: Vec<OsString>,
}

#[derive(Args)]
pub struct Run {
    /// What to run
    #[arg(value_name = "COMMAND", last = true, required = true, value_hint = ValueHint::CommandWithArguments)]
    pub run: Vec<OsString>,
}

#[derive(Args)]
pub struct Map {
    /// The heap; what other heaps have taken from the same area is shown as well
    pub heap: String,

    /// Draw the area into FILE as well; - is standard output, in place of the text
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub svg: Option<PathBuf>,

    /// Switch /proc/rk_dmabuf/advanced on while reading, so that buffers are shown too that no
    /// device has mapped (root)
    #[arg(long)]
    pub advanced: bool,
}

#[derive(Args)]
pub struct Alloc {
    pub heap: String,

    /// How much, e.g. 4096, 64K, 8MiB
    #[arg(value_parser = parse_size)]
    pub size: u64,

    /// How many buffers of that size
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub count: u32,

    /// Name the buffers
    #[arg(long, value_parser = buffer_name)]
    pub name: Option<String>,

    /// Free them after so long; until interrupted if this is not given
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub hold: Option<f64>,
}

#[derive(Args)]
pub struct Bench {
    pub heap: String,

    /// The sizes to try; may be given several times
    #[arg(long, value_parser = parse_size, default_values = ["4K", "1M", "8M"])]
    pub size: Vec<u64>,

    /// How often each is allocated
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
}

/// A time in seconds that a machine can wait.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number of seconds, 0 to 1000000000".to_owned()),
    }
}

/// A name that the kernel takes for a buffer.
fn buffer_name(name: &str) -> Result<String, String> {
    match name.len() {
        1..=31 if !name.contains('\0') => Ok(name.to_owned()),
        _ => Err("must have 1 to 31 bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_whole() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn leak_wants_a_command_or_a_snapshot() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        assert!(parse("rkheap leak -- sleep 1"));
        assert!(parse("rkheap leak --json --since file"));
        assert!(!parse("rkheap leak"));
        assert!(!parse("rkheap leak --since file -- sleep 1"));
        assert!(!parse("rkheap peak"));
        assert!(!parse("rkheap alloc system 0"));
        assert!(!parse("rkheap top --interval nan"));
    }
}
