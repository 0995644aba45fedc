// SPDX-License-Identifier: GPL-2.0

//! Tests as an unprivileged user, who sees its own buffers, the sums of all buffers, and how to see
//! the rest.

use crate::program::{
    json,
    list,
    number,
    rkheap,
    run,
    text,
    PROGRAM, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::{
    self,
    SetName, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::process::{
    become_ordinary_user,
    Child,
    CHILD_TIMEOUT, //
};
use guest_support::retry::eventually;
use nix::sys::prctl::set_dumpable;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{
    Command,
    Stdio, //
};

pub fn add(tests: &mut Tests) {
    tests.add("user/own-buffers", own_buffers);
    tests.add("user/sums", sums);
    tests.add("user/which-heaps", which_heaps);
    tests.add("user/what-root-alone-may", what_root_alone_may);
    tests.add("user/others-leave-something", others_leave_something);
}

/// Tells the process of root to allocate.
const GO: &str = "/tmp/rkheap-tests-go";

/// Runs `body` as an unprivileged user that holds a buffer, while a process of root holds another.
/// `body` receives the inode number of the user's buffer.
fn as_nobody(body: impl FnOnce(u64) -> Result<()>) -> Result<()> {
    let mut root_process = Command::new(PROGRAM)
        .args(["alloc", "cma", "1M"])
        .stdout(Stdio::null())
        .spawn()?;
    let result = with_own_buffer(body);
    root_process.kill()?;
    root_process.wait()?;
    result
}

/// Runs `body` once the process of root holds its buffer.
fn with_own_buffer(body: impl FnOnce(u64) -> Result<()>) -> Result<()> {
    eventually(CHILD_TIMEOUT, || {
        ensure!(dma_buf::totals()?.bytes >= 1 << 20);
        Ok(())
    })?;
    Child::run(|| {
        let own = Heap::open("system")?.allocate(64 << 10)?;
        own.set_name("mine", SetName::Pointer64)?;
        let inode = own.inode()?;
        become_ordinary_user()?;
        // Changing the UID clears this flag, without which /proc/PID belongs to root.
        set_dumpable(true)?;
        body(inode)
    })?
    .succeed()
}

fn own_buffers() -> Result<()> {
    as_nobody(|inode| {
        let output = rkheap("--json snapshot")?;
        output.expect(0)?;
        let snapshot = output.json()?;
        let [own] = &list(&snapshot, "buffers")?[..] else {
            anyhow::bail!("not exactly the own buffer: {snapshot}");
        };
        ensure!(
            number(own, "inode")? == inode && text(own, "name")? == "mine",
            "{own}"
        );
        let holder = list(own, "holders")?.first().context("no holder")?;
        ensure!(
            number(holder, "pid")? == u64::from(std::process::id()),
            "{own}"
        );
        let output = rkheap("snapshot")?;
        output.expect(0)?.reports("readable by root only")
    })
}

fn sums() -> Result<()> {
    as_nobody(|_| {
        let listing = json("ls")?;
        for (name, bytes) in [("system", 64 << 10), ("cma", 1 << 20)] {
            let heap = list(&listing, "heaps")?
                .iter()
                .find(|heap| text(heap, "heap").is_ok_and(|heap| heap == name));
            ensure!(
                number(heap.context("no heap")?, "used")? == bytes,
                "{heap:?}"
            );
        }
        let top = json("top --count 1 --by heap")?;
        ensure!(
            number(&top, "total_bytes")? == (1 << 20) + (64 << 10),
            "{top}"
        );
        let top = json("top --count 1 --by process")?;
        let other_users = list(&top, "rows")?
            .iter()
            .find(|row| row.get("key") == Some(&Value::from("unknown")));
        ensure!(
            number(other_users.context("no other users")?, "bytes")? == 1 << 20,
            "{top}"
        );
        Ok(())
    })
}

// What `ls` says of a node is what opening it does.
fn which_heaps() -> Result<()> {
    const NODE: &str = "/dev/dma_heap/cma";
    let rights = std::fs::metadata(NODE)?.permissions();
    std::fs::set_permissions(NODE, Permissions::from_mode(0o666))?;
    let result = as_nobody(|_| {
        let listing = json("ls")?;
        for heap in list(&listing, "heaps")? {
            let name = text(heap, "heap")?;
            let opened = Heap::open(name).is_ok();
            ensure!(opened == (name == "cma"), "{name} can be opened: {opened}");
            ensure!(heap.get("may_use") == Some(&Value::Bool(opened)), "{heap}");
        }
        let output = rkheap("ls")?;
        output.expect(0)?.reports("permission denied for ")?;
        output.reports("sudo adduser ")?;
        let access: Vec<_> = output
            .stdout
            .lines()
            .filter(|line| line.starts_with("RAM ") || line.contains("(default)"))
            .filter_map(|line| line.split_whitespace().last())
            .collect();
        ensure!(access.len() >= 2, "{output:?}");
        ensure!(
            access.contains(&"some") && access.contains(&"no"),
            "{output:?}"
        );
        ensure!(output.stdout.contains("\n  not for you:\n"), "{output:?}");
        Ok(())
    });
    std::fs::set_permissions(NODE, rights)?;
    result
}

// A buffer of another user that appears meanwhile cannot be told from those that were there.
fn others_leave_something() -> Result<()> {
    let mut root_process = Command::new("sh")
        .args([
            "-c",
            &format!("until [ -e {GO} ]; do usleep 10000; done; exec {PROGRAM} alloc cma 4M"),
        ])
        .stdout(Stdio::null())
        .spawn()?;
    let result = as_nobody(|_| {
        let command = format!(
            "touch {GO}; \
             until [ $(tr -dc 0-9 </proc/rk_dmabuf/size) -ge 5120 ]; do usleep 10000; done"
        );
        let leak = ["leak", "--settle", "0.1", "--", "sh", "-c", &command];
        let output = run(leak)?;
        output.expect(6)?;
        let grown =
            output.stdout.contains("inconclusive") && output.stdout.contains(" grew by 4 MiB");
        ensure!(grown, "{output:?}");
        // Nothing changes in the second run, and nobody can know that.
        let output = run(["--json"].into_iter().chain(leak))?;
        output.expect(6)?;
        let report = output.json()?;
        ensure!(
            report.get("conclusive") == Some(&Value::Bool(false)),
            "{report}"
        );
        let sums = ["total_bytes_before", "total_bytes_after"];
        let [before, after] = sums.map(|sum| number(&report, sum));
        ensure!(before? == after?, "{report}");
        Ok(())
    });
    root_process.kill()?;
    root_process.wait()?;
    std::fs::remove_file(GO)?;
    result
}

fn what_root_alone_may() -> Result<()> {
    as_nobody(|_| {
        rkheap("peak -- true")?.expect(3)?.reports("sudo")?;
        rkheap("alloc system 4K --hold 0")?
            .expect(3)?
            .reports("permission denied")?;
        rkheap("leak --stacks -- true")?
            .expect(3)?
            .reports("permission denied: the call stacks")?;
        rkheap("map cma --advanced")?.expect(3)?.reports("sudo")?;
        rkheap("map cma")?.expect(3)?.reports("sudo")?;
        Ok(())
    })?;
    let _held = Heap::open("rk-dma-heap-cma")?.allocate(1 << 20)?;
    as_nobody(|_| rkheap("map rk-dma-heap-cma")?.expect(3)?.reports("sudo"))
}
