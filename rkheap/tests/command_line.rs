// SPDX-License-Identifier: GPL-2.0

//! Tests that need no heap: help, completions, manual pages, exit statuses, and files with
//! arbitrary content.

use proptest::prelude::*;
use std::path::Path;
use std::process::{
    Command,
    Output,
    Stdio, //
};

/// Runs `rkheap` with `arguments`.
fn rkheap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rkheap"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const COMMANDS: [&str; 9] = [
    "ls",
    "top",
    "leak",
    "snapshot",
    "peak",
    "map",
    "alloc",
    "bench",
    "completions",
];

#[test]
fn help_names_all_commands_and_exit_statuses() {
    let output = rkheap(&["--help"]);
    assert!(output.status.success());
    let help = stdout(&output);
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
        assert!(rkheap(&[command, "--help"]).status.success(), "{command}");
    }
    assert!(help.contains("Exit status:"));
}

#[test]
fn help_has_examples_and_is_wrapped() {
    for command in [
        "ls", "top", "leak", "peak", "map", "alloc", "watch", "doctor",
    ] {
        let help = stdout(&rkheap(&[command, "--help"]));
        let example = format!("rkheap {command}");
        let examples = help.split_once("\nExamples:\n").map(|(_, rest)| rest);
        assert!(
            examples.is_some_and(|text| text.contains(&example)),
            "{help}"
        );
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn leak_without_a_command_explains_how_to_give_one() {
    // Whether or not this user may record call stacks.
    for line in [&["leak"][..], &["leak", "--stacks"]] {
        let output = rkheap(line);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        for hint in ["rkheap leak -- ", "--since", "--watch"] {
            assert!(message.contains(hint), "{line:?}: {message}");
        }
    }
}

#[test]
fn invalid_command_lines_are_refused() {
    for line in [
        &["nothing"][..],
        &[],
        &["leak"],
        &["peak"],
        &["alloc", "system"],
        &["top", "--interval", "-1"],
        &["map"],
    ] {
        let output = rkheap(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn each_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = rkheap(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let text = stdout(&output);
        assert!(
            COMMANDS.iter().all(|command| text.contains(command)),
            "{shell}"
        );
    }
    // bash executes the script.
    let script = stdout(&rkheap(&["completions", "bash"]))
        + "\nCOMP_WORDS=(rkheap l); COMP_CWORD=1; _rkheap rkheap l rkheap; \
           echo \"${COMPREPLY[@]}\"\n";
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let words = stdout(&output);
    assert_eq!(
        words.split_whitespace().collect::<Vec<_>>(),
        ["ls", "leak"],
        "{output:?}"
    );
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let output = rkheap(&["man", "--dir", folder.path().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for command in COMMANDS {
        let page = folder.path().join(format!("rkheap-{command}.1"));
        let page = std::fs::read_to_string(&page).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
    let main = std::fs::read_to_string(folder.path().join("rkheap.1")).unwrap();
    assert_eq!(stdout(&rkheap(&["man"])), main);
    assert!(main.contains("permission to read it"), "no exit statuses");
}

#[test]
fn text_is_colored_on_terminals_or_on_request() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systems/camera");
    let colored =
        |color: &str| stdout(&rkheap(&["--root", root, "--color", color, "ls"])).contains('\x1b');
    assert!(colored("always"));
    assert!(!colored("auto"));
    assert!(!colored("never"));
}

/// Writes a file of a system below `root`.
fn write_file(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    // For any content of the files, each command ends with a documented exit status.
    #[test]
    fn any_content_is_accepted(
        content in proptest::collection::vec(any::<u8>(), 0..400),
        number: u64,
    ) {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let heading = b"inode size exporter name age_ms pid thread references devices holders\n";
        write_file(root, "dev/dma_heap/cma", b"");
        write_file(root, "dev/kmsg", &content);
        write_file(root, "proc/meminfo", &content);
        write_file(root, "proc/rk_dmabuf/size", &content);
        write_file(root, "proc/rk_dmabuf/peak", &content);
        write_file(root, "proc/rk_dmabuf/sgt", &[b" SGLIST\n\n".as_slice(), &content].concat());
        write_file(root, "proc/rk_dmabuf/buffers", &[heading.as_slice(), &content].concat());
        write_file(root, "proc/rk_dma_heap/heaps", &content);
        write_file(root, "proc/rk_dma_heap/rk-dma-heap-info", &content);
        write_file(root, "proc/7/fdinfo/3", &content);
        write_file(root, "proc/7/maps", &content);
        write_file(root, "sys/kernel/mm/cma/reserved/total_pages", number.to_string().as_bytes());
        write_file(root, "sys/kernel/mm/cma/reserved/available_pages", &content);
        write_file(root, "sys/firmware/devicetree/base/reserved-memory/reserved/reg", &content);
        write_file(root, "sys/firmware/devicetree/base/reserved-memory/reserved/reusable", b"");
        for line in [
            "ls",
            "map cma",
            "map cma --svg -",
            "top --count 1",
            "snapshot",
            "peak -- true",
        ] {
            let mut arguments = vec!["--root", root.to_str().unwrap()];
            arguments.extend(line.split(' '));
            let output = rkheap(&arguments);
            prop_assert!(matches!(output.status.code(), Some(0 | 3 | 4)), "{}: {:?}", line, output);
        }
    }
}
