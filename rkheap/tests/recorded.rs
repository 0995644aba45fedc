// SPDX-License-Identifier: GPL-2.0

//! Compares the output of `rkheap` for recorded systems (`tests/record`) with `tests/golden`.
//! `RKHEAP_GOLDEN=write` rewrites these files; review the changes.

use std::path::{
    Path,
    PathBuf, //
};
use std::process::{
    Command,
    Stdio, //
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// Runs a command line on a recorded system. Returns standard output, standard error and the exit
/// status as one text.
fn run(system: &str, line: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rkheap"))
        .arg("--root")
        .arg(folder("systems").join(system))
        .args(line.split_whitespace())
        .current_dir(folder("systems"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let root = folder("systems").join(system);
    format!(
        "$ rkheap {line}\n{}{}exit status {}\n",
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
        output.status.code().unwrap()
    )
    .replace(root.to_str().unwrap(), "")
}

/// Compares `text` with a golden file, or writes the file.
fn compare(name: &str, text: &str) {
    let path = folder("golden").join(name);
    if std::env::var_os("RKHEAP_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::create_dir_all(folder("golden")).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = text
        .lines()
        .zip(expected.lines())
        .find(|(found, expected)| found != expected);
    assert!(
        text == expected,
        "{name} differs; found and expected line: {difference:#?}"
    );
}

/// Compares the output of several command lines on one system.
fn check(system: &str, lines: &[&str]) {
    let text: Vec<String> = lines.iter().map(|line| run(system, line)).collect();
    compare(&format!("{system}.txt"), &text.join("\n"));
}

#[test]
fn camera() {
    check(
        "camera",
        &[
            "ls",
            "ls --heaps",
            "ls --json",
            "ls --format prometheus",
            "map rk-dma-heap-cma",
            "map rk-dma-heap-cma --json",
            "map cma",
            "map system",
            "top --count 1",
            "top --once",
            "top --count 1 --by heap",
            "top --count 1 --by exporter --json",
            "snapshot",
            "leak --since camera-before.json",
            "leak --since camera-before.json --all",
            "leak --since camera-before.json --json",
        ],
    );
}

#[test]
fn camera_as_svg() {
    let text = run("camera", "map rk-dma-heap-cma --svg -");
    let svg = text.split_once('\n').unwrap().1;
    let svg = svg.strip_suffix("exit status 0\n").unwrap();
    compare("camera.svg", svg);
}

#[test]
fn camera_as_an_ordinary_user() {
    check(
        "camera-as-user",
        &[
            "ls",
            "map rk-dma-heap-cma",
            "top --count 1",
            "top --count 1 --by heap",
        ],
    );
}

#[test]
fn rv1106() {
    check(
        "rv1106",
        &[
            "ls",
            "ls --heaps",
            "map rk-dma-heap-cma",
            "map cma --json",
            "top --count 1",
        ],
    );
}

#[test]
fn carveout() {
    check("carveout", &["ls", "map frames@4e000000", "map cma"]);
}

#[test]
fn without_module() {
    check(
        "without-module",
        &[
            "ls",
            "top --count 1",
            "top --count 1 --by exporter",
            "snapshot",
            "map cma",
            "peak -- true",
        ],
    );
}

// Each machine but the first and the last has one thing that is broken or unusual.
#[test]
fn doctor() {
    let machines = [
        ("well", "doctor"),
        ("not-installed", "doctor"),
        ("not-loaded", "doctor"),
        ("blacklisted", "doctor"),
        ("blacklisted-by-argument", "doctor"),
        ("replaced-by-true", "doctor"),
        ("blacklist-hidden", "doctor"),
        ("list-outdated", "doctor"),
        ("not-built", "doctor"),
        ("being-removed", "doctor"),
        ("with-heaps-of-its-own", "doctor"),
        ("log-of-others", "doctor"),
        ("other-kernel", "doctor"),
        ("secure-boot", "doctor"),
        ("container", "doctor"),
        ("no-area", "doctor"),
        ("no-area-with-ram", "doctor"),
        ("small-area-with-ram", "doctor"),
        ("small-area", "doctor"),
        ("bounced", "doctor mpp"),
        ("not-bounced", "doctor"),
        ("areas-not-listed", "doctor"),
        ("large", "doctor rga"),
        ("real-time", "doctor"),
        ("well", "doctor mpp"),
        ("well", "doctor rknn"),
        ("well", "doctor libcamera"),
        ("mpp", "doctor mpp --json"),
    ];
    let text: Vec<String> = machines
        .iter()
        .map(|(machine, line)| {
            run(&format!("../machines/{machine}"), line)
                .replace("$ rkheap", &format!("{machine}$ rkheap"))
        })
        .collect();
    compare("doctor.txt", &text.join("\n"));
}

// The recorded names contain control characters, and no output format prints them.
#[test]
fn output_is_printable() {
    for entry in std::fs::read_dir(folder("golden")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            !text
                .chars()
                .any(|c| c != '\n' && rkheap::text::is_unprintable(c)),
            "{}",
            path.display()
        );
    }
    let buffers = folder("systems").join("camera/proc/rk_dmabuf/buffers");
    assert!(std::fs::read_to_string(buffers).unwrap().contains("\\033"));
}
