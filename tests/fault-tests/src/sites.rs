// SPDX-License-Identifier: GPL-2.0

//! Runs an operation repeatedly and lets each of its allocations fail in turn.

use crate::injection::Injection;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::ktap::diagnose;
use guest_support::memory::lock_this_process;
use guest_support::retry::eventually;
use nix::errno::Errno;
use std::fs;
use std::time::Duration;

/// Larger than the number of allocations of any operation.
const MAX_SITES: usize = 5000;

/// Time within which the kernel must release dropped resources.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// A resource that an operation returns. It is dropped when fault injection is disabled.
pub trait Resource {}

impl<T> Resource for T {}

pub type Outcome<'a> = nix::Result<Box<dyn Resource + 'a>>;

/// Boxes the resource of a result.
pub fn boxed<'a, T: 'a>(result: nix::Result<T>) -> Outcome<'a> {
    result.map(|resource| Box::new(resource) as Box<dyn Resource>)
}

/// The columns of `/proc/rk_dma_heap/heaps` that an operation without leaks leaves alone.
const COLUMNS: [&str; 6] = ["heap", "buffers", "allocated", "arrays", "beyond", "left"];

/// Returns the allocations of each heap and the size of all dma-bufs.
fn module_state() -> Result<(String, String)> {
    let heaps = fs::read_to_string("/proc/rk_dma_heap/heaps")
        .context("cannot read /proc/rk_dma_heap/heaps")?;
    let mut figures = String::new();
    let mut lines = heaps.lines().map(|line| line.split_whitespace());
    let heading: Vec<&str> = lines.next().context("no heading")?.collect();
    for line in lines {
        let fields: Vec<&str> = line.collect();
        for column in COLUMNS {
            let index = heading.iter().position(|name| *name == column);
            let field = index.and_then(|index| fields.get(index));
            figures += field.with_context(|| format!("no {column} in {fields:?}"))?;
            figures += " ";
        }
        figures += "\n";
    }
    Ok((figures, fs::read_to_string("/proc/rk_dmabuf/size")?))
}

/// Runs `run` repeatedly and lets its first, second, ... allocation fail, until it completes
/// without a failure. `run` must fail with one of the `allowed` errors or succeed. It must release
/// all resources, and the next call without a failure must succeed.
pub fn fail_each_allocation<S>(
    allowed: &[Errno],
    prepare: impl Fn() -> Result<S>,
    run: impl for<'a> Fn(&'a S) -> Outcome<'a>,
) -> Result<()> {
    lock_this_process()?;
    let injection = Injection::prepare()?;
    // Run once before, which completes one-time initialization.
    let state = prepare()?;
    run(&state).context("fails without an injected fault")?;
    drop(state);

    let before = module_state()?;
    let mut harmless = 0;
    for nth in 1..MAX_SITES {
        let state = prepare()?;
        let (result, injected) = {
            let (result, injected) = injection.run(nth, || run(&state))?;
            // Drop the resource while fault injection is disabled.
            (result.map(drop), injected)
        };
        match result {
            Ok(()) => harmless += usize::from(injected),
            Err(errno) => ensure!(
                injected && allowed.contains(&errno),
                "failure of allocation {nth}: {errno} (injected: {injected})"
            ),
        }
        drop(state);
        eventually(RELEASE_TIMEOUT, || {
            let after = module_state()?;
            ensure!(
                after == before,
                "failure of allocation {nth} leaks resources: {before:?} before, {after:?} after"
            );
            Ok(())
        })?;
        let state = prepare()?;
        run(&state).with_context(|| format!("after a failure of allocation {nth}"))?;
        drop(state);
        if !injected {
            let sites = nth - 1;
            diagnose(&format!("{sites} sites, {harmless} of them harmless"));
            ensure!(sites > 0, "no allocation failure was injected");
            return Ok(());
        }
    }
    bail!("the operation still reaches allocation {MAX_SITES}");
}
