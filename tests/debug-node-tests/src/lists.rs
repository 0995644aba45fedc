// SPDX-License-Identifier: GPL-2.0

//! `dev` and `sgt`: the content of columns, and reads in pieces, which neither lose nor repeat
//! lines.

use crate::exporters::{
    self,
    SIZE, //
};
use crate::nodes::{
    self,
    dev, //
};
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
use guest_support::dma_buf::{
    Buffer,
    SetName, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::wide;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;

pub fn add(tests: &mut Tests) {
    tests.add("dev/rows", rows);
    tests.add("dev/attached-devices", attached_devices);
    tests.add("dev/names-cannot-break-lines", names_cannot_break_lines);
    tests.add("dev/read-in-pieces", read_in_pieces);
    tests.add("sgt/ranges-of-what-is-mapped", ranges_of_what_is_mapped);
    tests.add("sgt/long-lists", long_lists);
}

fn rows() -> Result<()> {
    let _module = Module::load("")?;
    ensure!(dev()?.is_empty(), "{:?}", dev()?);
    let all = exporters::all()?;
    for (number, exported) in all.iter().enumerate() {
        let name = format!("a name of buffer {number}");
        exported.buffer.set_name(&name, SetName::Pointer64)?;
    }
    let rows = dev()?;
    ensure!(rows.len() == all.len(), "{rows:?}");
    // Newest first.
    for (number, (row, exported)) in rows.iter().rev().zip(&all).enumerate() {
        let info = exported.buffer.info()?;
        let mut exporter = info.exporter.clone();
        exporter.truncate(16);
        ensure!(row.exporter == exporter, "{row:?}, {info:?}");
        ensure!(row.kib == exported.buffer.size()? as u64 / 1024, "{row:?}");
        let name = format!("a name of buffer {number}");
        ensure!(row.name == name[..16], "{row:?}, expected {name:?}, cut");
        ensure!(row.rest.is_empty(), "{row:?}");
    }
    let identities: HashSet<_> = rows.iter().map(|row| &row.identity).collect();
    ensure!(identities.len() == rows.len(), "{rows:?}");
    // Kernel addresses do not begin with zeros; hashed pointers of 32 bits do.
    for row in &rows {
        ensure!(
            row.identity.starts_with("00000000"),
            "{row:?} is not hashed"
        );
    }
    ensure!(dev()? == rows, "a second read has other content");
    Ok(())
}

fn attached_devices() -> Result<()> {
    let _module = Module::load("")?;
    client::load("")?;
    let client = Client::open()?;
    let buffer = Heap::open("system")?.allocate(SIZE)?;
    let expect = |devices: &str| {
        let rest = dev()?.first().context("no line")?.rest.clone();
        ensure!(rest == devices, "{rest:?}, expected {devices:?}");
        anyhow::Ok(())
    };
    expect("")?;
    let first = client.attach(&buffer)?;
    let name = client_device()?;
    expect(&format!(" {name}"))?;
    let second = client.attach(&buffer)?;
    expect(&format!(" {name} {name}"))?;
    drop((first, second));
    expect("")
}

/// Returns the name of the client's device.
fn client_device() -> Result<String> {
    let probe = Heap::open("system")?.allocate(1)?;
    let client = Client::open()?;
    let attachment = client.attach(&probe)?;
    let devices = guest_support::dma_buf::attached_devices(&probe)?;
    drop(attachment);
    devices.into_iter().next().context("no device is attached")
}

fn names_cannot_break_lines() -> Result<()> {
    let _module = Module::load("")?;
    let buffer = Heap::open("system")?.allocate(1)?;
    for (name, shown) in [
        ("two\nlines", "two?lines"),
        ("\ttab\x1b[31m", "?tab?[31m"),
        ("äöü-ÄÖÜß-äöüÄÖ", "äöü-ÄÖÜß"),
        ("日本語の名前です", "日本語の名"),
    ] {
        buffer.set_name(name, SetName::Pointer64)?;
        let text = nodes::read("dev")?;
        let line = text.lines().nth(2).context("no line")?;
        let at = line.find(shown);
        ensure!(at == Some(17), "{name:?} is shown as {line:?}");
        ensure!(
            text.lines().count() == 3,
            "{name:?} breaks the line: {text:?}"
        );
        // The width of columns is constant, in bytes.
        ensure!(line.as_bytes().get(33..40) == Some(b" system"), "{line:?}");
    }
    Ok(())
}

// Buffers that exist during the whole read are listed once, while others are allocated and freed.
// Scatter lists that are longer than what is printed at a time, beside others, read at once and in
// pieces. The number of ranges is not a multiple of anything.
fn long_lists() -> Result<()> {
    let _module = Module::load("")?;
    client::reload("max_segment=65536")?;
    let client = Client::open()?;
    let heap = Heap::open("system")?;
    let buffers = [3 << 20, 4096, 4 << 20].map(|size| heap.allocate(size));
    let buffers: Vec<Buffer> = buffers.into_iter().collect::<Result<_, _>>()?;
    let mut expected = Vec::new();
    let mut attachments = Vec::new();
    for buffer in &buffers {
        let attachment = client.attach(buffer)?;
        attachment.map(Direction::Both)?;
        let segments = attachment.segments()?;
        let lines = segments.iter().enumerate().map(|(number, segment)| {
            let (start, length) = (segment.dma_address, segment.length);
            let (start, end) = (wide(start), wide(start + length - 1));
            format!("{number}: {start}..{end} ({:>10} KiB)", length / 1024)
        });
        // Newest first.
        expected.splice(0..0, lines);
        attachments.push(attachment);
    }
    ensure!(expected.len() > 100, "only {} ranges", expected.len());
    for piece in [1, 1000, 4096, 1 << 20] {
        let mut file = File::open(nodes::path("sgt"))?;
        let mut text = Vec::new();
        let mut bytes = vec![0; piece];
        loop {
            let count = file.read(&mut bytes)?;
            if count == 0 {
                break;
            }
            text.extend_from_slice(&bytes[..count]);
        }
        let text = String::from_utf8(text)?;
        ensure!(nodes::rows(&text, "SGLIST")?.len() == 3, "{text}");
        let found = text.lines().skip(2).filter_map(|line| line.get(65..));
        let found: Vec<&str> = found.map(str::trim_start).collect();
        ensure!(found == expected, "in pieces of {piece}: {text}");
    }
    drop(attachments);
    drop(client);
    client::reload("")
}

fn read_in_pieces() -> Result<()> {
    let _module = Module::load("")?;
    let heap = Heap::open("system")?;
    let mut random = fastrand::Rng::with_seed(5);
    let mut others: Vec<Buffer> = Vec::new();
    let mut staying = Vec::new();
    for number in 0..200 {
        let buffer = heap.allocate(1)?;
        buffer.set_name(&format!("stays-{number}"), SetName::Pointer64)?;
        staying.push(buffer);
        others.push(heap.allocate(1)?);
    }
    for node in ["dev", "sgt", "buffers"] {
        for piece in [1, 7, 100, 4096] {
            let mut file = File::open(nodes::path(node))?;
            let mut text = Vec::new();
            loop {
                let mut bytes = vec![0; piece];
                let count = file.read(&mut bytes)?;
                if count == 0 {
                    break;
                }
                text.extend_from_slice(&bytes[..count]);
                if piece > 1 || random.u8(..) == 0 {
                    others.swap_remove(random.usize(..others.len()));
                    others.push(heap.allocate(1)?);
                }
            }
            let text = String::from_utf8(text)?;
            for number in 0..200 {
                let name = format!(" stays-{number} ");
                let count = text.matches(&name).count();
                ensure!(
                    count == 1,
                    "{node} in pieces of {piece}: {name:?} is listed {count} times"
                );
            }
            if node == "dev" {
                nodes::rows(&text, "AttachedDevices")?;
            }
        }
    }
    Ok(())
}

fn ranges_of_what_is_mapped() -> Result<()> {
    let _module = Module::load("")?;
    client::load("")?;
    let client = Client::open()?;
    let buffer = Heap::open("system")?.allocate((1 << 20) + (64 << 10) + 8192)?;
    let lines = || -> Result<Vec<String>> {
        let text = nodes::read("sgt")?;
        ensure!(nodes::rows(&text, "SGLIST")?.len() == 1, "{text:?}");
        Ok(text.lines().skip(2).map(str::to_owned).collect())
    };
    ensure!(
        lines()?.iter().all(|line| !line.contains("..")),
        "a range although no device has mapped the buffer"
    );
    let attachment = client.attach(&buffer)?;
    attachment.map(Direction::Both)?;
    let segments = attachment.segments()?;
    let found = lines()?;
    ensure!(found.len() == segments.len(), "{found:?}, {segments:?}");
    for (number, (line, segment)) in found.iter().zip(&segments).enumerate() {
        let entry = line.get(if number == 0 { 66 } else { 65 }..);
        let (start, length) = (segment.dma_address, segment.length);
        let expected = format!(
            "{number:>4}: {}..{} ({:>10} KiB)",
            wide(start),
            wide(start + length - 1),
            length / 1024
        );
        ensure!(
            entry == Some(expected.as_str()),
            "{line:?}, expected {expected:?}"
        );
        ensure!(number == 0 || line[..65].trim().is_empty(), "{line:?}");
    }
    attachment.unmap()?;
    ensure!(lines()?.iter().all(|line| !line.contains("..")));
    Ok(())
}
