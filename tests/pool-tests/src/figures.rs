// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/heaps`: the allocated and the pooled memory of each heap.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::retry::eventually;
use std::iter::Sum;
use std::ops::Add;
use std::time::Duration;

const FILE: &str = "/proc/rk_dma_heap/heaps";

/// Maximum time until the worker has prepared all memory.
const WORK_LIMIT: Duration = Duration::from_secs(20);

/// The counters of one heap, or the sum of several. Sizes are in bytes, hits and misses in runs of
/// pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub buffers: usize,
    pub allocated: usize,
    pub pooled: usize,
    pub backlog: usize,
    pub hits: usize,
    pub misses: usize,
    pub reclaimed: usize,
}

impl Figures {
    /// Returns the counters of one heap.
    pub fn of(heap: &str) -> Result<Figures> {
        let all = read()?;
        let found = all.into_iter().find(|(name, _)| name == heap);
        Ok(found
            .with_context(|| format!("{FILE} has no line for {heap}"))?
            .1)
    }

    /// Returns the sum over all heaps.
    pub fn total() -> Result<Figures> {
        Ok(read()?.into_iter().map(|(_, figures)| figures).sum())
    }

    /// Returns the sum over all heaps, after waiting until the backlog is empty.
    pub fn settled() -> Result<Figures> {
        let mut last = Self::total()?;
        eventually(WORK_LIMIT, || {
            // Memory that the worker is preparing is in no counter until it is in the pool.
            std::thread::sleep(Duration::from_millis(30));
            let now = Self::total()?;
            let before = std::mem::replace(&mut last, now);
            ensure!(
                now.backlog == 0 && now == before,
                "the worker is still busy: {before:?}, then {now:?}"
            );
            Ok(())
        })?;
        Ok(last)
    }

    /// Returns all bytes that the pools hold.
    pub fn kept(&self) -> usize {
        self.pooled + self.backlog
    }

    fn parse_line(columns: &[&str], line: &str) -> Result<(String, Figures)> {
        let values: Vec<_> = line.split_whitespace().collect();
        let value = |name: &str| {
            let index = columns.iter().position(|column| *column == name);
            index
                .and_then(|index| values.get(index))
                .with_context(|| format!("{FILE} has no column {name} in {line:?}"))
        };
        let number = |name| -> Result<usize> {
            let text = value(name)?;
            text.parse()
                .with_context(|| format!("{FILE}: {name} is {text}"))
        };
        let figures = Figures {
            buffers: number("buffers")?,
            allocated: number("allocated")? * 1024,
            pooled: number("pooled")? * 1024,
            backlog: number("backlog")? * 1024,
            hits: number("hits")?,
            misses: number("misses")?,
            reclaimed: number("reclaimed")? * 1024,
        };
        Ok((value("heap")?.to_string(), figures))
    }
}

impl Add for Figures {
    type Output = Figures;

    fn add(self, other: Figures) -> Figures {
        Figures {
            buffers: self.buffers + other.buffers,
            allocated: self.allocated + other.allocated,
            pooled: self.pooled + other.pooled,
            backlog: self.backlog + other.backlog,
            hits: self.hits + other.hits,
            misses: self.misses + other.misses,
            reclaimed: self.reclaimed + other.reclaimed,
        }
    }
}

impl Sum for Figures {
    fn sum<I: Iterator<Item = Figures>>(figures: I) -> Figures {
        figures.fold(Figures::default(), Add::add)
    }
}

/// Returns all heaps by name, in the order of the file.
pub fn read() -> Result<Vec<(String, Figures)>> {
    parse(&std::fs::read_to_string(FILE).with_context(|| format!("cannot read {FILE}"))?)
}

fn parse(text: &str) -> Result<Vec<(String, Figures)>> {
    let mut lines = text.lines();
    let columns: Vec<_> = lines.next().unwrap_or("").split_whitespace().collect();
    lines
        .map(|line| Figures::parse_line(&columns, line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name() {
        let text =
            "heap new buffers allocated backlog pooled hits misses reclaimed\na 9 1 2 4 3 5 6 7\n";
        let expected = Figures {
            buffers: 1,
            allocated: 2048,
            pooled: 3072,
            backlog: 4096,
            hits: 5,
            misses: 6,
            reclaimed: 7168,
        };
        assert_eq!(parse(text).unwrap(), [("a".to_owned(), expected)]);
        assert!(parse("heap buffers\na 1\n").is_err());
        assert!(parse(
            "heap buffers allocated pooled backlog hits misses reclaimed\na 1 2 3 4 5 6\n"
        )
        .is_err());
    }
}
