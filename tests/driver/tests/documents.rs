// SPDX-License-Identifier: GPL-2.0

//! Checks that the documents quote messages which the module prints.

mod common;

use std::fs;

use common::{
    project,
    rust_files_below, //
};

/// Returns a text without line breaks within string literals, and without their quotes.
fn joined(source: &str) -> String {
    let mut joined = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        joined += line;
        // A literal that ends with a backslash goes on behind the spaces of the next line.
        while joined.ends_with('\\') {
            joined.pop();
            joined += lines.next().unwrap_or_default().trim_start();
        }
        joined.push('\n');
    }
    joined
}

/// Returns the quoted messages in the first column of the tables of a section.
fn messages(document: &str, heading: &str) -> Vec<String> {
    let section = document
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap_or_else(|| panic!("no section {heading}"));
    let cells = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

/// Returns the parts of a message between names and numbers, which are in capitals.
fn parts(message: &str) -> Vec<&str> {
    let is_name = |word: &str| {
        let value = word.rsplit('=').next().unwrap_or(word);
        let letters = value.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        !letters.is_empty() && letters.chars().all(|c| c.is_ascii_uppercase())
    };
    let mut parts = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for word in message.split_inclusive(' ') {
        if is_name(word) && !["CMA", "DMA", "CPU"].contains(&word.trim_end()) {
            parts.push(&message[start..end]);
            start = end + word.len();
        }
        end += word.len();
    }
    parts.push(&message[start..]);
    parts.retain(|part| part.trim().len() >= 8);
    parts
}

#[test]
fn parts_are_between_names() {
    assert_eq!(
        parts("heap NAME: not mapped for device DEVICE, which would"),
        ["not mapped for device ", "which would"]
    );
}

#[test]
fn messages_of_the_module_are_quoted_as_it_prints_them() {
    let sources: String = ["src", "heaps", "procfs"]
        .into_iter()
        .flat_map(rust_files_below)
        .map(|(_, source)| joined(&source))
        .collect();
    let document = fs::read_to_string(project().join("docs/troubleshooting.md")).unwrap();
    let mut checked = 0;
    for heading in ["Heaps that are missing", "Drivers", "Debug nodes"] {
        for message in messages(&document, heading) {
            for part in parts(&message) {
                // A consequence is a constant of its own.
                let part = part.trim().trim_end_matches(": left out");
                let part = part.strip_prefix("region REGION ").unwrap_or(part);
                assert!(sources.contains(part), "{heading}: nothing prints {part:?}");
                checked += 1;
            }
        }
    }
    assert!(checked > 15, "{checked} parts found");
}
