// SPDX-License-Identifier: GPL-2.0

//! Sums of buffers over time, in files that `rkheap watch` writes and `rkheap plot` reads: CSV, or
//! one JSON object a line.

pub mod chart;

use anyhow::{
    bail,
    Context,
    Result, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use std::fs::{
    self,
    File, //
};
use std::io::Write;
use std::path::Path;

/// The sum of the buffers of a process, a heap or an exporter at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    pub name: String,
    pub pid: Option<u32>,
    pub buffers: u64,
    pub bytes: u64,
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    JsonLines,
}

impl Format {
    /// Returns the format that the name of a file asks for.
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        Ok(match extension {
            Some("csv") => Format::Csv,
            Some("json" | "jsonl" | "ndjson") => Format::JsonLines,
            _ => bail!(
                "{} must end with .csv, or with .jsonl for JSON lines",
                path.display()
            ),
        })
    }
}

/// A file that is being written. Each point is in the file when it has been added.
pub enum Writer {
    Csv(Box<csv::Writer<File>>),
    JsonLines(File),
}

impl Writer {
    /// Creates a file, or overwrites it.
    pub fn create(path: &Path) -> Result<Self> {
        let format = Format::of(path)?;
        let file =
            File::create(path).with_context(|| format!("cannot write to {}", path.display()))?;
        Ok(match format {
            Format::Csv => Writer::Csv(Box::new(csv::Writer::from_writer(file))),
            Format::JsonLines => Writer::JsonLines(file),
        })
    }

    /// Adds points.
    pub fn add(&mut self, points: &[Point]) -> Result<()> {
        match self {
            Writer::Csv(writer) => {
                for point in points {
                    writer.serialize(point)?;
                }
                writer.flush()?;
            }
            Writer::JsonLines(file) => {
                let mut lines = Vec::new();
                for point in points {
                    serde_json::to_writer(&mut lines, point)?;
                    lines.push(b'\n');
                }
                file.write_all(&lines)?;
            }
        }
        Ok(())
    }
}

/// Reads a file. Its last line may be cut off.
pub fn read(path: &Path) -> Result<Vec<Point>> {
    let format = Format::of(path)?;
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let whole = text
        .rfind('\n')
        .map_or("", |end| text.get(..=end).unwrap_or_default());
    let points: Result<Vec<Point>> = match format {
        Format::Csv => csv::Reader::from_reader(whole.as_bytes())
            .deserialize()
            .map(|point| point.map_err(anyhow::Error::from))
            .collect(),
        Format::JsonLines => whole
            .lines()
            .map(|line| serde_json::from_str(line).map_err(anyhow::Error::from))
            .collect(),
    };
    points.with_context(|| format!("{} was not written by rkheap watch", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let point = |name: &str, pid| Point {
            time_ms: 5,
            name: name.into(),
            pid,
            buffers: 1,
            bytes: u64::MAX,
        };
        let points = [point("a,\"\nb", Some(7)), point("", None)];
        for name in ["x.csv", "x.jsonl"] {
            let path = folder.path().join(name);
            let mut writer = Writer::create(&path).unwrap();
            writer.add(&points).unwrap();
            writer.add(&points[..1]).unwrap();
            let mut cut = fs::read(&path).unwrap();
            cut.extend(b"{\"time");
            fs::write(&path, cut).unwrap();
            assert_eq!(
                read(&path).unwrap(),
                [&points[..], &points[..1]].concat(),
                "{name}"
            );
        }
        assert!(Writer::create(&folder.path().join("x.txt")).is_err());
        let other = folder.path().join("y.csv");
        fs::write(&other, "a,b\n1,2\n").unwrap();
        assert!(read(&other).is_err());
    }
}
