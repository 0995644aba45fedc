// SPDX-License-Identifier: GPL-2.0

//! A dma-buf and the processes that hold it. This is also the format of buffers in snapshots and in
//! JSON output.

use crate::text;
use serde::{
    Deserialize,
    Serialize, //
};

/// A process that holds a dma-buf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub name: String,
    /// Number of open file descriptors.
    pub descriptors: u64,
    /// Number of mappings.
    pub mappings: u64,
}

impl Holder {
    /// Describes it and how often it refers to the buffer, in printable form.
    pub fn label(&self) -> String {
        let references = match (self.descriptors, self.mappings) {
            (fds, 0) => format!("{fds} fd"),
            (0, maps) => format!("{maps} map"),
            (fds, maps) => format!("{fds} fd, {maps} map"),
        };
        format!("{}:{} ({references})", self.pid, text::escaped(&self.name))
    }
}

/// A dma-buf. Unknown fields are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    pub inode: Option<u64>,
    /// Size in bytes.
    pub size: u64,
    pub exporter: String,
    pub name: Option<String>,
    /// Time since the export, in milliseconds.
    pub age_ms: Option<u64>,
    /// The process that exported the buffer.
    pub pid: Option<u32>,
    /// The name of the thread that exported the buffer.
    pub thread: Option<String>,
    pub references: Option<u64>,
    /// Names of the attached devices.
    pub devices: Vec<String>,
    pub holders: Vec<Holder>,
}

impl Buffer {
    /// Returns the process that allocated the buffer. If it is unknown, returns the first holder.
    pub fn process(&self) -> (String, Option<u32>) {
        let holder = self.holders.first();
        match (&self.thread, self.pid) {
            (Some(thread), pid) => (thread.clone(), pid),
            _ => (
                holder.map_or_else(String::new, |holder| holder.name.clone()),
                holder.map(|holder| holder.pid),
            ),
        }
    }

    /// Returns whether a process has made the buffer or holds it.
    pub fn is_of(&self, pid: u32) -> bool {
        self.pid == Some(pid) || self.holders.iter().any(|holder| holder.pid == pid)
    }
}

/// Returns the sum of the sizes of buffers, in bytes.
pub fn total_size(buffers: &[Buffer]) -> u64 {
    buffers
        .iter()
        .fold(0, |sum, buffer| sum.saturating_add(buffer.size))
}
