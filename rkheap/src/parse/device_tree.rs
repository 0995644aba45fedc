// SPDX-License-Identifier: GPL-2.0

//! The device tree in `/sys/firmware/devicetree/base`: reserved memory and the module's nodes.

use crate::system::System;

const BASE: &str = "/sys/firmware/devicetree/base";

/// Maximum depth of the module's nodes below the root.
const MAX_DEPTH: usize = 4;

/// A region under `/reserved-memory`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    pub name: String,
    pub base: Option<u64>,
    pub size: Option<u64>,
    pub no_map: bool,
    pub reusable: bool,
    /// Whether the node has the property `linux,cma-default`.
    pub is_default: bool,
    phandle: Option<u32>,
}

/// The memory reservations of a device tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservedMemory {
    pub regions: Vec<Region>,
    /// The name of the region of the node `rk-dma-heap,cma`.
    pub rockchip: Option<String>,
    /// The names of the regions of the nodes `rk-dma-heap,carveout`.
    pub carveouts: Vec<String>,
}

/// Reads the reservations. Returns none on machines without a device tree.
pub fn read(system: &System) -> ReservedMemory {
    let reserved = format!("{BASE}/reserved-memory");
    let cells = |what: &str| {
        let content = system.read(&format!("{reserved}/{what}")).content()?;
        words(&content).first().copied()
    };
    let address_cells = cells("#address-cells").unwrap_or(1);
    let size_cells = cells("#size-cells").unwrap_or(1);
    let mut tree = ReservedMemory::default();
    for name in system.names(&reserved) {
        let node = format!("{reserved}/{name}");
        if !system.path(&node).is_dir() {
            continue;
        }
        let property = |what: &str| system.read(&format!("{node}/{what}")).content();
        let (base, size) = match property("reg") {
            Some(reg) => extent(&words(&reg), address_cells, size_cells),
            None => (
                None,
                property("size").and_then(|size| number(&words(&size), size_cells)),
            ),
        };
        tree.regions.push(Region {
            base,
            size,
            no_map: property("no-map").is_some(),
            reusable: property("reusable").is_some(),
            is_default: property("linux,cma-default").is_some(),
            phandle: property("phandle").and_then(|handle| words(&handle).first().copied()),
            name,
        });
    }
    let mut nodes = Vec::new();
    find_nodes(system, BASE, MAX_DEPTH, &mut nodes);
    for (compatible, handle) in nodes {
        let region = tree
            .regions
            .iter()
            .find(|region| region.phandle == Some(handle))
            .map(|region| region.name.clone());
        if compatible == "rk-dma-heap,cma" {
            tree.rockchip = tree.rockchip.or(region);
        } else {
            tree.carveouts.extend(region);
        }
    }
    tree
}

/// Finds the nodes of the module. Adds each compatible string and the phandle of `memory-region`.
fn find_nodes(system: &System, folder: &str, depth: usize, nodes: &mut Vec<(String, u32)>) {
    for name in system.names(folder) {
        let node = format!("{folder}/{name}");
        if !system.path(&node).is_dir() {
            continue;
        }
        let compatible = system.text(&format!("{node}/compatible"));
        let ours = compatible
            .iter()
            .flat_map(|list| list.split('\0'))
            .find(|name| matches!(*name, "rk-dma-heap,cma" | "rk-dma-heap,carveout"));
        let handle = system.read(&format!("{node}/memory-region")).content();
        if let (Some(ours), Some(handle)) = (ours, handle) {
            nodes.extend(
                words(&handle)
                    .first()
                    .map(|handle| (ours.to_owned(), *handle)),
            );
        }
        if depth > 1 {
            find_nodes(system, &node, depth - 1, nodes);
        }
    }
}

/// Splits a property into its cells.
pub fn words(property: &[u8]) -> Vec<u32> {
    property
        .chunks_exact(4)
        .filter_map(|cell| Some(u32::from_be_bytes(cell.try_into().ok()?)))
        .collect()
}

/// Returns the number in the first `cells` cells. Returns `None` if there are fewer cells, or if
/// the number exceeds 64 bits.
pub fn number(words: &[u32], cells: u32) -> Option<u64> {
    let words = words.get(..cells as usize)?;
    let (high, low) = words.split_at_checked(words.len().saturating_sub(2))?;
    if cells == 0 || high.iter().any(|word| *word != 0) {
        return None;
    }
    Some(
        low.iter()
            .fold(0, |sum, word| (sum << 32) | u64::from(*word)),
    )
}

/// Returns base and size of the first range of a `reg` property.
pub fn extent(words: &[u32], address_cells: u32, size_cells: u32) -> (Option<u64>, Option<u64>) {
    let size = words
        .get(address_cells as usize..)
        .and_then(|rest| number(rest, size_cells));
    (number(words, address_cells), size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_are_combined() {
        assert_eq!(
            extent(&[0, 0x4c00_0000, 1, 2], 2, 2),
            (Some(0x4c00_0000), Some(0x1_0000_0002))
        );
        assert_eq!(extent(&[7, 8], 1, 1), (Some(7), Some(8)));
        assert_eq!(number(&[1, 0, 0], 3), None);
        assert_eq!(number(&[0, 1, 2], 3), Some(0x1_0000_0002));
        assert_eq!(number(&[], 0), None);
    }

    proptest! {
        #[test]
        fn any_input_is_accepted(
            property in proptest::collection::vec(any::<u8>(), 0..40),
            a in any::<u32>(),
            b in any::<u32>(),
        ) {
            extent(&words(&property), a, b);
            extent(&words(&property), a % 5, b % 5);
        }
    }
}
