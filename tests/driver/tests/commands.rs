// SPDX-License-Identifier: GPL-2.0

//! Checks that each command in the documents is run by a test, or is marked as one that no test can
//! run: `tests/driver/tests/commands.list` says which.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::project;

const LIST: &str = "tests/driver/tests/commands.list";

/// Pages that programs write: their blocks are tables.
const GENERATED: &[&str] = &[
    "docs/bench.md",
    "docs/profile.md",
    "docs/locks.md",
    "docs/compatibility.md",
];

const WHAT_TO_DO: &str = "a command in a document is in tests/driver/tests/commands.list, under \
                          the test that runs it or under the reason why none can: add it there, \
                          and remove those that no document has";

/// What stands before a command in a block that also has its output.
const PROMPTS: &[&str] = &["$ ", "board$ ", "pc$ ", "# "];

/// Returns the blocks of code of a document, each with the number of its first line.
fn blocks(document: &str) -> Vec<(usize, Vec<&str>)> {
    let mut blocks: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut in_fence = false;
    let mut in_block = false;
    let mut is_after_empty = true;
    for (index, line) in document.lines().enumerate() {
        let number = index + 1;
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
            in_block = false;
            if in_fence {
                blocks.push((number + 1, Vec::new()));
            }
        } else if in_fence {
            blocks.last_mut().unwrap().1.push(line);
        } else if line.trim().is_empty() {
            is_after_empty = true;
            continue;
        } else if let Some(code) = line.strip_prefix("    ") {
            if in_block {
                blocks.last_mut().unwrap().1.push(code);
            } else if is_after_empty {
                blocks.push((number, vec![code]));
                in_block = true;
            }
        } else {
            in_block = false;
        }
        is_after_empty = false;
    }
    blocks.retain(|(_, lines)| !lines.is_empty());
    blocks
}

/// Returns a line without the comment behind it.
fn without_comment(line: &str) -> &str {
    line.split("  #").next().unwrap_or(line).trim()
}

/// Returns the commands in a block: those behind a prompt if the block has prompts, else all lines.
/// A backslash at the end of a line joins it with the next one.
fn commands(lines: &[&str]) -> Vec<String> {
    let prompt = PROMPTS.iter().find(|prompt| lines[0].starts_with(**prompt));
    let prompts = match prompt {
        None => &[""],
        Some(&"# ") => &["# "],
        Some(_) => &PROMPTS[..3],
    };
    let mut commands = Vec::new();
    let mut goes_on = false;
    for line in lines {
        let behind = prompts.iter().find_map(|prompt| line.strip_prefix(prompt));
        if goes_on {
            let last: &mut String = commands.last_mut().unwrap();
            last.pop();
            last.push_str(without_comment(line));
        } else if let Some(command) = behind {
            commands.push(without_comment(command).to_owned());
        } else {
            continue;
        }
        goes_on = commands.last().is_some_and(|last| last.ends_with('\\'));
    }
    commands
}

/// What the list says of commands.
enum Reference {
    /// A test that runs them: its file, and a text in it.
    Test(String, String),
    /// The reason why no test runs them.
    ByHand,
    /// The block that begins so has no commands.
    NoCommands,
}

/// Returns whether a reference is to something that exists, and the reason is given.
fn parse(heading: &str) -> Option<Reference> {
    let (kind, rest) = heading.split_once(": ")?;
    match kind {
        "run by" => {
            let (file, text) = rest.split_once(", ")?;
            Some(Reference::Test(file.to_owned(), text.to_owned()))
        }
        "by hand" => Some(Reference::ByHand),
        "no commands" => Some(Reference::NoCommands),
        _ => None,
    }
}

/// Returns each command of the list with the heading above it.
fn parse_list(list: &str) -> BTreeMap<String, &str> {
    let mut listed = BTreeMap::new();
    let mut heading = "";
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        if let Some(command) = line.strip_prefix('\t') {
            let twice = listed.insert(command.to_owned(), heading);
            assert!(twice.is_none(), "{LIST} has this twice: {command}");
        } else if !line.is_empty() {
            heading = line;
        }
    }
    listed
}

/// Returns the paths of README.md and of all pages of docs/.
fn documents() -> Vec<String> {
    let mut documents = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for folder in ["docs", "docs/boards"] {
        for entry in fs::read_dir(project().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|end| end == "md") {
                documents.push(format!("{folder}/{name}"));
            }
        }
    }
    documents.retain(|document| !GENERATED.contains(&&**document));
    assert!(documents.len() > 12, "{documents:?}");
    documents
}

/// Returns the commands that the list lacks, and removes those that it has from `unused`.
fn unknown(
    name: &str,
    document: &str,
    listed: &BTreeMap<String, &str>,
    unused: &mut BTreeMap<String, &str>,
) -> Vec<String> {
    let mut unknown = Vec::new();
    for (line, lines) in blocks(document) {
        let first = lines[0].trim();
        if listed
            .get(first)
            .is_some_and(|heading| heading.starts_with("no commands: "))
        {
            unused.remove(first);
            continue;
        }
        for command in commands(&lines) {
            unused.remove(&command);
            if !listed.contains_key(&command) {
                unknown.push(format!("{name}:{line}: {command}"));
            }
        }
    }
    unknown
}

#[test]
fn each_command_is_run_by_a_test_or_marked() {
    let list = fs::read_to_string(project().join(LIST)).unwrap();
    let listed = parse_list(&list);
    let mut unused = listed.clone();
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(project().join(&document)).unwrap();
        wrong.extend(unknown(&document, &text, &listed, &mut unused));
    }
    wrong.extend(
        unused
            .keys()
            .map(|command| format!("in no document: {command}")),
    );
    assert!(wrong.is_empty(), "{WHAT_TO_DO}:\n{}", wrong.join("\n"));
    assert!(listed.len() > 60, "{} commands found", listed.len());
}

#[test]
fn the_tests_that_run_commands_exist() {
    let list = fs::read_to_string(project().join(LIST)).unwrap();
    let listed = parse_list(&list);
    for heading in listed.values() {
        match parse(heading) {
            Some(Reference::Test(file, text)) => {
                let test = fs::read_to_string(project().join(&file));
                let test = test.unwrap_or_else(|error| panic!("{LIST}: {file}: {error}"));
                assert!(
                    test.contains(&text),
                    "{LIST}: {file} does not have {text:?}"
                );
            }
            Some(Reference::ByHand | Reference::NoCommands) => {}
            None => panic!("{LIST}: this is no heading: {heading:?}"),
        }
    }
}

#[test]
fn commands_are_found_in_blocks() {
    let document =
        "Text:\n\n    make a     # a comment\n    make b \\\n        C=1\n\n    make c\n\
                    \n- item\n    goes on\n\n    $ make d\n    # output\n    board$ make e\n\n\
                    ```sh\nmake f\n```\n\n    # make g\n    output\n";
    let found: Vec<_> = blocks(document)
        .iter()
        .map(|(line, lines)| (*line, commands(lines).join("; ")))
        .collect();
    let expected = [
        (3, "make a; make b C=1; make c"),
        (12, "make d; make e"),
        (17, "make f"),
        (20, "make g"),
    ]
    .map(|(line, commands)| (line, commands.to_owned()));
    assert_eq!(found, expected);
}

#[test]
fn commands_that_are_not_listed_are_reported() {
    let listed =
        parse_list("# a list\nby hand: a board\n\tmake a\n\tmake b\nno commands: C\n\tint i;\n");
    let mut unused = listed.clone();
    let document = "\n    make a\n    make c\n\n.\n\n    int i;\n    int j;\n";
    let found = unknown("page.md", document, &listed, &mut unused);
    assert_eq!(found, ["page.md:2: make c"]);
    assert_eq!(unused.keys().collect::<Vec<_>>(), ["make b"]);
    assert!(parse("run by: a file without a text").is_none());
}
