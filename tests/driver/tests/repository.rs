// SPDX-License-Identifier: GPL-2.0

//! Rules that the sources keep.

mod common;

use std::{
    fs,
    path::Path, //
};

use common::{
    files_below,
    project,
    rust_below, //
};
use proc_macro2::{
    TokenStream,
    TokenTree, //
};

fn holds_unsafe(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "unsafe",
        TokenTree::Group(group) => holds_unsafe(group.stream()),
        _ => false,
    })
}

fn source_holds_unsafe(source: &str) -> bool {
    holds_unsafe(source.parse().expect("Rust that does not parse"))
}

#[test]
fn unsafe_is_found_in_code_only() {
    assert!(source_holds_unsafe(
        "fn f() { g!(if a { unsafe { b() } }) }"
    ));
    assert!(source_holds_unsafe("unsafe impl Send for A {}"));
    assert!(!source_holds_unsafe("// unsafe\nfn f() { \"unsafe\"; }"));
}

#[test]
fn heaps_and_nodes_hold_no_unsafe() {
    let mut checked = 0;
    for (file, source) in ["heaps", "procfs"].into_iter().flat_map(rust_below) {
        assert!(!source_holds_unsafe(&source), "{file} holds unsafe");
        checked += 1;
    }
    assert!(checked > 0, "no source was checked");
}

/// Whether a file's licence is told in its own first lines.
fn must_name_licence(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    // Generated, or prose.
    if name == "Cargo.lock" || extension == "md" || extension == "tsv" {
        return false;
    }
    matches!(
        &*extension,
        "rs" | "c" | "h" | "toml" | "sh" | "dts" | "dtso" | "dtsi" | "yaml" | "py"
    ) || matches!(&*name, "Makefile" | "Kbuild")
        || fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"#!"))
}

#[test]
fn every_source_names_its_licence() {
    let mut checked = 0;
    for file in files_below(&project())
        .iter()
        .filter(|file| must_name_licence(file))
    {
        let text = fs::read_to_string(file).unwrap();
        let named = text
            .lines()
            .take(2)
            .any(|line| line.contains("SPDX-License-Identifier: GPL-2.0"));
        assert!(
            named,
            "{} does not name its licence in its first two lines",
            file.display()
        );
        checked += 1;
    }
    assert!(checked > 20, "only {checked} sources were found");
}
