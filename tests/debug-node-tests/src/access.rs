// SPDX-License-Identifier: GPL-2.0

//! Permissions of the nodes.

use crate::exporters::SIZE;
use crate::nodes;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::errno_of;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::process::{
    become_ordinary_user,
    Child, //
};
use nix::errno::Errno;
use std::fs::OpenOptions;

pub fn add(tests: &mut Tests) {
    tests.add("access/others-see-no-addresses", others_see_no_addresses);
    tests.add("access/others-cannot-write", others_cannot_write);
}

/// Runs `body` as an unprivileged user.
fn as_unprivileged(body: impl FnOnce() -> Result<()>) -> Result<()> {
    Child::run(|| {
        become_ordinary_user()?;
        body()
    })?
    .succeed()
}

fn info() -> Result<String> {
    Ok(std::fs::read_to_string(
        "/proc/rk_dma_heap/rk-dma-heap-info",
    )?)
}

/// Returns the hexadecimal numbers in a text that may be addresses.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| line.contains("..0x") || line.contains("Alloc by"))
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()))
        .filter(|word| word.starts_with("0x"))
}

fn others_see_no_addresses() -> Result<()> {
    let _module = Module::load("advanced=1")?;
    client::load("")?;
    let client = Client::open()?;
    let mapped = Heap::open("system")?.allocate(SIZE)?;
    let attachment = client.attach(&mapped)?;
    attachment.map(Direction::Both)?;
    let _contiguous = Heap::open("rk-dma-heap-cma")?.allocate(SIZE)?;
    let size = format!("{SIZE:x}");
    for text in [nodes::read("sgt")?, info()?] {
        let real = addresses(&text).any(|address| address.bytes().skip(2).any(|byte| byte != b'0'));
        ensure!(real, "root sees no address: {text}");
    }
    as_unprivileged(|| {
        for text in [nodes::read("sgt")?, info()?] {
            for address in addresses(&text) {
                let digits = address.trim_start_matches("0x").trim_start_matches('0');
                ensure!(digits.is_empty() || digits == size, "{address} in {text}");
            }
        }
        nodes::dev()?;
        nodes::size()?;
        nodes::peak()?;
        // The open files of processes are visible to root only.
        let answer = std::fs::read(nodes::path("buffers"));
        ensure!(answer.is_err_and(|error| errno_of(&error) == Errno::EACCES));
        Ok(())
    })
}

fn others_cannot_write() -> Result<()> {
    let _module = Module::load("")?;
    drop(Heap::open("system")?.allocate(5 << 20)?);
    let before = nodes::peak()?;
    as_unprivileged(|| {
        for node in ["peak", "advanced", "size", "dev", "sgt", "buffers"] {
            let answer = OpenOptions::new().write(true).open(nodes::path(node));
            ensure!(
                answer.is_err_and(|error| errno_of(&error) == Errno::EACCES),
                "{node} can be opened for writing"
            );
        }
        Ok(())
    })?;
    ensure!(nodes::peak()? == before && nodes::read("advanced")? == "0\n");
    Ok(())
}
