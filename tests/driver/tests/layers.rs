// SPDX-License-Identifier: GPL-2.0

//! Imports run one way: from `heaps/` and `procfs/` to `src/`, from there to `src/abstractions/`, and from there to
//! `src/decisions/`. Modules do not import each other in a circle.
//!
//! A path counts wherever it stands: in a `use`, in an expression, in the arguments of a macro.

mod common;

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use common::rust_below;
use proc_macro2::{
    Delimiter,
    TokenStream,
    TokenTree, //
};

/// The part of the module that a file or a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Decisions,
    Abstractions,
    /// What bindgen creates from the kernel's headers.
    Bindings,
    Machinery,
    Heaps,
    Procfs,
    /// `src/rk_dma_heap.rs`, which puts the parts together.
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
    /// The layer of the module whose path from the crate's root is `path`.
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

    /// The layers that a file of this layer may import.
    fn may_import(self) -> &'static [Layer] {
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

/// A path, as the identifiers between its `::`.
type Path = Vec<String>;

/// All paths in `tokens` that begin with an identifier in `starts`; a group of braces gives one path for each item.
fn paths(tokens: TokenStream, starts: &[&str]) -> Vec<Path> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        match &tokens[index] {
            TokenTree::Ident(word) if starts.iter().any(|start| word == start) => {
                let after = follow(&tokens, index, Vec::new(), &mut found);
                index = after.max(index + 1);
            }
            TokenTree::Group(group) => {
                found.extend(paths(group.stream(), starts));
                index += 1;
            }
            _ => index += 1,
        }
    }
    found
}

/// Follows the path that continues at `index` behind `prefix`; returns the index behind it.
fn follow(tokens: &[TokenTree], mut index: usize, prefix: Path, found: &mut Vec<Path>) -> usize {
    let mut path = prefix;
    loop {
        match tokens.get(index) {
            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let items: Vec<TokenTree> = group.stream().into_iter().collect();
                for item in items.split(|token| is_punct(token, ',')) {
                    if !item.is_empty() {
                        follow(item, 0, path.clone(), found);
                    }
                }
                return index + 1;
            }
            // A glob, or generic arguments.
            _ => {
                found.push(path);
                return index;
            }
        }
        index += 1;
        let colons = [index, index + 1].map(|at| tokens.get(at));
        if !colons
            .iter()
            .all(|token| token.is_some_and(|token| is_punct(token, ':')))
        {
            found.push(path);
            return index;
        }
        index += 2;
    }
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// The path of the module that is in `file`.
fn module_of(file: &str) -> Path {
    let below = file.strip_prefix("src/").unwrap_or(file);
    let path = below.strip_suffix(".rs").unwrap_or(below);
    let mut path: Path = path.split('/').map(str::to_owned).collect();
    if path
        .last()
        .is_some_and(|last| last == "mod" || last == "rk_dma_heap" || last == "main")
    {
        path.pop();
    }
    path
}

/// The modules and items of the crate that `source`, in the module `module`, names: as paths from the crate's root.
fn named_by(module: &[String], source: &str) -> Vec<Path> {
    let tokens: TokenStream = source.parse().expect("Rust that does not parse");
    let mut named = Vec::new();
    for path in paths(tokens, &["crate", "super"]) {
        let ups = path.iter().take_while(|word| *word == "super").count();
        let base = match ups {
            0 => &[],
            // In a module inside the file this names an ancestor of what is meant, which is in the same layer.
            _ => &module[..module.len().saturating_sub(ups)],
        };
        let skip = ups.max(1);
        let resolved: Path = base.iter().chain(&path[skip..]).cloned().collect();
        if resolved.len() > base.len() {
            named.push(resolved);
        }
    }
    named
}

/// What is wrong with the imports of `source`, in `file`.
fn violations(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    let layer = Layer::of(&module);
    let mut wrong = Vec::new();
    for path in named_by(&module, source) {
        let other = Layer::of(&path);
        if !layer.may_import().contains(&other) {
            wrong.push(format!(
                "{file} ({layer:?}) imports {} ({other:?})",
                path.join("::")
            ));
        }
    }
    if matches!(layer, Heaps | Procfs) {
        let tokens: TokenStream = source.parse().expect("Rust that does not parse");
        for path in paths(tokens, &["kernel"]) {
            if path.iter().any(|word| word == "bindings" || word == "ffi") {
                wrong.push(format!(
                    "{file} reaches the kernel through {}",
                    path.join("::")
                ));
            }
        }
    }
    wrong
}

/// All files of the module.
fn module_files() -> Vec<(String, String)> {
    let files: Vec<_> = ["src", "heaps", "procfs"]
        .into_iter()
        .flat_map(rust_below)
        .collect();
    assert!(files.len() > 60, "only {} files were found", files.len());
    files
}

#[test]
fn imports_follow_the_arrows() {
    let wrong: Vec<_> = module_files()
        .iter()
        .flat_map(|(file, source)| violations(file, source))
        .collect();
    assert!(
        wrong.is_empty(),
        "imports against the layers:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn each_arrow_is_seen() {
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

/// For each unit of `files` the units that it imports. A unit is what `unit` makes of a module's path.
fn imports(
    files: &[(String, String)],
    unit: impl Fn(&[String]) -> Option<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let known: BTreeSet<String> = files
        .iter()
        .filter_map(|(file, _)| unit(&module_of(file)))
        .collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, source) in files {
        let module = module_of(file);
        let Some(from) = unit(&module) else { continue };
        let named = named_by(&module, source);
        let to = named.iter().filter_map(|path| unit(path));
        let to = to.filter(|to| *to != from && known.contains(to));
        edges.entry(from.clone()).or_default().extend(to);
    }
    edges
}

/// A circle of imports, if there is one.
fn circle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        at: &String,
        edges: &BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> bool {
        if let Some(first) = way.iter().position(|other| other == at) {
            way.drain(..first);
            way.push(at.clone());
            return true;
        }
        if done.contains(at) {
            return false;
        }
        way.push(at.clone());
        for next in edges.get(at).into_iter().flatten() {
            if walk(next, edges, way, done) {
                return true;
            }
        }
        way.pop();
        done.insert(at.clone());
        false
    }
    let (mut way, mut done) = (Vec::new(), BTreeSet::new());
    edges
        .keys()
        .any(|start| walk(start, edges, &mut way, &mut done))
        .then_some(way)
}

#[test]
fn circles_are_seen() {
    let edges = |list: &[(&str, &[&str])]| {
        let set = |to: &&[&str]| to.iter().map(|&to| to.to_owned()).collect();
        list.iter()
            .map(|(from, to)| ((*from).to_owned(), set(to)))
            .collect()
    };
    let none = edges(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
    assert_eq!(circle(&none), None);
    let one = edges(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
    assert_eq!(
        circle(&one).map(|way| way.join(" ")),
        Some("b c b".to_owned())
    );
}

#[test]
fn modules_of_the_kernel_module_form_no_circle() {
    let unit = |path: &[String]| match Layer::of(path) {
        Root => None,
        Abstractions | Decisions => (path.len() > 1).then(|| path[..2].join("::")),
        _ => Some(path[0].clone()),
    };
    assert_eq!(circle(&imports(&module_files(), unit)), None);
}

#[test]
fn modules_of_rkheap_form_no_circle() {
    let mut files = rust_below("rkheap/src");
    for (file, _) in &mut files {
        *file = file.replacen("rkheap/src/", "", 1);
    }
    let known: BTreeSet<Path> = files.iter().map(|(file, _)| module_of(file)).collect();
    // The longest path that is a file; what a parent itself has is not its children's.
    let unit = |path: &[String]| {
        (1..=path.len())
            .rev()
            .map(|len| &path[..len])
            .find(|path| known.contains(*path))
            .map(|path| path.join("::"))
    };
    assert!(files.len() > 20, "only {} files were found", files.len());
    assert_eq!(circle(&imports(&files, unit)), None);
}
