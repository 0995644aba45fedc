// SPDX-License-Identifier: GPL-2.0

//! The command line of the kernel.
//!
//! The kernel exports it to modules by `/proc/cmdline` only.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::bindings as c;
use kernel::prelude::*;

/// The number of bytes that are read. No architecture accepts a longer command line from a boot
/// loader.
const MAX_LEN: usize = 4096;

/// The command line.
///
/// # Examples
///
/// ```
/// use crate::abstractions::command_line::CommandLine;
///
/// if let Some(line) = CommandLine::read() {
///     assert!(line.value(b"rk_dma_heap_no_such_parameter=").is_none());
/// }
/// ```
pub(crate) struct CommandLine {
    text: KVec<u8>,
}

impl CommandLine {
    /// Reads the command line.
    ///
    /// May sleep. Returns `None` if the calling process sees no `/proc`, or if there is no memory.
    pub(crate) fn read() -> Option<Self> {
        let mut text = KVec::from_elem(0, MAX_LEN, GFP_KERNEL).ok()?;
        let path = c"/proc/cmdline".as_char_ptr();
        // SAFETY: `path` is a C string, and the buffer is valid for writes of its length.
        let len = unsafe { c::read_file(path, text.as_mut_ptr().cast(), text.len()) };
        text.truncate(usize::try_from(len).ok()?);
        Some(Self { text })
    }

    /// Returns what follows `prefix` in the first word that begins with it.
    pub(crate) fn value(&self, prefix: &[u8]) -> Option<&[u8]> {
        self.text
            .split(u8::is_ascii_whitespace)
            .find_map(|word| word.strip_prefix(prefix))
    }
}
