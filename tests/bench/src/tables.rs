// SPDX-License-Identifier: GPL-2.0

//! Formats the tables for the terminal and for Markdown documents.

use crate::boots::Boot;
use crate::limits::{
    decimal_places,
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

/// Formats a size with its unit.
pub fn size(bytes: usize) -> String {
    match bytes {
        0 => String::new(),
        FRAME => "4K frame".to_owned(),
        _ if bytes % MIB == 0 => format!("{} MiB", bytes / MIB),
        _ if bytes % KIB == 0 => format!("{} KiB", bytes / KIB),
        _ => grouped(bytes as f64),
    }
}

/// Rounds a number to an integer and formats it with thousands separators.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    match number < 0.0 && digits != "0" {
        true => format!("-{text}"),
        false => text,
    }
}

/// Formats a ratio with [`decimal_places`].
pub fn ratio_text(ratio: f64) -> String {
    format!("{ratio:.*}", decimal_places(ratio) as usize)
}

fn value(number: f64, unit: Unit) -> String {
    match unit {
        Unit::Instructions | Unit::Entries => grouped(number),
        Unit::Bytes => format!("{} B", grouped(number)),
        Unit::Percent => format!("{number:.2} %"),
    }
}

fn verdict(line: &Line) -> &'static str {
    match &line.limit {
        None => "",
        Some(limit) if !limit.holds => "EXCEEDED",
        Some(limit) if !is_within(line.ratio, limit.aim) => "holds, aim not reached",
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
        write!(f, ", a ratio of {}", ratio_text(self.ratio))?;
        if let Some(limit) = &self.limit {
            write!(f, "; at most {} is allowed", ratio_text(limit.at_most))?;
        }
        Ok(())
    }
}

/// The output medium of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    Terminal,
    Document,
}

/// Formats a table. The first `text_columns` columns are left-aligned text, the others are
/// right-aligned numbers.
fn table(medium: Medium, rows: Vec<Vec<String>>, text_columns: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let mut table = Builder::from_iter(rows).build();
    match medium {
        Medium::Terminal => table.with(Style::blank()),
        Medium::Document => table.with(Style::markdown()),
    };
    table.modify(Columns::new(text_columns..columns), Alignment::right());
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

fn header(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|&title| title.to_owned()).collect()
}

/// Formats all lines of the comparison.
fn comparison(report: &Report, medium: Medium) -> String {
    let mut rows = vec![header(&[
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
        let limit = line.limit.as_ref();
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
            ratio_text(line.ratio),
            limit.map_or_else(String::new, |limit| ratio_text(limit.aim)),
            limit.map_or_else(String::new, |limit| ratio_text(limit.at_most)),
        ]);
    }
    table(medium, rows, 3)
}

fn growth(report: &Report, medium: Medium) -> String {
    let mut rows = vec![header(&[
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
    let mut rows = vec![header(&["size", "allocate", "close"])];
    for (bytes, allocate, close) in report.tracking() {
        rows.push(vec![size(bytes), grouped(allocate), grouped(close)]);
    }
    table(medium, rows, 0)
}

fn fragmentation(report: &Report, medium: Medium) -> String {
    let mut rows = vec![header(&[
        "heap",
        "allocations that failed",
        "largest possible allocation",
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
    let mut rows = vec![header(&[
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
    let mut rows = vec![header(&[
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

/// Returns all tables except the comparison, with their titles.
fn secondary_tables(report: &Report, medium: Medium) -> Vec<(&'static str, String)> {
    vec![
        (
            "Cost of tracking and default names, in instructions",
            tracking(report, medium),
        ),
        ("Growth, in instructions", growth(report, medium)),
        (
            "Fragmentation: 10,000 random allocations and frees in a 64 MiB area filled to 80 %",
            fragmentation(report, medium),
        ),
        (
            "Throughput: buffers per second of host time, no limit",
            throughput(report, medium),
        ),
        (
            "Module sizes and load cost, no limit for sizes",
            modules(report, medium),
        ),
    ]
}

/// Formats all tables for the terminal.
pub fn for_terminal(report: &Report) -> String {
    let mut text = comparison(report, Medium::Terminal);
    for (title, table) in secondary_tables(report, Medium::Terminal) {
        text += &format!("\n{title}\n\n{table}");
    }
    text + "\n"
}

/// Formats all tables for a document.
pub fn for_document(report: &Report) -> String {
    let mut text = comparison(report, Medium::Document);
    for (title, table) in secondary_tables(report, Medium::Document) {
        text += &format!("\n## {title}\n\n{table}");
    }
    text
}

/// The rows of the table in the README: what programs and drivers do most often, and the allocation
/// with the largest ratios.
const RATIOS: [&str; 5] = [
    "allocate-warm/system",
    "allocate-cold/system",
    "allocate-warm/cma",
    "allocate-cold/rk-dma-heap-cma",
    "attach/system",
];

/// Formats only the ratios of [`RATIOS`] for a document, one line per operation.
pub fn ratios(report: &Report) -> String {
    let sizes = [4 * KIB, 64 * KIB, MIB, 8 * MIB, 32 * MIB];
    let mut rows = vec![header(&["operation"])];
    rows[0].extend(sizes.map(size));
    for row in ROWS.iter().filter(|row| RATIOS.contains(&row.key)) {
        let cell = |size: usize| {
            let of_row = |line: &&Line| line.row == row.key && line.size == size;
            let line = report.lines.iter().find(of_row);
            line.map_or_else(String::new, |line| ratio_text(line.ratio))
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
    use crate::report::tests::uniform_report;

    #[test]
    fn numbers_are_formatted() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(-1000.0), "-1,000");
        assert_eq!(grouped(-0.2), "0");
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(
            [ratio_text(0.00349), ratio_text(0.0123), ratio_text(1.049)],
            ["0.0035", "0.012", "1.05"]
        );
        assert_eq!(
            [size(4096), size(32 << 20), size(FRAME)],
            ["4 KiB", "32 MiB", "4K frame"]
        );
    }

    #[test]
    fn every_line_is_printed_and_exceeded_limits_are_marked() {
        let report = uniform_report(700.0);
        let text = for_terminal(&report);
        let exceeded = text
            .lines()
            .filter(|line| line.contains("EXCEEDED"))
            .count();
        assert_eq!(exceeded, report.exceeded().len());
        assert!(exceeded > 0 && exceeded < report.limit_count());
        let document = comparison(&report, Medium::Document);
        // The header of a Markdown table has two lines.
        assert_eq!(document.lines().count(), report.lines.len() + 2);
        let ratios = ratios(&report);
        assert!(ratios.contains("0.70"));
        // The header, the line below it, and the rows.
        assert_eq!(ratios.lines().count(), 2 + RATIOS.len());
    }

    #[test]
    fn line_contains_its_limit() {
        let report = uniform_report(2000.0);
        let line = report.exceeded()[0].to_string();
        assert!(
            line.contains("allocate, pool warm, system, 4 KiB: 2,000 of 1,000"),
            "{line}"
        );
        assert!(line.contains("at most 1.05"), "{line}");
    }
}
