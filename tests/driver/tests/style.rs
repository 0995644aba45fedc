// SPDX-License-Identifier: GPL-2.0

//! The kernel's style, as far as no formatter checks it: the width of lines, and the layout of imports that
//! `Documentation/rust/coding-guidelines.rst` asks for.

mod common;

use std::{
    fs,
    path::Path, //
};

use common::{
    files_below,
    project, //
};

/// The longest line, in columns; a tab takes the columns up to the next multiple of 8.
const COLUMNS: usize = 100;

fn columns(line: &str) -> usize {
    line.chars().fold(0, |column, character| match character {
        '\t' => column + 8 - column % 8,
        _ => column + 1,
    })
}

/// Whether `file` is source code: not prose, not data, not generated.
fn is_code(file: &Path, text: &str) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    matches!(&*extension, "rs" | "c" | "h" | "sh" | "py" | "awk")
        || matches!(&*name, "Makefile" | "Kbuild")
        || text.starts_with("#!")
}

/// The project's code: each file by its path from the root, with its text.
fn code() -> Vec<(String, String)> {
    let root = project();
    let files: Vec<_> = files_below(&root)
        .into_iter()
        .filter_map(|file| {
            let text = fs::read_to_string(&file).ok()?;
            let name = file.strip_prefix(&root).unwrap().to_str()?.to_owned();
            is_code(&file, &text).then_some((name, text))
        })
        .collect();
    assert!(files.len() > 200, "only {} files were found", files.len());
    files
}

#[test]
fn lines_fit_in_100_columns() {
    let mut long = Vec::new();
    for (file, text) in code() {
        for (index, line) in text.lines().enumerate() {
            if columns(line) > COLUMNS {
                long.push(format!("{file}:{}: {} columns", index + 1, columns(line)));
            }
        }
    }
    assert!(
        long.is_empty(),
        "{} lines are too long:\n{}",
        long.len(),
        long.join("\n")
    );
}

/// The lines of `source` that end a brace group of a `use` and do not follow the layout: one item per line, and ` //` behind
/// the last one, which has rustfmt keep it so.
fn condensed_imports(source: &str) -> Vec<usize> {
    let mut wrong = Vec::new();
    let mut inside = false;
    let mut before = "";
    for (index, line) in source.lines().enumerate() {
        let code = line.trim_start();
        let code = code.strip_prefix("pub ").unwrap_or(code);
        let code = match code.strip_prefix("pub(") {
            Some(rest) => rest.split_once(") ").map_or(code, |(_, rest)| rest),
            None => code,
        };
        if code.starts_with("use ") {
            inside = true;
            // Opened and closed on one line, or filled behind the brace.
            if code
                .split_once('{')
                .is_some_and(|(_, rest)| !rest.is_empty())
            {
                wrong.push(index + 1);
            }
        } else if inside && code.starts_with('}') && !before.ends_with("//") {
            wrong.push(index + 1);
        }
        if code
            .split("//")
            .next()
            .is_some_and(|code| code.trim_end().ends_with(';'))
        {
            inside = false;
        }
        before = line.trim_end();
    }
    wrong
}

#[test]
fn imports_are_vertical() {
    let mut wrong = Vec::new();
    for (file, text) in code() {
        if file.ends_with(".rs") {
            let lines = condensed_imports(&text);
            wrong.extend(lines.iter().map(|line| format!("{file}:{line}")));
        }
    }
    assert!(
        wrong.is_empty(),
        "imports are not vertical:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn what_is_wrong_is_seen() {
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
