// SPDX-License-Identifier: GPL-2.0

//! `rkheap alloc`: allocates buffers and holds them.

use crate::arguments::Alloc;
use crate::exit::Status;
use crate::heap_node::HeapNode;
use crate::heaps;
use crate::output::Output;
use crate::shortage;
use crate::system::System;
use crate::text;
use anyhow::{
    anyhow,
    Context,
    Result, //
};
use nix::errno::Errno;
use serde::Serialize;
use signal_hook::consts::{
    SIGHUP,
    SIGINT,
    SIGTERM, //
};
use std::sync::mpsc::{
    channel,
    RecvTimeoutError, //
};
use std::time::{
    Duration,
    Instant, //
};

/// The JSON output.
#[derive(Serialize)]
struct Report<'a> {
    heap: &'a str,
    pid: u32,
    asked_bytes: u64,
    bytes: u64,
    inodes: &'a [u64],
    nanoseconds: u128,
}

/// Runs the command: allocates, prints a report, and waits for the end of the time or a signal.
pub fn run(system: &System, output: Output, options: &Alloc) -> Result<Status> {
    let node = heaps::node(system, &options.heap)?;
    let heap = HeapNode::open(system, &node)?;
    // A signal during the allocations is not lost: it ends the wait below.
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .context("cannot handle signals")?;
    let start = Instant::now();
    let mut held = Vec::new();
    for number in 1..=options.count {
        let buffer = heap.allocate(options.size).map_err(|errno| {
            let mut lines = vec![errno.to_string()];
            if errno == Errno::ENOMEM {
                lines.extend(shortage::explain(system, &options.heap, options.size));
            }
            let reasons = lines.join("\n  ");
            anyhow!(
                "cannot allocate {} from {} (buffer {number} of {}): {reasons}",
                text::size(options.size),
                node,
                options.count
            )
        })?;
        if let Some(name) = &options.name {
            buffer.set_name(name)?;
        }
        held.push(buffer);
    }
    let elapsed = start.elapsed();
    let mut inodes = Vec::new();
    let mut bytes = 0;
    for buffer in &held {
        inodes.push(buffer.inode()?);
        bytes += buffer.size()?;
    }
    if output.json {
        output.print_json(&Report {
            heap: &options.heap,
            pid: std::process::id(),
            asked_bytes: options.size,
            bytes,
            inodes: &inodes,
            nanoseconds: elapsed.as_nanos(),
        })?;
    } else {
        let until = match options.hold {
            Some(seconds) => format!("held for {seconds} s"),
            None => "held until interrupted (Ctrl-C)".to_owned(),
        };
        output.print_lines(&[format!(
            "{}: {}, {} in {}, {until}",
            text::escaped(&options.heap),
            text::plural(held.len(), "buffer"),
            text::size(bytes),
            text::time(elapsed),
        )])?;
    }
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let _ = signals.forever().next();
        let _ = sender.send(());
    });
    match options.hold.map(Duration::from_secs_f64) {
        Some(hold) => match receiver.recv_timeout(hold) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        },
        None => receiver.recv().context("cannot wait for a signal")?,
    }
    drop(held);
    Ok(Status::Done)
}
