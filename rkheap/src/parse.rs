// SPDX-License-Identifier: GPL-2.0

//! The files that the module and the kernel publish, understood. Nothing here fails as a whole: a
//! line that is not as it should be is counted and left out, for the rest is worth knowing.

pub mod buffers_file;
pub mod bufinfo;
pub mod device_tree;
pub mod fdinfo;
pub mod heaps_file;
pub mod info_file;
pub mod kernel_log;
pub mod list_file;
pub mod maps;

/// What the module prints at the end of a heading where it knows of its own buffers only.
pub const OWN_ONLY: &str = " (this module's own buffers only)";

/// What was understood of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<T> {
    pub items: Vec<T>,
    /// How many lines were not.
    pub odd: usize,
    /// Whether the file says that it is about the module's own buffers only.
    pub own_only: bool,
}

impl<T> Default for Parsed<T> {
    fn default() -> Self {
        Parsed {
            items: Vec::new(),
            odd: 0,
            own_only: false,
        }
    }
}

impl<T> Parsed<T> {
    /// Adds a line, understood or not.
    fn add(&mut self, item: Option<T>) {
        match item {
            Some(item) => self.items.push(item),
            None => self.odd += 1,
        }
    }
}

/// A number of bytes that is told in KiB.
fn kib(text: &str) -> Option<u64> {
    text.parse::<u64>().ok()?.checked_mul(1024)
}

/// A number with `0x` before it.
fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// A name of which the file shows nothing: `-`.
fn unless_dash(text: &str) -> Option<&str> {
    (text != "-").then_some(text)
}
