// SPDX-License-Identifier: GPL-2.0

//! Reads and parses the nodes.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use std::collections::BTreeMap;

pub fn path(name: &str) -> String {
    format!("/proc/rk_dmabuf/{name}")
}

pub fn read(name: &str) -> Result<String> {
    let path = path(name);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}

fn number(text: &str, before: &str, after: &str) -> Result<u64> {
    text.strip_prefix(before)
        .and_then(|text| text.strip_suffix(after))
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{text:?} is not {before:?}, a number and {after:?}"))
}

/// Returns the sum of all sizes, in KiB.
pub fn size() -> Result<u64> {
    number(&read("size")?, "Total: ", " KiB\n")
}

/// Returns the peak, in MiB.
pub fn peak() -> Result<u64> {
    number(&read("peak")?, "Peak: ", " MiB\n")
}

/// A line of `dev`, or a buffer's first line in `sgt`.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub identity: String,
    pub name: String,
    pub exporter: String,
    pub kib: u64,
    pub rest: String,
}

impl Row {
    pub fn parse(line: &str) -> Result<Self> {
        let field = |from: usize, to: usize| {
            line.get(from..to)
                .with_context(|| format!("{line:?} is incomplete"))
        };
        let separated = [16, 33, 50]
            .iter()
            .all(|at| line.as_bytes().get(*at) == Some(&b' '));
        ensure!(separated, "{line:?}: columns are at wrong offsets");
        let identity = field(0, 16)?.to_owned();
        ensure!(
            identity.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{line:?}: no identity"
        );
        ensure!(field(61, 65)? == " KiB", "{line:?}: no size");
        Ok(Row {
            identity,
            name: field(17, 33)?.trim_end().to_owned(),
            exporter: field(34, 50)?.trim_end().to_owned(),
            kib: field(51, 61)?.trim_start().parse()?,
            rest: line.get(65..).unwrap_or_default().to_owned(),
        })
    }
}

/// Returns the lines of `dev`.
pub fn dev() -> Result<Vec<Row>> {
    rows(&read("dev")?, "AttachedDevices")
}

/// Returns the lines of a list whose last column is `last`, without continuation lines.
pub fn rows(text: &str, last: &str) -> Result<Vec<Row>> {
    let heading =
        format!("          DMABUF NAME             EXPORT                 SIZE:KiB {last}\n\n");
    let lines = text
        .strip_prefix(&heading)
        .with_context(|| format!("{text:?} does not begin with {heading:?}"))?;
    ensure!(
        lines.is_empty() || lines.ends_with('\n'),
        "the last line is incomplete: {text:?}"
    );
    lines
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(Row::parse)
        .collect()
}

/// A record of `buffers`: its fields by column name.
#[derive(Debug)]
pub struct Record(BTreeMap<String, String>);

impl Record {
    pub fn field(&self, name: &str) -> Result<&str> {
        let field = self.0.get(name);
        Ok(field.with_context(|| format!("{self:?} has no column {name}"))?)
    }

    pub fn number(&self, name: &str) -> Result<u64> {
        let field = self.field(name)?;
        field
            .parse()
            .with_context(|| format!("{name}={field:?} is not a number"))
    }
}

/// Returns the records of `buffers`.
pub fn records() -> Result<Vec<Record>> {
    let text = read("buffers")?;
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().context("no heading")?.split(' ').collect();
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            ensure!(fields.len() == columns.len(), "{line:?} for {columns:?}");
            let pairs = columns.iter().zip(fields);
            Ok(Record(
                pairs
                    .map(|(column, field)| ((*column).to_owned(), field.to_owned()))
                    .collect(),
            ))
        })
        .collect()
}

/// Returns the record of the buffer with that inode number.
pub fn record(inode: u64) -> Result<Record> {
    records()?
        .into_iter()
        .find(|record| record.number("inode").ok() == Some(inode))
        .with_context(|| format!("no record of buffer {inode}"))
}
