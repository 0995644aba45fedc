// SPDX-License-Identifier: GPL-2.0

//! The locks that an operation acquires, and the instructions for which it holds each, from the
//! order in which it executed instructions.
//!
//! A lock is known by the function that acquires it. The functions of the kernel that acquire and
//! release locks are not inlined. Locks are taken to be released in the reverse order.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use std::collections::BTreeMap;

/// The beginnings of the names of functions that acquire a lock.
const ACQUIRE: [&str; 8] = [
    "_raw_spin_lock",
    "_raw_spin_trylock",
    "_raw_read_lock",
    "_raw_write_lock",
    "mutex_lock",
    "mutex_trylock",
    "down_",
    "rt_mutex_lock",
];

/// Those of functions that release one.
const RELEASE: [&str; 6] = [
    "_raw_spin_unlock",
    "_raw_read_unlock",
    "_raw_write_unlock",
    "mutex_unlock",
    "up_",
    "rt_mutex_unlock",
];

/// Functions that acquire a lock for their caller.
const HELPERS: [&str; 3] = ["_raw_", "rust_helper_", "rk_dma_heap_helper_"];

/// How an operation uses the locks that one function acquires.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Use {
    /// Acquisitions in all rounds.
    pub acquisitions: usize,
    /// The largest number of instructions between an acquisition and the release.
    pub held: usize,
}

/// The uses of locks by the function that acquires them.
pub type Locks = BTreeMap<String, Use>;

/// A call that has not returned.
struct Call<'a> {
    function: &'a str,
    /// Where it returns to.
    back: u64,
    /// The function that acquires the lock, if this is such a call.
    acquires: Option<&'a str>,
}

/// Returns the uses of locks in a trace, with an empty line after each round. `functions` are the
/// functions by address.
pub fn uses(trace: &str, functions: &BTreeMap<u64, String>) -> Result<Locks> {
    let mut locks = Locks::new();
    for round in trace.split("\n\n").filter(|round| !round.is_empty()) {
        let addresses = round
            .split_whitespace()
            .map(|line| u64::from_str_radix(line, 16).context("a line without an address"))
            .collect::<Result<Vec<_>>>()?;
        add_round(&mut locks, &addresses, functions)?;
    }
    ensure!(!locks.is_empty(), "the operation acquires no lock");
    Ok(locks)
}

fn add_round(
    locks: &mut Locks,
    addresses: &[u64],
    functions: &BTreeMap<u64, String>,
) -> Result<()> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    let mut held: Vec<(&str, usize)> = Vec::new();
    let mut before = 0;
    for (time, &address) in addresses.iter().enumerate() {
        // A call in place of a return leaves an entry behind, whose address may be the beginning of
        // the next function.
        let function = functions.get(&address);
        let returned = calls.iter().rposition(|call| call.back == address);
        if let Some(index) = returned.filter(|_| function.is_none()) {
            for call in calls.drain(index..) {
                held.extend(call.acquires.map(|owner| (owner, time)));
            }
        }
        if let Some(function) = function {
            let begins = |names: &[&str]| names.iter().any(|name| function.starts_with(name));
            if begins(&RELEASE) {
                // What was acquired before the round began is released without a beginning.
                if let Some((owner, since)) = held.pop() {
                    let entry = locks.entry(owner.to_owned()).or_default();
                    entry.acquisitions += 1;
                    entry.held = entry.held.max(time - since);
                }
            }
            let caller = functions.range(..=before).next_back();
            let callers = calls.iter().rev().map(|call| call.function);
            let owner = caller
                .map(|(_, name)| name.as_str())
                .into_iter()
                .chain(callers)
                .find(|name| !HELPERS.iter().any(|helper| name.starts_with(helper)));
            calls.push(Call {
                function,
                back: before + 4,
                acquires: owner.filter(|_| begins(&ACQUIRE)),
            });
        }
        before = address;
    }
    ensure!(held.is_empty(), "locks are held at the end: {held:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions() -> BTreeMap<u64, String> {
        [
            (0x100, "outer"),
            (0x200, "inner"),
            (0x300, "_raw_spin_lock"),
            (0x400, "_raw_spin_unlock"),
            (0x500, "rust_helper_spin_lock"),
        ]
        .into_iter()
        .map(|(address, name)| (address, name.to_owned()))
        .collect()
    }

    #[test]
    fn nested_locks_are_matched() {
        // outer locks, calls inner, which locks by a helper and unlocks; outer unlocks.
        let trace = "100 104 300 304 108 10c 200 500 504 300 304 508 204 208 400 404 20c 110 400 \
                     404 114";
        let trace = trace.replace(' ', "\n") + "\n\n";
        let locks = uses(&(trace.clone() + &trace), &functions()).unwrap();
        let expected = |acquisitions, held| Use { acquisitions, held };
        assert_eq!(locks.len(), 2);
        assert_eq!(locks["outer"], expected(2, 14));
        assert_eq!(locks["inner"], expected(2, 3));
    }

    #[test]
    fn a_lock_that_stays_held_is_an_error() {
        assert!(uses("100\n104\n300\n108\n\n", &functions()).is_err());
        assert!(uses("100\n104\n\n", &functions()).is_err());
    }
}
