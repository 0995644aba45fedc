// SPDX-License-Identifier: GPL-2.0

//! Two red-black trees of records: all of them by descending inode number, and those of other
//! exporters' dma-bufs by address.
//!
//! A record is stored in a [`Slot`]: in the exporter's data of a dma-buf of this module, otherwise
//! in a node of the second tree. The first tree allocates nothing. A new dma-buf nearly always has
//! the highest inode number, so its leftmost node is cached and such an insertion needs no search.
//!
//! # Life of a record
//!
//! A record holds a reference to the dma-buf's inode, so it is valid whatever becomes of the
//! dma-buf. That of another exporter's dma-buf is moved to the tree of dead ones when the release
//! is reported, or after the inode was found without its dma-buf by [`Records::sweep`]. Dropping
//! the inode may sleep, so [`Records::take_dead`] hands the dead ones out one by one.
//!
//! # Locks
//!
//! The caller holds `all_buffers::RECORDS` for all accesses to the trees and to the records.
//!
//! C header: [`include/linux/rbtree.h`](srctree/include/linux/rbtree.h)

use super::Origin;
use crate::abstractions::{
    background::DelayedWork,
    dma_buf::{
        DmaBuf,
        Inode,
        UncountedDmaBuf, //
    },
    exporter::{
        Extra,
        ExtraKey, //
    }, //
};
use core::{
    cell::UnsafeCell,
    cmp::Ordering,
    ptr, //
};
use kernel::{
    bindings,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        Instant,
        Monotonic, //
    },
    types::Opaque, //
};

/// The time after which a release counts as missed, in milliseconds.
const RELEASE_TIMEOUT_MS: i64 = 1000;

/// The record of a dma-buf.
pub(super) struct Record {
    pub(super) inode: Inode,
    pub(super) origin: Option<Origin>,
    size: usize,
    /// When [`Records::sweep`] found that the dma-buf does not exist any more. Its size is not
    /// counted from then on.
    dead_since: Option<Instant<Monotonic>>,
}

/// The storage of a record.
///
/// # Invariants
///
/// If `linked` is true, `node` is in the tree of a [`Records`], and `record` is `Some`. All fields
/// change only under the tree's lock, and `record` becomes `None` never again.
pub(crate) struct Slot {
    node: Opaque<bindings::rb_node>,
    /// The inode number of the record, beside the node for searches.
    number: UnsafeCell<u64>,
    record: UnsafeCell<Option<Record>>,
    linked: Atomic<bool>,
}

// SAFETY: The record is only accessed under the tree's lock, or by the owner of the slot.
unsafe impl Send for Slot {}
// SAFETY: As above.
unsafe impl Sync for Slot {}

/// Identifies [`Slot`] among what exporters keep with a dma-buf.
static SLOT_KEY: ExtraKey = ExtraKey::new();

// SAFETY: No other type uses this key.
unsafe impl Extra for Slot {
    const KEY: &'static ExtraKey = &SLOT_KEY;
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

impl Slot {
    /// Creates a slot without a record.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The slot is not linked.
        Self {
            node: Opaque::zeroed(),
            number: UnsafeCell::new(0),
            record: UnsafeCell::new(None),
            linked: Atomic::new(false),
        }
    }

    /// Returns whether the record is in a tree.
    pub(super) fn is_linked(&self) -> bool {
        self.linked.load(Relaxed)
    }

    /// Returns the node. The pointer may be converted to one to the slot.
    fn as_node(&self) -> *mut bindings::rb_node {
        let this: *const Self = self;
        // SAFETY: The field is inside the slot. The access goes through a pointer to the whole
        // slot, so that its provenance covers the slot.
        Opaque::cast_into(unsafe { &raw const (*this).node })
    }

    /// Returns the slot of `node`.
    ///
    /// # Safety
    ///
    /// `node` must be a result of [`Slot::as_node`] and be linked during `'a`.
    unsafe fn from_node<'a>(node: *mut bindings::rb_node) -> &'a Self {
        let node: *mut Opaque<bindings::rb_node> = node.cast();
        // SAFETY: By the safety requirements this is the field of a slot, which is valid while it
        // is linked.
        unsafe { &*kernel::container_of!(node, Self, node) }
    }
}

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

/// The trees, and the total size of their dma-bufs.
///
/// # Invariants
///
/// The nodes below `root` are those of linked slots, none of which is moved or freed while it is
/// linked: slots of this module's dma-bufs, and all of `others`. `newest` is the leftmost node, or
/// null if the tree is empty. `bytes` is the sum of the sizes of the records whose `dead_since` is
/// `None`.
pub(super) struct Records {
    root: bindings::rb_root,
    newest: *mut bindings::rb_node,
    /// The records of other exporters' dma-bufs.
    others: RBTree<Key, Slot>,
    /// Records that are not linked any more.
    dead: RBTree<Key, Slot>,
    /// Where the next insertion continues to sweep.
    sweep_from: Key,
    pub(super) bytes: u64,
    /// The largest value of `bytes` since the last reset.
    pub(super) peak: u64,
    /// Whether `peak` is wrong, because events were missed since the last reset.
    pub(super) peak_is_stale: bool,
    /// Drops the dead records.
    pub(super) burial: Arc<DelayedWork>,
}

// SAFETY: Any thread may insert and remove records.
unsafe impl Send for Records {}

// The nodes are in slots, which do not move with this value, and no node refers to it.
impl Unpin for Records {}

impl Records {
    /// Creates empty trees.
    pub(super) fn new(burial: Arc<DelayedWork>) -> Self {
        // INVARIANT: The trees have no nodes.
        Self {
            root: bindings::rb_root {
                rb_node: ptr::null_mut(),
            },
            newest: ptr::null_mut(),
            others: RBTree::new(),
            dead: RBTree::new(),
            sweep_from: Key::FIRST,
            bytes: 0,
            peak: 0,
            peak_is_stale: false,
            burial,
        }
    }

    /// Inserts a record of a dma-buf of another exporter with the storage of `node`. Returns the
    /// node, unused, if there is a record already.
    pub(super) fn insert_other(
        &mut self,
        node: RBTreeNode<Key, Slot>,
        dma_buf: &DmaBuf,
        origin: Option<Origin>,
    ) -> Option<RBTreeNode<Key, Slot>> {
        let key = Key::new(dma_buf);
        if self.others.get(&key).is_some() {
            return Some(node);
        }
        self.others.insert(node);
        if let Some(slot) = self.others.get(&key) {
            let slot: *const Slot = slot;
            // SAFETY: The tree neither moves nor frees a slot before it is removed, and `bury()`
            // unlinks it first.
            unsafe { self.insert(&*slot, dma_buf, origin) };
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

    /// Unlinks the record of `key` and moves it to the dead ones.
    fn bury(&mut self, key: Key) {
        if let Some(slot) = self.others.get(&key) {
            let slot: *const Slot = slot;
            // SAFETY: The slot is valid, as it is in the tree.
            self.remove(unsafe { &*slot });
        }
        if let Some(node) = self.others.remove_node(&key) {
            // No other node has the key, which contains the number of the inode.
            self.dead.insert(node);
        }
    }

    /// Removes a dead record, to be dropped without the lock.
    pub(super) fn take_dead(&mut self) -> Option<RBTreeNode<Key, Slot>> {
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
            let (key, slot) = cursor.current();
            let key = *key;
            from = key.next();
            // SAFETY: The lock is held, as there is an exclusive reference to the trees, and no
            // other reference to the record exists.
            let Some(record) = (unsafe { &mut *slot.record.get() }) else {
                continue;
            };
            if record.inode.has_dma_buf() {
                continue;
            }
            match record.dead_since {
                None => {
                    record.dead_since = Some(Instant::now());
                    // INVARIANT: The record is dead and is not counted any more.
                    self.bytes = self.bytes.saturating_sub(record.size as u64);
                }
                Some(since) if since.elapsed().as_millis() >= RELEASE_TIMEOUT_MS => {
                    self.peak_is_stale = true;
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

    /// Inserts a record of `dma_buf` in `slot`, unless there is one already.
    ///
    /// # Safety
    ///
    /// The slot must be neither moved nor freed before [`Records::remove`] is called with it, or
    /// these records are dropped.
    pub(super) unsafe fn insert(&mut self, slot: &Slot, dma_buf: &DmaBuf, origin: Option<Origin>) {
        let number = dma_buf.inode();
        if slot.is_linked() {
            return;
        }
        let Some((parent, link)) = self.find_link(number) else {
            return;
        };
        let node = slot.as_node();
        // INVARIANT: The slot gets its record and is linked. It stays by the safety requirements.
        // SAFETY: The slot is not linked, and its record is accessed by its owner only.
        // `find_link()` returns a null link of the tree.
        unsafe {
            *slot.number.get() = number;
            *slot.record.get() = Some(Record {
                inode: dma_buf.inode_ref(),
                origin,
                size: dma_buf.size(),
                dead_since: None,
            });
            bindings::rb_link_node(node, parent, link);
            bindings::rb_insert_color(node, &mut self.root);
        }
        // INVARIANT: The left child of the leftmost node is the new leftmost one.
        if parent == self.newest && (parent.is_null() || number > self.number_of(parent)) {
            self.newest = node;
        }
        slot.linked.store(true, Relaxed);
        self.bytes = self.bytes.saturating_add(dma_buf.size() as u64);
        self.peak = self.peak.max(self.bytes);
    }

    /// Returns the record of `node`, which must be in the tree.
    ///
    /// # Safety
    ///
    /// `node` must be in the tree.
    unsafe fn record(&self, node: *mut bindings::rb_node) -> Option<&Record> {
        // SAFETY: By the safety requirements the node is that of a linked slot. The lock is held,
        // as there is a reference to the trees.
        unsafe { (*Slot::from_node(node).record.get()).as_ref() }
    }

    #[inline]
    fn number_of(&self, node: *mut bindings::rb_node) -> u64 {
        // SAFETY: This is only called for nodes of this tree, which are those of linked slots. The
        // lock is held, as there is a reference to the trees.
        unsafe { *Slot::from_node(node).number.get() }
    }

    /// Returns the parent node and the null link for a new record of the inode with `number`, or
    /// `None` if there is a record already.
    fn find_link(
        &mut self,
        number: u64,
    ) -> Option<(*mut bindings::rb_node, *mut *mut bindings::rb_node)> {
        if !self.newest.is_null() && number > self.number_of(self.newest) {
            // SAFETY: By the type's invariant the node is in the tree and has no left child.
            return Some((self.newest, unsafe { &raw mut (*self.newest).rb_left }));
        }
        let (mut parent, mut link) = (ptr::null_mut(), &raw mut self.root.rb_node);
        loop {
            // SAFETY: This is a link of the tree: null, or a pointer to one of its nodes.
            let node = unsafe { *link };
            if node.is_null() {
                return Some((parent, link));
            }
            parent = node;
            // SAFETY: This is a node of the tree.
            let (left, right) = unsafe { (&raw mut (*node).rb_left, &raw mut (*node).rb_right) };
            link = match self.number_of(node).cmp(&number) {
                Ordering::Less => left,
                Ordering::Greater => right,
                Ordering::Equal => return None,
            };
        }
    }

    /// Returns the newest record whose inode number is at most `number`, and its number.
    pub(super) fn at_most(&self, number: u64) -> Option<(u64, &Record)> {
        let (mut node, mut found) = (self.root.rb_node, ptr::null_mut());
        while !node.is_null() {
            // SAFETY: This is a node of the tree.
            let (left, right) = unsafe { ((*node).rb_left, (*node).rb_right) };
            if self.number_of(node) <= number {
                found = node;
                node = left;
            } else {
                node = right;
            }
        }
        if found.is_null() {
            return None;
        }
        // SAFETY: This is a node of the tree.
        Some((self.number_of(found), unsafe { self.record(found) }?))
    }

    /// Removes the record in `slot`, if it is linked. The slot keeps the inode.
    pub(super) fn remove(&mut self, slot: &Slot) {
        if !slot.is_linked() {
            return;
        }
        let node = slot.as_node();
        // SAFETY: By the slot's invariant its node is in the tree, whose lock is held.
        unsafe {
            if self.newest == node {
                // INVARIANT: The successor becomes the leftmost node.
                self.newest = bindings::rb_next(node);
            }
            if let Some(record) = self.record(node).filter(|found| found.dead_since.is_none()) {
                self.bytes = self.bytes.saturating_sub(record.size as u64);
            }
            bindings::rb_erase(node, &mut self.root);
        }
        slot.linked.store(false, Relaxed);
    }
}
