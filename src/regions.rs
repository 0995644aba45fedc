// SPDX-License-Identifier: GPL-2.0

//! What the device tree says about the module's memory.
//!
//! Two kinds of node point to a region with `memory-region`; `dts/bindings/` describes them. One opts a `no-map` region in
//! as a carveout, the other binds the Rockchip heap to a reusable region. Each mistake in the tree gets one line in the log,
//! and what is right works.

use crate::{
    carveout::Carveout,
    cma::{Area, Survey},
    device_tree::{Node, ReservedMemory},
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc,
};

/// A node with this compatible opts its region in as a carveout.
const CARVEOUT: &CStr = c"rk-dma-heap,carveout";

/// A node with this compatible binds the Rockchip heap to its region.
const ROCKCHIP: &CStr = c"rk-dma-heap,cma";

/// Every region that opted in as a carveout, with the name of its node. May sleep. Fails with `ENOMEM`.
pub(crate) fn carveouts() -> Result<KVec<(CString, Arc<Carveout>)>> {
    let mut carveouts: KVec<(CString, Arc<Carveout>)> = KVec::new();
    let mut taken: KVec<ReservedMemory> = KVec::new();
    for node in Node::compatible(CARVEOUT).filter(Node::available) {
        let Some((region, memory)) = region_of(&node) else {
            continue;
        };
        if !region.has(c"no-map") {
            pr_err!("{}: region {} is not no-map: left out\n", node.name(), region.name());
            continue;
        }
        if taken.iter().any(|other| other.overlaps(&memory)) {
            pr_err!("{}: region {} overlaps another carveout: left out\n", node.name(), region.name());
            continue;
        }
        // SAFETY: The device tree has the kernel keep out of the region, its node was meant for this module, and no other
        // carveout of the module has any of it.
        match unsafe { Carveout::new(memory.base, memory.size) } {
            Ok(carveout) => {
                taken.push(memory, GFP_KERNEL)?;
                carveouts.push((CString::try_from(region.name())?, carveout), GFP_KERNEL)?;
            }
            Err(error) if error == ENOMEM => return Err(error),
            Err(_) => pr_err!("{}: region {} has not one whole page: left out\n", node.name(), region.name()),
        }
    }
    Ok(carveouts)
}

/// The area that the device tree binds the Rockchip heap to, if it does. May sleep.
pub(crate) fn rockchip(survey: Option<&Survey>) -> Option<Area> {
    let node = Node::compatible(ROCKCHIP).find(Node::available)?;
    let (region, memory) = region_of(&node)?;
    let area = Area::all().find(|area| match survey {
        Some(survey) => survey.extent(*area).base == memory.base,
        None => area.name() == region.name(),
    });
    if area.is_none() {
        pr_err!("{}: region {} is no reusable shared-dma-pool: the default area is used\n", node.name(), region.name());
    }
    area
}

/// The region that `node` points to; if there is none, the log says what is wrong.
fn region_of(node: &Node) -> Option<(Node, ReservedMemory)> {
    let Some(region) = node.follow(c"memory-region") else {
        pr_err!("{}: no memory-region, or it points nowhere: left out\n", node.name());
        return None;
    };
    let Some(memory) = region.reserved_memory() else {
        pr_err!("{}: the kernel has not reserved region {}: left out\n", node.name(), region.name());
        return None;
    };
    Some((region, memory))
}
