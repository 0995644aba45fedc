// SPDX-License-Identifier: GPL-2.0

//! Who holds which range of an area, and what lies between.

use serde::Serialize;

/// A range that is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Its first address, and the first behind it.
    pub start: u64,
    pub end: u64,
    pub heap: String,
    pub name: Option<String>,
    /// Of a dma-buf; a driver's page array has none.
    pub inode: Option<u64>,
    /// Who made it.
    pub pid: Option<u32>,
    pub process: Option<String>,
}

/// A range that nobody is known to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub start: u64,
    pub end: u64,
}

impl Gap {
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// An area and what lies in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub start: u64,
    pub end: u64,
    /// In the order of their addresses.
    pub held: Vec<Held>,
    pub gaps: Vec<Gap>,
    /// The largest gap, the first of them if there are several.
    pub largest: Option<Gap>,
}

impl Layout {
    /// Lays out what is held between `start` and `end`. What lies outside is left out.
    pub fn new(start: u64, end: u64, mut held: Vec<Held>) -> Self {
        held.retain(|held| held.start < held.end && held.start >= start && held.end <= end);
        held.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
        let mut gaps = Vec::new();
        let mut free_from = start;
        for range in &held {
            if range.start > free_from {
                gaps.push(Gap {
                    start: free_from,
                    end: range.start,
                });
            }
            free_from = free_from.max(range.end);
        }
        if end > free_from {
            gaps.push(Gap {
                start: free_from,
                end,
            });
        }
        let mut largest: Option<Gap> = None;
        for gap in &gaps {
            if largest.is_none_or(|largest| gap.size() > largest.size()) {
                largest = Some(*gap);
            }
        }
        Layout {
            start,
            end,
            held,
            gaps,
            largest,
        }
    }

    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The sum of the gaps.
    pub fn free(&self) -> u64 {
        self.gaps.iter().map(Gap::size).sum()
    }

    /// What is held, where several hold the same once.
    pub fn used(&self) -> u64 {
        self.size().saturating_sub(self.free())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(start: u64, end: u64) -> Held {
        Held {
            start,
            end,
            ..Held::default()
        }
    }

    #[test]
    fn gaps_lie_between() {
        let layout = Layout::new(
            100,
            200,
            vec![held(150, 160), held(100, 110), held(190, 300)],
        );
        assert_eq!(layout.held.len(), 2);
        let gaps: Vec<_> = layout.gaps.iter().map(|gap| (gap.start, gap.end)).collect();
        assert_eq!(gaps, [(110, 150), (160, 200)]);
        assert_eq!(layout.largest.map(|gap| gap.size()), Some(40));
        assert_eq!((layout.used(), layout.free()), (20, 80));
        assert_eq!(Layout::new(0, 0, Vec::new()).largest, None);
    }

    proptest! {
        #[test]
        fn each_byte_is_held_or_in_a_gap(ranges in proptest::collection::vec((0u64..300, 0u64..40), 0..20)) {
            let ranges: Vec<_> = ranges.iter().map(|(start, len)| held(*start, start + len)).collect();
            let layout = Layout::new(50, 250, ranges);
            let mut run = 0u64;
            let mut longest = 0u64;
            for byte in 50..250 {
                let taken = layout.held.iter().any(|held| (held.start..held.end).contains(&byte));
                let free = layout.gaps.iter().filter(|gap| (gap.start..gap.end).contains(&byte)).count();
                prop_assert_eq!(free, usize::from(!taken));
                run = if taken { 0 } else { run + 1 };
                longest = longest.max(run);
            }
            prop_assert_eq!(layout.largest.map_or(0, |gap| gap.size()), longest);
        }

        #[test]
        fn nothing_breaks_it(start: u64, end: u64, a: u64, b: u64) {
            let layout = Layout::new(start, end, vec![held(a, b), held(b, a), held(start, end)]);
            let _ = (layout.used(), layout.free());
        }
    }
}
