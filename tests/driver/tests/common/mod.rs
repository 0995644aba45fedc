// SPDX-License-Identifier: GPL-2.0

//! Finds the project's files.

// Each test program uses only some of these functions.
#![allow(dead_code)]

pub mod imports;

use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    }, //
};

use walkdir::WalkDir;

/// Top-level folders without sources of this project.
const NOT_SOURCES: &[&str] = &[".git", "build", "target", "LICENSES"];

/// Returns the root folder of the project.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Returns all files below `folder`.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let kept = |name: &str| !NOT_SOURCES.contains(&name);
    WalkDir::new(folder)
        .into_iter()
        .filter_entry(|entry| entry.depth() != 1 || kept(&entry.file_name().to_string_lossy()))
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Returns the path and the text of each Rust file below `folder`, sorted. All paths are relative
/// to the project's root.
pub fn rust_files_below(folder: &str) -> Vec<(String, String)> {
    let root = project();
    let mut files: Vec<_> = files_below(&root.join(folder))
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .map(|file| {
            let name = file
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, fs::read_to_string(&file).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Returns the words in code of a cell of a table.
pub fn code(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}
