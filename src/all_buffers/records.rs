// SPDX-License-Identifier: GPL-2.0

//! The records of other exporters' dma-bufs, and those whose dma-buf does not exist any more.
//!
//! # Life of a record
//!
//! A record holds a reference to the dma-buf's inode, so it is valid whatever becomes of the
//! dma-buf. It is stored in a node of a second tree, by address. The node is moved to the dead ones
//! when the release is reported, or after the inode was found without its dma-buf by
//! [`Records::sweep`]. Dropping the inode may sleep, so [`Records::take_dead`] hands the dead ones
//! out one by one.
//!
//! # Locks
//!
//! The caller holds `all_buffers::RECORDS` for all accesses to these records.

pub(super) mod own;
#[cfg(CONFIG_KUNIT)]
mod tests;
pub(super) mod totals;
mod tree;

pub(crate) use tree::OwnSlot;
use tree::{
    Slot,
    Tree, //
};

use super::Origin;
use crate::abstractions::{
    background::DelayedWork,
    dma_buf::{
        DmaBuf,
        Inode,
        UncountedDmaBuf, //
    }, //
};
use core::{
    cell::Cell,
    num::NonZeroU32, //
};
use kernel::{
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::Arc,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// The time after which a release counts as missed, in milliseconds.
const RELEASE_TIMEOUT_MS: i64 = 1000;

/// The order of the records of other exporters' dma-bufs: by address, then newest first.
///
/// The address of a dma-buf whose release was missed may be that of a later one too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    address: usize,
    inverted_number: u64,
}

impl Key {
    pub(super) const FIRST: Self = Self {
        address: 0,
        inverted_number: 0,
    };

    pub(super) fn new(dma_buf: &DmaBuf) -> Self {
        Self {
            address: dma_buf.as_raw() as usize,
            inverted_number: !dma_buf.inode(),
        }
    }

    /// Returns the first key that a dma-buf with the address of `dma_buf` may have.
    fn first_of(dma_buf: &UncountedDmaBuf) -> Self {
        Self {
            address: dma_buf.as_raw() as usize,
            inverted_number: 0,
        }
    }

    /// Returns the next key in order.
    fn next(self) -> Self {
        Self {
            inverted_number: self.inverted_number.saturating_add(1),
            ..self
        }
    }
}

/// The storage of a record of another exporter's dma-buf.
pub(super) struct Other {
    slot: Slot<Inode>,
    /// When [`Records::sweep`] found that the dma-buf does not exist any more. Its size is not
    /// counted from then on.
    dead_since: Cell<Option<Instant<Monotonic>>>,
}

impl Other {
    /// Creates storage without a record.
    pub(super) const fn new() -> Self {
        Self {
            slot: Slot::new(),
            dead_since: Cell::new(None),
        }
    }
}

/// The records of other exporters' dma-bufs.
///
/// # Invariants
///
/// Each slot in `tree` is one of `others`. [`totals`] count the records of `tree`, except those
/// whose `dead_since` is `Some`.
pub(super) struct Records {
    tree: Tree<Inode>,
    others: RBTree<Key, Other>,
    /// Records that are not in `tree` any more.
    dead: RBTree<Key, Other>,
    /// Where the next insertion continues to sweep.
    sweep_from: Key,
    /// Drops the dead records.
    pub(super) burial: Arc<DelayedWork>,
}

// The nodes of all trees are allocated apart or in slots of others, and do not move with this
// value. No node refers to it.
impl Unpin for Records {}

impl Records {
    /// Creates records of no dma-buf.
    pub(super) fn new(burial: Arc<DelayedWork>) -> Self {
        // INVARIANT: The trees have no nodes.
        Self {
            tree: Tree::new(NonZeroU32::MIN),
            others: RBTree::new(),
            dead: RBTree::new(),
            sweep_from: Key::FIRST,
            burial,
        }
    }

    /// Inserts a record of a dma-buf of another exporter with the storage of `node`. Returns the
    /// node, unused, if there is a record already.
    pub(super) fn insert_other(
        &mut self,
        node: RBTreeNode<Key, Other>,
        dma_buf: &DmaBuf,
        origin: Option<Origin>,
    ) -> Option<RBTreeNode<Key, Other>> {
        let key = Key::new(dma_buf);
        if self.others.get(&key).is_some() {
            return Some(node);
        }
        self.others.insert(node);
        if let Some(other) = self.others.get(&key) {
            // SAFETY: The tree of others neither moves nor frees a slot before it is removed, and
            // `bury()` removes the record first.
            let is_new = unsafe {
                self.tree
                    .insert(&other.slot, dma_buf, DmaBuf::inode_ref, origin)
            };
            if is_new {
                totals::add(dma_buf.size());
            }
        }
        None
    }

    /// Removes the record of a dma-buf of another exporter that is being released, if there is one.
    /// Returns whether there are dead records.
    pub(super) fn released_other(&mut self, dma_buf: &UncountedDmaBuf) -> bool {
        let first = Key::first_of(dma_buf);
        let found = self.others.cursor_lower_bound(&first);
        let key = found.map(|cursor| *cursor.current().0);
        if let Some(key) = key.filter(|key| key.address == first.address) {
            self.bury(key);
        }
        !self.dead.is_empty()
    }

    /// Removes the record of `key` and moves it to the dead ones.
    fn bury(&mut self, key: Key) {
        if let Some(other) = self.others.get(&key) {
            let is_counted = other.dead_since.get().is_none();
            if let Some(bytes) = self.tree.remove(&other.slot).filter(|_| is_counted) {
                totals::subtract(bytes);
            }
        }
        if let Some(node) = self.others.remove_node(&key) {
            // No other node has the key, which contains the number of the inode.
            self.dead.insert(node);
        }
    }

    /// Removes a dead record, to be dropped without the lock.
    pub(super) fn take_dead(&mut self) -> Option<RBTreeNode<Key, Other>> {
        let (_, node) = self.dead.cursor_front_mut()?.remove_current();
        Some(node)
    }

    /// Looks at `count` records of other exporters' dma-bufs from `from` on, and stops counting
    /// those whose dma-buf does not exist any more. If its release is not reported either, buries
    /// the record at a later call.
    ///
    /// Returns where to continue, or `None` after the last record.
    pub(super) fn sweep(&mut self, from: Key, count: usize) -> Option<Key> {
        let mut from = from;
        for _ in 0..count {
            let cursor = self.others.cursor_lower_bound(&from)?;
            let (&key, other) = cursor.current();
            from = key.next();
            let Some(record) = self.tree.record_in(&other.slot) else {
                continue;
            };
            if record.reference.has_dma_buf() {
                continue;
            }
            match other.dead_since.get() {
                None => {
                    // INVARIANT: The record is dead and is not counted any more.
                    totals::subtract(record.size);
                    other.dead_since.set(Some(Instant::now()));
                }
                Some(since) if since.elapsed().as_millis() >= RELEASE_TIMEOUT_MS => {
                    totals::set_peak_stale();
                    self.bury(key);
                }
                Some(_) => {}
            }
        }
        Some(from)
    }

    /// Sweeps the next records, so that the number of dead ones is bounded whatever is missed.
    /// Returns whether there are dead records to take.
    pub(super) fn sweep_some(&mut self) -> bool {
        self.sweep_from = self.sweep(self.sweep_from, 2).unwrap_or(Key::FIRST);
        !self.dead.is_empty()
    }

    /// Returns the number of the newest record whose inode number is at most `number`. Looks at one
    /// record: the caller holds a spin lock.
    pub(super) fn newest_up_to(&self, number: u64) -> Option<u64> {
        self.tree.at_most(number).map(|(found, _)| found)
    }

    /// Returns the inode and the origin of the record with the inode number `number`.
    pub(super) fn get(&self, number: u64) -> Option<(Inode, Option<Origin>)> {
        let (found, record) = self.tree.at_most(number)?;
        (found == number).then(|| (record.reference.clone(), record.origin))
    }
}
