// SPDX-License-Identifier: GPL-2.0

//! Checks that `qemu/check-prose` finds what it is for: its own checkers are packages that could be
//! without their dictionaries, or be called in a way that makes them find nothing.

mod common;

use std::fs;
use std::process::Command;

use common::project;

/// Returns whether the check of these files passes, and what it prints without their folder.
fn check(files: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("qemu/check-prose");
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        command.arg(file);
    }
    let output = command.current_dir(project()).output().unwrap();
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let folder = format!("{}/", folder.path().display());
    (output.status.success(), printed.replace(&folder, ""))
}

#[test]
fn misspelled_words_are_found_in_documents_and_comments() {
    // In two parts, since this file is checked too.
    let word = ["reci", "eved"].concat();
    let text = &*format!("# a line\n# that is {word}\n");
    let names = ["page.md", "source.rs", "script"];
    let (passes, printed) = check(&names.map(|name| (name, text)));
    assert!(!passes, "{printed}");
    for name in names {
        let finding = format!("{name}:2: {word} ==> received\n");
        assert!(printed.contains(&finding), "{finding} in: {printed}");
    }
    assert!(printed.contains("add it to qemu/prose/words"), "{printed}");
}

#[test]
fn allowed_words_and_code_pass() {
    let document = "# Heaps\n\nA `crate` is a crate, and mut is mut. See [the page](other.md).\n\n\
                    \x20   in order to build, make make\n\n\
                    | a | a |\n| --- | --- |\n| `b` `b` | its |\n";
    let source = "// Only documents are prose, in order to be read, read aloud.\n";
    let files = [("page.md", document), ("source.rs", source)];
    assert_eq!(check(&files), (true, String::new()));
}

#[test]
fn poor_style_is_found_at_its_line() {
    let long = format!("Each {}word.", "long and longer ".repeat(15));
    let (passes, printed) = check(&[
        ("wordy.md", "\nIt frees pages in order to help."),
        ("double.md", "A buffer that\nthat is left."),
        ("idiom.md", "So nobody is killed then."),
        ("long.md", &long),
    ]);
    assert!(!passes, "{printed}");
    for (place, finding) in [
        ("wordy.md:2.", "[in order to -> "),
        ("double.md:1:", "[that -> once"),
        ("idiom.md:1.", "[nobody is killed -> "),
        ("long.md:1.", "[-> at most 45 words]"),
    ] {
        let line = printed.lines().find(|line| line.starts_with(place));
        let line = line.unwrap_or_else(|| panic!("{place} in: {printed}"));
        assert!(line.contains(finding), "{finding} in: {line}");
    }
}
