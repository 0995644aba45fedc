// SPDX-License-Identifier: GPL-2.0

//! Tables: on the terminal, and in documents.

use crate::boots::Boot;
use crate::floors::{
    digits,
    is_within, //
};
use crate::report::{
    Line,
    Report, //
};
use crate::rows::{
    Unit,
    FRAME,
    KIB,
    MIB,
    ROWS, //
};
use std::fmt;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{
    Alignment,
    Style, //
};

/// A size as people write it.
pub fn size(bytes: usize) -> String {
    match bytes {
        0 => String::new(),
        FRAME => "4K frame".to_owned(),
        _ if bytes % MIB == 0 => format!("{} MiB", bytes / MIB),
        _ if bytes % KIB == 0 => format!("{} KiB", bytes / KIB),
        _ => grouped(bytes as f64),
    }
}

/// A number with its thousands apart, to the nearest whole.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    match number < 0.0 && digits != "0" {
        true => format!("-{text}"),
        false => text,
    }
}

/// A share, with as many digits as say something.
pub fn share(ratio: f64) -> String {
    format!("{ratio:.*}", digits(ratio) as usize)
}

fn value(number: f64, unit: Unit) -> String {
    match unit {
        Unit::Instructions => grouped(number),
        Unit::Bytes => format!("{} B", grouped(number)),
        Unit::Percent => format!("{number:.2} %"),
    }
}

fn verdict(line: &Line) -> &'static str {
    match &line.floor {
        None => "",
        Some(floor) if !floor.holds => "MISSED",
        Some(floor) if !is_within(line.ratio, floor.aim) => "holds, aim not reached",
        Some(_) => "holds",
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.title)?;
        if !size(self.size).is_empty() {
            write!(f, ", {}", size(self.size))?;
        }
        write!(
            f,
            ": {} of {}",
            value(self.ours, self.unit),
            value(self.in_tree, self.unit)
        )?;
        write!(f, ", a share of {}", share(self.ratio))?;
        if let Some(floor) = &self.floor {
            write!(f, " where at most {} is allowed", share(floor.at_most))?;
        }
        Ok(())
    }
}

/// Whether a table is for a terminal or for a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    Terminal,
    Document,
}

/// A table of which the first `texts` columns are texts, and the others numbers.
fn table(medium: Medium, rows: Vec<Vec<String>>, texts: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let mut table = Builder::from_iter(rows).build();
    match medium {
        Medium::Terminal => table.with(Style::blank()),
        Medium::Document => table.with(Style::markdown()),
    };
    table.modify(Columns::new(texts..columns), Alignment::right());
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Every line of the comparison.
fn comparison(report: &Report, medium: Medium) -> String {
    let mut rows = vec![words(&[
        "operation",
        "size",
        "verdict",
        "in-tree",
        "ours",
        "ratio",
        "aim",
        "at most",
    ])];
    let mut title = "";
    for line in &report.lines {
        let repeated = title == line.title && medium == Medium::Terminal;
        title = &line.title;
        let floor = line.floor.as_ref();
        rows.push(vec![
            if repeated {
                String::new()
            } else {
                line.title.clone()
            },
            size(line.size),
            verdict(line).to_owned(),
            value(line.in_tree, line.unit),
            value(line.ours, line.unit),
            share(line.ratio),
            floor.map_or_else(String::new, |floor| share(floor.aim)),
            floor.map_or_else(String::new, |floor| share(floor.at_most)),
        ]);
    }
    table(medium, rows, 3)
}

fn growth(report: &Report, medium: Medium) -> String {
    let mut rows = vec![words(&[
        "live buffers",
        "allocate, in-tree",
        "allocate, ours",
        "close, in-tree",
        "close, ours",
        "a line of /proc/rk_dmabuf/dev",
    ])];
    for (count, _) in report.figures.all(Boot::OursLarge, "growth-allocate") {
        let cell = |boot, name| {
            let figure = report.figures.figure(boot, name, count);
            figure.map_or_else(|_| String::new(), grouped)
        };
        rows.push(vec![
            grouped(count as f64),
            cell(Boot::InTreeLarge, "growth-allocate"),
            cell(Boot::OursLarge, "growth-allocate"),
            cell(Boot::InTreeLarge, "growth-close"),
            cell(Boot::OursLarge, "growth-close"),
            cell(Boot::OursLarge, "growth-line"),
        ]);
    }
    table(medium, rows, 0)
}

fn tracking(report: &Report, medium: Medium) -> String {
    let mut rows = vec![words(&["size", "allocate", "close"])];
    for (bytes, allocate, close) in report.tracking() {
        rows.push(vec![size(bytes), grouped(allocate), grouped(close)]);
    }
    table(medium, rows, 0)
}

fn fragmentation(report: &Report, medium: Medium) -> String {
    let mut rows = vec![words(&[
        "heap",
        "allocations that failed",
        "largest that fits",
    ])];
    for (heap, boot) in [
        ("in-tree, default_cma_region", Boot::InTree),
        ("ours, rk-dma-heap-cma", Boot::Ours),
    ] {
        let figure = |name| report.figures.figure(boot, name, 0).unwrap_or(f64::NAN);
        rows.push(vec![
            heap.to_owned(),
            format!("{:.2} %", figure("fragmentation-failures")),
            format!(
                "{} KiB",
                grouped(figure("fragmentation-largest") / KIB as f64)
            ),
        ]);
    }
    table(medium, rows, 1)
}

fn throughput(report: &Report, medium: Medium) -> String {
    let mut rows = vec![words(&[
        "size",
        "in-tree, 1 CPU",
        "2 CPUs",
        "4 CPUs",
        "4 over 1",
        "ours, 1 CPU",
        "2 CPUs",
        "4 CPUs",
        "4 over 1",
        "ours over in-tree, 2 CPUs",
        "4 CPUs",
    ])];
    for (bytes, _) in report.figures.all(Boot::OursCpus, "throughput-1/system") {
        let of = |boot| {
            [
                "throughput-1/system",
                "throughput-2/system",
                "throughput-4/system",
            ]
            .map(|name| report.figures.figure(boot, name, bytes).unwrap_or(f64::NAN))
        };
        let (in_tree, ours) = (of(Boot::InTreeCpus), of(Boot::OursCpus));
        let mut row = vec![size(bytes)];
        for [one, two, four] in [in_tree, ours] {
            row.extend([one, two, four].map(grouped));
            row.push(format!("{:.2}", four / one));
        }
        for index in [1, 2] {
            row.push(format!("{:.2}", ours[index] / in_tree[index]));
        }
        rows.push(row);
    }
    table(medium, rows, 0)
}

fn modules(report: &Report, medium: Medium) -> String {
    let mut rows = vec![words(&[
        "loaded",
        "file",
        "in memory",
        "instructions to load",
    ])];
    for (name, boot) in [
        ("system_heap.ko, cma_heap.ko", Boot::InTree),
        ("rk_dma_heap.ko", Boot::Ours),
    ] {
        let figure = |name| report.figures.figure(boot, name, 0).unwrap_or(f64::NAN);
        rows.push(vec![
            name.to_owned(),
            format!("{} B", grouped(figure("module-file"))),
            format!("{} B", grouped(figure("module-memory"))),
            grouped(figure("module-load")),
        ]);
    }
    table(medium, rows, 1)
}

/// The tables beside the comparison, with their titles.
fn others(report: &Report, medium: Medium) -> Vec<(&'static str, String)> {
    vec![
        (
            "What tracking and default names cost, in instructions",
            tracking(report, medium),
        ),
        ("Growth, in instructions", growth(report, medium)),
        (
            "Fragmentation: 10,000 random allocations and frees, area of 64 MiB filled to 80 %",
            fragmentation(report, medium),
        ),
        (
            "Throughput: buffers a second of the host's, no floor",
            throughput(report, medium),
        ),
        ("Modules, not judged", modules(report, medium)),
    ]
}

/// All tables, for a terminal.
pub fn for_terminal(report: &Report) -> String {
    let mut text = comparison(report, Medium::Terminal);
    for (title, table) in others(report, Medium::Terminal) {
        text += &format!("\n{title}\n\n{table}");
    }
    text + "\n"
}

/// All tables, for a document.
pub fn for_document(report: &Report) -> String {
    let mut text = comparison(report, Medium::Document);
    for (title, table) in others(report, Medium::Document) {
        text += &format!("\n## {title}\n\n{table}");
    }
    text
}

/// The shares alone, a line an operation, for a document.
pub fn shares(report: &Report) -> String {
    let sizes = [4 * KIB, 64 * KIB, MIB, 8 * MIB, 32 * MIB];
    let mut rows = vec![words(&["operation"])];
    rows[0].extend(sizes.map(size));
    for row in ROWS
        .iter()
        .filter(|row| row.sizes.iter().any(|size| sizes.contains(size)))
    {
        let cell = |size: usize| {
            let of_row = |line: &&Line| line.row == row.key && line.size == size;
            let line = report.lines.iter().find(of_row);
            line.map_or_else(String::new, |line| share(line.ratio))
        };
        let mut cells = vec![row.title.to_owned()];
        cells.extend(sizes.map(cell));
        rows.push(cells);
    }
    table(Medium::Document, rows, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::even;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(-1000.0), "-1,000");
        assert_eq!(grouped(-0.2), "0");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(
            [share(0.00349), share(0.0123), share(1.049)],
            ["0.0035", "0.012", "1.05"]
        );
        assert_eq!(
            [size(4096), size(32 << 20), size(FRAME)],
            ["4 KiB", "32 MiB", "4K frame"]
        );
    }

    #[test]
    fn every_line_is_printed_and_a_missed_one_says_so() {
        let report = even(700.0);
        let text = for_terminal(&report);
        let missed = text.lines().filter(|line| line.contains("MISSED")).count();
        assert_eq!(missed, report.missed().len());
        assert!(missed > 0 && missed < report.judged());
        let document = comparison(&report, Medium::Document);
        // A head of two lines.
        assert_eq!(document.lines().count(), report.lines.len() + 2);
        assert!(shares(&report).contains("0.70"));
    }

    #[test]
    fn a_line_tells_what_was_allowed() {
        let report = even(2000.0);
        let line = report.missed()[0].to_string();
        assert!(
            line.contains("allocate, pool warm, system, 4 KiB: 2,000 of 1,000"),
            "{line}"
        );
        assert!(line.contains("at most 1.05"), "{line}");
    }
}
