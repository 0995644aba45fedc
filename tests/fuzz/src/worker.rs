// SPDX-License-Identifier: GPL-2.0

//! The main loop of a worker process.

use crate::call::{
    self,
    kinds,
    Call,
    Outcome, //
};
use crate::process::{
    Process,
    DESCRIPTORS, //
};
use crate::random::Random;
use crate::shared::Shared;
use anyhow::{
    Context,
    Result, //
};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{
    getrlimit,
    setrlimit,
    Resource, //
};
use nix::unistd::{
    setgroups,
    setresgid,
    setresuid,
    Gid,
    Uid, //
};
use std::time::Instant;

/// Drops all privileges and changes to user `uid`.
pub fn become_user(uid: u32) -> Result<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    // Otherwise other processes of this user could not use pidfd_getfd() on this one.
    set_dumpable(true)?;
    Ok(())
}

/// Returns the call with this number in the sequence of a process.
pub fn nth(seed: u64, process: usize, number: u64) -> Call {
    let mut random = Random::new(seed, process as u64);
    for _ in 0..number {
        Call::generate(&mut random);
    }
    Call::generate(&mut random)
}

/// Performs calls until the end of the run. An error is a detected defect and names the call.
pub fn run(
    process: &mut Process,
    shared: &Shared,
    seed: u64,
    start: Instant,
    user: Option<u32>,
) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(hard), hard)?;
    if let Some(uid) = user {
        become_user(uid).context("cannot change to an unprivileged user")?;
    }
    let kinds = kinds();
    let own = process.number;
    let mut random = Random::new(seed, own as u64);
    while !shared.is_ending() {
        if shared.take_release_request(own) {
            process.release()?;
        }
        let call = Call::generate(&mut random);
        let kind = kinds.iter().position(|kind| *kind == call.kind());
        let number = shared.calls(own);
        shared.begin(own, start.elapsed().as_millis() as u64);
        let is_suspended = shared.is_quiet() && matches!(call, Call::Heap(_));
        let outcome = if is_suspended {
            Ok(Outcome::Skipped)
        } else {
            call::execute(&call, process)
        };
        let outcome = outcome.with_context(|| {
            let privileges = if user.is_some() {
                "unprivileged"
            } else {
                "root"
            };
            format!("seed {seed}, process {own} ({privileges}), call {number}: {call:?}")
        })?;
        shared.finish(own, kind.context("unknown kind of call")?, outcome);
    }
    Ok(())
}
