// SPDX-License-Identifier: GPL-2.0

//! Which processes hold which dma-bufs, at one moment.

use crate::{process, task};
use kernel::prelude::*;

/// A process that holds a dma-buf.
pub(crate) struct Holder {
    inode: u64,
    /// Its number.
    pub(crate) process: i32,
    /// Its name.
    pub(crate) name: task::Name,
    /// How many file descriptors it has for the dma-buf.
    pub(crate) descriptors: usize,
    /// How many mappings.
    pub(crate) mappings: usize,
}

/// All holders, by what they hold.
pub(crate) struct Holders(KVec<Holder>);

impl Holders {
    /// Looks at all processes. Threads with file descriptors of their own are not looked at.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn now() -> Result<Self> {
        let mut all: KVec<Holder> = KVec::new();
        process::try_for_each(|process| {
            let first = all.len();
            let mut result = Ok(());
            let mut hold = |inode, descriptors, mappings| {
                let own = all.iter_mut().skip(first);
                if let Some(holder) = own.into_iter().find(|holder| holder.inode == inode) {
                    holder.descriptors += descriptors;
                    holder.mappings += mappings;
                    return;
                }
                let holder = Holder {
                    inode,
                    process: process.number,
                    name: process.name(),
                    descriptors,
                    mappings,
                };
                if all.push(holder, GFP_ATOMIC).is_err() {
                    result = Err(ENOMEM);
                }
            };
            process.for_each_descriptor(|inode| hold(inode, 1, 0));
            process.for_each_mapping(|inode| hold(inode, 0, 1));
            result
        })?;
        all.sort_unstable_by_key(|holder| (holder.inode, holder.process));
        Ok(Self(all))
    }

    /// The holders of one dma-buf.
    pub(crate) fn of(&self, inode: u64) -> impl Iterator<Item = &Holder> {
        let first = self.0.partition_point(|holder| holder.inode < inode);
        self.0
            .iter()
            .skip(first)
            .take_while(move |holder| holder.inode == inode)
    }
}
