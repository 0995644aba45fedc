// SPDX-License-Identifier: GPL-2.0

//! Checks the kernel's style where no formatter does: the width of lines, and the layout of imports
//! in `Documentation/rust/coding-guidelines.rst`.

mod common;

use std::{
    fs,
    path::Path, //
};

use common::{
    files_below,
    project, //
};

/// The maximum width of a line in columns.
const MAX_COLUMNS: usize = 100;

/// Returns the width of a line. A tab extends to the next multiple of 8 columns.
fn columns(line: &str) -> usize {
    line.chars().fold(0, |column, character| match character {
        '\t' => column + 8 - column % 8,
        _ => column + 1,
    })
}

/// Returns whether `file` is source code, as opposed to prose, data and generated files.
fn is_code(file: &Path, text: &str) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    matches!(&*extension, "rs" | "c" | "h" | "sh" | "py" | "awk")
        || matches!(&*name, "Makefile" | "Kbuild")
        || text.starts_with("#!")
}

/// Returns the path, relative to the root, and the text of each source file.
fn source_files() -> Vec<(String, String)> {
    let root = project();
    let files: Vec<_> = files_below(&root)
        .into_iter()
        .filter_map(|file| {
            let text = fs::read_to_string(&file).ok()?;
            let name = file.strip_prefix(&root).unwrap().to_str()?.to_owned();
            is_code(&file, &text).then_some((name, text))
        })
        .collect();
    assert!(files.len() > 200, "only {} files found", files.len());
    files
}

#[test]
fn lines_fit_in_100_columns() {
    let mut long = Vec::new();
    for (file, text) in source_files() {
        for (index, line) in text.lines().enumerate() {
            if columns(line) > MAX_COLUMNS {
                long.push(format!("{file}:{}: {} columns", index + 1, columns(line)));
            }
        }
    }
    assert!(
        long.is_empty(),
        "{} lines are longer than {MAX_COLUMNS} columns:\n{}",
        long.len(),
        long.join("\n")
    );
}

/// Returns the line numbers at which a brace group of a `use` violates the layout: one item per
/// line, and a trailing ` //` behind the last one, which stops rustfmt from joining the lines.
fn condensed_imports(source: &str) -> Vec<usize> {
    let mut violations = Vec::new();
    let mut in_use = false;
    let mut previous = "";
    for (index, line) in source.lines().enumerate() {
        let code = line.trim_start();
        let code = code.strip_prefix("pub ").unwrap_or(code);
        let code = match code.strip_prefix("pub(") {
            Some(rest) => rest.split_once(") ").map_or(code, |(_, rest)| rest),
            None => code,
        };
        if code.starts_with("use ") {
            in_use = true;
            // An item on the line of the opening brace.
            if code
                .split_once('{')
                .is_some_and(|(_, rest)| !rest.is_empty())
            {
                violations.push(index + 1);
            }
        } else if in_use && code.starts_with('}') && !previous.ends_with("//") {
            violations.push(index + 1);
        }
        if code
            .split("//")
            .next()
            .is_some_and(|code| code.trim_end().ends_with(';'))
        {
            in_use = false;
        }
        previous = line.trim_end();
    }
    violations
}

#[test]
fn imports_are_vertical() {
    let mut violations = Vec::new();
    for (file, text) in source_files() {
        if file.ends_with(".rs") {
            let lines = condensed_imports(&text);
            violations.extend(lines.iter().map(|line| format!("{file}:{line}")));
        }
    }
    assert!(
        violations.is_empty(),
        "imports are condensed, put one item on each line:\n{}",
        violations.join("\n")
    );
}

#[test]
fn violations_are_found() {
    assert_eq!(columns("\ta"), 9);
    assert_eq!(columns("1234567\ta"), 9);
    assert_eq!(condensed_imports("use a::{b, c};"), [1]);
    assert_eq!(condensed_imports("pub(crate) use a::{b, c};"), [1]);
    assert_eq!(condensed_imports("use a::{\n    b,\n    c,\n};"), [4]);
    assert_eq!(
        condensed_imports("use a::{\n    b::{\n        c,\n    }, //\n};"),
        [4]
    );
    assert_eq!(
        condensed_imports("use a::{\n    b,\n    c, //\n};\nfn f() {\n}\n"),
        []
    );
    assert_eq!(condensed_imports("use a::b;\nfn f() {\n}\n"), []);
}
