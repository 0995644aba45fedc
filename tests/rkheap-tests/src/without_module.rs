// SPDX-License-Identifier: GPL-2.0

//! Tests on a kernel without the module, with buffers of a driver.

use crate::program::{
    json,
    list,
    number,
    rkheap,
    run,
    text, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::channel::Channel;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::{
    self,
    Module, //
};
use guest_support::process::{
    become_ordinary_user,
    rename_thread,
    Child, //
};
use guest_support::vgem::Vgem;
use nix::mount::{
    mount,
    umount,
    MsFlags, //
};
use serde_json::Value;
use std::os::fd::AsFd;
use std::path::Path;

const SNAPSHOT: &str = "/tmp/rkheap-snapshot";
const DEBUGFS: &str = "/sys/kernel/debug";
const LOAD_HINT: &str = "load the module";

pub fn add(tests: &mut Tests) {
    tests.add("without-module/what-is-missing", what_is_missing);
    tests.add("without-module/leak", leak);
    tests.add("without-module/all-buffers", all_buffers);
    tests.add("without-module/beside-own-buffers", beside_own_buffers);
    tests.add("without-module/as-a-user", as_a_user);
    tests.add("without-module/top", top);
}

fn check() -> Result<()> {
    ensure!(
        !module::is_loaded(),
        "the module is loaded: start qemu/vm with --no-module"
    );
    Ok(())
}

fn what_is_missing() -> Result<()> {
    check()?;
    for line in ["ls", "peak -- true", "map cma", "alloc cma 4K", "bench cma"] {
        rkheap(line)?.expect(3)?.reports(LOAD_HINT)?;
    }
    let output = rkheap("doctor")?;
    let told = output
        .expect(1)?
        .stdout
        .contains("rk_dma_heap is not installed for kernel ");
    ensure!(told, "{output:?}");
    Ok(())
}

fn leak() -> Result<()> {
    check()?;
    let vgem = Vgem::open()?;
    let _before = vgem.allocate(4096)?;
    let snapshot = rkheap("snapshot")?;
    snapshot.expect(0)?.reports(LOAD_HINT)?;
    std::fs::write(SNAPSHOT, &snapshot.stdout)?;
    run(["leak", "--since", SNAPSHOT])?.expect(0)?;
    Child::run(|| {
        rename_thread("careless")?;
        let new = vgem.allocate(640 << 10)?;
        let _mapping = new.map()?;
        let output = run(["--json", "leak", "--since", SNAPSHOT])?;
        output.expect(1)?;
        let report = output.json()?;
        let [left] = &list(&report, "left")?[..] else {
            anyhow::bail!("not exactly one buffer: {report}");
        };
        ensure!(number(left, "inode")? == new.inode()?, "{left}");
        ensure!(number(left, "size")? == 640 << 10, "{left}");
        ensure!(text(left, "exporter")? == new.info()?.exporter, "{left}");
        ensure!(left.get("age_ms").is_some_and(Value::is_null), "{left}");
        let holder = list(left, "holders")?
            .iter()
            .find(|holder| text(holder, "name").is_ok_and(|name| name == "careless"))
            .context("this process is not a holder")?;
        ensure!(
            (number(holder, "descriptors")?, number(holder, "mappings")?) == (1, 1),
            "{left}"
        );
        Ok(())
    })?
    .succeed()
}

/// Holds a buffer of a driver as a message that nobody has received, so that no process has it.
fn in_flight(len: usize) -> Result<(u64, (Channel, Channel))> {
    let buffer = Vgem::open()?.allocate(len)?;
    let (from, to) = Channel::pair()?;
    from.send("held", Some(buffer.as_fd()))?;
    Ok((buffer.inode()?, (from, to)))
}

/// Hides debugfs, with the kernel's own list of buffers.
struct Hidden;

impl Hidden {
    fn new() -> Result<Self> {
        umount(DEBUGFS).context("cannot unmount debugfs")?;
        Ok(Hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let nothing = None::<&str>;
        mount(nothing, DEBUGFS, Some("debugfs"), MsFlags::empty(), nothing).ok();
    }
}

/// Returns whether the kernel has type information.
fn has_types() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists()
}

/// The size of the buffer that no process has.
const LEN: usize = 640 << 10;

/// Takes a snapshot while debugfs is hidden and no process has a buffer of [`LEN`] bytes, and calls
/// `body` with it. The snapshot has this buffer if and only if the kernel has type information,
/// without which no iterator can be loaded.
fn without_debugfs(body: impl FnOnce(&Value) -> Result<()>) -> Result<()> {
    let (inode, _held) = in_flight(LEN)?;
    let _hidden = Hidden::new()?;
    let snapshot = json("snapshot")?;
    let complete = snapshot.get("complete") == Some(&Value::Bool(true));
    ensure!(complete == has_types(), "complete: {complete}");
    let found = of_inode(&snapshot, inode)?;
    ensure!(found.is_some() == has_types(), "{snapshot}");
    if let Some(buffer) = found {
        ensure!(number(buffer, "size")? == LEN as u64, "{buffer}");
        ensure!(text(buffer, "exporter")? == "drm", "{buffer}");
        // That of the message.
        ensure!(number(buffer, "references")? == 1, "{buffer}");
    }
    body(&snapshot)
}

/// Returns the buffer with an inode number, which a snapshot has once at most.
fn of_inode(snapshot: &Value, inode: u64) -> Result<Option<&Value>> {
    let mut found = None;
    for buffer in list(snapshot, "buffers")? {
        if number(buffer, "inode")? == inode {
            ensure!(found.is_none(), "twice: {snapshot}");
            found = Some(buffer);
        }
    }
    Ok(found)
}

// Root sees all buffers of the system without debugfs, by the kernel's iterator.
fn all_buffers() -> Result<()> {
    check()?;
    without_debugfs(|_| {
        let top = json("top --count 1")?;
        let is_of_kernel = list(&top, "rows")?
            .iter()
            .any(|row| row.get("key") == Some(&"kernel".into()));
        ensure!(is_of_kernel == has_types(), "{top}");
        Ok(())
    })
}

// So it does where the module lists only its own buffers. These keep what the module knows of them.
fn beside_own_buffers() -> Result<()> {
    check()?;
    let module = Module::load("track_all=0")?;
    let own = Heap::open("system")?.allocate(64 << 10)?;
    without_debugfs(|snapshot| {
        let mine = of_inode(snapshot, own.inode()?)?.context("the own buffer is missing")?;
        ensure!(
            number(mine, "pid")? == u64::from(std::process::id()),
            "{mine}"
        );
        Ok(())
    })?;
    drop(own);
    module.unload()
}

// An ordinary user may load no program, and is told that buffers are missing.
fn as_a_user() -> Result<()> {
    check()?;
    let _held = in_flight(LEN)?;
    Child::run(|| {
        become_ordinary_user()?;
        let output = rkheap("--json snapshot")?;
        let snapshot = output.expect(0)?.json()?;
        ensure!(snapshot.get("complete") == Some(&Value::Bool(false)));
        ensure!(list(&snapshot, "buffers")?.is_empty(), "{snapshot}");
        rkheap("snapshot")?.expect(0)?.reports("use sudo")
    })?
    .succeed()
}

fn top() -> Result<()> {
    check()?;
    let _held = Vgem::open()?.allocate(640 << 10)?;
    let top = json("top --count 1")?;
    ensure!(number(&top, "total_bytes")? == 640 << 10, "{top}");
    let rows = list(&top, "rows")?;
    let pid = rows.first().and_then(|row| row.pointer("/key/process/pid"));
    ensure!(pid == Some(&Value::from(std::process::id())), "{top}");
    Ok(())
}
