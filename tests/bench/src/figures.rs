// SPDX-License-Identifier: GPL-2.0

//! The figures measured in the guests.

use crate::boots::Boot;
use anyhow::{
    Context,
    Result, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use std::collections::BTreeMap;

/// The figures of one machine, indexed by name and by size or count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<String, BTreeMap<usize, f64>>);

impl Figures {
    /// Parses one output line of the guest and returns the name of the figure.
    pub fn add_line(&mut self, line: &str) -> Result<String> {
        let parse = || -> Option<(&str, usize, f64)> {
            let mut fields = line.split('\t');
            let (name, size, value) = (fields.next()?, fields.next()?, fields.next()?);
            let value: f64 = value.parse().ok()?;
            let valid = fields.next().is_none() && value.is_finite();
            valid.then_some((name, size.parse().ok()?, value))
        };
        let (name, size, value) =
            parse().with_context(|| format!("invalid output line of the guest: {line}"))?;
        self.0
            .entry(name.to_owned())
            .or_default()
            .insert(size, value);
        Ok(name.to_owned())
    }

    pub fn get(&self, name: &str, size: usize) -> Option<f64> {
        self.0.get(name)?.get(&size).copied()
    }

    /// Returns all figures with this name, in order of size.
    pub fn all(&self, name: &str) -> Vec<(usize, f64)> {
        let sizes = self.0.get(name).into_iter().flatten();
        sizes.map(|(size, value)| (*size, *value)).collect()
    }

    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The figures of all machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measured(BTreeMap<Boot, Figures>);

impl Measured {
    pub fn insert(&mut self, boot: Boot, figures: Figures) {
        self.0.insert(boot, figures);
    }

    /// Returns a figure. Fails if it was not measured.
    pub fn figure(&self, boot: Boot, name: &str, size: usize) -> Result<f64> {
        self.0
            .get(&boot)
            .and_then(|figures| figures.get(name, size))
            .with_context(|| format!("machine '{}' did not measure {name} {size}", boot.name()))
    }

    /// Returns all figures of a machine with this name, in order of size; may be empty.
    pub fn all(&self, boot: Boot, name: &str) -> Vec<(usize, f64)> {
        self.0
            .get(&boot)
            .map_or_else(Vec::new, |figures| figures.all(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_lines_are_parsed() {
        let mut figures = Figures::default();
        assert_eq!(
            figures.add_line("close/cma\t4096\t12.500").unwrap(),
            "close/cma"
        );
        figures.add_line("close/cma\t8192\t-1").unwrap();
        assert_eq!(figures.get("close/cma", 4096), Some(12.5));
        assert_eq!(figures.all("close/cma"), [(4096, 12.5), (8192, -1.0)]);
        assert_eq!(figures.len(), 2);
        for bad in ["", "a\t1", "a\tb\t1", "a\t1\tx", "a\t1\tNaN", "a\t1\t1\t1"] {
            assert!(figures.add_line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn error_names_the_missing_figure() {
        let error = Measured::default()
            .figure(Boot::Ours, "map/cma", 1)
            .unwrap_err();
        assert!(error
            .to_string()
            .contains("'ours' did not measure map/cma 1"));
    }
}
