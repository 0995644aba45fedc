// SPDX-License-Identifier: GPL-2.0

//! Tests of the description for syzkaller, which no package has: that each name in it is defined
//! once and used, and that it has all nodes and headers of the project.

mod common;

use std::collections::BTreeSet;

const DESCRIPTION: &str = include_str!("../../fuzz/syzkaller/dev_rk_dma_heap.txt");

fn lines() -> impl Iterator<Item = &'static str> {
    DESCRIPTION
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// Returns all names in `text` that begin with `start`. What is between quotation marks has none.
fn names<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.split('"')
        .step_by(2)
        .flat_map(|text| text.split(|byte: char| !(byte.is_ascii_alphanumeric() || byte == '_')))
        .filter(move |name| name.starts_with(start))
}

/// Returns the name that a line defines, if it does.
fn defined(line: &str) -> Option<&str> {
    if let Some(resource) = line.strip_prefix("resource ") {
        return resource.split('[').next();
    }
    let (name, rest) = line.split_once(' ')?;
    let is_definition = rest.starts_with("= ") || rest == "{" || rest == "[";
    is_definition.then_some(name)
}

#[test]
fn each_name_is_defined_once_and_used() {
    let defined: Vec<_> = lines().filter_map(defined).collect();
    let once: BTreeSet<_> = defined.iter().copied().collect();
    assert_eq!(
        defined.len(),
        once.len(),
        "one of {defined:?} is defined twice"
    );
    let mut used = BTreeSet::new();
    for line in lines() {
        let own = self::defined(line);
        // What is behind the `$` of a call is its own name.
        let types = line.split_once('$').map_or(line, |(_, call)| {
            call.split_once('(').map_or("", |(_, arguments)| arguments)
        });
        for start in ["rk_", "fd_rk_"] {
            used.extend(names(types, start).filter(|name| Some(*name) != own));
        }
    }
    let undefined: Vec<_> = used.difference(&once).collect();
    assert!(undefined.is_empty(), "not defined: {undefined:?}");
    let unused: Vec<_> = once.difference(&used).collect();
    assert!(unused.is_empty(), "defined, but not used: {unused:?}");
}

#[test]
fn each_call_has_its_own_name_and_closed_brackets() {
    let calls: Vec<_> = lines().filter(|line| line.contains('$')).collect();
    let once: BTreeSet<_> = calls
        .iter()
        .filter_map(|call| call.split('(').next())
        .collect();
    assert_eq!(calls.len(), once.len());
    for line in calls {
        for (open, close) in [('(', ')'), ('[', ']')] {
            assert_eq!(
                line.matches(open).count(),
                line.matches(close).count(),
                "{line}"
            );
        }
    }
}

#[test]
fn it_has_all_nodes_and_ioctls() {
    let project = common::project();
    let read = |path: &str| {
        std::fs::read_to_string(project.join(path))
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let mut missing = Vec::new();
    let mut expect = |name: &str, what: &str| {
        if !DESCRIPTION.contains(name) {
            missing.push(format!("{what} {name}"));
        }
    };
    let nodes = read("procfs/mod.rs");
    let strings = || nodes.split("c\"").zip(nodes.split("c\"").skip(1));
    let is_folder = |before: &str| before.ends_with("Directory::new(");
    let folders: Vec<_> = strings()
        .filter(|(before, _)| is_folder(before))
        .filter_map(|(_, text)| text.split('"').next())
        .collect();
    for name in strings().filter_map(|(_, text)| text.split('"').next()) {
        // Whole paths are targets of links.
        if !folders.contains(&name) && !name.contains('/') {
            expect(&format!("/{name}\""), "the node");
        }
    }
    for line in read("include/uapi/linux/rk-dma-heap.h").lines() {
        if let Some(name) = line
            .strip_prefix("#define ")
            .filter(|name| name.contains("_IOCTL_"))
        {
            expect(name.split_whitespace().next().unwrap_or(name), "the ioctl");
        }
    }
    assert!(missing.is_empty(), "the description lacks {missing:?}");
}
