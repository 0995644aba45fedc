// SPDX-License-Identifier: GPL-2.0

//! The regions that the device tree assigns to the module.
//!
//! `dts/bindings/` describes two types of node that refer to a region with `memory-region`. One
//! opts a `no-map` region in as a carveout, the other binds the Rockchip heap to a reusable region.
//! Each error in the tree is logged in one line and affects only its own node.
//!
//! An access to an address without memory behind it can stop the machine. So a carveout must be
//! memory that the firmware describes, or its node must state that it is memory.

use crate::{
    abstractions::{
        cma::{
            Area,
            AreaLookup, //
        },
        device_tree::Node,
        memory_map, //
    },
    carveout::Carveout,
    decisions::segment::Extent, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// The compatible of a node that opts its region in as a carveout.
const CARVEOUT_COMPATIBLE: &CStr = c"rk-dma-heap,carveout";

/// The property of such a node that states that the region is memory which nothing else describes.
const DEDICATED_MEMORY: &CStr = c"rk-dma-heap,dedicated-memory";

/// The compatible of a node that binds the Rockchip heap to its region.
const ROCKCHIP_COMPATIBLE: &CStr = c"rk-dma-heap,cma";

/// The consequence of an error in the node of a carveout.
const LEFT_OUT: &str = "left out";

/// The consequence of an error in the node of the Rockchip heap.
const DEFAULT_IS_USED: &str = "the default area is used";

/// Returns all carveouts, each with the name of its region's node. May sleep. Fails with `ENOMEM`.
pub(crate) fn carveouts() -> Result<KVec<(CString, Arc<Carveout>)>> {
    let mut carveouts: KVec<(CString, Arc<Carveout>)> = KVec::new();
    let mut used: KVec<Extent> = KVec::new();
    for node in Node::compatible(CARVEOUT_COMPATIBLE).filter(Node::is_available) {
        let Some((region, memory)) = region_of(&node, LEFT_OUT) else {
            continue;
        };
        let log_error = |reason: &str| {
            pr_err!(
                "{}: region {} {}: {}\n",
                node.name(),
                region.name(),
                reason,
                LEFT_OUT
            )
        };
        if !region.property_read_bool(c"no-map") {
            log_error("is not no-map");
            continue;
        }
        if region.property_read_bool(c"reusable") {
            log_error("is both no-map and reusable");
            continue;
        }
        if used.iter().any(|other| other.overlaps(&memory)) {
            log_error("overlaps another carveout");
            continue;
        }
        if !node.property_read_bool(DEDICATED_MEMORY) && !memory_map::describes(&memory) {
            pr_err!(
                "{}: region {} is outside the memory that the firmware describes: {}; correct its \
                 reg, or add rk-dma-heap,dedicated-memory to {} if there is memory\n",
                node.name(),
                region.name(),
                LEFT_OUT,
                node.name()
            );
            continue;
        }
        if memory_map::kernel_uses(&memory) {
            pr_err!(
                "{}: region {} is in use as ordinary memory, the kernel could not reserve it: {}; \
                 move it away from the kernel, its device tree and its initrd\n",
                node.name(),
                region.name(),
                LEFT_OUT
            );
            continue;
        }
        // SAFETY: The region is `no-map`, and the kernel does not use it. Its node opts it in for
        // this module, and no other carveout of the module overlaps it. The firmware describes it
        // as memory, or its node does.
        match unsafe { Carveout::new(memory) } {
            Ok(carveout) => {
                used.push(memory, GFP_KERNEL)?;
                carveouts.push((CString::try_from(region.name())?, carveout), GFP_KERNEL)?;
            }
            Err(error) if error == ENOMEM => return Err(error),
            Err(_) => log_error("does not contain a whole page"),
        }
    }
    Ok(carveouts)
}

/// Returns the area that the device tree binds the Rockchip heap to, if any. May sleep.
pub(crate) fn rockchip(lookup: Option<&AreaLookup>) -> Option<Area> {
    let node = Node::compatible(ROCKCHIP_COMPATIBLE).find(Node::is_available)?;
    let (region, memory) = region_of(&node, DEFAULT_IS_USED)?;
    let area = Area::all().find(|area| match lookup {
        Some(lookup) => lookup.extent(*area).base == memory.base,
        None => area.name() == region.name(),
    });
    if area.is_none() {
        pr_err!(
            "{}: region {} is not a reusable shared-dma-pool: {}\n",
            node.name(),
            region.name(),
            DEFAULT_IS_USED
        );
    }
    area
}

/// Returns the region that `node` refers to, with its memory. Otherwise logs the error and its
/// `consequence`.
fn region_of(node: &Node, consequence: &str) -> Option<(Node, Extent)> {
    let Some(region) = node.parse_phandle(c"memory-region") else {
        pr_err!(
            "{}: memory-region is missing or refers to no node: {}\n",
            node.name(),
            consequence
        );
        return None;
    };
    let Some(memory) = region.reserved_memory() else {
        pr_err!(
            "{}: the kernel has not reserved region {}: {}\n",
            node.name(),
            region.name(),
            consequence
        );
        return None;
    };
    Some((region, memory))
}
