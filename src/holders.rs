// SPDX-License-Identifier: GPL-2.0

//! Which processes hold which dma-bufs, at one moment.

use crate::{process, task};
use kernel::prelude::*;

/// A process that holds a dma-buf.
pub(crate) struct Holder {
    inode: u64,
    /// Its number.
    pub(crate) process: i32,
    /// How many file descriptors it has for the dma-buf.
    pub(crate) descriptors: u32,
    /// How many mappings.
    pub(crate) mappings: u32,
}

/// All holders.
pub(crate) struct Holders {
    /// By what they hold, each process once.
    all: KVec<Holder>,
    /// The names of those processes, by their numbers.
    names: KVec<(i32, task::Name)>,
}

impl Holders {
    /// Looks at all processes. Threads with file descriptors of their own are not looked at.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn now() -> Result<Self> {
        let mut found: KVec<Holder> = KVec::new();
        let mut names = KVec::new();
        process::try_for_each(|process| {
            let before = found.len();
            let mut result = Ok(());
            let mut hold = |inode, descriptors, mappings| {
                let holder = Holder {
                    inode,
                    process: process.number,
                    descriptors,
                    mappings,
                };
                if found.push(holder, GFP_ATOMIC).is_err() {
                    result = Err(ENOMEM);
                }
            };
            process.for_each_descriptor(|inode| hold(inode, 1, 0));
            process.for_each_mapping(|inode| hold(inode, 0, 1));
            result?;
            if found.len() > before {
                names.push((process.number, process.name()), GFP_KERNEL)?;
            }
            Ok(())
        })?;
        found.sort_unstable_by_key(|holder| (holder.inode, holder.process));
        let mut all: KVec<Holder> = KVec::with_capacity(found.len(), GFP_KERNEL)?;
        for holder in found {
            match all.last_mut() {
                Some(last) if (last.inode, last.process) == (holder.inode, holder.process) => {
                    last.descriptors = last.descriptors.saturating_add(holder.descriptors);
                    last.mappings = last.mappings.saturating_add(holder.mappings);
                }
                _ => all.push(holder, GFP_KERNEL)?,
            }
        }
        Ok(Self { all, names })
    }

    /// The holders of one dma-buf.
    pub(crate) fn of(&self, inode: u64) -> impl Iterator<Item = &Holder> {
        let first = self.all.partition_point(|holder| holder.inode < inode);
        self.all
            .get(first..)
            .unwrap_or_default()
            .iter()
            .take_while(move |holder| holder.inode == inode)
    }

    /// The name of a holder's first thread.
    pub(crate) fn name(&self, holder: &Holder) -> task::Name {
        self.names
            .binary_search_by_key(&holder.process, |(number, _)| *number)
            .ok()
            .and_then(|index| self.names.get(index))
            .map_or(task::Name::NONE, |(_, name)| *name)
    }
}
