// SPDX-License-Identifier: GPL-2.0

//! Device-tree nodes, and the reserved memory that they point to.
//!
//! C headers: [`include/linux/of.h`](srctree/include/linux/of.h),
//! [`include/linux/of_reserved_mem.h`](srctree/include/linux/of_reserved_mem.h)

use crate::{
    abstractions::phys_addr,
    bindings as c,
    decisions::segment::Extent, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    str::CStr, //
};

/// A node, with a reference to it.
///
/// # Invariants
///
/// `node` is valid, and this value owns a reference to it.
pub(crate) struct Node {
    node: NonNull<bindings::device_node>,
}

impl Node {
    /// All nodes that are compatible with `compatible`, in the order of the tree. May sleep.
    pub(crate) fn compatible(compatible: &CStr) -> impl Iterator<Item = Self> + '_ {
        let mut last: Option<Self> = None;
        core::iter::from_fn(move || {
            let from = last
                .as_ref()
                .map_or(ptr::null_mut(), |node| node.node.as_ptr());
            // The call gives back one reference to the node that it goes on from; `last` keeps
            // another. SAFETY: `from` is a valid node or null.
            let node = unsafe {
                c::of_node_get(from);
                c::of_find_compatible_node(from, compatible.as_char_ptr())
            };
            // INVARIANT: The call returns a node with a reference.
            let node = Self {
                node: NonNull::new(node)?,
            };
            last = Some(node.clone());
            Some(node)
        })
    }

    /// The node's name with its unit address, `name@address`.
    pub(crate) fn name(&self) -> &CStr {
        // SAFETY: The node is valid, by the type's invariant, and its full name never changes.
        unsafe { CStr::from_char_ptr((*self.node.as_ptr()).full_name) }
    }

    /// Whether the node has the property `name`.
    pub(crate) fn has(&self, name: &CStr) -> bool {
        // SAFETY: The node is valid, by the type's invariant.
        unsafe { c::of_property_read_bool(self.node.as_ptr(), name.as_char_ptr()) }
    }

    /// Whether the node's device is there and may be used: its `status` does not say otherwise.
    pub(crate) fn available(&self) -> bool {
        // SAFETY: The node is valid, by the type's invariant.
        unsafe { c::of_device_is_available(self.node.as_ptr()) }
    }

    /// The node that the first handle in property `name` points to.
    pub(crate) fn follow(&self, name: &CStr) -> Option<Self> {
        // SAFETY: The node is valid, by the type's invariant.
        let node = unsafe { c::of_parse_phandle(self.node.as_ptr(), name.as_char_ptr(), 0) };
        // INVARIANT: The call returns a node with a reference.
        NonNull::new(node).map(|node| Self { node })
    }

    /// The memory that the kernel has reserved for this node, which is one under
    /// `/reserved-memory`.
    pub(crate) fn reserved_memory(&self) -> Option<Extent> {
        // SAFETY: The node is valid, by the type's invariant. What is found stays for good.
        let found = unsafe { c::of_reserved_mem_lookup(self.node.as_ptr()).as_ref() }?;
        Some(Extent {
            base: phys_addr::to_u64(found.base),
            size: phys_addr::to_u64(found.size),
        })
    }
}

impl Clone for Node {
    fn clone(&self) -> Self {
        // SAFETY: The node is valid, by the type's invariant.
        unsafe { c::of_node_get(self.node.as_ptr()) };
        // INVARIANT: A reference was just taken.
        Self { node: self.node }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: The reference is this value's, by the type's invariant.
        unsafe { c::of_node_put(self.node.as_ptr()) };
    }
}
