// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap peak`.

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
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use serde_json::Value;

pub fn add(tests: &mut Tests) {
    tests.add("peak/what-a-command-takes", what_a_command_takes);
    tests.add("peak/to-the-byte", to_the_byte);
    tests.add("peak/what-made-it-up", what_made_it_up);
    tests.add("peak/command-fails", command_fails);
}

fn what_a_command_takes() -> Result<()> {
    let heap = Heap::open("system")?;
    // Allocations before the run do not count.
    drop(heap.allocate(11 << 20)?);
    let _held = heap.allocate(2 << 20)?;
    let report = json("peak -- rkheap alloc system 1M --count 7 --hold 0")?;
    ensure!(number(&report, "before_bytes")? == 2 << 20, "{report}");
    ensure!(number(&report, "after_bytes")? == 2 << 20, "{report}");
    ensure!(number(&report, "peak_bytes")? == 9 << 20, "{report}");
    let output = rkheap("peak -- rkheap alloc system 1M --count 3 --hold 0")?;
    output.expect(0)?;
    ensure!(
        output.stdout.contains("\npeak: 5 MiB (5242880 bytes)\n"),
        "{output:?}"
    );
    Ok(())
}

fn to_the_byte() -> Result<()> {
    let report = json("peak -- rkheap alloc system 1028K --count 3 --hold 0")?;
    ensure!(
        number(&report, "peak_bytes")? == 3 * (1028 << 10),
        "{report}"
    );
    ensure!(number(&report, "resolution_bytes")? == 1, "{report}");
    let vendor = std::fs::read_to_string("/proc/rk_dmabuf/peak")?;
    ensure!(vendor == "Peak: 3 MiB\n", "{vendor}");
    Ok(())
}

fn what_made_it_up() -> Result<()> {
    let _held = Heap::open("cma")?.allocate(2 << 20)?;
    // The sum is highest in the middle.
    let command = "rkheap alloc system 1M --count 3 --name frame --hold 1 >/dev/null & \
                   rkheap alloc cma 4M --hold 0.5 >/dev/null; wait";
    let line = ["--json", "peak", "--", "sh", "-c", command];
    let report = run(line)?.expect(0)?.json()?;
    ensure!(number(&report, "peak_bytes")? == 9 << 20, "{report}");
    ensure!(number(&report, "seen_bytes")? == 9 << 20, "{report}");
    let parts = list(&report, "parts")?.iter().map(|part| {
        let before = part.get("existed_before") == Some(&Value::Bool(true));
        let (count, bytes) = (number(part, "count")?, number(part, "bytes")?);
        Ok((
            text(part, "exporter")?.to_owned(),
            count,
            bytes >> 20,
            before,
        ))
    });
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let expected = [
        ("cma", 1, 4, false),
        ("system", 3, 3, false),
        ("cma", 1, 2, true),
    ];
    let expected = expected.map(|(heap, count, mib, before)| (heap.to_owned(), count, mib, before));
    ensure!(parts == expected, "{report}");
    let output = run(&line[1..])?;
    output.expect(0)?;
    let row = output.stdout.lines().find(|line| line.contains(" frame "));
    let row = row.with_context(|| format!("no row: {output:?}"))?;
    ensure!(
        row.contains(" 1 MiB ") && row.ends_with(" 3  3 MiB"),
        "{row}"
    );
    ensure!(output.stdout.contains("\nmade up of:\n"), "{output:?}");
    Ok(())
}

fn command_fails() -> Result<()> {
    rkheap("peak -- false")?
        .expect(5)?
        .reports("exit status 1")?;
    rkheap("peak -- /none")?
        .expect(5)?
        .reports("cannot run /none")
}
