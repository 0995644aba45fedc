// SPDX-License-Identifier: GPL-2.0

//! Where the instructions of an allocation and of a close go, function by function: with the
//! kernel's own heap, with the module, and with the module where nothing is recorded and named.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use clap::Parser;
use std::collections::{
    BTreeMap,
    BTreeSet, //
};
use std::fmt::Write;
use std::fs;
use std::path::{
    Path,
    PathBuf, //
};
use std::process::{
    Command,
    Stdio, //
};

/// Print where the instructions of an allocation and of a close go
#[derive(Parser)]
struct Arguments {
    /// The project's top folder
    #[arg(long, hide = true)]
    project: PathBuf,

    /// The size of a buffer of heap `system`, in bytes
    #[arg(long, default_value_t = 4096)]
    size: usize,

    /// Leave out functions that take less than so many instructions on each side
    #[arg(long, default_value_t = 20.0)]
    least: f64,
}

/// A machine: its name in the table, options of `qemu/vm`, and what is run before the program.
struct Side(&'static str, &'static [&'static str], &'static str);

const SIDES: [Side; 3] = [
    Side("in-tree", &["--no-module"], "modprobe system_heap; "),
    Side(
        "untracked",
        &["--module-args", "track_all=0 default_names=0"],
        "",
    ),
    Side("ours", &[], ""),
];

const HEAD: &str = "<!-- SPDX-License-Identifier: GPL-2.0 -->\n\
    <!-- Made by `make profile`, which overwrites it. -->\n\
    # Where the instructions go\n\n\
    Function by function, by a plugin of QEMU's that counts them, on the kernel that `make bench` uses: the kernel's own heap,\n\
    this module with `track_all=0 default_names=0`, and as it is loaded without further ado. What every side takes is the\n\
    least that a heap can cost: the system call, the export of a dma-buf, the descriptor.\n";

/// How often the program does what is measured.
const ROUNDS: usize = 10;

/// Instructions by function.
type Profile = BTreeMap<String, f64>;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut text = String::from(HEAD);
    for what in ["allocate", "close"] {
        let profiles = SIDES
            .iter()
            .map(|side| {
                measure(&arguments, side, what).with_context(|| format!("{what}, {}", side.0))
            })
            .collect::<Result<Vec<_>>>()?;
        text += &table(&arguments, what, &profiles)?;
    }
    print!("{text}");
    let file = arguments.project.join("docs/profile.md");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn measure(arguments: &Arguments, side: &Side, what: &str) -> Result<Profile> {
    eprintln!("  {what}, {} ...", side.0);
    let project = &arguments.project;
    let counts = project.join("build/profile-counts");
    let plugin = project.join("target/release/libprofile_plugin.so");
    let Side(_, options, before) = side;
    let output = Command::new(project.join("qemu/vm"))
        .args([
            "--target",
            "bench",
            "--icount",
            "--timeout",
            "600",
            "--append",
            "nokaslr",
        ])
        .arg("--plugin")
        .arg(format!("{},out={}", plugin.display(), counts.display()))
        .args(*options)
        .arg("--")
        .arg(format!(
            "{before}profile-guest --heap system --size {} --rounds {ROUNDS} {what}",
            arguments.size
        ))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "qemu/vm: {}", output.status);
    by_function(&String::from_utf8(output.stdout)?, &counts)
}

/// Sums up the counts by address, with symbols as `/proc/kallsyms` lists them.
fn by_function(symbols: &str, counts: &Path) -> Result<Profile> {
    let symbols = functions(symbols);
    let text = fs::read_to_string(counts)
        .with_context(|| format!("QEMU's plugin did not write {}", counts.display()))?;
    let mut profile = Profile::new();
    for line in text.lines() {
        let (address, count) = line.split_once(' ').context("a line without a count")?;
        let address = u64::from_str_radix(address, 16)?;
        let function = symbols.range(..=address).next_back();
        let name = function.map_or("(program)", |(_, name)| name);
        *profile.entry(name.to_owned()).or_default() += count.parse::<f64>()? / ROUNDS as f64;
    }
    Ok(profile)
}

fn functions(symbols: &str) -> BTreeMap<u64, String> {
    symbols
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            let name = words.next()?;
            let name = match words.next() {
                Some(module) => format!("{name} {module}"),
                None => name.to_owned(),
            };
            matches!(kind, "t" | "T" | "w" | "W").then_some((address, name))
        })
        .collect()
}

fn table(arguments: &Arguments, what: &str, profiles: &[Profile]) -> Result<String> {
    let mut text = format!("\n## {what}, {} bytes\n\n    ", arguments.size);
    for Side(name, ..) in &SIDES {
        write!(text, "{name:>10}")?;
    }
    text += "  function\n";
    let names: BTreeSet<&String> = profiles.iter().flat_map(BTreeMap::keys).collect();
    let of = |profile: &Profile, name| profile.get(name).copied().unwrap_or(0.0);
    let mut rows: Vec<(Vec<f64>, &str)> = names
        .iter()
        .map(|name| {
            let row = profiles.iter().map(|profile| of(profile, *name)).collect();
            (row, name.as_str())
        })
        .collect();
    let largest = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
    rows.sort_by(|a, b| largest(&b.0).total_cmp(&largest(&a.0)));
    let (shown, rest): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|(row, _)| largest(row) >= arguments.least);
    let sum = |column: usize, rows: &[(Vec<f64>, &str)]| -> f64 {
        rows.iter().filter_map(|(row, _)| row.get(column)).sum()
    };
    for (row, name) in &shown {
        line(&mut text, row.iter().copied(), name)?;
    }
    let columns = 0..SIDES.len();
    let common: f64 = Iterator::chain(shown.iter(), &rest)
        .map(|(row, _)| row.iter().copied().fold(f64::INFINITY, f64::min))
        .sum();
    let sums = [
        (
            columns.clone().map(|column| sum(column, &rest)).collect(),
            "(all others)",
        ),
        (
            columns
                .clone()
                .map(|column| sum(column, &shown) + sum(column, &rest))
                .collect(),
            "(in all)",
        ),
        (
            columns.map(|_| common).collect(),
            "(of that what every side takes)",
        ),
    ];
    for (row, name) in sums {
        let row: Vec<f64> = row;
        line(&mut text, row.into_iter(), name)?;
    }
    Ok(text)
}

/// A line of a block of Markdown that keeps its spaces.
fn line(text: &mut String, row: impl Iterator<Item = f64>, name: &str) -> Result<()> {
    *text += "    ";
    for figure in row {
        write!(text, "{figure:>10.0}")?;
    }
    writeln!(text, "  {}", readable(name))?;
    Ok(())
}

/// A Rust symbol's last two parts, which are enough to find it.
fn readable(name: &str) -> String {
    let (symbol, module) = name.split_once(' ').unwrap_or((name, ""));
    let demangled = format!("{:#}", rustc_demangle::demangle(symbol));
    format!("{demangled} {module}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str =
        "ffff000000001000 T first\nffff000000002000 t second [module]\nffff000000003000 D data\n";

    #[test]
    fn counts_belong_to_the_function_they_lie_in() {
        let file = std::env::temp_dir().join("profile-counts-test");
        fs::write(
            &file,
            "10 40\nffff000000001000 10\nffff000000001004 30\nffff000000003000 70\n",
        )
        .unwrap();
        let profile = by_function(SYMBOLS, &file).unwrap();
        fs::remove_file(&file).unwrap();
        let expected = [("(program)", 4.0), ("first", 4.0), ("second [module]", 7.0)];
        assert!(profile
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
            .eq(expected));
    }

    #[test]
    fn rust_symbols_are_legible() {
        assert_eq!(readable("kfree"), "kfree");
        assert_eq!(
            readable("_RNvMNtCs1234_7mycrate3foo3bar [rk_dma_heap]"),
            readable("_RNvMNtCs1234_7mycrate3foo3bar") + " [rk_dma_heap]"
        );
    }
}
