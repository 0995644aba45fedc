// SPDX-License-Identifier: GPL-2.0

//! Parsers for the files that the module and the kernel publish. No parser fails as a whole: a
//! malformed line is counted and skipped, and all other lines are used.

pub mod buffers_file;
pub mod bufinfo;
pub mod device_tree;
pub mod fdinfo;
pub mod heaps_file;
pub mod info_file;
pub mod kernel_log;
pub mod list_file;
pub mod maps;
pub mod records;
pub mod stat;
pub mod sum_file;
pub mod trace_file;

/// The end of a heading that the module prints if it tracks only its own buffers.
pub const OWN_ONLY: &str = " (this module's own buffers only)";

/// The end of a heading that the module prints if it could not record all buffers.
const INCOMPLETE: &str = " (incomplete: no memory for some buffers' records)";

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    pub items: Vec<T>,
    /// Number of malformed lines.
    pub malformed: usize,
    /// Whether the file covers only the module's own buffers.
    pub own_only: bool,
    /// Whether the file lacks buffers that the module could not record.
    pub incomplete: bool,
}

impl<T> Default for Parsed<T> {
    fn default() -> Self {
        Parsed {
            items: Vec::new(),
            malformed: 0,
            own_only: false,
            incomplete: false,
        }
    }
}

impl<T> Parsed<T> {
    /// Returns whether `items` has all items of the system.
    pub fn is_complete(&self) -> bool {
        !self.own_only && !self.incomplete && self.malformed == 0
    }

    /// Notes what a heading says about the rest of the file. Returns its columns.
    fn columns<'a>(&mut self, heading: &'a str) -> &'a str {
        if let Some(columns) = heading.strip_suffix(OWN_ONLY) {
            self.own_only = true;
            columns
        } else if let Some(columns) = heading.strip_suffix(INCOMPLETE) {
            self.incomplete = true;
            columns
        } else {
            heading
        }
    }

    /// Adds the item of a line; `None` counts as a malformed line.
    fn add(&mut self, item: Option<T>) {
        match item {
            Some(item) => self.items.push(item),
            None => self.malformed += 1,
        }
    }
}

/// Parses a number of KiB. Returns bytes.
fn kib(text: &str) -> Option<u64> {
    text.parse::<u64>().ok()?.checked_mul(1024)
}

/// Parses a hexadecimal number with the prefix `0x`.
fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Returns `None` for `-`, which stands for an empty field.
fn unless_dash(text: &str) -> Option<&str> {
    (text != "-").then_some(text)
}
