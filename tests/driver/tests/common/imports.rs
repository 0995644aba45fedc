// SPDX-License-Identifier: GPL-2.0

//! The paths that Rust sources name.

use std::collections::{
    BTreeMap,
    BTreeSet, //
};

use proc_macro2::{
    Delimiter,
    TokenStream,
    TokenTree, //
};

/// A Rust path, split at `::`.
pub type Path = Vec<String>;

/// Returns all paths in `tokens` that begin with one of the identifiers `starts`. A brace group
/// gives one path for each item.
pub fn paths(tokens: TokenStream, starts: &[&str]) -> Vec<Path> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        match &tokens[index] {
            TokenTree::Ident(word) if starts.iter().any(|start| word == start) => {
                let after = parse_path(&tokens, index, Vec::new(), &mut found);
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

/// Parses the path that continues `prefix` at `index`, adds it to `found`, and returns the index
/// behind it.
fn parse_path(
    tokens: &[TokenTree],
    mut index: usize,
    prefix: Path,
    found: &mut Vec<Path>,
) -> usize {
    let mut path = prefix;
    loop {
        match tokens.get(index) {
            Some(TokenTree::Ident(word)) => path.push(word.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let items: Vec<TokenTree> = group.stream().into_iter().collect();
                for item in items.split(|token| is_punct(token, ',')) {
                    if !item.is_empty() {
                        parse_path(item, 0, path.clone(), found);
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

/// Returns the path of the module that `file` contains.
pub fn module_of(file: &str) -> Path {
    let relative = file.strip_prefix("src/").unwrap_or(file);
    let path = relative.strip_suffix(".rs").unwrap_or(relative);
    let mut path: Path = path.split('/').map(str::to_owned).collect();
    if path
        .last()
        .is_some_and(|last| last == "mod" || last == "rk_dma_heap" || last == "main")
    {
        path.pop();
    }
    path
}

/// Returns the paths, from the crate's root, of the crate's modules and items that `source` names.
/// `module` is the module that contains `source`.
pub fn imported_paths(module: &[String], source: &str) -> Vec<Path> {
    let tokens: TokenStream = source.parse().expect("source does not parse as Rust");
    let mut imported = Vec::new();
    for path in paths(tokens, &["crate", "super"]) {
        let supers = path.iter().take_while(|word| *word == "super").count();
        let base = match supers {
            0 => &[],
            // For an inline module this yields an ancestor of the real path, which is in the same
            // layer.
            _ => &module[..module.len().saturating_sub(supers)],
        };
        let skip = supers.max(1);
        let resolved: Path = base.iter().chain(&path[skip..]).cloned().collect();
        if resolved.len() > base.len() {
            imported.push(resolved);
        }
    }
    imported
}

/// Returns, for each unit in `files`, the units that it imports. `unit` maps a module's path to its
/// unit.
pub fn imports(
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
        let imported = imported_paths(&module, source);
        let to = imported.iter().filter_map(|path| unit(path));
        let to = to.filter(|to| *to != from && known.contains(to));
        edges.entry(from.clone()).or_default().extend(to);
    }
    edges
}
