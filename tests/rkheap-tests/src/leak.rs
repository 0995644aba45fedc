// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap leak` and `rkheap snapshot`.

use crate::program::{
    json,
    list,
    number,
    rkheap,
    rkheap_and,
    run,
    text,
    ProgramOutput, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::channel::Channel;
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
use std::thread::sleep;
use std::time::Duration;

/// Starts a program that keeps its buffer, and one that frees its buffer. The buffer is older than
/// a second at the end.
fn leaking_command() -> String {
    let listed = until_listed(1);
    format!(
        "rkheap alloc system 3M --name lost --hold 30 >/dev/null 2>&1 & \
         rkheap alloc cma 1M --hold 0 >/dev/null; {listed}; usleep 1500000"
    )
}

/// Returns a shell command that waits until so many buffers with the name `lost` exist, for as long
/// as the programs keep them at most.
pub fn until_listed(buffers: usize) -> String {
    format!(
        "for i in $(seq 300); do \
         [ $(grep -c ' lost ' /proc/rk_dmabuf/buffers) = {buffers} ] && break; usleep 100000; done"
    )
}

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
    tests.add("leak/alike-buffers-are-grouped", alike_buffers_are_grouped);
    tests.add("leak/watch/growth", growth);
    tests.add("leak/watch/limit", limit);
    tests.add("leak/watch/until-the-process-ends", until_the_process_ends);
    tests.add("leak/watch/until-a-zombie", until_a_zombie);
}

/// Kills the holders of a buffer.
pub fn kill_holders(left: &Value) -> Result<()> {
    for holder in list(left, "holders")? {
        kill(
            Pid::from_raw(i32::try_from(number(holder, "pid")?)?),
            Signal::SIGKILL,
        )?;
    }
    Ok(())
}

fn by_process_name_and_age() -> Result<()> {
    let output = run(["--json", "leak", "--", "sh", "-c", &leaking_command()])?;
    output.expect(1)?;
    let report = output.json()?;
    let all = list(&report, "left")?;
    let [left] = &all[..] else {
        anyhow::bail!("not exactly one buffer: {report}");
    };
    kill_holders(left)?;
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
        anyhow::bail!("not exactly one holder: {left}");
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
    let output = run(["leak", "--", "sh", "-c", &leaking_command()])?;
    output.expect(1)?;
    let line = output.stdout.lines().last().unwrap_or_default();
    let words: Vec<_> = line.split_whitespace().collect();
    let [process, pid, name, heap, size, unit, ..] = words[..] else {
        anyhow::bail!("{output:?}");
    };
    kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL)?;
    ensure!((process, name, heap, size, unit) == ("rkheap", "lost", "system", "3", "MiB"));
    ensure!(line.ends_with(&format!("{pid}:rkheap (1 fd)")), "{line}");
    ensure!(
        output.stdout.starts_with("left behind: 1 buffer, 3 MiB\n"),
        "{output:?}"
    );
    Ok(())
}

fn what_was_freed() -> Result<()> {
    // A buffer from before the run does not count.
    let _before = Heap::open("system")?.allocate(1 << 20)?;
    let output = rkheap("leak -- rkheap alloc system 1M --count 5 --hold 0")?;
    output.expect(0)?;
    ensure!(
        output.stdout.ends_with("nothing was left behind\n"),
        "{output:?}"
    );
    let report = json("leak -- rkheap alloc system 1M --hold 0")?;
    ensure!(number(&report, "left_buffers")? == 0, "{report}");
    Ok(())
}

fn take_snapshot() -> Result<()> {
    let output = rkheap("snapshot")?;
    output.expect(0)?;
    Ok(std::fs::write(SNAPSHOT, &output.stdout)?)
}

fn compare() -> Result<ProgramOutput> {
    run(["--json", "leak", "--since", SNAPSHOT])
}

fn since() -> Result<()> {
    let heap = Heap::open("system")?;
    let _before = heap.allocate(4096)?;
    take_snapshot()?;
    compare()?.expect(0)?;
    let new = [heap.allocate(8192)?, heap.allocate(12288)?];
    let output = compare()?;
    output.expect(1)?;
    let report = output.json()?;
    let inodes: Vec<_> = list(&report, "left")?
        .iter()
        .map(|left| number(left, "inode"))
        .collect::<Result<_>>()?;
    // Sorted by descending size.
    ensure!(inodes == [new[1].inode()?, new[0].inode()?], "{report}");
    let ran_before = list(&report, "left")?
        .iter()
        .all(|left| left.get("maker_ran_before") == Some(&Value::Bool(true)));
    ensure!(
        ran_before,
        "this process is older than the snapshot: {report}"
    );
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
    let output = run(["leak", "--since", SNAPSHOT])?;
    output.expect(1)?;
    let line = output.stdout.lines().last().context("no line")?;
    ensure!(line.contains(" device "), "{line}");
    drop(attachment);
    Ok(())
}

// Control characters in names of threads and buffers are not printed.
fn odd_names() -> Result<()> {
    const NAME: &str = "\x1b[2Ja b\u{202e}\n<";
    take_snapshot()?;
    Child::run(|| {
        rename_thread("\x1b]0;x\x07")?;
        let buffer = Heap::open("system")?.allocate(1)?;
        buffer.set_name(NAME, SetName::Pointer64)?;
        let output = run(["leak", "--since", SNAPSHOT])?;
        output.expect(1)?;
        ensure!(
            !output
                .stdout
                .chars()
                .any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')),
            "{output:?}"
        );
        ensure!(
            output.stdout.contains("\\u{1b}[2Ja b\\u{202e}\\u{a}<"),
            "{output:?}"
        );
        ensure!(output.stdout.contains("\\u{1b}]0;x\\u{7}"), "{output:?}");
        let output = compare()?;
        ensure!(
            !output
                .stdout
                .chars()
                .any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')),
            "{output:?}"
        );
        let report = output.json()?;
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
    let output = compare()?;
    output.expect(4)?.reports("before this boot")?;
    std::fs::write(SNAPSHOT, "{}")?;
    compare()?.expect(4)?.reports("is not a snapshot")
}

fn command_fails() -> Result<()> {
    rkheap("leak -- false")?
        .expect(5)?
        .reports("exit status 1")?;
    rkheap("leak -- /none")?
        .expect(5)?
        .reports("cannot run /none")?;
    // A leak takes precedence.
    let line = format!(
        "rkheap alloc system 4K --name lost --hold 30 >/dev/null 2>&1 & {}; kill -9 $$",
        until_listed(1)
    );
    let output = run(["--json", "leak", "--", "sh", "-c", &line])?;
    output.expect(1)?;
    let report = output.json()?;
    kill_holders(list(&report, "left")?.first().context("nothing")?)?;
    let signal = report.pointer("/run/signal").and_then(Value::as_u64);
    ensure!(signal == Some(9), "{report}");
    Ok(())
}

fn alike_buffers_are_grouped() -> Result<()> {
    take_snapshot()?;
    let heap = Heap::open("system")?;
    let buffers: Vec<_> = (0..3).map(|_| heap.allocate(4096)).collect::<Result<_>>()?;
    let lines = |arguments: &[&str]| -> Result<Vec<String>> {
        let output = run([&["leak", "--since", SNAPSHOT], arguments].concat())?;
        let rows = output.expect(1)?.stdout.lines().skip(2);
        // The last line is the sum of the process.
        Ok(rows
            .filter(|line| line.contains(" system "))
            .map(str::to_owned)
            .collect())
    };
    let grouped = lines(&[])?;
    ensure!(
        matches!(&grouped[..], [line] if line.ends_with("(3 fd)")),
        "{grouped:?}"
    );
    let all = lines(&["--all"])?;
    ensure!(all.len() == 3, "{all:?}");
    for buffer in &buffers {
        let numbered = format!(
            "; descriptors {} of {}",
            buffer.raw_fd(),
            std::process::id()
        );
        ensure!(all.iter().any(|line| line.ends_with(&numbered)), "{all:?}");
    }
    Ok(())
}

/// Starts a process that allocates a buffer every 100 ms and keeps all of them.
pub fn growing() -> Result<Child> {
    Child::run(|| {
        let heap = Heap::open("system")?;
        let mut buffers = Vec::new();
        for _ in 0..100 {
            buffers.push(heap.allocate(1 << 20)?);
            sleep(Duration::from_millis(100));
        }
        Ok(())
    })
}

fn growth() -> Result<()> {
    let child = growing()?;
    let pid = child.pid();
    let output = rkheap(&format!(
        "--json leak --watch --pid {pid} --interval 0.5 --count 4"
    ))?;
    output.expect(0)?;
    let samples: Vec<Value> = serde_json::Deserializer::from_str(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()?;
    let [first, .., last, report] = &samples[..] else {
        anyhow::bail!("{output:?}");
    };
    let grown = number(last, "grown_bytes")?;
    ensure!(
        grown >= 2 << 20 && number(first, "bytes")? + grown == number(last, "bytes")?,
        "{output:?}"
    );
    ensure!(number(last, "bytes_per_second")? > 0, "{output:?}");
    // The sum and the list are of the same time.
    ensure!(number(report, "left_bytes")? == grown, "{output:?}");
    Ok(())
}

fn limit() -> Result<()> {
    let child = growing()?;
    let pid = child.pid();
    let output = rkheap(&format!(
        "leak --watch --pid {pid} --interval 0.2 --limit 2M"
    ))?;
    output.expect(1)?.reports("grown by more than 2 MiB")
}

/// Starts a process of this name that keeps a buffer until a word comes.
fn keeper(name: &str) -> Result<(Child, Channel)> {
    let (own, other) = Channel::pair()?;
    let child = Child::run(|| {
        rename_thread(name)?;
        let _buffer = Heap::open("system")?.allocate(1 << 20)?;
        other.send("allocated", None)?;
        other.expect("end")?;
        Ok(())
    })?;
    own.expect("allocated")?;
    Ok((child, own))
}

/// Checks what `rkheap` says of a process that has ended and left nothing.
fn ensure_ended(output: &ProgramOutput) -> Result<()> {
    output.expect(0)?.reports("has ended")?;
    ensure!(
        output.stdout.ends_with("nothing was left behind\n"),
        "{output:?}"
    );
    Ok(())
}

fn until_the_process_ends() -> Result<()> {
    let (child, channel) = keeper("keeper")?;
    let pid = child.pid();
    let watch = watch(pid);
    // With a wait the process is not even a zombie afterwards.
    let output = rkheap_and(&watch, move || {
        channel.send("end", None)?;
        child.succeed()
    })?;
    ensure_ended(&output)?;
    rkheap(&watch)?.expect(3)?.reports("there is no process")
}

/// Returns the arguments to watch a process. The count ends the command if it does not notice the
/// end of the process.
fn watch(pid: Pid) -> String {
    format!("leak --watch --pid {pid} --interval 0.1 --count 100")
}

// The parent of a process that has ended may not wait for it as long as it runs itself.
fn until_a_zombie() -> Result<()> {
    // What follows the name in `/proc/PID/stat` is the state.
    let (child, channel) = keeper("a) S 1 (")?;
    let watch = watch(child.pid());
    let output = rkheap_and(&watch, || channel.send("end", None))?;
    ensure_ended(&output)?;
    rkheap(&watch)?.expect(3)?.reports("there is no process")?;
    child.succeed()
}
