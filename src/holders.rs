// SPDX-License-Identifier: GPL-2.0

//! Which processes hold which dma-bufs, at one moment.

use crate::{
    process::{self, Process},
    task,
};
use kernel::{prelude::*, rbtree::RBTree};

/// How a process holds a dma-buf.
#[derive(Clone, Copy)]
pub(crate) struct Hold {
    /// How many file descriptors it has for the dma-buf.
    pub(crate) descriptors: u32,
    /// How many mappings.
    pub(crate) mappings: u32,
}

/// A process that holds a dma-buf.
pub(crate) struct Holder {
    /// Its number.
    pub(crate) process: i32,
    /// The name of its first thread.
    pub(crate) name: task::Name,
    /// How it does that.
    pub(crate) hold: Hold,
}

/// All holders.
pub(crate) struct Holders {
    /// By the dma-buf's inode number and the process's number.
    holds: RBTree<(u64, i32), Hold>,
    /// The names of the processes, by their numbers.
    names: RBTree<i32, task::Name>,
}

impl Holders {
    /// Looks at all processes. Threads with file descriptors of their own are not looked at.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn now() -> Result<Self> {
        let mut this = Self {
            holds: RBTree::new(),
            names: RBTree::new(),
        };
        process::try_for_each(|process| this.add(process))?;
        Ok(this)
    }

    fn add(&mut self, process: &Process) -> Result {
        let (mut any, mut result) = (false, Ok(()));
        let mut hold = |inode, descriptors, mappings| {
            any = true;
            if let Err(error) = self.hold((inode, process.number), descriptors, mappings) {
                result = Err(error);
            }
        };
        process.for_each_descriptor(|inode| hold(inode, 1, 0));
        process.for_each_mapping(|inode| hold(inode, 0, 1));
        if any {
            self.names
                .try_create_and_insert(process.number, process.name(), GFP_KERNEL)?;
        }
        result
    }

    /// Does not sleep. Fails with `ENOMEM`.
    fn hold(&mut self, key: (u64, i32), descriptors: u32, mappings: u32) -> Result {
        if let Some(hold) = self.holds.get_mut(&key) {
            hold.descriptors = hold.descriptors.saturating_add(descriptors);
            hold.mappings = hold.mappings.saturating_add(mappings);
            return Ok(());
        }
        let hold = Hold {
            descriptors,
            mappings,
        };
        self.holds.try_create_and_insert(key, hold, GFP_ATOMIC)?;
        Ok(())
    }

    /// The first holder of the dma-buf whose number is at least `process`. Calling it again for the next number finds all.
    pub(crate) fn next(&self, inode: u64, process: i32) -> Option<Holder> {
        let cursor = self.holds.cursor_lower_bound(&(inode, process))?;
        let ((found, process), hold) = cursor.current();
        if *found != inode {
            return None;
        }
        Some(Holder {
            process: *process,
            name: self.names.get(process).copied().unwrap_or(task::Name::NONE),
            hold: *hold,
        })
    }
}
