// SPDX-License-Identifier: GPL-2.0

//! Checks that `docs/upstream.md` has each abstraction, with what it needs, who uses it, and names
//! that exist.

mod common;

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    fs, //
};

use common::{
    code,
    imports::imports,
    project,
    rust_files_below, //
};

const PAGE: &str = "docs/upstream.md";

/// A row of the page.
struct Row {
    interface: Vec<String>,
    needs: BTreeSet<String>,
    users: BTreeSet<String>,
}

/// Returns the rows of all tables, by the abstraction.
fn rows(page: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| [`")) {
        let cells: Vec<_> = line.split('|').collect();
        let name = code(cells[1]).swap_remove(0);
        let row = Row {
            interface: code(cells[2]),
            needs: code(cells[3]).into_iter().collect(),
            users: code(cells[4]).into_iter().collect(),
        };
        assert!(
            rows.insert(name.clone(), row).is_none(),
            "{name} is there twice"
        );
    }
    rows
}

/// Returns the unit that a path belongs to: `abstractions::NAME`, a folder of policy, or a file of
/// the machinery.
fn unit(path: &[String]) -> Option<String> {
    match path.first()?.as_str() {
        "abstractions" => (path.len() > 1).then(|| path[..2].join("::")),
        "decisions" | "bindings" => None,
        first => Some(first.to_owned()),
    }
}

/// Returns what each abstraction imports of the others, and who else imports it.
fn found() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let files: Vec<_> = ["src", "heaps", "procfs"]
        .into_iter()
        .flat_map(rust_files_below)
        .collect();
    let name = |unit: &str| unit.strip_prefix("abstractions::").map(str::to_owned);
    let edges = imports(&files, unit);
    let mut found: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for (from, to) in &edges {
        let from_name = name(from);
        if let Some(from) = &from_name {
            found.entry(from.clone()).or_default();
        }
        for to in to.iter().filter_map(|to| name(to)) {
            match &from_name {
                Some(from) => found.entry(from.clone()).or_default().0.insert(to),
                None => found.entry(to).or_default().1.insert(from.clone()),
            };
        }
    }
    found
}

/// Returns whether each name of a path is there as a whole word.
fn has_name(sources: &str, path: &str) -> bool {
    path.split("::").all(|name| {
        sources
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == name)
    })
}

#[test]
fn a_part_of_a_word_is_no_name() {
    assert!(has_name("fn map_pages(", "map_pages"));
    assert!(!has_name("fn map_pages(", "map"));
    assert!(has_name("impl Pool { fn take() }", "Pool::take"));
}

#[test]
fn each_abstraction_is_described() {
    let page = fs::read_to_string(project().join(PAGE)).unwrap();
    let rows = rows(&page);
    let files = rust_files_below("src/abstractions");
    let found = found();
    assert!(found.len() > 40, "only {} are found", found.len());
    let names = |list: Vec<&String>| list.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(
        names(rows.keys().collect()),
        names(found.keys().collect()),
        "{PAGE}"
    );
    for (name, (needs, users)) in &found {
        let row = &rows[name];
        assert_eq!(&row.needs, needs, "{PAGE}: what {name} needs");
        assert_eq!(&row.users, users, "{PAGE}: who uses {name}");
        let prefixes = ["/", "."].map(|end| format!("src/abstractions/{name}{end}"));
        let sources: String = files
            .iter()
            .filter(|(file, _)| prefixes.iter().any(|prefix| file.starts_with(prefix)))
            .map(|(_, text)| text.as_str())
            .collect();
        for item in &row.interface {
            let item = item.trim_end_matches(['(', ')', '!']);
            assert!(has_name(&sources, item), "{PAGE}: {name} has no {item}");
        }
    }
}
