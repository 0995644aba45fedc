// SPDX-License-Identifier: GPL-2.0

//! The output of `rkheap leak`.

use super::groups::{
    groups,
    Group, //
};
use super::{
    Comparison,
    LeftBuffer, //
};
use crate::arguments::Leak;
use crate::output::Output;
use crate::parse::trace_file::Stack;
use crate::processes;
use crate::run::CommandResult;
use crate::system::System;
use crate::table::{
    Align,
    Table, //
};
use crate::text;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// The JSON output.
#[derive(Serialize)]
struct Report<'a> {
    run: Option<&'a CommandResult>,
    left_buffers: usize,
    left_bytes: u64,
    left: &'a [LeftBuffer],
    groups: &'a [Group],
    /// Whether all buffers were seen before and after.
    conclusive: bool,
    total_bytes_before: Option<u64>,
    total_bytes_after: Option<u64>,
    remarks: &'a [String],
}

/// Prints the result.
pub fn print(
    system: &System,
    output: Output,
    options: &Leak,
    command: Option<&CommandResult>,
    comparison: &Comparison,
    mut remarks: Vec<String>,
) -> Result<()> {
    let left = &comparison.left[..];
    let bytes = left
        .iter()
        .fold(0u64, |sum, left| sum.saturating_add(left.buffer.size));
    if output.json {
        return output.print_json(&Report {
            run: command,
            left_buffers: left.len(),
            left_bytes: bytes,
            left,
            groups: &groups(left, false),
            conclusive: comparison.conclusive,
            total_bytes_before: comparison.before,
            total_bytes_after: comparison.after,
            remarks: &remarks,
        });
    }
    remarks.splice(0..0, command.and_then(CommandResult::failure));
    output.print_remarks(&remarks);
    let mut lines = Vec::new();
    if !comparison.conclusive {
        lines.push(output.warning(
            "inconclusive: not all buffers can be seen, so others may have been left behind",
        ));
        lines.extend(comparison.change());
    }
    if left.is_empty() {
        lines.push(
            if comparison.conclusive {
                "nothing was left behind"
            } else {
                "of those that can be seen nothing was left behind"
            }
            .to_owned(),
        );
        return output.print_lines(&lines);
    }
    lines.push(output.warning(&format!(
        "left behind: {}, {}",
        text::plural(left.len(), "buffer"),
        text::size(bytes)
    )));
    let groups = groups(left, options.all);
    let stacks = distinct(&groups);
    let table = table(system, left, &groups, &stacks, options);
    lines.extend(output.with_heading(table.lines("  ")));
    lines.extend(sums(left));
    for (index, stack) in stacks.iter().enumerate() {
        lines.push(output.bold(&format!(
            "stack {}, the innermost function first:",
            index + 1
        )));
        lines.extend(stack.lines().iter().map(|function| format!("  {function}")));
    }
    output.print_lines(&lines)
}

/// Returns each recorded stack once.
fn distinct(groups: &[Group]) -> Vec<&Stack> {
    let mut stacks = Vec::new();
    for stack in groups.iter().filter_map(|group| group.stack.as_ref()) {
        if !stacks.contains(&stack) {
            stacks.push(stack);
        }
    }
    stacks
}

/// Creates the table of the text output.
fn table(
    system: &System,
    left: &[LeftBuffer],
    groups: &[Group],
    stacks: &[&Stack],
    options: &Leak,
) -> Table {
    let mut columns = vec![
        ("PROCESS", Align::Left),
        ("PID", Align::Right),
        ("NAME", Align::Left),
        ("HEAP", Align::Left),
        ("SIZE", Align::Right),
        ("COUNT", Align::Right),
        ("AGE", Align::Left),
    ];
    if options.stacks {
        columns.push(("STACK", Align::Right));
    }
    columns.push(("HELD BY", Align::Left));
    let mut table = Table::new(&columns);
    for (index, group) in groups.iter().enumerate() {
        let ran_before = match group.maker_ran_before {
            Some(true) => " (ran before)",
            _ => "",
        };
        let mut held_by = group.held_by.text();
        if options.all {
            held_by.extend(left.get(index).map(|left| descriptors(system, left)));
        }
        let mut row = vec![
            format!("{}{ran_before}", text::escaped_or_dash(&group.process)),
            group.pid.map_or("-".to_owned(), |pid| pid.to_string()),
            text::escaped_or_dash(group.name.as_deref().unwrap_or_default()),
            text::escaped_or_dash(&group.exporter),
            text::size(group.size),
            group.count.to_string(),
            ages(group),
        ];
        if options.stacks {
            let index = stacks
                .iter()
                .position(|stack| Some(*stack) == group.stack.as_ref());
            row.push(index.map_or("-".to_owned(), |index| (index + 1).to_string()));
        }
        row.push(held_by);
        table.add_row(row);
    }
    table
}

/// Formats the range of ages.
fn ages(group: &Group) -> String {
    let min = group.min_age_ms.map(text::age);
    match (min, group.max_age_ms.map(text::age)) {
        (Some(min), Some(max)) if min != max => format!("{min} to {max}"),
        (Some(age), _) => age,
        _ => "-".to_owned(),
    }
}

/// Names the descriptors of a buffer, as far as this user may read them.
fn descriptors(system: &System, left: &LeftBuffer) -> String {
    let holders = left.buffer.holders.iter();
    let named: Vec<String> = holders
        .filter_map(|holder| {
            let numbers = processes::descriptors(system, holder.pid, left.buffer.inode?);
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            (!numbers.is_empty()).then(|| format!("{} of {}", numbers.join(", "), holder.pid))
        })
        .collect();
    match &named[..] {
        [] => String::new(),
        named => format!("; descriptors {}", named.join("; ")),
    }
}

/// Returns one line per process with its sum. Returns no lines if each process has one buffer.
fn sums(left: &[LeftBuffer]) -> Vec<String> {
    let mut sums: BTreeMap<(String, Option<u32>), (usize, u64)> = BTreeMap::new();
    for left in left {
        let sum = sums.entry(left.buffer.process()).or_default();
        sum.0 += 1;
        sum.1 = sum.1.saturating_add(left.buffer.size);
    }
    if sums.len() == left.len() {
        return Vec::new();
    }
    sums.into_iter()
        .map(|((name, pid), (count, bytes))| {
            let pid = pid.map_or(String::new(), |pid| format!(" ({pid})"));
            format!(
                "  {}{pid}: {}, {}",
                text::escaped_or_dash(&name),
                text::plural(count, "buffer"),
                text::size(bytes)
            )
        })
        .collect()
}
