// SPDX-License-Identifier: GPL-2.0

//! Held ranges of an area, and the gaps between them.

use serde::Serialize;

/// A range that a buffer or a driver holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeldRange {
    /// The first address.
    pub start: u64,
    /// The first address after the range.
    pub end: u64,
    pub heap: String,
    pub name: Option<String>,
    /// The inode number of a dma-buf; `None` for the page array of a driver.
    pub inode: Option<u64>,
    /// The process that allocated the range.
    pub pid: Option<u32>,
    pub process: Option<String>,
}

/// A range without a known holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    pub start: u64,
    pub end: u64,
}

impl Gap {
    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// An area, its held ranges and its gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub start: u64,
    pub end: u64,
    /// Sorted by address.
    pub held: Vec<HeldRange>,
    pub gaps: Vec<Gap>,
    /// The largest gap; the first one if several have that size.
    pub largest_gap: Option<Gap>,
}

impl Layout {
    /// Creates the layout of the area from `start` to `end`. Ignores ranges that are empty or not
    /// entirely inside the area.
    pub fn new(start: u64, end: u64, mut held: Vec<HeldRange>) -> Self {
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
            largest_gap: largest,
        }
    }

    /// Returns the size of the area in bytes.
    pub fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Returns the sum of the gaps, in bytes.
    pub fn free(&self) -> u64 {
        self.gaps.iter().map(Gap::size).sum()
    }

    /// Returns the number of held bytes. Overlapping ranges count once.
    pub fn used(&self) -> u64 {
        self.size().saturating_sub(self.free())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(start: u64, end: u64) -> HeldRange {
        HeldRange {
            start,
            end,
            ..HeldRange::default()
        }
    }

    #[test]
    fn gaps_are_between_ranges() {
        let layout = Layout::new(
            100,
            200,
            vec![held(150, 160), held(100, 110), held(190, 300)],
        );
        assert_eq!(layout.held.len(), 2);
        let gaps: Vec<_> = layout.gaps.iter().map(|gap| (gap.start, gap.end)).collect();
        assert_eq!(gaps, [(110, 150), (160, 200)]);
        assert_eq!(layout.largest_gap.map(|gap| gap.size()), Some(40));
        assert_eq!((layout.used(), layout.free()), (20, 80));
        assert_eq!(Layout::new(0, 0, Vec::new()).largest_gap, None);
    }

    proptest! {
        #[test]
        fn each_byte_is_held_or_in_a_gap(
            ranges in proptest::collection::vec((0u64..300, 0u64..40), 0..20)
        ) {
            let ranges: Vec<_> = ranges
                .iter()
                .map(|(start, len)| held(*start, start + len))
                .collect();
            let layout = Layout::new(50, 250, ranges);
            let mut run = 0u64;
            let mut longest = 0u64;
            for byte in 50..250 {
                let held = layout
                    .held
                    .iter()
                    .any(|held| (held.start..held.end).contains(&byte));
                let gaps = layout
                    .gaps
                    .iter()
                    .filter(|gap| (gap.start..gap.end).contains(&byte));
                prop_assert_eq!(gaps.count(), usize::from(!held));
                run = if held { 0 } else { run + 1 };
                longest = longest.max(run);
            }
            prop_assert_eq!(layout.largest_gap.map_or(0, |gap| gap.size()), longest);
        }

        #[test]
        fn any_input_is_accepted(start: u64, end: u64, a: u64, b: u64) {
            let layout = Layout::new(start, end, vec![held(a, b), held(b, a), held(start, end)]);
            let _ = (layout.used(), layout.free());
        }
    }
}
