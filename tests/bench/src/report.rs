// SPDX-License-Identifier: GPL-2.0

//! What came of it: every figure, and the judgement on the rows. This is what `bench.json` holds.

use crate::boots::Boot;
use crate::figures::Measured;
use crate::floors;
use crate::rows::{
    Source,
    Unit,
    ROWS, //
};
use anyhow::{
    Context,
    Result, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use std::fs;
use std::path::Path;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub commit: String,
    /// The kernel's release, and the version of the Debian package that its source is from.
    pub kernel: String,
    pub source: String,
}

impl Origin {
    pub fn of(project: &Path, commit: String) -> Result<Self> {
        let set_up = project.join("build/setup/bench/kernel");
        let read = |name: &str| -> Result<String> {
            let file = set_up.join(name);
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}; run qemu/setup bench", file.display()))?;
            Ok(text.trim().to_owned())
        };
        Ok(Origin {
            commit,
            kernel: read("release")?,
            source: read("version")?,
        })
    }
}

/// One line of the table: an operation with one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub row: String,
    pub title: String,
    pub unit: Unit,
    pub size: usize,
    /// What ours is compared with: in nearly all rows the kernel's heap.
    pub in_tree: f64,
    pub ours: f64,
    pub ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor: Option<Judged>,
}

/// A line's floor, and whether it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub aim: f64,
    pub at_most: f64,
    /// Why that is more than the aim.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    pub holds: bool,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub origin: Origin,
    pub lines: Vec<Line>,
    /// All figures as the guests printed them, by machine, name and size.
    pub figures: Measured,
}

impl Report {
    pub fn new(origin: Origin, figures: Measured) -> Result<Self> {
        let mut lines = Vec::new();
        for row in ROWS {
            for &size in row.sizes {
                let figure = |source: Source| {
                    figures.figure(source.boot, source.name, source.size.unwrap_or(size))
                };
                let (in_tree, ours) = (figure(row.reference)?, figure(row.ours)?);
                let ratio = ours / in_tree;
                let floor = floors::find(row.key, size).map(|floor| Judged {
                    aim: floor.aim,
                    at_most: floor.at_most(),
                    reason: floor.reached.map(|(_, reason)| reason.to_owned()),
                    holds: floor.holds(ratio),
                });
                lines.push(Line {
                    row: row.key.to_owned(),
                    title: row.title.to_owned(),
                    unit: row.unit,
                    size,
                    in_tree,
                    ours,
                    ratio,
                    floor,
                });
            }
        }
        Ok(Report {
            origin,
            lines,
            figures,
        })
    }

    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read {}; measure first", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not of this version; measure again", file.display()))
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// How many lines have a floor.
    pub fn judged(&self) -> usize {
        self.lines
            .iter()
            .filter(|line| line.floor.is_some())
            .count()
    }

    /// The lines whose floor does not hold.
    pub fn missed(&self) -> Vec<&Line> {
        let missed = |line: &&Line| line.floor.as_ref().is_some_and(|floor| !floor.holds);
        self.lines.iter().filter(missed).collect()
    }

    /// What the kernel's records of buffers, and names for them, cost an allocation and a close:
    /// size, and both.
    pub fn tracking(&self) -> Vec<(usize, f64, f64)> {
        let difference = |name: &str, size: usize| {
            let with = self.figures.figure(Boot::Ours, name, size).ok()?;
            let without = self.figures.figure(Boot::Untracked, name, size).ok()?;
            Some(with - without)
        };
        let sizes = self.figures.all(Boot::Ours, "allocate-warm/system");
        let both = |(size, _)| {
            let allocate = difference("allocate-warm/system", size)?;
            Some((size, allocate, difference("close/system", size)?))
        };
        sizes.into_iter().filter_map(both).collect()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::figures::Figures;

    /// A report in which every figure of the kernel's is 1000, and every one of ours `ours`.
    pub fn even(ours: f64) -> Report {
        let mut figures = Measured::default();
        for boot in Boot::ALL {
            let mut of_boot = Figures::default();
            for row in ROWS {
                for source in [row.reference, row.ours] {
                    for &size in row.sizes.iter().chain(&source.size) {
                        let value = match source.boot {
                            Boot::InTree | Boot::InTreeLarge => 1000.0,
                            _ => ours,
                        };
                        if source.boot == boot {
                            let line = format!("{}\t{size}\t{value}", source.name);
                            of_boot.add_line(&line).unwrap();
                        }
                    }
                }
            }
            if boot == Boot::InTreeLarge {
                of_boot.add_line("growth-allocate\t100\t1000").unwrap();
            }
            figures.insert(boot, of_boot);
        }
        let origin = Origin {
            commit: "c0ffee".into(),
            kernel: "1.2.3-bench".into(),
            source: "1.2.3-1".into(),
        };
        Report::new(origin, figures).unwrap()
    }

    #[test]
    fn a_floor_that_is_missed_is_named() {
        let cheap = even(1.0);
        assert!(cheap.judged() > 50);
        assert_eq!(cheap.missed().len(), 0, "{:?}", cheap.missed());
        let dear = even(10_000.0);
        let missed = dear.missed();
        // Growth is compared with ours.
        assert_eq!(missed.len(), dear.judged() - 3);
        assert_eq!(missed[0].row, "allocate-warm/system");
    }

    #[test]
    fn a_figure_that_was_not_measured_is_an_error() {
        let report = even(1.0);
        assert!(Report::new(report.origin, Measured::default()).is_err());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let report = even(900.0);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
