// SPDX-License-Identifier: GPL-2.0

//! `rkheap leak` and `rkheap snapshot`.

use crate::program::{
    json,
    list,
    number,
    rkheap,
    run,
    text,
    Ran, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client, //
};
use guest_support::dma_buf::SetName;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::process::{
    rename_thread,
    Child, //
};
use nix::sys::signal::{
    kill,
    Signal, //
};
use nix::unistd::Pid;
use serde_json::Value;

/// A program that keeps one of its buffers, and one that is cleaner.
const CARELESS: &str = "rkheap alloc system 3M --name lost --hold 30 >/dev/null 2>&1 & \
                        rkheap alloc cma 1M --hold 0 >/dev/null; usleep 1500000";
const SNAPSHOT: &str = "/tmp/rkheap-snapshot";

pub fn add(tests: &mut Tests) {
    tests.add("leak/by-process-name-and-age", by_process_name_and_age);
    tests.add("leak/as-text", as_text);
    tests.add("leak/what-was-freed", what_was_freed);
    tests.add("leak/since", since);
    tests.add("leak/held-by-a-device", held_by_a_device);
    tests.add("leak/odd-names", odd_names);
    tests.add("leak/snapshot-of-another-boot", snapshot_of_another_boot);
    tests.add("leak/command-fails", command_fails);
}

/// Ends whoever holds what was left.
fn clean_up(left: &Value) -> Result<()> {
    for holder in list(left, "holders")? {
        kill(
            Pid::from_raw(i32::try_from(number(holder, "pid")?)?),
            Signal::SIGKILL,
        )?;
    }
    Ok(())
}

fn by_process_name_and_age() -> Result<()> {
    let ran = run(["--json", "leak", "--", "sh", "-c", CARELESS])?;
    ran.expect(1)?;
    let report = ran.json()?;
    let all = list(&report, "left")?;
    let [left] = &all[..] else {
        anyhow::bail!("not the one: {report}");
    };
    clean_up(left)?;
    ensure!(
        text(left, "name")? == "lost" && text(left, "exporter")? == "system",
        "{left}"
    );
    ensure!(
        text(left, "thread")? == "rkheap" && number(left, "size")? == 3 << 20,
        "{left}"
    );
    ensure!((1000..30_000).contains(&number(left, "age_ms")?), "{left}");
    let [holder] = &list(left, "holders")?[..] else {
        anyhow::bail!("not one holder: {left}");
    };
    ensure!(number(holder, "pid")? == number(left, "pid")?, "{left}");
    ensure!(number(holder, "descriptors")? == 1, "{left}");
    ensure!(
        left.get("maker_ran_before") == Some(&Value::Bool(false)),
        "{left}"
    );
    ensure!(number(&report, "left_bytes")? == 3 << 20, "{report}");
    Ok(())
}

fn as_text() -> Result<()> {
    let ran = run(["leak", "--", "sh", "-c", CARELESS])?;
    ran.expect(1)?;
    let line = ran.stdout.lines().last().unwrap_or_default();
    let words: Vec<_> = line.split_whitespace().collect();
    let [process, pid, name, heap, size, unit, ..] = words[..] else {
        anyhow::bail!("{ran:?}");
    };
    kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL)?;
    ensure!((process, name, heap, size, unit) == ("rkheap", "lost", "system", "3", "MiB"));
    ensure!(line.ends_with(&format!("{pid}:rkheap (1 fd)")), "{line}");
    ensure!(
        ran.stdout.starts_with("left behind: 1 buffer, 3 MiB\n"),
        "{ran:?}"
    );
    Ok(())
}

fn what_was_freed() -> Result<()> {
    // One from before is none that was left.
    let _before = Heap::open("system")?.allocate(1 << 20)?;
    let ran = rkheap("leak -- rkheap alloc system 1M --count 5 --hold 0")?;
    ran.expect(0)?;
    ensure!(ran.stdout.ends_with("nothing was left behind\n"), "{ran:?}");
    let report = json("leak -- rkheap alloc system 1M --hold 0")?;
    ensure!(number(&report, "left_buffers")? == 0, "{report}");
    Ok(())
}

fn take_snapshot() -> Result<()> {
    let ran = rkheap("snapshot")?;
    ran.expect(0)?;
    Ok(std::fs::write(SNAPSHOT, &ran.stdout)?)
}

fn compare() -> Result<Ran> {
    run(["--json", "leak", "--since", SNAPSHOT])
}

fn since() -> Result<()> {
    let heap = Heap::open("system")?;
    let _before = heap.allocate(4096)?;
    take_snapshot()?;
    compare()?.expect(0)?;
    let new = [heap.allocate(8192)?, heap.allocate(12288)?];
    let ran = compare()?;
    ran.expect(1)?;
    let report = ran.json()?;
    let inodes: Vec<_> = list(&report, "left")?
        .iter()
        .map(|left| number(left, "inode"))
        .collect::<Result<_>>()?;
    // The largest first.
    ensure!(inodes == [new[1].inode()?, new[0].inode()?], "{report}");
    let ran_before = list(&report, "left")?
        .iter()
        .all(|left| left.get("maker_ran_before") == Some(&Value::Bool(true)));
    ensure!(ran_before, "this process was there: {report}");
    drop(new);
    compare()?.expect(0)?;
    run(["leak", "--since", "/tmp/none"])?.expect(3)?;
    Ok(())
}

fn held_by_a_device() -> Result<()> {
    client::load("")?;
    take_snapshot()?;
    let client = Client::open()?;
    let buffer = Heap::open("system")?.allocate(1 << 20)?;
    let attachment = client.attach(&buffer)?;
    drop(buffer);
    let ran = run(["leak", "--since", SNAPSHOT])?;
    ran.expect(1)?;
    let line = ran.stdout.lines().last().context("no line")?;
    ensure!(line.contains(" device "), "{line}");
    drop(attachment);
    Ok(())
}

// Whatever a program calls itself and its buffers, nothing of it gets to the terminal.
fn odd_names() -> Result<()> {
    const NAME: &str = "\x1b[2Ja b\u{202e}\n<";
    take_snapshot()?;
    Child::run(|| {
        rename_thread("\x1b]0;x\x07")?;
        let buffer = Heap::open("system")?.allocate(1)?;
        buffer.set_name(NAME, SetName::Pointer64)?;
        let ran = run(["leak", "--since", SNAPSHOT])?;
        ran.expect(1)?;
        ensure!(
            !ran.stdout
                .chars()
                .any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')),
            "{ran:?}"
        );
        ensure!(
            ran.stdout.contains("\\u{1b}[2Ja b\\u{202e}\\u{a}<"),
            "{ran:?}"
        );
        ensure!(ran.stdout.contains("\\u{1b}]0;x\\u{7}"), "{ran:?}");
        let ran = compare()?;
        ensure!(
            !ran.stdout
                .chars()
                .any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')),
            "{ran:?}"
        );
        let report = ran.json()?;
        let left = list(&report, "left")?.first().context("nothing")?;
        ensure!(text(left, "name")? == NAME, "{left}");
        ensure!(text(left, "thread")? == "\x1b]0;x\x07", "{left}");
        Ok(())
    })?
    .succeed()
}

fn snapshot_of_another_boot() -> Result<()> {
    take_snapshot()?;
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let text = std::fs::read_to_string(SNAPSHOT)?;
    ensure!(text.contains(id.trim()));
    std::fs::write(SNAPSHOT, text.replace(id.trim(), "another"))?;
    let ran = compare()?;
    ran.expect(4)?.says("before this boot")?;
    std::fs::write(SNAPSHOT, "{}")?;
    compare()?.expect(4)?.says("is no snapshot")
}

fn command_fails() -> Result<()> {
    rkheap("leak -- false")?.expect(5)?.says("exit status 1")?;
    rkheap("leak -- /none")?
        .expect(5)?
        .says("cannot run /none")?;
    // A leak outweighs it.
    let line = "rkheap alloc system 4K --hold 30 >/dev/null 2>&1 & usleep 700000; kill -9 $$";
    let ran = run(["--json", "leak", "--", "sh", "-c", line])?;
    ran.expect(1)?;
    let report = ran.json()?;
    clean_up(list(&report, "left")?.first().context("nothing")?)?;
    let signal = report.pointer("/run/signal").and_then(Value::as_u64);
    ensure!(signal == Some(9), "{report}");
    Ok(())
}
