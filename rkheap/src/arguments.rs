// SPDX-License-Identifier: GPL-2.0

//! The command line of `rkheap`. Its doc comments are the help texts and manual pages.

mod examples;

use crate::exit;
use crate::output::ColorChoice;
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

/// Show the state of DMA-BUF heaps: holders of buffers, leaks, and peak usage
///
/// rkheap reads the files that the module rk_dma_heap and the kernel publish under /proc, /sys and
/// /dev. Without the module or without root it shows the data that it can read, reports which data
/// are missing, and tells how to get them.
#[derive(Parser)]
#[command(name = "rkheap", version, after_help = exit::STATUS_HELP, max_term_width = 100)]
pub struct Arguments {
    /// Print JSON with sizes in bytes; standard output of COMMAND goes to standard error
    #[arg(long, global = true)]
    pub json: bool,

    /// When to color text
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// Read the files of a system that is recorded in DIR
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
    /// List the areas: how much is used, the largest gap, and the heaps that allocate from them
    ///
    /// Each area and RAM has a row, with its heaps beneath and what each has allocated. YOU says
    /// whether you may open their nodes. "<=" before a gap: drivers hold memory of the area, and
    /// where it lies is unknown.
    #[command(after_help = examples::LS)]
    Ls(Ls),

    /// Watch the memory of processes, heaps or exporters, sorted by growth
    ///
    /// Keys: arrows move; enter shows the buffers of a row; / filters; h sums by heap, p by
    /// process, e by exporter; g sorts by growth, s by size; r measures growth from now on; space
    /// stops and resumes updates; w saves the screen as text and W as SVG; ? shows all keys; q
    /// quits. Above the table each area has a bar and its last minute. If standard output is not a
    /// terminal, or with --json, --once or --count, top prints a table or one JSON object per line
    /// after each interval.
    #[command(after_help = examples::TOP)]
    Top(Top),

    /// Run COMMAND and list the buffers that exist after it and did not exist before
    ///
    /// With --since, no command is run, and all buffers that are newer than the snapshot are
    /// listed. With --watch, the sum of all buffers is printed after each interval, how much it has
    /// grown, and how fast it grows, until the process of --pid has ended or the command is
    /// interrupted; then the buffers that are newer than the start are listed.
    ///
    /// The list includes buffers that unrelated processes allocate in the meantime: each line names
    /// the process that allocated the buffers and the processes that hold them.
    #[command(after_help = examples::LEAK)]
    Leak(Leak),

    /// Write the sums of buffers into a file, again after each interval, until interrupted
    #[command(after_help = examples::WATCH)]
    Watch(Watch),

    /// Draw the sums that `watch` wrote
    Plot(Plot),

    /// Print all buffers as a snapshot for `leak --since`
    Snapshot,

    /// Run COMMAND and print the peak size of all buffers, and what made it up
    ///
    /// The peak is what the module has recorded, to the byte, however short it was. What made it up
    /// is what was seen when the sum was highest; it is looked at every 2 ms. /proc/rk_dmabuf/peak
    /// is reset before COMMAND starts, which requires root.
    #[command(after_help = examples::PEAK)]
    Peak(Peak),

    /// Show the held ranges of a heap's contiguous area, their owners, and the largest gap
    #[command(after_help = examples::MAP)]
    Map(Map),

    /// Allocate buffers from a heap and hold them until interrupted
    #[command(after_help = examples::ALLOC)]
    Alloc(Alloc),

    /// Measure the time to allocate, write and free buffers
    Bench(Bench),

    /// Find what does not work on this machine, why, and what mends it
    ///
    /// Looks at the kernel, the module and its signature, the nodes and their group, contiguous
    /// memory, the command line, IOMMUs and RAM above 4 GiB, and with STACK at what its programs
    /// open. What is wrong has a line with its cure.
    #[command(after_help = examples::DOCTOR)]
    Doctor(Doctor),

    /// Print the completion script for a shell
    Completions { shell: clap_complete::Shell },

    /// Print the manual page, or write all manual pages into a folder
    #[command(hide = true)]
    Man {
        /// Write one page per command into DIR
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Programs that get their buffers from heaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stack {
    /// Rockchip's media process platform, also below FFmpeg and GStreamer
    Mpp,
    /// Rockchip's librga
    Rga,
    /// Rockchip's RKNN runtime
    Rknn,
    /// libcamera
    Libcamera,
}

#[derive(Args)]
pub struct Doctor {
    /// Look also at what the programs of this stack open
    pub stack: Option<Stack>,
}

/// The text output of `ls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    /// For the textfile collector of Prometheus' node exporter
    Prometheus,
}

#[derive(Args)]
pub struct Ls {
    /// The format of the text
    #[arg(long, default_value = "table", conflicts_with = "json")]
    pub format: Format,

    /// One row for each heap, with what it keeps in its pool and what it could give
    #[arg(long, conflicts_with_all = ["json", "format"])]
    pub heaps: bool,
}

/// How `top` groups buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// By the name of the heap or other exporter, including heaps without buffers
    Heap,
    /// By the processes that hold buffers; a shared buffer counts for each of them
    #[default]
    Process,
    /// By the name of the exporter
    Exporter,
}

#[derive(Args)]
pub struct Top {
    /// How to group buffers
    #[arg(long, default_value = "process")]
    pub by: By,

    /// Seconds between two updates
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: f64,

    /// Print areas and rows once
    #[arg(long, conflicts_with = "count")]
    pub once: bool,

    /// Quit after N updates
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Args)]
pub struct Watch {
    /// The file: CSV if its name ends with .csv, JSON lines if with .jsonl
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,

    /// How to group buffers
    #[arg(long, default_value = "heap")]
    pub by: By,

    /// Seconds between two samples
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub interval: f64,

    /// End after N samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Args)]
pub struct Plot {
    /// The file that `watch` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Write the drawing to this file; - is standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub svg: PathBuf,
}

#[derive(Args)]
pub struct Leak {
    /// Compare with this snapshot instead of running COMMAND; - is standard input
    #[arg(long, value_name = "SNAPSHOT", conflicts_with = "command")]
    pub since: Option<PathBuf>,

    /// Watch programs that run already, instead of running COMMAND
    #[arg(long, conflicts_with_all = ["command", "since"])]
    pub watch: bool,

    /// Only what this process has made or holds
    #[arg(long, conflicts_with = "command")]
    pub pid: Option<u32>,

    /// Seconds between two lines of --watch
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "1",
        value_parser = seconds,
        requires = "watch",
        conflicts_with_all = ["command", "since"]
    )]
    pub interval: f64,

    /// End --watch, with status 1, when the sum has grown by more than SIZE
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = parse_size,
        requires = "watch",
        conflicts_with_all = ["command", "since"]
    )]
    pub limit: Option<u64>,

    /// End --watch after N lines
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..),
        requires = "watch",
        conflicts_with_all = ["command", "since"]
    )]
    pub count: Option<u64>,

    /// List each buffer, with its descriptors, instead of groups of buffers that are alike
    #[arg(long)]
    pub all: bool,

    /// Show the call stack of each allocation: functions of the kernel, and places in the program
    /// as far as it has frame pointers (requires root and tracefs)
    #[arg(long, conflicts_with = "since")]
    pub stacks: bool,

    /// Maximum time to wait after COMMAND until the kernel has released its buffers
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub settle: f64,

    /// The command to run, with its arguments
    #[arg(value_name = "COMMAND", last = true, value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

#[derive(Args)]
pub struct Peak {
    /// The command to run, with its arguments
    #[arg(
        value_name = "COMMAND",
        last = true,
        required = true,
        value_hint = ValueHint::CommandWithArguments
    )]
    pub command: Vec<OsString>,
}

#[derive(Args)]
pub struct Map {
    /// The heap; ranges that other heaps hold in the same area are shown as well
    pub heap: String,

    /// Write a drawing of the area to FILE; - is standard output and replaces the text
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub svg: Option<PathBuf>,

    /// Enable /proc/rk_dmabuf/advanced while reading, to show buffers that no device has mapped
    /// (requires root)
    #[arg(long)]
    pub advanced: bool,
}

#[derive(Args)]
pub struct Alloc {
    /// The heap to allocate from
    pub heap: String,

    /// Size of each buffer, for example 4096, 64K or 8MiB
    #[arg(value_parser = parse_size)]
    pub size: u64,

    /// Number of buffers
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        value_parser = clap::value_parser!(u32).range(1..=65536)
    )]
    pub count: u32,

    /// Name of the buffers
    #[arg(long, value_parser = buffer_name)]
    pub name: Option<String>,

    /// Free the buffers after this time instead of when interrupted
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub hold: Option<f64>,
}

#[derive(Args)]
pub struct Bench {
    /// The heap to allocate from
    pub heap: String,

    /// Size of the buffers; may be given several times
    #[arg(long, value_parser = parse_size, default_values = ["4K", "1M", "8M"])]
    pub size: Vec<u64>,

    /// Number of allocations of each size
    #[arg(
        long,
        value_name = "N",
        default_value = "32",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub count: u32,
}

/// Parses a time in seconds, at most 1e9.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number of seconds from 0 to 1000000000".to_owned()),
    }
}

/// Parses a buffer name. `DMA_BUF_NAME_LEN` limits it to 31 bytes.
fn buffer_name(name: &str) -> Result<String, String> {
    match name.len() {
        1..=31 if !name.contains('\0') => Ok(name.to_owned()),
        _ => Err("must have 1 to 31 bytes and no NUL".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn leak_takes_a_command_a_snapshot_or_a_watch() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        assert!(parse("rkheap leak -- sleep 1"));
        assert!(parse("rkheap leak --json --since file"));
        assert!(parse("rkheap leak --watch --pid 1 --limit 1M"));
        assert!(!parse("rkheap leak --limit 1M -- sleep 1"));
        assert!(!parse("rkheap leak --watch -- sleep 1"));
        assert!(!parse("rkheap leak --since file -- sleep 1"));
        assert!(!parse("rkheap peak"));
        assert!(!parse("rkheap alloc system 0"));
        assert!(!parse("rkheap top --interval nan"));
    }
}
