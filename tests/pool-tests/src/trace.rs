// SPDX-License-Identifier: GPL-2.0

//! The kernel's tracing, in a separate instance.

use anyhow::{
    bail,
    Context,
    Result, //
};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{
    Path,
    PathBuf, //
};

pub const TRACING: &str = "/sys/kernel/tracing";

/// Size of the ring buffer per CPU.
const BUFFER_KIB: &str = "16384";

/// A trace event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    fields: HashMap<String, String>,
}

impl Event {
    /// Returns the text of a field.
    pub fn text(&self, field: &str) -> Result<&str> {
        let text = self.fields.get(field);
        Ok(text.with_context(|| format!("event {} has no field {field}: {self:?}", self.name))?)
    }

    /// Returns the number in a field, decimal or hexadecimal.
    pub fn number(&self, field: &str) -> Result<u64> {
        let text = self.text(field)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        }
        .with_context(|| format!("event {}: {field} is {text}", self.name))
    }

    /// Parses "comm-12 [001] ..... 1.234: name: (place) field=value field=value".
    fn parse(line: &str) -> Option<Event> {
        let (_, rest) = line.split_once("] ")?;
        let mut parts = rest.splitn(3, ": ");
        let name = parts.nth(1)?.trim().to_owned();
        let fields = parts.next().unwrap_or("").split_whitespace();
        let fields = fields.filter_map(|field| field.split_once('='));
        Some(Event {
            name,
            fields: fields.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        })
    }
}

/// Returns the events of a trace.
fn parse(text: &str) -> Vec<Event> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(Event::parse).collect()
}

/// A tracing instance; removed on drop.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
}

impl Trace {
    /// Creates an instance with these events enabled, named SYSTEM/EVENT.
    pub fn of(events: &[&str]) -> Result<Trace> {
        let path = Path::new(TRACING).join(format!("instances/pool-tests-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| {
            format!(
                "cannot create {}: run as root, and mount tracefs on {TRACING}",
                path.display()
            )
        })?;
        let trace = Trace { path };
        trace.write("buffer_size_kb", BUFFER_KIB)?;
        for event in events {
            trace.write(&format!("events/{event}/enable"), "1")?;
        }
        Ok(trace)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.path.join(file);
        std::fs::write(&path, text).with_context(|| format!("cannot write to {}", path.display()))
    }

    /// Discards the recorded events.
    pub fn clear(&self) -> Result<()> {
        self.write("trace", "")
    }

    /// Returns whether there are recorded events. Others may be recorded meanwhile.
    pub fn has_events(&self) -> Result<bool> {
        let text = std::fs::read_to_string(self.path.join("trace"))?;
        Ok(text.lines().any(|line| !line.starts_with('#')))
    }

    /// Returns the recorded events in order and discards them.
    pub fn take(&self) -> Result<Vec<Event>> {
        self.write("tracing_on", "0")?;
        let text = std::fs::read_to_string(self.path.join("trace"))?;
        let lost = text.lines().find(|line| line.contains("LOST"));
        if let Some(lost) = lost {
            bail!("events were lost: {lost}");
        }
        self.clear()?;
        self.write("tracing_on", "1")?;
        Ok(parse(&text))
    }

    /// Returns the events that are recorded so far, in order.
    pub fn events(&self) -> Result<Vec<Event>> {
        Ok(parse(&std::fs::read_to_string(self.path.join("trace"))?))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // Removing an instance does not disable its events, and the probe would stay in use.
        let _ = self.write("events/enable", "0");
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// A kprobe, whose event records each call of a kernel function. It is removed on drop, which must
/// be after that of every trace of the event.
#[derive(Debug)]
pub struct Probe {
    name: String,
}

impl Probe {
    /// `arguments` as in `Documentation/trace/kprobetrace.rst`. The event is `pool_tests/FUNCTION`.
    pub fn of(function: &str, arguments: &str) -> Result<Probe> {
        let name = format!("pool_tests/{function}");
        // Removes the probe of a previous test that was killed.
        let _ = command(&format!("-:{name}"));
        command(&format!("p:{name} {function} {arguments}"))
            .with_context(|| format!("cannot add a kprobe for {function}"))?;
        Ok(Probe { name })
    }

    /// Returns the name of the event, SYSTEM/EVENT.
    pub fn event(&self) -> &str {
        &self.name
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = command(&format!("-:{}", self.name));
    }
}

fn command(line: &str) -> Result<()> {
    let path = Path::new(TRACING).join("kprobe_events");
    let mut file = OpenOptions::new().append(true).open(path)?;
    Ok(file.write_all(line.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_understood() {
        let line = "  pool-tests-81  [001] ..... 12.345678: rk_dma_heap_shrink: heap=system \
            wanted=128 freed=256 pages";
        let event = Event::parse(line).unwrap();
        assert_eq!(event.name, "rk_dma_heap_shrink");
        assert_eq!(event.text("heap").unwrap(), "system");
        assert_eq!(event.number("freed").unwrap(), 256);
        assert!(event.number("heap").is_err() && event.text("pages").is_err());

        let line =
            "kworker/0:1-9 [000] d..1. 1.2: sync: (sync+0x0/0x40) paddr=0x48000000 size=4096";
        let event = Event::parse(line).unwrap();
        assert_eq!(event.number("paddr").unwrap(), 0x4800_0000);
        assert!(Event::parse("CPU:0 [LOST 5 EVENTS]").is_none());
    }
}
