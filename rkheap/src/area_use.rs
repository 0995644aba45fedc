// SPDX-License-Identifier: GPL-2.0

//! What each memory has, and the heaps that allocate from it.

use crate::areas::Backing;
use crate::heaps::Heap;
use crate::text;
use serde::Serialize;

/// A contiguous area, a carveout or RAM, with the heaps that allocate from it. Sizes are in bytes,
/// and unknown values are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AreaUse {
    pub backing: Backing,
    /// The name of the area or the carveout.
    pub area: Option<String>,
    pub default_area: bool,
    pub size: Option<u64>,
    /// Of areas, whatever is not free. Of RAM, what these heaps have taken.
    pub used: Option<u64>,
    pub free: Option<u64>,
    pub largest_free: Option<u64>,
    pub largest_free_at_most: bool,
    /// Size of the pools of these heaps.
    pub pooled: u64,
    /// What these heaps have taken from RAM because the area had no place.
    pub beyond: Option<u64>,
    /// What they could take from RAM, or give altogether, at present.
    pub could_take_ram: Option<u64>,
    pub could_give: Option<u64>,
    pub heaps: Vec<Member>,
}

/// A heap of an area.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Member {
    pub heap: String,
    pub used: Option<u64>,
    pub may_use: Option<bool>,
}

/// Returns what `heaps` allocate from: areas first, in the order of their first heaps.
pub fn of_heaps(heaps: &[Heap]) -> Vec<AreaUse> {
    let mut areas: Vec<AreaUse> = Vec::new();
    for heap in heaps {
        let is_same = |area: &AreaUse| (area.backing, &area.area) == (heap.backing, &heap.area);
        match areas.iter_mut().find(|area| is_same(area)) {
            Some(area) => area.add(heap),
            None => {
                let mut area = AreaUse {
                    backing: heap.backing,
                    area: heap.area.clone(),
                    default_area: heap.default_area,
                    size: heap.size,
                    free: heap.free,
                    largest_free: heap.largest_free,
                    largest_free_at_most: heap.largest_free_at_most,
                    could_take_ram: heap.could_take_ram,
                    could_give: heap.could_give,
                    ..AreaUse::default()
                };
                area.add(heap);
                areas.push(area);
            }
        }
    }
    for area in &mut areas {
        if let (Some(size), Some(free)) = (area.size, area.free) {
            area.used = Some(size.saturating_sub(free));
        }
    }
    areas.sort_by_key(|area| area.area.is_none());
    areas
}

impl AreaUse {
    fn add(&mut self, heap: &Heap) {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        self.used = sum(self.used, heap.used);
        self.beyond = sum(self.beyond, heap.beyond);
        self.pooled = self.pooled.saturating_add(heap.pooled.unwrap_or(0));
        self.heaps.push(Member {
            heap: heap.heap.clone(),
            used: heap.used,
            may_use: heap.may_use,
        });
    }

    /// Names the memory, in printable form.
    pub fn label(&self) -> String {
        let area = self.area.as_deref().map(text::escaped).unwrap_or_default();
        match self.backing {
            Backing::Pages => "RAM".to_owned(),
            Backing::PagesBelow4Gib => "RAM below 4 GiB".to_owned(),
            Backing::Area if self.default_area => format!("{area} (default)"),
            Backing::Area => area,
            Backing::ContiguousRam => "RAM, contiguous".to_owned(),
            Backing::Carveout => format!("{area} (carveout)"),
            Backing::Unknown => "unknown".to_owned(),
        }
    }

    /// Draws how much of it is used, as far as that is known.
    pub fn bar(&self, width: usize) -> String {
        match (self.used, self.size) {
            (Some(used), Some(size)) => text::bar(used, size, width),
            _ => String::new(),
        }
    }

    /// Returns the names of the heaps whose nodes this user may not open.
    pub fn denied(&self) -> impl Iterator<Item = &str> {
        let denied = self.heaps.iter().filter(|heap| heap.may_use == Some(false));
        denied.map(|heap| heap.heap.as_str())
    }

    /// Says whether this user may open the nodes of the heaps.
    pub fn access(&self) -> &'static str {
        let nodes = self.heaps.iter().filter(|heap| heap.may_use.is_some());
        match (nodes.count(), self.denied().count()) {
            (0, _) => "-",
            (_, 0) => "yes",
            (nodes, denied) if nodes == denied => "no",
            _ => "some",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap(name: &str, area: Option<&str>, used: u64, may_use: Option<bool>) -> Heap {
        Heap {
            heap: name.into(),
            backing: area.map_or(Backing::Pages, |_| Backing::Area),
            area: area.map(str::to_owned),
            size: Some(1000),
            used: Some(used),
            free: area.map(|_| 300),
            may_use,
            ..Heap::default()
        }
    }

    #[test]
    fn heaps_of_an_area_are_together() {
        let areas = of_heaps(&[
            heap("a", Some("x"), 5, Some(true)),
            heap("b", None, 7, Some(true)),
            heap("c", Some("x"), 6, Some(false)),
            heap("d", None, 8, None),
        ]);
        let summary: Vec<_> = areas
            .iter()
            .map(|area| (area.label(), area.used, area.heaps.len(), area.access()))
            .collect();
        // The kernel counts what is not free, whoever has it.
        assert_eq!(
            summary,
            [
                ("x".to_owned(), Some(700), 2, "some"),
                ("RAM".to_owned(), Some(15), 2, "yes"),
            ]
        );
        assert_eq!(areas[0].denied().collect::<Vec<_>>(), ["c"]);
        assert_eq!(areas[0].bar(10), "[#######...]");
    }

    #[test]
    fn heaps_without_nodes_are_for_drivers() {
        let access = |rights: &[Option<bool>]| {
            let heaps: Vec<_> = rights
                .iter()
                .map(|right| heap("a", None, 0, *right))
                .collect();
            of_heaps(&heaps)[0].access()
        };
        assert_eq!(access(&[None]), "-");
        assert_eq!(access(&[None, Some(false)]), "no");
        assert_eq!(access(&[Some(true), Some(true)]), "yes");
    }
}
