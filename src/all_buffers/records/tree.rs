// SPDX-License-Identifier: GPL-2.0

//! A red-black tree of records, by descending inode number.
//!
//! A record is stored in a [`Slot`], which belongs to somebody else. So the tree allocates nothing.
//! A new dma-buf nearly always has the highest inode number, so the leftmost node is cached and
//! such an insertion needs no search.
//!
//! # Locks
//!
//! Each tree is protected by a lock, which the caller holds for all accesses to the tree and to its
//! records.
//!
//! C header: [`include/linux/rbtree.h`](srctree/include/linux/rbtree.h)

use super::super::Origin;
use crate::abstractions::{
    dma_buf::{
        DmaBuf,
        Unreleased, //
    },
    exporter::{
        Extra,
        ExtraKey, //
    }, //
};
use core::{
    cell::UnsafeCell,
    cmp::Ordering,
    marker::PhantomData,
    num::NonZeroU32,
    ptr, //
};
use kernel::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};

/// The record of a dma-buf, which it refers to by an `R`.
pub(in super::super) struct Record<R> {
    pub(in super::super) reference: R,
    pub(in super::super) origin: Option<Origin>,
    pub(super) size: usize,
}

/// The storage of a record.
///
/// # Invariants
///
/// If `tree` is not 0, `node` is in the [`Tree`] of this number, and `record` is `Some`. All fields
/// change only under the tree's lock, and `record` becomes `None` never again.
pub(crate) struct Slot<R> {
    node: Opaque<bindings::rb_node>,
    /// The inode number of the record, beside the node for searches.
    number: UnsafeCell<u64>,
    record: UnsafeCell<Option<Record<R>>>,
    tree: Atomic<u32>,
}

// SAFETY: The record is only accessed under the tree's lock, or by the owner of the slot.
unsafe impl<R: Send> Send for Slot<R> {}
// SAFETY: As above.
unsafe impl<R: Send> Sync for Slot<R> {}

/// The storage of a record of a dma-buf of this module, which is part of its private data.
pub(crate) type OwnSlot = Slot<Unreleased>;

/// Identifies [`OwnSlot`] among what exporters keep with a dma-buf.
static SLOT_KEY: ExtraKey = ExtraKey::new();

// SAFETY: No other type uses this key.
unsafe impl Extra for OwnSlot {
    const KEY: &'static ExtraKey = &SLOT_KEY;
}

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Slot<R> {
    /// Creates a slot without a record.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The slot is not linked.
        Self {
            node: Opaque::zeroed(),
            number: UnsafeCell::new(0),
            record: UnsafeCell::new(None),
            tree: Atomic::new(0),
        }
    }

    /// Returns the number of the tree that the record is in, or 0.
    pub(super) fn tree(&self) -> u32 {
        self.tree.load(Relaxed)
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

/// The tree.
///
/// # Invariants
///
/// The nodes below `root` are those of linked slots, none of which is moved or freed while it is
/// linked. `newest` is the leftmost node, or null if the tree is empty.
pub(super) struct Tree<R> {
    /// Tells this tree from others with the same slots.
    number: NonZeroU32,
    root: bindings::rb_root,
    newest: *mut bindings::rb_node,
    _slots: PhantomData<*const Slot<R>>,
}

// SAFETY: Any thread may insert and remove records.
unsafe impl<R: Send> Send for Tree<R> {}

impl<R> Tree<R> {
    /// Creates an empty tree.
    pub(super) const fn new(number: NonZeroU32) -> Self {
        // INVARIANT: The tree has no nodes.
        Self {
            number,
            root: bindings::rb_root {
                rb_node: ptr::null_mut(),
            },
            newest: ptr::null_mut(),
            _slots: PhantomData,
        }
    }

    /// Inserts a record of `dma_buf` in `slot`, with `reference` to it. Returns false, and changes
    /// nothing, if there is one already.
    ///
    /// # Safety
    ///
    /// - The slot must be neither moved nor freed before [`Tree::remove`] is called with it, or the
    ///   tree is dropped.
    /// - The slot must not be in another tree.
    pub(super) unsafe fn insert(
        &mut self,
        slot: &Slot<R>,
        dma_buf: &DmaBuf,
        reference: impl FnOnce(&DmaBuf) -> R,
        origin: Option<Origin>,
    ) -> bool {
        if slot.tree() != 0 {
            return false;
        }
        let number = dma_buf.inode();
        let Some((parent, link)) = self.find_link(number) else {
            return false;
        };
        let node = slot.as_node();
        // INVARIANT: The slot gets its record and is linked. It stays by the safety requirements.
        // SAFETY: The slot is not linked, and its record is accessed by its owner only.
        // `find_link()` returns a null link of the tree.
        unsafe {
            *slot.number.get() = number;
            *slot.record.get() = Some(Record {
                reference: reference(dma_buf),
                origin,
                size: dma_buf.size(),
            });
            bindings::rb_link_node(node, parent, link);
            bindings::rb_insert_color(node, &mut self.root);
        }
        // INVARIANT: The left child of the leftmost node is the new leftmost one.
        if parent == self.newest && (parent.is_null() || number > self.number_of(parent)) {
            self.newest = node;
        }
        slot.tree.store(self.number.get(), Relaxed);
        true
    }

    /// Removes the record in `slot`, which the slot keeps. Returns the size of its dma-buf in
    /// bytes, or `None` if it is not in the tree.
    pub(super) fn remove(&mut self, slot: &Slot<R>) -> Option<usize> {
        let size = self.record_in(slot)?.size;
        let node = slot.as_node();
        // SAFETY: By the slot's invariant its node is in the tree, whose lock is held.
        unsafe {
            if self.newest == node {
                // INVARIANT: The successor becomes the leftmost node.
                self.newest = bindings::rb_next(node);
            }
            bindings::rb_erase(node, &mut self.root);
        }
        slot.tree.store(0, Relaxed);
        Some(size)
    }

    /// Returns the record in `slot`, if it is in this tree.
    pub(super) fn record_in<'a>(&'a self, slot: &'a Slot<R>) -> Option<&'a Record<R>> {
        if slot.tree() != self.number.get() {
            return None;
        }
        // SAFETY: The slot is in this tree. Its lock is held, as there is a reference to the tree.
        unsafe { (*slot.record.get()).as_ref() }
    }

    #[inline]
    fn number_of(&self, node: *mut bindings::rb_node) -> u64 {
        // SAFETY: This is only called for nodes of this tree, which are those of linked slots. The
        // lock is held, as there is a reference to the tree.
        unsafe { *Slot::<R>::from_node(node).number.get() }
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
    pub(super) fn at_most(&self, number: u64) -> Option<(u64, &Record<R>)> {
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
        // SAFETY: This is a node of the tree, so that of a linked slot.
        let slot = unsafe { Slot::from_node(found) };
        Some((self.number_of(found), self.record_in(slot)?))
    }
}
