// SPDX-License-Identifier: GPL-2.0

//! Device-tree nodes and the reserved memory that they describe.
//!
//! The kernel locks its device tree. A [`Node`] holds a reference to a node.
//!
//! C headers: [`include/linux/of.h`](srctree/include/linux/of.h),
//! [`include/linux/of_reserved_mem.h`](srctree/include/linux/of_reserved_mem.h)

use crate::{
    abstractions::phys_addr,
    bindings as c,
    decisions::segment::Extent, //
};
use core::{
    iter,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    str::CStr, //
};

/// A reference to a device-tree node.
///
/// # Examples
///
/// ```
/// use crate::abstractions::device_tree::Node;
///
/// assert!(Node::compatible(c"rk-dma-heap,example").next().is_none());
/// for node in Node::compatible(c"simple-bus").filter(Node::is_available) {
///     assert!(!node.property_read_bool(c"no-map"));
///     assert!(node.reserved_memory().is_none());
///     assert!(node.parse_phandle(c"rk-dma-heap,example").is_none());
///     assert!(!node.name().is_empty());
/// }
/// for node in Node::memory() {
///     assert!(node.reg().all(|entry| entry.base.checked_add(entry.size).is_some()));
/// }
/// ```
///
/// # Invariants
///
/// `node` is valid, and this value owns a reference to it.
#[must_use]
pub(crate) struct Node {
    node: NonNull<bindings::device_node>,
}

impl Node {
    /// Returns an iterator over all nodes that are compatible with `compatible`, in the order of
    /// the tree. May sleep.
    pub(crate) fn compatible(compatible: &CStr) -> impl Iterator<Item = Self> + '_ {
        // SAFETY: The function returns null, or a valid node with a reference. It drops the
        // reference to `from`.
        unsafe {
            Self::search(move |from| c::of_find_compatible_node(from, compatible.as_char_ptr()))
        }
    }

    /// Returns an iterator over the nodes that describe the system's memory. May sleep.
    ///
    /// These are the available children of the root whose type is `memory`, as for the kernel when
    /// it boots.
    pub(crate) fn memory() -> impl Iterator<Item = Self> {
        // SAFETY: As above.
        unsafe { Self::search(|from| c::of_find_node_by_type(from, c"memory".as_char_ptr())) }
            .filter(|node| node.is_child_of_root() && node.is_available())
    }

    /// Returns an iterator over the nodes that `next` finds.
    ///
    /// # Safety
    ///
    /// `next` is called with null, or with the previous node and a reference to it, which it must
    /// drop. It must return a valid node and a reference to it, or null.
    unsafe fn search(
        next: impl Fn(*mut bindings::device_node) -> *mut bindings::device_node,
    ) -> impl Iterator<Item = Self> {
        let mut last: Option<Self> = None;
        iter::from_fn(move || {
            let from = last
                .as_ref()
                .map_or(ptr::null_mut(), |node| node.node.as_ptr());
            // SAFETY: `from` is null or, by the type invariants of `last`, a valid node.
            let node = next(unsafe { c::of_node_get(from) });
            // INVARIANT: By the safety requirements `next` returns a valid node and a reference to
            // it, or null.
            let node = Self {
                node: NonNull::new(node)?,
            };
            last = Some(node.clone());
            Some(node)
        })
    }

    /// Returns whether the node is a child of the root.
    fn is_child_of_root(&self) -> bool {
        // SAFETY: By the type invariants the node is valid. A node holds a reference to its parent,
        // which never changes.
        unsafe {
            let parent = (*self.node.as_ptr()).parent;
            !parent.is_null() && (*parent).parent.is_null()
        }
    }

    /// Returns an iterator over the entries of `reg`, as physical addresses.
    pub(crate) fn reg(&self) -> impl Iterator<Item = Extent> + '_ {
        (0..).map_while(|index| {
            let mut entry = Extent { base: 0, size: 0 };
            // SAFETY: By the type invariants the node is valid. The call writes to both fields.
            let found =
                unsafe { c::of_reg(self.node.as_ptr(), index, &mut entry.base, &mut entry.size) };
            found.then_some(entry)
        })
    }

    /// Returns the node's name with its unit address, `name@address`.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: By the type invariants the node is valid. Its full name never changes.
        unsafe { CStr::from_char_ptr((*self.node.as_ptr()).full_name) }
    }

    /// Returns whether the node has the boolean property `name`.
    pub(crate) fn property_read_bool(&self, name: &CStr) -> bool {
        // SAFETY: By the type invariants the node is valid.
        unsafe { c::of_property_read_bool(self.node.as_ptr(), name.as_char_ptr()) }
    }

    /// Returns whether the node's device may be used: `status` is absent, `okay` or `ok`.
    pub(crate) fn is_available(&self) -> bool {
        // SAFETY: By the type invariants the node is valid.
        unsafe { c::of_device_is_available(self.node.as_ptr()) }
    }

    /// Returns the node that the first phandle in property `name` refers to.
    pub(crate) fn parse_phandle(&self, name: &CStr) -> Option<Self> {
        // SAFETY: By the type invariants the node is valid.
        let node = unsafe { c::of_parse_phandle(self.node.as_ptr(), name.as_char_ptr(), 0) };
        // INVARIANT: The call returns a valid node and a reference to it, or null.
        NonNull::new(node).map(|node| Self { node })
    }

    /// Returns the memory that the kernel reserved for this node, a child of `/reserved-memory`.
    pub(crate) fn reserved_memory(&self) -> Option<Extent> {
        // SAFETY: By the type invariants the node is valid. The kernel never frees the entries of
        // its table of reserved memory.
        let memory = unsafe { c::of_reserved_mem_lookup(self.node.as_ptr()).as_ref() }?;
        Some(Extent {
            base: phys_addr::to_u64(memory.base),
            size: phys_addr::to_u64(memory.size),
        })
    }
}

impl Clone for Node {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariants the node is valid.
        unsafe { c::of_node_get(self.node.as_ptr()) };
        // INVARIANT: The reference was acquired above.
        Self { node: self.node }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a reference.
        unsafe { c::of_node_put(self.node.as_ptr()) };
    }
}
