// SPDX-License-Identifier: GPL-2.0

//! What each area and RAM has used, with its past.

use crate::areas::{
    Areas,
    Backing, //
};
use crate::heaps;
use crate::system::System;
use crate::text;
use std::collections::VecDeque;

/// Minimum width of the screen for the columns that a narrow one lacks.
pub const WIDE_SCREEN: u16 = 56;

/// The number of samples that a sparkline has at most.
pub const HISTORY: usize = 60;

const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What an area has used, now and before. Sizes are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// In printable form.
    pub label: String,
    pub used: u64,
    pub size: u64,
    history: VecDeque<u64>,
}

impl Gauge {
    fn add(&mut self, used: u64, size: u64) {
        (self.used, self.size) = (used, size);
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(used);
    }

    /// Draws the last `width` samples. The highest of all that are kept is the scale.
    pub fn sparkline(&self, width: usize) -> String {
        let highest = u128::from(self.history.iter().copied().max().unwrap_or(0)).max(1);
        let skipped = self.history.len().saturating_sub(width);
        let samples = self.history.iter().skip(skipped);
        samples
            .map(|used| match *used {
                0 => ' ',
                used => {
                    let level = (u128::from(used) * SPARKS.len() as u128).div_ceil(highest);
                    let index = usize::try_from(level).unwrap_or(1).saturating_sub(1);
                    SPARKS.get(index).copied().unwrap_or('█')
                }
            })
            .collect()
    }

    /// Returns its line, of at most `width` characters.
    pub fn line(&self, width: usize) -> String {
        let wide = width >= WIDE_SCREEN.into();
        let (name, bar) = if wide { (22, 12) } else { (12, 8) };
        let label = text::shortened(&self.label, name);
        let mut line = format!("{label:name$} {}", text::bar(self.used, self.size, bar));
        line += &format!(" {:>9}", text::size(self.used));
        if wide {
            line += &format!(" of {:<9} ", text::size(self.size));
        }
        line += &self.sparkline(width.saturating_sub(line.chars().count()).min(HISTORY));
        text::shortened(line.trim_end(), width)
    }
}

/// All areas, and what the heaps have taken from RAM.
#[derive(Debug, Default)]
pub struct Gauges {
    areas: Areas,
    /// Size of RAM.
    ram: Option<u64>,
    pub all: Vec<Gauge>,
}

impl Gauges {
    /// Finds the areas and their sizes, which stay. [`Gauges::update`] takes the first sample.
    pub fn new(system: &System) -> Self {
        Gauges {
            areas: Areas::read(system),
            ram: heaps::memory_info(system, "MemTotal:"),
            all: Vec::new(),
        }
    }

    /// Takes a sample.
    pub fn update(&mut self, system: &System) {
        self.areas.read_available(system);
        let stats = heaps::stats(system);
        let mut used = Vec::new();
        for area in &self.areas.all {
            let own = || {
                let own = stats.iter().find(|stats| stats.heap == area.name)?;
                area.carveout.then_some(own.allocated)
            };
            let taken = || area.size?.checked_sub(area.available?);
            if let (Some(taken), Some(size)) = (taken().or_else(own), area.size) {
                used.push((text::escaped(&area.name), taken, size));
            }
        }
        let of_ram = stats.iter().filter(|stats| {
            let backing = self.areas.backing(&stats.heap);
            matches!(backing, Backing::Pages | Backing::PagesBelow4Gib)
        });
        let of_ram = of_ram.fold(0u64, |sum, stats| sum.saturating_add(stats.allocated));
        if let (false, Some(size)) = (stats.is_empty(), self.ram) {
            used.push(("RAM".to_owned(), of_ram, size));
        }
        for (label, used, size) in used {
            match self.all.iter_mut().find(|gauge| gauge.label == label) {
                Some(gauge) => gauge.add(used, size),
                None => {
                    let mut gauge = Gauge {
                        label,
                        ..Gauge::default()
                    };
                    gauge.add(used, size);
                    self.all.push(gauge);
                }
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn gauge(label: &str, samples: &[u64]) -> Gauge {
        let mut gauge = Gauge {
            label: label.into(),
            ..Gauge::default()
        };
        for used in samples {
            gauge.add(*used, 16 << 20);
        }
        gauge
    }

    #[test]
    fn a_sparkline_has_the_newest_samples() {
        let gauge = gauge("a", &[80, 0, 1, 40, 41, 80]);
        assert_eq!(gauge.sparkline(10), "█ ▁▄▅█");
        assert_eq!(gauge.sparkline(2), "▅█");
        let mut long = gauge;
        for _ in 0..2 * HISTORY {
            long.add(1, 8);
        }
        assert_eq!(long.sparkline(1000), "█".repeat(HISTORY));
    }

    #[test]
    fn lines_fit() {
        let gauge = gauge("an area with a name that is long", &[4 << 20; 50]);
        let line = gauge.line(80);
        assert!(
            line.starts_with("an area with a name t… [###.........]     4 MiB of 16 MiB "),
            "{line}"
        );
        assert_eq!(line.chars().count(), 80);
        for width in 0..90 {
            assert!(gauge.line(width).chars().count() <= width, "{width}");
        }
    }

    #[test]
    fn areas_and_ram_are_sampled() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systems/camera");
        let system = System::new(root);
        let mut gauges = Gauges::new(&system);
        gauges.update(&system);
        let used: Vec<_> = gauges
            .all
            .iter()
            .map(|gauge| (&gauge.label[..], gauge.used))
            .collect();
        assert_eq!(
            used,
            [
                ("reserved", 4_325_376),
                ("rockchip-pool@4c000000", 11 << 20),
                ("RAM", 640 << 10),
            ]
        );
    }
}
