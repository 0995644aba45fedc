// SPDX-License-Identifier: GPL-2.0

//! An operation, tried with each of its allocations failing in turn.

use crate::injection::Injection;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::ktap::diagnose;
use guest_support::memory::lock_this_process;
use guest_support::process::eventually;
use nix::errno::Errno;
use std::fs;
use std::time::Duration;

/// More sites than any operation has.
const MANY: usize = 5000;

/// How long what was dropped may take to be gone.
const MOMENT: Duration = Duration::from_secs(5);

/// What an operation has left to hold. It is dropped when no allocation fails any more.
pub trait Held {}

impl<T> Held for T {}

pub type Outcome<'a> = nix::Result<Box<dyn Held + 'a>>;

/// As an operation returns it.
pub fn held<'a, T: 'a>(result: nix::Result<T>) -> Outcome<'a> {
    result.map(|held| Box::new(held) as Box<dyn Held>)
}

/// Everything that the module has handed out, and the sum of all dma-bufs.
fn handed_out() -> Result<(String, String)> {
    let heaps = fs::read_to_string("/proc/rk_dma_heap/heaps").context("no list of heaps")?;
    let mut figures = String::new();
    for line in heaps.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let &[heap, buffers, bytes, .., arrays] = columns.as_slice() else {
            bail!("not a line of the list of heaps: {line:?}");
        };
        figures += &format!("{heap} {buffers} {bytes} {arrays}\n");
    }
    Ok((figures, fs::read_to_string("/proc/rk_dmabuf/size")?))
}

/// Tries `run` with its first allocation failing, its second, and so on until none fails. Each
/// failure has to be one of `allowed` or harmless, has to leave nothing behind, and must not keep
/// the next attempt from succeeding.
pub fn each<S>(
    allowed: &[Errno],
    prepare: impl Fn() -> Result<S>,
    run: impl for<'a> Fn(&'a S) -> Outcome<'a>,
) -> Result<()> {
    lock_this_process()?;
    let injection = Injection::prepare()?;
    // Once before, so that what happens once and for all has happened.
    let state = prepare()?;
    run(&state).context("it fails without a fault")?;
    drop(state);

    let before = handed_out()?;
    let mut harmless = 0;
    for nth in 1..MANY {
        let state = prepare()?;
        let (result, injected) = {
            let (result, injected) = injection.run(nth, || run(&state))?;
            // Dropped here, where nothing fails any more.
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
        eventually(MOMENT, || {
            let after = handed_out()?;
            ensure!(
                after == before,
                "failure of allocation {nth} leaves something behind: {after:?} after {before:?}"
            );
            Ok(())
        })?;
        let state = prepare()?;
        run(&state).with_context(|| format!("after a failure of allocation {nth}"))?;
        drop(state);
        if !injected {
            let sites = nth - 1;
            diagnose(&format!("{sites} sites, {harmless} of them harmless"));
            ensure!(sites > 0, "not one allocation could fail");
            return Ok(());
        }
    }
    bail!("still failing at allocation {MANY}");
}
