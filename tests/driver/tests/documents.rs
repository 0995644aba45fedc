// SPDX-License-Identifier: GPL-2.0

//! Checks that the documents quote the messages that the module prints, all of them, and that their
//! links lead somewhere.

mod common;

use std::fs;

use common::{
    files_below,
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
    let headings = [
        "Load parameters",
        "Heaps that are missing",
        "Drivers",
        "Debug nodes",
    ];
    for heading in headings {
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

/// Returns the messages that a source logs, with what is filled in as `{}`.
fn logged(source: &str) -> Vec<&str> {
    let levels = [
        "err!(",
        "warn!(",
        "notice!(",
        "info!(",
        "warn_once!(",
        "log_error(",
    ];
    let mut messages = Vec::new();
    let mut is_call = false;
    for line in source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        is_call |= levels.iter().any(|level| line.contains(level));
        if let Some(message) = line.split('"').nth(1).filter(|_| is_call) {
            messages.push(message);
            is_call = false;
        }
    }
    messages
}

#[test]
fn messages_of_the_module_are_all_explained() {
    let document = fs::read_to_string(project().join("docs/troubleshooting.md")).unwrap();
    let mut missing = Vec::new();
    let mut checked = 0;
    for folder in ["src", "heaps", "procfs"] {
        for (file, source) in rust_files_below(folder) {
            for message in logged(&joined(&source)) {
                // What follows a semicolon is the cure.
                let statement = message.trim_end_matches("\\n").split("; ").next().unwrap();
                let parts = statement.split(['{', '}']).step_by(2);
                let part = parts.max_by_key(|part| part.len()).unwrap_or_default();
                let part = part.trim_matches([' ', ':', '=', ',']);
                // What such a message says is in its arguments, as in `log_error()`.
                if part.len() > 6 {
                    checked += 1;
                    if !document.contains(part) {
                        missing.push(format!("{file}: {statement}"));
                    }
                }
            }
        }
    }
    assert!(
        missing.is_empty(),
        "docs/troubleshooting.md does not explain these messages:\n{}",
        missing.join("\n")
    );
    assert!(checked > 25, "only {checked} messages found");
}

/// Returns the names under which `tests/README.md` has the suites in a source of the test driver.
fn suites(file: &str, source: &str) -> Vec<String> {
    let names = source.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("name: \"")?;
        name.strip_suffix("\",")
    });
    let documented = |name: &str| {
        if !file.ends_with("trees.rs") {
            // The same suite with checkers.
            name.trim_end_matches("-checked").to_owned()
        } else if name.starts_with("board-") {
            "board-NAME".to_owned()
        } else {
            "tree-NAME".to_owned()
        }
    };
    names.map(documented).collect()
}

#[test]
fn the_tests_readme_names_each_suite() {
    let document = fs::read_to_string(project().join("tests/README.md")).unwrap();
    let mut missing = Vec::new();
    let mut checked = 0;
    for (file, source) in rust_files_below("tests/driver/src/suites") {
        for suite in suites(&file, &source) {
            checked += 1;
            if !document.contains(&format!("**{suite}**")) {
                missing.push(suite);
            }
        }
    }
    assert!(missing.is_empty(), "tests/README.md lacks {missing:?}");
    assert!(checked > 90, "{checked} suites found");
}

#[test]
fn suites_are_found_in_sources() {
    let source =
        "Suite {\n    name: \"pools\",\n}\n    name: \"pools-checked\",\n    needs: \"\",\n";
    assert_eq!(suites("pools.rs", source), ["pools", "pools"]);
    let source = "tree! {\n    name: \"no-map\",\n}\n    name: \"board-a\",\n";
    assert_eq!(suites("trees.rs", source), ["tree-NAME", "board-NAME"]);
}

/// Returns the links of a document that lead to files of the project, without those in code.
fn links(document: &str) -> Vec<&str> {
    let prose = document.split('`').step_by(2);
    let ends = prose.flat_map(|text| text.split("](").skip(1));
    ends.filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link)
        .filter(|link| !link.contains("://"))
        .collect()
}

/// Returns the anchors of a document's headings, as the usual renderers of Markdown make them.
fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then_some(c),
        });
        kept.collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_and_anchors_are_found() {
    let found = links("[a](b.md), `[c](d)`, ![e](f.svg)\n[g](#h) [i](https://j)");
    assert_eq!(found, ["b.md", "f.svg", "#h"]);
    assert_eq!(
        anchors("# `qemu/vm`, and more\ntext\n## A-b_c"),
        ["qemuvm-and-more", "a-b_c"]
    );
}

#[test]
fn links_lead_to_files_and_headings() {
    let root = project();
    let mut checked = 0;
    let mut broken = Vec::new();
    let files = files_below(&root);
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "md"))
    {
        let document = fs::read_to_string(file).unwrap();
        for link in links(&document) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => file.clone(),
                _ => file.parent().unwrap().join(path),
            };
            let has_anchor = || {
                fs::read_to_string(&target)
                    .is_ok_and(|text| anchors(&text).contains(&anchor.to_owned()))
            };
            if !target.exists() || !anchor.is_empty() && !has_anchor() {
                broken.push(format!("{}: {link}", file.display()));
            }
            checked += 1;
        }
    }
    assert!(
        broken.is_empty(),
        "links that lead nowhere:\n{}",
        broken.join("\n")
    );
    assert!(checked > 60, "only {checked} links found");
}

#[test]
fn the_picture_names_files_that_exist() {
    let picture = fs::read_to_string(project().join("docs/architecture.svg")).unwrap();
    let texts = picture.split("<text class=\"file\"").skip(1);
    let paths: Vec<&str> = texts
        .filter_map(|text| text.split(['>', '<']).nth(1))
        .flat_map(|paths| paths.split(", "))
        .collect();
    assert!(paths.len() > 25, "{paths:?}");
    for path in paths {
        assert!(
            project().join(path).exists(),
            "docs/architecture.svg: {path}"
        );
    }
}
