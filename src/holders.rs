// SPDX-License-Identifier: GPL-2.0

//! Which processes hold which dma-bufs, at one moment.

use crate::abstractions::{
    process::{
        self,
        Process, //
    },
    task, //
};
use kernel::prelude::*;

/// No entry.
const NONE: u32 = u32::MAX;

/// A file descriptor or a mapping, and whose it is.
#[derive(Clone, Copy)]
struct Entry {
    /// The dma-buf's inode number.
    inode: u64,
    /// The process, as an index.
    process: u32,
    /// A mapping; if not, a descriptor.
    mapping: bool,
    /// The next entry of this bucket, as an index.
    next: u32,
}

/// A process that holds a dma-buf.
pub(crate) struct Holder {
    /// Its number.
    pub(crate) process: i32,
    /// The name of its first thread.
    pub(crate) name: task::Name,
    /// How many file descriptors it has for the dma-buf.
    pub(crate) descriptors: u32,
    /// How many mappings.
    pub(crate) mappings: u32,
}

/// All holders.
pub(crate) struct Holders {
    /// In the order of the processes.
    entries: KVVec<Entry>,
    /// The first entry of each bucket, as an index: entries by inode number. A power of two, or
    /// none.
    buckets: KVVec<u32>,
    /// Their numbers, ascending, and their names.
    processes: KVVec<(i32, task::Name)>,
}

impl Holders {
    /// Looks at all processes. Threads with file descriptors of their own are not looked at.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn now() -> Result<Self> {
        let mut this = Self {
            entries: KVVec::new(),
            buckets: KVVec::new(),
            processes: KVVec::new(),
        };
        process::try_for_each(|process| this.add(process))?;
        this.sort()?;
        Ok(this)
    }

    fn add(&mut self, process: &Process) -> Result {
        let before = self.entries.len();
        let index = u32::try_from(self.processes.len()).map_err(|_| ENOMEM)?;
        loop {
            let mut found = 0usize;
            let mut enter = |inode, mapping| {
                found = found.saturating_add(1);
                // What there is no room for is counted: no memory can be had here.
                let _ = self.entries.push_within_capacity(Entry {
                    inode,
                    process: index,
                    mapping,
                    next: NONE,
                });
            };
            process.for_each_descriptor(|inode| enter(inode, false));
            process.for_each_mapping(|inode| enter(inode, true));
            if found == 0 {
                return Ok(());
            }
            if self.entries.len() - before == found {
                break;
            }
            self.entries.truncate(before);
            self.entries.reserve(found, GFP_KERNEL)?;
        }
        self.processes
            .push((process.number, process.name()), GFP_KERNEL)?;
        Ok(())
    }

    /// Puts the entries into buckets, as many as there are entries.
    fn sort(&mut self) -> Result {
        if self.entries.is_empty() {
            return Ok(());
        }
        let count = self
            .entries
            .len()
            .checked_next_power_of_two()
            .ok_or(ENOMEM)?;
        self.buckets.resize(count, NONE, GFP_KERNEL)?;
        // From the last one, as each becomes the first of its bucket.
        for (index, entry) in self.entries.iter_mut().enumerate().rev() {
            if let Some(first) = self.buckets.get_mut(entry.inode as usize & (count - 1)) {
                entry.next = *first;
                *first = u32::try_from(index).map_err(|_| ENOMEM)?;
            }
        }
        Ok(())
    }

    /// The entries of the dma-buf with this inode number, in the order of the processes.
    fn entries(&self, inode: u64) -> impl Iterator<Item = &Entry> {
        let bucket = inode as usize & self.buckets.len().wrapping_sub(1);
        let mut next = self.buckets.get(bucket).copied();
        core::iter::from_fn(move || {
            let entry = self.entries.get(next? as usize)?;
            next = Some(entry.next);
            Some(entry)
        })
        .filter(move |entry| entry.inode == inode)
    }

    /// The holders of the dma-buf with this inode number, in the order of their numbers.
    pub(crate) fn of(&self, inode: u64) -> impl Iterator<Item = Holder> + '_ {
        let mut entries = self.entries(inode).peekable();
        core::iter::from_fn(move || {
            let process = entries.peek()?.process;
            let (mut descriptors, mut mappings) = (0u32, 0u32);
            while let Some(entry) = entries.next_if(|entry| entry.process == process) {
                let count = if entry.mapping {
                    &mut mappings
                } else {
                    &mut descriptors
                };
                *count = count.saturating_add(1);
            }
            let &(process, name) = self.processes.get(process as usize)?;
            Some(Holder {
                process,
                name,
                descriptors,
                mappings,
            })
        })
    }
}
