// SPDX-License-Identifier: GPL-2.0

//! Records by inode number, newest first.
//!
//! A record lies where its dma-buf's exporter has room for it, or in memory of its own; the tree
//! takes none. The newest dma-buf is nearly always the one that is entered, so that place is known,
//! and to enter one costs the same however many there are.
//!
//! C header: [`include/linux/rbtree.h`](srctree/include/linux/rbtree.h)

use super::Origin;
use crate::abstractions::dma_buf::DmaBuf;
use core::{
    cell::UnsafeCell,
    cmp::Ordering,
    mem::MaybeUninit,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// What is kept of a dma-buf.
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

/// Room for a record.
///
/// # Invariants
///
/// The record is initialised, and in the tree, where `entered` is true; it only changes under the
/// tree's lock.
#[repr(C)]
pub(crate) struct Slot {
    record: UnsafeCell<MaybeUninit<Record>>,
    entered: Atomic<bool>,
}

// SAFETY: The record is only looked at under the tree's lock.
unsafe impl Send for Slot {}
// SAFETY: As above.
unsafe impl Sync for Slot {}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

impl Slot {
    /// Room, without a record in it.
    pub(crate) const fn new() -> Self {
        // INVARIANT: Not entered.
        Self {
            record: UnsafeCell::new(MaybeUninit::uninit()),
            entered: Atomic::new(false),
        }
    }

    /// Whether there is a record in it.
    pub(super) fn is_entered(&self) -> bool {
        self.entered.load(Relaxed)
    }
}

/// The records, and what they sum up to.
///
/// # Invariants
///
/// The nodes below `root` are those of records that are entered, each in a slot that stays where it
/// is; `newest` is the leftmost of them, or null where there is none. `bytes` is the sum of their
/// sizes.
pub(super) struct Records {
    root: bindings::rb_root,
    newest: *mut bindings::rb_node,
    pub(super) bytes: u64,
    /// The largest that `bytes` has been.
    pub(super) peak: u64,
}

// SAFETY: Records may be entered and taken out by any thread.
unsafe impl Send for Records {}

/// The record that `node` belongs to.
///
/// # Safety
///
/// `node` must be that of a record that is entered, and the tree's lock be held for `'a`.
unsafe fn record<'a>(node: *mut bindings::rb_node) -> &'a Record {
    // SAFETY: The node is the first field of the record, which is valid while it is entered.
    unsafe { &*node.cast() }
}

impl Records {
    /// None.
    pub(super) const fn new() -> Self {
        // INVARIANT: There are none.
        Self {
            root: bindings::rb_root {
                rb_node: ptr::null_mut(),
            },
            newest: ptr::null_mut(),
            bytes: 0,
            peak: 0,
        }
    }

    /// Enters `dma_buf` in `slot`, unless it is entered already; returns whether the slot is in use
    /// now.
    ///
    /// # Safety
    ///
    /// The slot must stay where it is until the record was taken out, which must happen before the
    /// dma-buf's file, and then the dma-buf, is freed.
    pub(super) unsafe fn enter(
        &mut self,
        slot: NonNull<Slot>,
        dma_buf: &DmaBuf,
        origin: Option<Origin>,
    ) -> bool {
        let inode = dma_buf.inode();
        // SAFETY: The slot is there, as the caller promises.
        let room = unsafe { slot.as_ref() };
        if room.is_entered() {
            return true;
        }
        let Some((parent, link)) = self.place_for(inode) else {
            return false;
        };
        let node: *mut bindings::rb_node = room.record.get().cast();
        // INVARIANT: As the caller promises, and the record is initialised here.
        // SAFETY: The slot is not in use, and `place_for()` returns a link that is free.
        unsafe {
            (*room.record.get()).write(Record {
                node: pin_init::zeroed(),
                inode,
                dma_buf: NonNull::from(dma_buf).cast(),
                size: dma_buf.size(),
                origin,
            });
            bindings::rb_link_node(node, parent, link);
            bindings::rb_insert_color(node, &mut self.root);
        }
        // INVARIANT: The first place is left of all others.
        if parent == self.newest && (parent.is_null() || inode > self.number_of(parent)) {
            self.newest = node;
        }
        room.entered.store(true, Relaxed);
        self.bytes = self.bytes.saturating_add(dma_buf.size() as u64);
        self.peak = self.peak.max(self.bytes);
        true
    }

    fn number_of(&self, node: *mut bindings::rb_node) -> u64 {
        // SAFETY: Only called for nodes of this tree, whose lock is held, as there is a reference
        // to it.
        unsafe { record(node) }.inode
    }

    /// Where the record of `inode` belongs: below which node, and in which of its links; `None`
    /// where there is one.
    fn place_for(
        &mut self,
        inode: u64,
    ) -> Option<(*mut bindings::rb_node, *mut *mut bindings::rb_node)> {
        if !self.newest.is_null() && inode > self.number_of(self.newest) {
            // SAFETY: The node is in the tree, by the type's invariant, and has nothing left of it.
            return Some((self.newest, unsafe { &raw mut (*self.newest).rb_left }));
        }
        let (mut parent, mut link) = (ptr::null_mut(), &raw mut self.root.rb_node);
        loop {
            // SAFETY: A link of the tree: to one of its nodes, or null.
            let node = unsafe { *link };
            if node.is_null() {
                return Some((parent, link));
            }
            parent = node;
            // SAFETY: A node of the tree.
            let (left, right) = unsafe { (&raw mut (*node).rb_left, &raw mut (*node).rb_right) };
            link = match self.number_of(node).cmp(&inode) {
                Ordering::Less => left,
                Ordering::Greater => right,
                Ordering::Equal => return None,
            };
        }
    }

    /// The newest record whose number is at most `inode`.
    pub(super) fn at_most(&self, inode: u64) -> Option<&Record> {
        let (mut node, mut found) = (self.root.rb_node, None);
        while !node.is_null() {
            // SAFETY: A node of the tree, whose lock is held, as there is a reference to it.
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

    /// The record that is next older than `record`, which is one of these.
    pub(super) fn older(&self, newer: &Record) -> Option<&Record> {
        // SAFETY: The node is in the tree, whose lock is held, as there is a reference to it.
        unsafe {
            let next = bindings::rb_next(&newer.node);
            (!next.is_null()).then(|| record(next))
        }
    }

    /// Takes the record in `slot` out, if there is one.
    pub(super) fn leave(&mut self, slot: &Slot) {
        if !slot.is_entered() {
            return;
        }
        let node: *mut bindings::rb_node = slot.record.get().cast();
        // SAFETY: By the slot's invariant its record is in the tree, whose lock is held.
        unsafe {
            if self.newest == node {
                // INVARIANT: The next one is the leftmost then.
                self.newest = bindings::rb_next(node);
            }
            self.bytes = self.bytes.saturating_sub(record(node).size as u64);
            bindings::rb_erase(node, &mut self.root);
        }
        slot.entered.store(false, Relaxed);
    }

    /// The slot of the newest record.
    pub(super) fn newest_slot(&self) -> Option<NonNull<Slot>> {
        NonNull::new(self.newest.cast())
    }

    /// The slot of the record of `inode`.
    pub(super) fn slot_of(&self, inode: u64) -> Option<NonNull<Slot>> {
        let found = self.at_most(inode).filter(|found| found.inode == inode)?;
        // The record is the first field of a slot.
        const { assert!(core::mem::offset_of!(Slot, record) == 0) };
        Some(NonNull::from(found).cast())
    }
}
