// SPDX-License-Identifier: GPL-2.0

//! What an ordinary user sees: what is his, the sums of all, and how to see the rest.

use crate::program::{
    json,
    list,
    number,
    rkheap,
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
    eventually,
    Child,
    SOON, //
};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{
    setgid,
    setuid,
    Gid,
    Uid, //
};
use serde_json::Value;
use std::process::{
    Command,
    Stdio, //
};

pub fn add(tests: &mut Tests) {
    tests.add("user/own-buffers", own_buffers);
    tests.add("user/sums", sums);
    tests.add("user/what-root-alone-may", what_root_alone_may);
}

/// Runs `body` as a user without privileges, with a buffer of its own, beside one of a process of
/// root's.
fn as_nobody(body: impl FnOnce(u64) -> Result<()>) -> Result<()> {
    let mut roots = Command::new(PROGRAM)
        .args(["alloc", "cma", "1M"])
        .stdout(Stdio::null())
        .spawn()?;
    let result = beside(body);
    roots.kill()?;
    roots.wait()?;
    result
}

fn beside(body: impl FnOnce(u64) -> Result<()>) -> Result<()> {
    eventually(SOON, || {
        ensure!(dma_buf::totals()?.bytes >= 1 << 20);
        Ok(())
    })?;
    Child::run(|| {
        let own = Heap::open("system")?.allocate(64 << 10)?;
        own.set_name("mine", SetName::Pointer64)?;
        let inode = own.inode()?;
        setgid(Gid::from_raw(65534))?;
        setuid(Uid::from_raw(65534))?;
        // As a program that this user has started himself.
        set_dumpable(true)?;
        body(inode)
    })?
    .succeed()
}

fn own_buffers() -> Result<()> {
    as_nobody(|inode| {
        let ran = rkheap("--json snapshot")?;
        ran.expect(0)?;
        let snapshot = ran.json()?;
        let [own] = &list(&snapshot, "buffers")?[..] else {
            anyhow::bail!("not his own: {snapshot}");
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
        let ran = rkheap("snapshot")?;
        ran.expect(0)?.says("for root alone")
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
        let others = list(&top, "rows")?
            .iter()
            .find(|row| row.get("key") == Some(&Value::from("unknown")));
        ensure!(
            number(others.context("no others")?, "bytes")? == 1 << 20,
            "{top}"
        );
        Ok(())
    })
}

fn what_root_alone_may() -> Result<()> {
    as_nobody(|_| {
        rkheap("peak -- true")?.expect(3)?.says("sudo")?;
        rkheap("alloc system 4K --hold 0")?
            .expect(3)?
            .says("may not be opened")?;
        rkheap("map cma --advanced")?.expect(3)?.says("sudo")?;
        Ok(())
    })?;
    let _held = Heap::open("rk-dma-heap-cma")?.allocate(1 << 20)?;
    as_nobody(|_| rkheap("map rk-dma-heap-cma")?.expect(3)?.says("sudo"))
}
