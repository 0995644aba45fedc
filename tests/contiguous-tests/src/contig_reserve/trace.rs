// SPDX-License-Identifier: GPL-2.0

//! Counting how often the kernel's allocators of contiguous memory are called.

use anyhow::{
    Context,
    Result, //
};
use std::fs;
use std::path::{
    Path,
    PathBuf, //
};

/// Counts requests to areas and attempts to take ranges of RAM, until it is dropped.
pub struct Attempts {
    instance: PathBuf,
}

/// What isolates page frames, for an area too.
const PROBE: &str = "contig_reserve";

impl Attempts {
    pub fn from_now_on() -> Result<Self> {
        let tracing = Path::new("/sys/kernel/tracing");
        let probes = tracing.join("kprobe_events");
        let text = format!("p:{PROBE}/isolate start_isolate_page_range\n");
        fs::write(&probes, text).context("cannot probe start_isolate_page_range()")?;
        let instance = tracing.join(format!("instances/{PROBE}"));
        fs::create_dir(&instance).context("cannot create an instance of tracing")?;
        let this = Attempts { instance };
        let event = format!("events/{PROBE}/isolate/enable");
        fs::write(this.instance.join(event), "1").context("cannot trace the function")?;
        Ok(this)
    }

    pub fn count(&self) -> Result<usize> {
        let trace = fs::read_to_string(self.instance.join("trace"))?;
        Ok(trace.lines().filter(|line| !line.starts_with('#')).count())
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        let event = format!("events/{PROBE}/isolate/enable");
        let _ = fs::write(self.instance.join(event), "0");
        let _ = fs::remove_dir(&self.instance);
        let _ = fs::write("/sys/kernel/tracing/kprobe_events", "");
    }
}
