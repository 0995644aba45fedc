// SPDX-License-Identifier: GPL-2.0

//! What the device tree says about the module's memory.
//!
//! Two kinds of node point to a region with `memory-region`; `dts/bindings/` describes them. One
//! opts a `no-map` region in as a carveout, the other binds the Rockchip heap to a reusable region.
//! Each mistake in the tree gets one line in the log, and what is right works.

use crate::{
    abstractions::{
        cma::{
            Area,
            AreaLookup, //
        },
        device_tree::Node, //
    },
    carveout::Carveout,
    decisions::segment::Extent, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// A node with this compatible opts its region in as a carveout.
const CARVEOUT: &CStr = c"rk-dma-heap,carveout";

/// A node with this compatible binds the Rockchip heap to its region.
const ROCKCHIP: &CStr = c"rk-dma-heap,cma";

/// What comes of a mistake about a carveout, and about the Rockchip heap.
const LEFT_OUT: &str = "left out";
const DEFAULT_IS_USED: &str = "the default area is used";

/// Every region that opted in as a carveout, with the name of its node. May sleep. Fails with
/// `ENOMEM`.
pub(crate) fn carveouts() -> Result<KVec<(CString, Arc<Carveout>)>> {
    let mut carveouts: KVec<(CString, Arc<Carveout>)> = KVec::new();
    let mut taken: KVec<Extent> = KVec::new();
    for node in Node::compatible(CARVEOUT).filter(Node::is_available) {
        let Some((region, memory)) = region_of(&node, LEFT_OUT) else {
            continue;
        };
        let refuse = |why: &str| {
            pr_err!(
                "{}: region {} {}: {}\n",
                node.name(),
                region.name(),
                why,
                LEFT_OUT
            )
        };
        if !region.has_property(c"no-map") {
            refuse("is not no-map");
            continue;
        }
        if region.has_property(c"reusable") {
            refuse("is both no-map and reusable");
            continue;
        }
        if taken.iter().any(|other| other.overlaps(&memory)) {
            refuse("overlaps another carveout");
            continue;
        }
        // SAFETY: The device tree has the kernel keep out of the region, its node was meant for
        // this module, and no other carveout of the module has any of it.
        match unsafe { Carveout::new(memory) } {
            Ok(carveout) => {
                taken.push(memory, GFP_KERNEL)?;
                carveouts.push((CString::try_from(region.name())?, carveout), GFP_KERNEL)?;
            }
            Err(error) if error == ENOMEM => return Err(error),
            Err(_) => refuse("has not one whole page"),
        }
    }
    Ok(carveouts)
}

/// The area that the device tree binds the Rockchip heap to, if it does. May sleep.
pub(crate) fn rockchip(lookup: Option<&AreaLookup>) -> Option<Area> {
    let node = Node::compatible(ROCKCHIP).find(Node::is_available)?;
    let (region, memory) = region_of(&node, DEFAULT_IS_USED)?;
    let area = Area::all().find(|area| match lookup {
        Some(lookup) => lookup.extent(*area).base == memory.base,
        None => area.name() == region.name(),
    });
    if area.is_none() {
        pr_err!(
            "{}: region {} is no reusable shared-dma-pool: {}\n",
            node.name(),
            region.name(),
            DEFAULT_IS_USED
        );
    }
    area
}

/// The region that `node` points to; if there is none, the log says what is wrong, and what comes
/// of it.
fn region_of(node: &Node, outcome: &str) -> Option<(Node, Extent)> {
    let Some(region) = node.parse_phandle(c"memory-region") else {
        pr_err!(
            "{}: no memory-region, or it points nowhere: {}\n",
            node.name(),
            outcome
        );
        return None;
    };
    let Some(memory) = region.reserved_memory() else {
        pr_err!(
            "{}: the kernel has not reserved region {}: {}\n",
            node.name(),
            region.name(),
            outcome
        );
        return None;
    };
    Some((region, memory))
}
