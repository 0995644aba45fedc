// SPDX-License-Identifier: GPL-2.0

//! The report: all figures and the results of the limit checks. This is the content of
//! `bench.json`.

use crate::boots::Boot;
use crate::figures::Measured;
use crate::limits;
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

/// The versions that were measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    pub commit: String,
    /// The kernel release.
    pub kernel: String,
    /// The version of the Debian package that contains the kernel source.
    pub source: String,
}

impl Origin {
    pub fn of(project: &Path, commit: String) -> Result<Self> {
        let kernel_dir = project.join("build/setup/bench/kernel");
        let read = |name: &str| -> Result<String> {
            let file = kernel_dir.join(name);
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}: run qemu/setup bench", file.display()))?;
            Ok(text.trim().to_owned())
        };
        Ok(Origin {
            commit,
            kernel: read("release")?,
            source: read("version")?,
        })
    }
}

/// One line of the table: an operation at one size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub row: String,
    pub title: String,
    pub unit: Unit,
    pub size: usize,
    /// The reference figure; in nearly all rows that of the in-tree heap.
    pub in_tree: f64,
    pub ours: f64,
    pub ratio: f64,
    #[serde(rename = "floor", skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<LimitCheck>,
}

/// The limit of a line and the result of its check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitCheck {
    pub aim: f64,
    pub at_most: f64,
    /// The reason if `at_most` is larger than `aim`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    pub holds: bool,
}

/// The complete report.
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
                let limit = limits::find(row.key, size).map(|limit| LimitCheck {
                    aim: limit.aim,
                    at_most: limit.at_most(),
                    reason: limit.reached.map(|(_, reason)| reason.to_owned()),
                    holds: limit.holds(ratio),
                });
                lines.push(Line {
                    row: row.key.to_owned(),
                    title: row.title.to_owned(),
                    unit: row.unit,
                    size,
                    in_tree,
                    ours,
                    ratio,
                    limit,
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
            .with_context(|| format!("cannot read {}: run make bench", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} has another format: run make bench", file.display()))
    }

    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Returns the number of lines that have a limit.
    pub fn limit_count(&self) -> usize {
        self.lines
            .iter()
            .filter(|line| line.limit.is_some())
            .count()
    }

    /// Returns the lines that exceed their limit.
    pub fn exceeded(&self) -> Vec<&Line> {
        let exceeded = |line: &&Line| line.limit.as_ref().is_some_and(|limit| !limit.holds);
        self.lines.iter().filter(exceeded).collect()
    }

    /// Returns the cost of tracking and of default names: size, cost per allocation and cost per
    /// close, in instructions.
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

    /// Creates a report with 1000 for each in-tree figure and `ours` for each figure of the module.
    pub fn uniform_report(ours: f64) -> Report {
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
    fn exceeded_limits_are_reported() {
        let cheap = uniform_report(1.0);
        assert!(cheap.limit_count() > 50);
        assert_eq!(cheap.exceeded().len(), 0, "{:?}", cheap.exceeded());
        let expensive = uniform_report(100_000.0);
        let exceeded = expensive.exceeded();
        // The growth rows and that of the longest allocation compare figures of the module.
        assert_eq!(exceeded.len(), expensive.limit_count() - 4);
        assert_eq!(exceeded[0].row, "allocate-warm/system");
    }

    #[test]
    fn missing_figure_is_an_error() {
        let report = uniform_report(1.0);
        assert!(Report::new(report.origin, Measured::default()).is_err());
    }

    #[test]
    fn json_round_trip_keeps_the_report() {
        let report = uniform_report(900.0);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
