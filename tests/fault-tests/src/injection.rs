// SPDX-License-Identifier: GPL-2.0

//! Making an allocation of the kernel's fail, for this thread alone: `/proc/thread-self/fail-nth`.

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

/// Which allocations can fail: all, also those that may wait and those of single pages. Each
/// failure would print a stack.
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
    /// Prepares it. A kernel that cannot do that skips the test.
    pub fn prepare() -> Result<Injection> {
        if !Path::new(FAIL_NTH).exists() {
            return Err(skip("this kernel cannot make allocations fail"));
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

    /// Runs `body` with its `nth` allocation failing, counted from 1; also says whether there was
    /// one.
    pub fn run<T>(&self, nth: usize, body: impl FnOnce() -> T) -> Result<(T, bool)> {
        let mut left = [0; 16];
        self.0.write_at(nth.to_string().as_bytes(), 0)?;
        let result = body();
        let len = self.0.read_at(&mut left, 0);
        self.0.write_at(b"0", 0)?;
        Ok((result, left[..len?].trim_ascii() == b"0"))
    }
}
