// SPDX-License-Identifier: GPL-2.0

//! Checks what the DKMS package decides before a build: how much memory there is, and for which
//! kernels.

mod common;

use std::{
    fs,
    path::Path,
    process::Command, //
};

use common::project;

/// 600 MiB are available, and 400 MiB of swap are free.
const MEMINFO: &str = "MemTotal: 2048000 kB\nMemAvailable: 614400 kB\nSwapFree: 409600 kB\n";

const MIB: u64 = 1 << 20;

/// Writes a file of a root, and its folders.
fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Writes the files of a cgroup, whose limits are in bytes or `max`.
fn write_cgroup(root: &Path, group: &str, limit: &str, swap_limit: &str) {
    let folder = format!("sys/fs/cgroup{group}");
    let file = |name: &str, text: &str| write(root, &format!("{folder}/{name}"), text);
    file("memory.max", limit);
    file("memory.current", &(250 * MIB).to_string());
    file("memory.swap.max", swap_limit);
    file("memory.swap.current", &(5 * MIB).to_string());
    let stat = format!(
        "anon 1\ninactive_file {}\nactive_file {}\n",
        40 * MIB,
        10 * MIB
    );
    file("memory.stat", &stat);
}

/// Returns what `memory_mib` prints for a process of the cgroup `group`.
fn memory_mib(root: &Path, group: &str) -> u64 {
    write(root, "proc/meminfo", MEMINFO);
    write(root, "proc/self/cgroup", &format!("0::{group}\n"));
    let script = "source packages/dkms/room.sh; memory_mib \"$1\"";
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script, "-"])
        .arg(root)
        .current_dir(project())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim_end().parse().unwrap()
}

#[test]
fn memory_is_what_is_available_and_free_swap() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(memory_mib(root.path(), "/"), 1000);
}

#[test]
fn a_cgroup_that_permits_less_counts() {
    let root = tempfile::tempdir().unwrap();
    // Its own limit: 300 - 250 + 50 MiB of memory, and 25 - 5 MiB of swap.
    let (limit, swap) = ((300 * MIB).to_string(), (25 * MIB).to_string());
    write_cgroup(root.path(), "/user/build", &limit, &swap);
    write_cgroup(root.path(), "/user", "max", "max");
    assert_eq!(memory_mib(root.path(), "/user/build"), 120);
    // That of the group above it; all of the swap.
    write_cgroup(root.path(), "/user/build", "max", "max");
    write_cgroup(root.path(), "/user", &limit, "max");
    assert_eq!(memory_mib(root.path(), "/user/build"), 500);
    // That of a container, which sees its own cgroup as the root.
    write_cgroup(root.path(), "", &limit, &swap);
    assert_eq!(memory_mib(root.path(), "/"), 120);
}

#[test]
fn a_cgroup_that_permits_more_does_not_count() {
    let root = tempfile::tempdir().unwrap();
    write_cgroup(root.path(), "/user", &(4096 * MIB).to_string(), "max");
    assert_eq!(memory_mib(root.path(), "/user"), 1000);
}

/// Returns what stands between `before` and the end of its line, without the last character.
fn value<'a>(text: &'a str, before: &str) -> &'a str {
    let line = text.split(before).nth(1).unwrap().lines().next().unwrap();
    &line[..line.len() - 1]
}

#[test]
fn dkms_skips_the_kernels_that_the_script_refuses() {
    let read = |file: &str| fs::read_to_string(project().join(file)).unwrap();
    let script = read("packages/dkms/build-module");
    let conf = read("packages/dkms/dkms.conf");
    let range = script.split("\noldest=").nth(1).unwrap();
    let range = range.lines().next().unwrap();
    let (oldest, newest) = range.split_once(" newest=").unwrap();
    assert_eq!(value(&conf, "\nBUILD_EXCLUSIVE_KERNEL_MIN=\""), oldest);
    assert_eq!(
        value(&conf, "\nBUILD_EXCLUSIVE_KERNEL_MAX=\""),
        format!("{newest}.999")
    );
    assert_eq!(
        value(&conf, "\nBUILD_EXCLUSIVE_CONFIG=\""),
        value(&script, "\noptions=(")
    );
}
