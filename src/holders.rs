// SPDX-License-Identifier: GPL-2.0

//! A snapshot of the processes that hold dma-bufs.

use crate::abstractions::{
    process::{
        self,
        Process, //
    },
    task, //
};
use kernel::prelude::*;

/// The index that stands for no entry.
const NO_ENTRY: u32 = u32::MAX;

/// A reference of a process to a dma-buf.
#[derive(Clone, Copy)]
struct Entry {
    /// The dma-buf's inode number.
    inode: u64,
    /// The process, as an index into [`Holders::processes`].
    process: u32,
    /// True for a mapping, false for a file descriptor.
    mapping: bool,
    /// The next entry of the bucket, as an index into [`Holders::entries`].
    next: u32,
}

/// A process that holds a dma-buf.
pub(crate) struct Holder {
    /// The process ID.
    pub(crate) pid: i32,
    /// The name of the thread group leader.
    pub(crate) name: task::Comm,
    /// The number of file descriptors for the dma-buf.
    pub(crate) descriptors: u32,
    /// The number of mappings of the dma-buf.
    pub(crate) mappings: u32,
}

/// A hash table of all holders, by inode number.
pub(crate) struct Holders {
    /// In the order of `processes`.
    entries: KVVec<Entry>,
    /// The first entry of each bucket, as an index into `entries`. The number of buckets is 0 or a
    /// power of two.
    buckets: KVVec<u32>,
    /// Process IDs, ascending, and names.
    processes: KVVec<(i32, task::Comm)>,
}

impl Holders {
    /// Visits all processes. Ignores threads that do not share the file descriptors of their
    /// process.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINTR` on a fatal signal.
    pub(crate) fn collect() -> Result<Self> {
        let mut this = Self {
            entries: KVVec::new(),
            buckets: KVVec::new(),
            processes: KVVec::new(),
        };
        process::try_for_each(|process| this.add(process))?;
        this.build_buckets()?;
        Ok(this)
    }

    fn add(&mut self, process: &Process) -> Result {
        let before = self.entries.len();
        let index = u32::try_from(self.processes.len()).map_err(|_| ENOMEM)?;
        loop {
            let mut found = 0usize;
            let mut add_entry = |inode, mapping| {
                found = found.saturating_add(1);
                // This must not sleep. Entries that exceed the capacity are only counted.
                let _ = self.entries.push_within_capacity(Entry {
                    inode,
                    process: index,
                    mapping,
                    next: NO_ENTRY,
                });
            };
            process.for_each_descriptor(|inode| add_entry(inode, false))?;
            process.for_each_mapping(|inode| add_entry(inode, true))?;
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
            .push((process.pid, process.name()), GFP_KERNEL)?;
        Ok(())
    }

    /// Builds the buckets: about one per entry.
    fn build_buckets(&mut self) -> Result {
        if self.entries.is_empty() {
            return Ok(());
        }
        let count = self
            .entries
            .len()
            .checked_next_power_of_two()
            .ok_or(ENOMEM)?;
        self.buckets.resize(count, NO_ENTRY, GFP_KERNEL)?;
        // In reverse order, because each entry becomes the head of its bucket.
        for (index, entry) in self.entries.iter_mut().enumerate().rev() {
            if let Some(first) = self.buckets.get_mut(entry.inode as usize & (count - 1)) {
                entry.next = *first;
                *first = u32::try_from(index).map_err(|_| ENOMEM)?;
            }
        }
        Ok(())
    }

    /// Returns the entries of the dma-buf with this inode number, in the order of the processes.
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

    /// Returns the holders of the dma-buf with this inode number, by ascending process ID.
    pub(crate) fn of_dma_buf(&self, inode: u64) -> impl Iterator<Item = Holder> + '_ {
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
            let &(pid, name) = self.processes.get(process as usize)?;
            Some(Holder {
                pid,
                name,
                descriptors,
                mappings,
            })
        })
    }
}
