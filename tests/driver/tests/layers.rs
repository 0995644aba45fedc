// SPDX-License-Identifier: GPL-2.0

//! Checks the direction of imports. `heaps/` and `procfs/` may import `src/`, which may import
//! `src/abstractions/`, which may import `src/decisions/`. Imports of modules must form no cycle.
//!
//! Every path counts as an import: in a `use`, in an expression, in the arguments of a macro.

mod common;

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use common::{
    imports::{
        imported_paths,
        imports,
        module_of,
        paths,
        Path, //
    },
    rust_files_below, //
};
use proc_macro2::TokenStream;

/// The layer that a file or a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Decisions,
    Abstractions,
    /// The output of bindgen for the kernel's headers.
    Bindings,
    Machinery,
    Heaps,
    Procfs,
    /// `src/rk_dma_heap.rs`, which may use all layers.
    Root,
}

use Layer::{
    Abstractions,
    Bindings,
    Decisions,
    Heaps,
    Machinery,
    Procfs,
    Root, //
};

impl Layer {
    /// Returns the layer of a module. `path` starts at the crate's root.
    fn of(path: &[String]) -> Self {
        match path.first().map(String::as_str) {
            None => Root,
            Some("decisions") => Decisions,
            Some("abstractions") => Abstractions,
            Some("bindings") => Bindings,
            Some("heaps") => Heaps,
            Some("procfs") => Procfs,
            Some(_) => Machinery,
        }
    }

    /// Returns the layers that a file of this layer may import.
    fn allowed_imports(self) -> &'static [Layer] {
        match self {
            Decisions => &[Decisions],
            Bindings => &[Bindings],
            Abstractions => &[Abstractions, Decisions, Bindings],
            Machinery => &[Machinery, Abstractions, Decisions, Bindings],
            Heaps => &[Heaps, Machinery, Abstractions, Decisions],
            Procfs => &[Procfs, Machinery, Abstractions, Decisions],
            Root => &[
                Root,
                Heaps,
                Procfs,
                Machinery,
                Abstractions,
                Decisions,
                Bindings,
            ],
        }
    }
}

/// Describes the imports of `source`, the text of `file`, that are not allowed.
fn violations(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    let layer = Layer::of(&module);
    let mut violations = Vec::new();
    for path in imported_paths(&module, source) {
        let other = Layer::of(&path);
        if !layer.allowed_imports().contains(&other) {
            violations.push(format!(
                "{file} ({layer:?}) imports {} ({other:?})",
                path.join("::")
            ));
        }
    }
    if matches!(layer, Heaps | Procfs) {
        let tokens: TokenStream = source.parse().expect("source does not parse as Rust");
        for path in paths(tokens, &["kernel"]) {
            if path.iter().any(|word| word == "bindings" || word == "ffi") {
                violations.push(format!(
                    "{file} imports {}: policy must use an abstraction",
                    path.join("::")
                ));
            }
        }
    }
    violations
}

/// Returns the path and the text of each file of the kernel module.
fn module_files() -> Vec<(String, String)> {
    let files: Vec<_> = ["src", "heaps", "procfs"]
        .into_iter()
        .flat_map(rust_files_below)
        .collect();
    assert!(files.len() > 60, "only {} files found", files.len());
    files
}

#[test]
fn imports_follow_the_layers() {
    let violations: Vec<_> = module_files()
        .iter()
        .flat_map(|(file, source)| violations(file, source))
        .collect();
    assert!(
        violations.is_empty(),
        "imports against the layers:\n{}",
        violations.join("\n")
    );
}

#[test]
fn violations_are_found() {
    for (file, source) in [
        ("src/decisions/text.rs", "use crate::abstractions::pages;"),
        ("src/decisions/text.rs", "use crate::ledger::Account;"),
        ("src/decisions/text.rs", "fn f() { crate::bindings::g() }"),
        (
            "src/abstractions/cma.rs",
            "use crate::{bindings as c, ledger::Account};",
        ),
        (
            "src/abstractions/cma.rs",
            "fn f() { g!(crate::all_buffers::h()) }",
        ),
        (
            "src/abstractions/exporter/view.rs",
            "use super::super::super::all_buffers::Slot;",
        ),
        ("src/abstractions/cma.rs", "use crate::heaps::Heaps;"),
        ("src/ledger.rs", "use crate::procfs::row;"),
        ("src/page_pool/runs.rs", "use crate::heaps::cma::CmaHeap;"),
        ("heaps/cma.rs", "use crate::procfs::row;"),
        ("heaps/cma.rs", "use crate::bindings as c;"),
        ("heaps/cma.rs", "use kernel::{bindings, prelude::*};"),
        ("procfs/dev.rs", "use crate::heaps::Heaps;"),
        ("procfs/dev.rs", "fn f(x: kernel::bindings::size_t) {}"),
    ] {
        assert_eq!(violations(file, source).len(), 1, "{file}: {source}");
    }
    for (file, source) in [
        (
            "src/decisions/text.rs",
            "use crate::decisions::digits; use kernel::prelude::*;",
        ),
        (
            "src/abstractions/cma.rs",
            "use super::exporter; use crate::decisions::segment::Segment;",
        ),
        (
            "src/page_pool/runs.rs",
            "use super::ORDERS; use crate::{abstractions::pages, trace};",
        ),
        ("src/ledger.rs", "mod tests { use super::*; }"),
        (
            "heaps/cma.rs",
            "use crate::{abstractions::cma::Area, range_cache::RangeCache};",
        ),
        ("src/rk_dma_heap.rs", "use crate::{heaps, procfs, ledger};"),
    ] {
        assert_eq!(violations(file, source), Vec::<String>::new());
    }
}

/// Returns a cycle of imports, if one exists. Its first unit is also its last.
fn find_cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        node: &String,
        edges: &BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> bool {
        if let Some(first) = path.iter().position(|other| other == node) {
            path.drain(..first);
            path.push(node.clone());
            return true;
        }
        if done.contains(node) {
            return false;
        }
        path.push(node.clone());
        for next in edges.get(node).into_iter().flatten() {
            if visit(next, edges, path, done) {
                return true;
            }
        }
        path.pop();
        done.insert(node.clone());
        false
    }
    let (mut path, mut done) = (Vec::new(), BTreeSet::new());
    edges
        .keys()
        .any(|start| visit(start, edges, &mut path, &mut done))
        .then_some(path)
}

#[test]
fn cycles_are_found() {
    let edges = |list: &[(&str, &[&str])]| {
        let set = |to: &&[&str]| to.iter().map(|&to| to.to_owned()).collect();
        list.iter()
            .map(|(from, to)| ((*from).to_owned(), set(to)))
            .collect()
    };
    let none = edges(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
    assert_eq!(find_cycle(&none), None);
    let one = edges(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
    assert_eq!(
        find_cycle(&one).map(|path| path.join(" ")),
        Some("b c b".to_owned())
    );
}

#[test]
fn kernel_module_has_no_import_cycle() {
    let unit = |path: &[String]| match Layer::of(path) {
        Root => None,
        Abstractions | Decisions => (path.len() > 1).then(|| path[..2].join("::")),
        _ => Some(path[0].clone()),
    };
    assert_eq!(find_cycle(&imports(&module_files(), unit)), None);
}

#[test]
fn rkheap_has_no_import_cycle() {
    let mut files = rust_files_below("rkheap/src");
    for (file, _) in &mut files {
        *file = file.replacen("rkheap/src/", "", 1);
    }
    let known: BTreeSet<Path> = files.iter().map(|(file, _)| module_of(file)).collect();
    // The longest prefix that is a file. An item of a parent module belongs to the parent.
    let unit = |path: &[String]| {
        (1..=path.len())
            .rev()
            .map(|len| &path[..len])
            .find(|path| known.contains(*path))
            .map(|path| path.join("::"))
    };
    assert!(files.len() > 20, "only {} files found", files.len());
    assert_eq!(find_cycle(&imports(&files, unit)), None);
}
