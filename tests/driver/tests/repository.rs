// SPDX-License-Identifier: GPL-2.0

//! Checks the rules for sources: no `unsafe` in policy code, and a licence in each file.

mod common;

use std::{
    fs,
    path::Path, //
};

use common::{
    files_below,
    project,
    rust_files_below, //
};
use proc_macro2::{
    TokenStream,
    TokenTree, //
};

/// Returns whether `unsafe` occurs as a token.
fn contains_unsafe(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "unsafe",
        TokenTree::Group(group) => contains_unsafe(group.stream()),
        _ => false,
    })
}

fn source_contains_unsafe(source: &str) -> bool {
    contains_unsafe(source.parse().expect("source does not parse as Rust"))
}

#[test]
fn unsafe_is_found_only_in_code() {
    assert!(source_contains_unsafe(
        "fn f() { g!(if a { unsafe { b() } }) }"
    ));
    assert!(source_contains_unsafe("unsafe impl Send for A {}"));
    assert!(!source_contains_unsafe("// unsafe\nfn f() { \"unsafe\"; }"));
}

#[test]
fn heaps_and_procfs_contain_no_unsafe() {
    let mut checked = 0;
    for (file, source) in ["heaps", "procfs"].into_iter().flat_map(rust_files_below) {
        assert!(!source_contains_unsafe(&source), "{file} contains unsafe");
        checked += 1;
    }
    assert!(checked > 0, "no source found");
}

/// Returns the tokens of a source, separated by spaces, without groups' delimiters.
fn flat(tokens: TokenStream) -> String {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Group(group) => flat(group.stream()),
            other => format!("{other} "),
        })
        .collect()
}

/// Returns a place at which a function pointer gets another type than C calls it with, or may get
/// one: kernels with kCFI stop there. Tables of functions are those of the bindings, and a function
/// for a tracepoint passes through a helper in C.
fn retyped_function(source: &str) -> Option<&'static str> {
    let tokens = flat(source.parse().expect("source does not parse as Rust"));
    [
        "transmute ",
        "as * mut c_void ",
        "as * const c_void ",
        ": extern \"C\" fn ",
        ": unsafe extern \"C\" fn ",
        ": Option < unsafe extern \"C\" fn ",
    ]
    .into_iter()
    .find(|place| tokens.contains(place))
}

#[test]
fn retyped_functions_are_found() {
    for wrong in [
        "struct A { show: unsafe extern \"C\" fn(*mut B) -> isize }",
        "fn f() { unsafe { transmute::<NonNull<c_void>, F>(found) } }",
        "fn f() { register(name, exported::<O> as *mut c_void) }",
    ] {
        assert!(retyped_function(wrong).is_some(), "{wrong}");
    }
    let right = "// transmute\nunsafe extern \"C\" fn f(a: *mut c_void) { g(Some(f)) }";
    assert_eq!(retyped_function(right), None);
}

#[test]
fn functions_keep_their_types() {
    for (file, source) in rust_files_below("src") {
        assert_eq!(retyped_function(&source), None, "{file}");
    }
}

/// Returns whether a file must name its licence in its first lines.
fn must_name_licence(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    // Generated files, data and prose.
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
        let names_licence = text
            .lines()
            .take(2)
            .any(|line| line.contains("SPDX-License-Identifier: GPL-2.0"));
        assert!(
            names_licence,
            "{} has no SPDX-License-Identifier in its first two lines",
            file.display()
        );
        checked += 1;
    }
    assert!(checked > 20, "only {checked} sources found");
}
