// SPDX-License-Identifier: GPL-2.0

//! Advanced mode: lists the ranges of buffers that no device has mapped.

use crate::exporters::{
    self,
    SIZE, //
};
use crate::nodes;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::dma_buf;
use guest_support::heap::Heap;
use guest_support::kernel_module;
use guest_support::ktap::Tests;
use guest_support::module::{
    self,
    Module, //
};
use guest_support::pattern::Pattern;
use guest_support::process::Child;
use guest_support::retry::{
    before,
    eventually, //
};
use guest_support::{
    errno_of,
    wide, //
};
use nix::errno::Errno;
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add("advanced/switched", switched);
    tests.add("advanced/every-exporter", every_exporter);
    tests.add(
        "advanced/keeps-what-the-cpu-wrote",
        keeps_what_the_cpu_wrote,
    );
    tests.add(
        "advanced/does-not-wait-for-a-lock",
        does_not_wait_for_a_lock,
    );
    tests.add("advanced/killed-while-attaching", killed_while_attaching);
}

fn switch(on: &str) -> std::io::Result<()> {
    std::fs::write(nodes::path("advanced"), on)
}

fn switched() -> Result<()> {
    for (parameters, expected) in [("", "0\n"), ("advanced=1", "1\n")] {
        let _module = Module::load(parameters)?;
        ensure!(nodes::read("advanced")? == expected, "with {parameters:?}");
        for (on, expected) in [("1\n", "1\n"), ("0", "0\n"), ("1", "1\n")] {
            switch(on)?;
            ensure!(nodes::read("advanced")? == expected, "after {on:?}");
        }
        for junk in ["2", "on", "", "11"] {
            let answer = switch(junk);
            let refused = answer.is_err_and(|error| errno_of(&error) == Errno::EINVAL);
            // An empty write does not reach the kernel.
            ensure!(refused || junk.is_empty(), "{junk:?} is accepted");
            ensure!(nodes::read("advanced")? == "1\n", "after {junk:?}");
        }
    }
    Ok(())
}

fn ranges(text: &str) -> usize {
    text.lines().filter(|line| line.contains("..0x")).count()
}

fn every_exporter() -> Result<()> {
    let _module = Module::load("")?;
    client::load("")?;
    let client = Client::open()?;
    let all = exporters::all()?;
    ensure!(
        ranges(&nodes::read("sgt")?) == 0,
        "advanced mode is off, but a buffer is mapped"
    );
    switch("1")?;
    let text = nodes::read("sgt")?;
    ensure!(nodes::rows(&text, "SGLIST")?.len() == all.len());
    for exported in &all {
        let info = exported.buffer.info()?;
        let attachment = client.attach(&exported.buffer)?;
        attachment.map(Direction::ToDevice)?;
        // Newest buffer first, so the first line with one of its ranges is that buffer's first or a
        // continuation line.
        let first = attachment.segments()?[0].physical_address;
        let start = format!("   0: {}..", wide(first));
        ensure!(
            text.contains(&start),
            "{info:?}: {start:?} is not in {text}"
        );
    }
    for exported in &all {
        let devices = dma_buf::attached_devices(&exported.buffer)?;
        ensure!(
            devices.is_empty(),
            "{}: {devices:?} are still attached",
            exported.exporter
        );
    }
    Ok(())
}

fn keeps_what_the_cpu_wrote() -> Result<()> {
    let _module = Module::load("advanced=1")?;
    for exported in exporters::all()? {
        let mapping = exported.buffer.map()?;
        mapping.fill(Pattern(9), 0);
        nodes::read("sgt")?;
        mapping.check(Pattern(9), 0)?;
    }
    Ok(())
}

fn does_not_wait_for_a_lock() -> Result<()> {
    let _module = Module::load("advanced=1")?;
    client::load("")?;
    let buffer = Heap::open("system")?.allocate(SIZE)?;
    let other = Heap::open("system")?.allocate(SIZE)?;
    let holder = Child::run(|| {
        let client = Client::open()?;
        let attachment = client.attach(&buffer)?;
        attachment.hold(3000)?;
        Ok(())
    })?;
    // A read that waited for the lock would never find the dma-buf in use.
    let (rows, took) = eventually(Duration::from_secs(2), || {
        let start = Instant::now();
        let text = nodes::read("sgt")?;
        let took = start.elapsed();
        let rows = nodes::rows(&text, "SGLIST")?;
        ensure!(rows.len() == 2, "{text}");
        ensure!(rows[1].rest == " (in use)", "{text}");
        Ok((rows, took))
    })?;
    ensure!(took < Duration::from_secs(2), "waited for {took:?}");
    ensure!(rows[0].rest.contains(".."), "{rows:?}");
    holder.succeed()?;
    let rows = nodes::rows(&nodes::read("sgt")?, "SGLIST")?;
    ensure!(rows[1].rest.contains(".."), "{rows:?}");
    drop(other);
    Ok(())
}

/// Runs a program that reads `sgt`. It is killed when this is dropped.
fn reader() -> Result<Child> {
    Child::run(|| nodes::read("sgt").map(drop))
}

/// How long another thread holds the reservation lock.
const HELD: Duration = Duration::from_secs(8);

/// The time after which a reader gives up, which has to be killed before.
const READER_WAITS: Duration = Duration::from_secs(3);

/// Fails unless `sgt` has one row for each buffer, with its ranges.
fn ensure_ranges(buffers: usize) -> Result<()> {
    let rows = nodes::rows(&nodes::read("sgt")?, "SGLIST")?;
    ensure!(rows.len() == buffers, "{rows:?}");
    ensure!(rows.iter().all(|row| row.rest.contains("..")), "{rows:?}");
    Ok(())
}

// Another thread acquires the reservation lock after the reader has looked at it. The reader can be
// killed, and what it has begun is finished without it.
fn killed_while_attaching() -> Result<()> {
    let module = Module::load("advanced=1")?;
    client::load("")?;
    let client = Client::open()?;
    let own = Heap::open("system")?.allocate(SIZE)?;
    // What an earlier attempt has begun is finished before the next one.
    let idle = || eventually(HELD * 2, || ensure_ranges(1));
    let buffer = before(READER_WAITS, idle, || {
        let buffer = client.export(HELD.as_millis().try_into()?)?;
        kill_readers()?;
        Ok(buffer)
    })?;
    eventually(HELD * 2, || ensure_ranges(2))?;
    for buffer in [&own, &buffer] {
        let devices = dma_buf::attached_devices(buffer)?;
        ensure!(devices.is_empty(), "{devices:?} are still attached");
    }
    drop((own, buffer));
    drop(client);
    client::unload().context("the exporter cannot be unloaded")?;
    module.unload()
}

/// Kills two readers while they wait, and looks at `sgt` while the thread that was left behind
/// still does.
fn kill_readers() -> Result<()> {
    let start = Instant::now();
    // The second one waits for the first one's attempt. It would not for one left behind, so it has
    // to wait before the first one is killed.
    let mut readers = [reader()?, reader()?];
    for reader in &readers {
        reader
            .wait_until_blocked()
            .context("the reader does not wait")?;
    }
    for reader in &mut readers {
        reader.kill(Duration::from_secs(1))?;
    }
    // The thread that was left behind is the only one, and others do not wait for it.
    for _ in 0..50 {
        let rows = nodes::rows(&nodes::read("sgt")?, "SGLIST")?;
        ensure!(rows.len() == 2, "{rows:?}");
        ensure!(rows.iter().all(|row| row.rest == " (in use)"), "{rows:?}");
    }
    ensure!(
        kernel_module::unload(module::NAME) == Err(Errno::EAGAIN),
        "the module is unloaded while its thread waits"
    );
    ensure!(
        start.elapsed() < HELD,
        "{:?} passed, so the lock was free already",
        start.elapsed()
    );
    Ok(())
}
