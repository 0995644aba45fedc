// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap doctor` on a machine on which everything works, and for a user who may not open
//! the heaps.

use crate::program::{
    list,
    number,
    rkheap,
    text, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::ktap::Tests;
use guest_support::process::Child;
use nix::unistd::{
    setgid,
    setuid,
    Gid,
    Uid, //
};
use serde_json::Value;
use std::fs::{
    self,
    Permissions, //
};
use std::os::unix::fs::PermissionsExt;

pub fn add(tests: &mut Tests) {
    tests.add("doctor/nothing-is-wrong", nothing_is_wrong);
    tests.add("doctor/without-permission", without_permission);
    tests.add(
        "doctor/without-permission-to-write",
        without_permission_to_write,
    );
    tests.add("doctor/stack", stack);
}

/// Returns the findings about `subject`.
fn findings<'a>(report: &'a Value, subject: &str) -> Result<Vec<&'a Value>> {
    let findings = list(report, "findings")?.iter();
    Ok(findings
        .filter(|finding| text(finding, "subject").is_ok_and(|of| of == subject))
        .collect())
}

fn nothing_is_wrong() -> Result<()> {
    let output = rkheap("--json doctor")?;
    let report = output.expect(0)?.json()?;
    ensure!(number(&report, "wrong")? == 0, "{report}");
    for subject in ["module", "nodes"] {
        let found = findings(&report, subject)?;
        let first = found.first().with_context(|| format!("no {subject}"))?;
        ensure!(text(first, "state")? == "ok", "{first}");
    }
    Ok(())
}

fn without_permission() -> Result<()> {
    Child::run(|| {
        setgid(Gid::from_raw(65534))?;
        setuid(Uid::from_raw(65534))?;
        let output = rkheap("doctor")?;
        let told = output.expect(1)?.stdout.contains("permission denied for ");
        ensure!(told && output.stdout.contains("adduser"), "{output:?}");
        Ok(())
    })?
    .succeed()
}

// Programs that open nodes for reading and writing need both.
fn without_permission_to_write() -> Result<()> {
    const NODE: &str = "/dev/dma_heap/system";
    let mode = fs::metadata(NODE)?.permissions();
    fs::set_permissions(NODE, Permissions::from_mode(0o444))?;
    let result = Child::run(|| {
        setgid(Gid::from_raw(65534))?;
        setuid(Uid::from_raw(65534))?;
        fs::File::open(NODE)?;
        let output = rkheap("doctor")?;
        let text = &output.expect(1)?.stdout;
        let (_, rest) = text.split_once("permission denied for ").context("none")?;
        let mut words = rest.split(' ');
        let (denied, heaps) = (words.next(), words.nth(1));
        ensure!(denied.is_some() && denied == heaps, "{output:?}");
        Ok(())
    })?
    .succeed();
    fs::set_permissions(NODE, mode)?;
    result
}

// Debian's kernel has no driver for Rockchip's codecs, so encoding cannot work.
fn stack() -> Result<()> {
    let output = rkheap("--json doctor mpp")?;
    let report = output.expect(1)?.json()?;
    let states: Vec<_> = findings(&report, "mpp")?
        .into_iter()
        .map(|finding| text(finding, "state"))
        .collect::<Result<_>>()?;
    ensure!(states == ["ok", "wrong"], "{report}");
    Ok(())
}
