// SPDX-License-Identifier: GPL-2.0

//! A red-black tree of records, by descending inode number.
//!
//! A record is stored in a [`Slot`]: in the exporter's data of a dma-buf of this module, otherwise
//! in an allocation of its own. The tree allocates nothing. A new dma-buf nearly always has the
//! highest inode number, so the leftmost node is cached and such an insertion needs no search.
//!
//! # Locks
//!
//! The caller holds `all_buffers::RECORDS` for all accesses to the tree and to the records.
//!
//! C header: [`include/linux/rbtree.h`](srctree/include/linux/rbtree.h)

use super::Origin;
use crate::abstractions::{
    dma_buf::DmaBuf,
    exporter::{
        Extra,
        ExtraKey, //
    }, //
};
use core::{
    cell::UnsafeCell,
    cmp::Ordering,
    mem::{
        offset_of,
        MaybeUninit, //
    },
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The record of a dma-buf.
///
/// # Invariants
///
/// Neither `dma_buf` nor its file is freed while the record is in a tree.
#[repr(C)]
pub(super) struct Record {
    node: bindings::rb_node,
    inode: u64,
    pub(super) dma_buf: NonNull<bindings::dma_buf>,
    pub(super) size: usize,
    pub(super) origin: Option<Origin>,
}

/// The storage of a record.
///
/// # Invariants
///
/// If `used` is true, the record is initialised and in the tree. Both fields change only under the
/// tree's lock.
#[repr(C)]
pub(crate) struct Slot {
    record: UnsafeCell<MaybeUninit<Record>>,
    used: Atomic<bool>,
}

// SAFETY: The record is only accessed under the tree's lock.
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
        // INVARIANT: The slot is not used.
        Self {
            record: UnsafeCell::new(MaybeUninit::uninit()),
            used: Atomic::new(false),
        }
    }

    /// Returns whether the slot has a record.
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }
}

// The conversions between pointers to nodes, records and slots rely on this.
static_assert!(offset_of!(Record, node) == 0);
static_assert!(offset_of!(Slot, record) == 0);

/// The tree, and the total size of its dma-bufs.
///
/// # Invariants
///
/// The nodes below `root` are those of initialised records, each in a used slot that is not moved.
/// `newest` is the leftmost node, or null if the tree is empty. `bytes` is the sum of the records'
/// sizes.
pub(super) struct Records {
    root: bindings::rb_root,
    newest: *mut bindings::rb_node,
    pub(super) bytes: u64,
    /// The largest value of `bytes` since the last reset.
    pub(super) peak: u64,
}

// SAFETY: Any thread may insert and remove records.
unsafe impl Send for Records {}

/// Returns the record of `node`.
///
/// # Safety
///
/// `node` must be in the tree, and the tree's lock must be held for `'a`.
unsafe fn record<'a>(node: *mut bindings::rb_node) -> &'a Record {
    // SAFETY: The node is the first field of the record, which is valid while it is in the tree.
    unsafe { &*node.cast() }
}

impl Records {
    /// Creates an empty tree.
    pub(super) const fn new() -> Self {
        // INVARIANT: The tree has no nodes.
        Self {
            root: bindings::rb_root {
                rb_node: ptr::null_mut(),
            },
            newest: ptr::null_mut(),
            bytes: 0,
            peak: 0,
        }
    }

    /// Inserts a record of `dma_buf` in `slot`, unless there is one already. Returns whether the
    /// slot is used afterwards.
    ///
    /// # Safety
    ///
    /// The slot must be valid and not be moved until the record is removed. The record must be
    /// removed before the dma-buf's file, and then the dma-buf, is freed.
    pub(super) unsafe fn insert(
        &mut self,
        slot: NonNull<Slot>,
        dma_buf: &DmaBuf,
        origin: Option<Origin>,
    ) -> bool {
        let inode = dma_buf.inode();
        // SAFETY: The caller promises that the slot is valid.
        let slot = unsafe { slot.as_ref() };
        if slot.is_used() {
            return true;
        }
        let Some((parent, link)) = self.find_link(inode) else {
            return false;
        };
        let node: *mut bindings::rb_node = slot.record.get().cast();
        // INVARIANT: The record is initialised here. The caller promises that it is removed before
        // the dma-buf is freed.
        // SAFETY: The slot is not used, and `find_link()` returns a null link of the tree.
        unsafe {
            (*slot.record.get()).write(Record {
                node: pin_init::zeroed(),
                inode,
                dma_buf: NonNull::from(dma_buf).cast(),
                size: dma_buf.size(),
                origin,
            });
            bindings::rb_link_node(node, parent, link);
            bindings::rb_insert_color(node, &mut self.root);
        }
        // INVARIANT: The left child of the leftmost node is the new leftmost one.
        if parent == self.newest && (parent.is_null() || inode > self.inode_of(parent)) {
            self.newest = node;
        }
        slot.used.store(true, Relaxed);
        self.bytes = self.bytes.saturating_add(dma_buf.size() as u64);
        self.peak = self.peak.max(self.bytes);
        true
    }

    fn inode_of(&self, node: *mut bindings::rb_node) -> u64 {
        // SAFETY: This is only called for nodes of this tree. The lock is held, because there is a
        // reference to the tree.
        unsafe { record(node) }.inode
    }

    /// Returns the parent node and the null link for a new record of `inode`, or `None` if there is
    /// a record already.
    fn find_link(
        &mut self,
        inode: u64,
    ) -> Option<(*mut bindings::rb_node, *mut *mut bindings::rb_node)> {
        if !self.newest.is_null() && inode > self.inode_of(self.newest) {
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
            link = match self.inode_of(node).cmp(&inode) {
                Ordering::Less => left,
                Ordering::Greater => right,
                Ordering::Equal => return None,
            };
        }
    }

    /// Returns the newest record whose inode number is at most `inode`.
    pub(super) fn at_most(&self, inode: u64) -> Option<&Record> {
        let (mut node, mut found) = (self.root.rb_node, None);
        while !node.is_null() {
            // SAFETY: This is a node of the tree. The lock is held, because there is a reference to
            // the tree.
            let (current, left, right) =
                unsafe { (record(node), (*node).rb_left, (*node).rb_right) };
            if current.inode <= inode {
                found = Some(current);
                node = left;
            } else {
                node = right;
            }
        }
        found
    }

    /// Returns the next older record than `newer`, which must be in the tree.
    pub(super) fn older(&self, newer: &Record) -> Option<&Record> {
        // SAFETY: The node is in the tree. The lock is held, because there is a reference to the
        // tree.
        unsafe {
            let next = bindings::rb_next(&newer.node);
            (!next.is_null()).then(|| record(next))
        }
    }

    /// Removes the record in `slot`, if there is one.
    pub(super) fn remove(&mut self, slot: &Slot) {
        if !slot.is_used() {
            return;
        }
        let node: *mut bindings::rb_node = slot.record.get().cast();
        // SAFETY: By the slot's invariant its record is in the tree, whose lock is held.
        unsafe {
            if self.newest == node {
                // INVARIANT: The successor becomes the leftmost node.
                self.newest = bindings::rb_next(node);
            }
            self.bytes = self.bytes.saturating_sub(record(node).size as u64);
            bindings::rb_erase(node, &mut self.root);
        }
        slot.used.store(false, Relaxed);
    }

    /// Returns the slot of the newest record.
    pub(super) fn newest_slot(&self) -> Option<NonNull<Slot>> {
        NonNull::new(self.newest.cast())
    }

    /// Returns the slot of the record of `inode`.
    pub(super) fn slot_of(&self, inode: u64) -> Option<NonNull<Slot>> {
        let found = self.at_most(inode).filter(|found| found.inode == inode)?;
        // A record is the first field of its slot.
        Some(NonNull::from(found).cast())
    }
}
