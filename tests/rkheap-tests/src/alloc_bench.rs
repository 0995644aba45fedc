// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap alloc` and `rkheap bench`, and of properties that all commands share.

use crate::program::{
    json,
    list,
    number,
    rkheap,
    PROGRAM, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::retry::eventually;
use nix::sys::signal::{
    kill,
    Signal, //
};
use nix::unistd::Pid;
use std::process::{
    Command,
    Stdio, //
};
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    tests.add("alloc/held-until-interrupted", held_until_interrupted);
    tests.add("alloc/refused", refused);
    tests.add("bench/times", times);
    tests.add("pipe/closed", closed_pipe);
}

fn held_until_interrupted() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let before = dma_buf::totals()?;
        let mut program = Command::new(PROGRAM)
            .args(["alloc", "cma", "100K", "--count", "2", "--name", "held"])
            .stdout(Stdio::null())
            .spawn()?;
        let held = eventually(Duration::from_secs(10), || {
            let now = dma_buf::totals()?;
            ensure!(
                now.buffers == before.buffers + 2 && now.bytes == before.bytes + (200 << 10),
                "{now:?}"
            );
            Ok(())
        });
        kill(Pid::from_raw(i32::try_from(program.id())?), signal)?;
        let status = program.wait()?;
        held?;
        ensure!(status.success(), "{signal}: {status}");
        ensure!(dma_buf::totals()? == before, "{signal}: not freed");
    }
    Ok(())
}

fn refused() -> Result<()> {
    rkheap("alloc none 4K")?
        .expect(3)?
        .reports("heap none does not exist")?;
    let failed = rkheap("alloc cma 1G")?;
    failed.expect(4)?;
    for reason in ["ENOMEM", "area ", "RAM: ", "left up to the limit: close"] {
        failed.reports(reason)?;
    }
    // The area of the Rockchip heap is exclusive.
    let held = Heap::open("rk-dma-heap-cma")?.allocate(3 << 20)?;
    let failed = rkheap("alloc rk-dma-heap-cma 22M")?;
    failed.expect(4)?;
    failed.reports("free 21 MiB, largest gap 21 MiB")?;
    failed.reports(&format!("({}) 3 MiB in 1 buffer", std::process::id()))?;
    failed.reports("close buffers, or enlarge its node")?;
    drop(held);
    let failed = rkheap("alloc rk-dma-heap-cma 1G")?;
    failed.expect(4)?;
    failed.reports("larger than all of it")?;
    rkheap("alloc cma 0")?.expect(2)?;
    rkheap("alloc cma 1X")?.expect(2)?;
    Ok(())
}

fn times() -> Result<()> {
    let report = json("bench cma --size 64K --count 5")?;
    let rows = list(&report, "rows")?;
    ensure!(rows.len() == 1, "{report}");
    let row = rows.first().context("no row")?;
    ensure!(
        number(row, "bytes")? == 64 << 10 && number(row, "count")? == 5,
        "{row}"
    );
    for operation in ["allocate_ns", "write_ns", "free_ns"] {
        let times = row.get(operation).context("no times")?;
        let (least, median, most) = (
            number(times, "least")?,
            number(times, "median")?,
            number(times, "most")?,
        );
        ensure!(0 < least && least <= median && median <= most, "{row}");
    }
    Ok(())
}

// The reader of the output may close the pipe at any time.
fn closed_pipe() -> Result<()> {
    let (reader, writer) = nix::unistd::pipe()?;
    drop(reader);
    let output = Command::new(PROGRAM)
        .arg("ls")
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()?
        .wait_with_output()?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    Ok(())
}
