// SPDX-License-Identifier: GPL-2.0

//! One of the processes: it makes calls until it is told to end.

use crate::call::{
    self,
    kinds,
    Answer,
    Call, //
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

/// Gives up all privileges.
pub fn become_user(uid: u32) -> Result<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    // Else the others of this user could not take descriptors from it.
    set_dumpable(true)?;
    Ok(())
}

/// The call with that number, of those that a process makes.
pub fn nth(seed: u64, process: usize, number: u64) -> Call {
    let mut random = Random::new(seed, process as u64);
    for _ in 0..number {
        Call::generate(&mut random);
    }
    Call::generate(&mut random)
}

/// Makes calls. An error is a defect, and says which call has found it.
pub fn work(
    process: &mut Process,
    shared: &Shared,
    seed: u64,
    start: Instant,
    user: Option<u32>,
) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(hard), hard)?;
    if let Some(uid) = user {
        become_user(uid).context("cannot become an ordinary user")?;
    }
    let kinds = kinds();
    let own = process.number;
    let mut random = Random::new(seed, own as u64);
    while !shared.ends() {
        if shared.must_release(own) {
            process.release()?;
        }
        let call = Call::generate(&mut random);
        let kind = kinds.iter().position(|kind| *kind == call.kind());
        let number = shared.calls(own);
        shared.begin(own, start.elapsed().as_millis() as u64);
        let left_alone = shared.is_quiet() && matches!(call, Call::Heap(_));
        let answer = if left_alone {
            Ok(Answer::Skipped)
        } else {
            call::make(&call, process)
        };
        let answer = answer.with_context(|| {
            let who = if user.is_some() {
                "an ordinary user"
            } else {
                "root"
            };
            format!("seed {seed}, process {own} ({who}), call {number}: {call:?}")
        })?;
        shared.finish(own, kind.context("a call of no kind")?, answer);
    }
    Ok(())
}
