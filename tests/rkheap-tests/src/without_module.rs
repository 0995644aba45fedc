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
use guest_support::ktap::Tests;
use guest_support::module;
use guest_support::process::{
    rename_thread,
    Child, //
};
use guest_support::vgem::Vgem;
use serde_json::Value;

const SNAPSHOT: &str = "/tmp/rkheap-snapshot";
const LOAD_HINT: &str = "load the module";

pub fn add(tests: &mut Tests) {
    tests.add("without-module/what-is-missing", what_is_missing);
    tests.add("without-module/leak", leak);
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
