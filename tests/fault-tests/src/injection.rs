// SPDX-License-Identifier: GPL-2.0

//! Injection of allocation failures in this thread: `/proc/thread-self/fail-nth`.

use anyhow::{
    Context,
    Result, //
};
use guest_support::ktap::skip;
use std::fs::{
    self,
    File, //
};
use std::os::unix::fs::FileExt;
use std::path::Path;

const FAIL_NTH: &str = "/proc/thread-self/fail-nth";

/// Settings with which all allocations can fail, including those that may sleep and those of order
/// 0, and with which failures print no stack trace.
const SETTINGS: &[(&str, &str)] = &[
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/verbose", "0"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-highmem", "N"),
    ("fail_page_alloc/min-order", "0"),
    ("fail_page_alloc/verbose", "0"),
];

#[derive(Debug)]
pub struct Injection(File);

impl Injection {
    /// Prepares fault injection. Skips the test if the kernel does not support it.
    pub fn prepare() -> Result<Injection> {
        if !Path::new(FAIL_NTH).exists() {
            return Err(skip("this kernel has no fault injection"));
        }
        for (name, value) in SETTINGS {
            let path = format!("/sys/kernel/debug/{name}");
            fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
        }
        let file = File::options().read(true).write(true).open(FAIL_NTH);
        Ok(Injection(
            file.with_context(|| format!("cannot open {FAIL_NTH}"))?,
        ))
    }

    /// Runs `body` and lets its `nth` allocation fail, counted from 1. Returns the result and
    /// whether `body` reached this allocation.
    pub fn run<T>(&self, nth: usize, body: impl FnOnce() -> T) -> Result<(T, bool)> {
        let mut remaining = [0; 16];
        self.0.write_at(nth.to_string().as_bytes(), 0)?;
        let result = body();
        let len = self.0.read_at(&mut remaining, 0);
        self.0.write_at(b"0", 0)?;
        Ok((result, remaining[..len?].trim_ascii() == b"0"))
    }
}
