// SPDX-License-Identifier: GPL-2.0

//! Child processes that exit by themselves or are killed.

use crate::call::{
    self,
    Call,
    Outcome,
    Perform, //
};
use crate::process::Process;
use crate::random::Random;
use anyhow::{
    Context,
    Result, //
};
use guest_support::heap::AllocationData;
use guest_support::process::{
    Child,
    Verdict, //
};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum ChildCall {
    /// A copy of the process makes its own calls and exits without cleanup.
    Fork { seed: u64, calls: u8 },
    /// A copy of the process makes calls until it is killed.
    ForkAndKill { seed: u64, after: Duration },
    /// A child is killed while it allocates.
    KillAllocating {
        heap: u8,
        pages: u32,
        after: Duration,
    },
    /// A child closes inherited descriptors.
    CloseInChild { buffer: u8 },
}

/// Timeout of a child. The supervisor detects hangs earlier.
const CHILD_TIMEOUT: Duration = Duration::from_secs(60);

impl ChildCall {
    pub fn generate(random: &mut Random) -> ChildCall {
        match random.below(4) {
            0 => ChildCall::Fork {
                seed: random.number(),
                calls: random.pick(&[0, 1, 5, 20]),
            },
            1 => ChildCall::ForkAndKill {
                seed: random.number(),
                after: Duration::from_micros(random.below(20_000).into()),
            },
            2 => ChildCall::KillAllocating {
                heap: random.index(),
                pages: 1 + random.below(4096),
                after: Duration::from_micros(random.below(5_000).into()),
            },
            _ => ChildCall::CloseInChild {
                buffer: random.index(),
            },
        }
    }
}

/// Forks a child that is killed when this process exits.
fn fork_child(
    process: &mut Process,
    body: impl FnOnce(&mut Process) -> Result<()>,
) -> Result<Child> {
    Child::run(|| {
        process.fork()?;
        body(process)
    })
}

/// Makes calls with a separate random number generator.
fn run_calls(process: &mut Process, seed: u64, calls: usize) -> Result<()> {
    let mut random = Random::new(seed, process.depth as u64);
    for number in 0..calls {
        let call = Call::generate(&mut random);
        call::execute(&call, process)
            .with_context(|| format!("in a child, call {number}: {call:?}"))?;
    }
    Ok(())
}

fn allocate_forever(process: &mut Process, heap: u8, pages: u32) -> Result<()> {
    let count = process.targets.heaps.len().max(1);
    let path = process
        .targets
        .heaps
        .get(usize::from(heap) % count)
        .context("no heap exists")?;
    let Ok(heap) = File::open(path) else {
        return Ok(());
    };
    let len = (pages as usize * guest_support::page_size()).min(process.quota);
    loop {
        let mut data = AllocationData::read_write(len as u64);
        let command = guest_support::heap::Request::default().code();
        // SAFETY: The kernel only reads and writes `data`.
        let result = unsafe {
            libc::ioctl(
                heap.as_raw_fd(),
                command as libc::Ioctl,
                std::ptr::from_mut(&mut data),
            )
        };
        if result == 0 {
            let _ = nix::unistd::close(data.fd as i32);
        }
    }
}

impl Perform for ChildCall {
    fn perform(&self, process: &mut Process) -> Result<Outcome> {
        if process.depth > 0 {
            return Ok(Outcome::Skipped);
        }
        if matches!(self, ChildCall::KillAllocating { .. }) {
            // The buffer of the child is charged to this process.
            process.reserve_quota(process.quota / 2);
        }
        let child = match *self {
            ChildCall::Fork { seed, calls } => {
                fork_child(process, |process| run_calls(process, seed, calls.into()))
            }
            ChildCall::ForkAndKill { seed, .. } => {
                fork_child(process, |process| run_calls(process, seed, usize::MAX))
            }
            ChildCall::KillAllocating { heap, pages, .. } => {
                fork_child(process, |process| allocate_forever(process, heap, pages))
            }
            ChildCall::CloseInChild { buffer } => fork_child(process, |process| {
                process.close(buffer);
                process.close_file(buffer);
                Ok(())
            }),
        };
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                return crate::call::errno_in(&error)
                    .map(Outcome::Failed)
                    .ok_or(error)
            }
        };
        let killed = match self {
            ChildCall::ForkAndKill { after, .. } | ChildCall::KillAllocating { after, .. } => {
                std::thread::sleep(*after);
                child.signal(Signal::SIGKILL)?;
                true
            }
            _ => false,
        };
        match child.wait(CHILD_TIMEOUT)? {
            Some(Verdict::Passed) => Ok(Outcome::Done),
            Some(Verdict::Killed(Signal::SIGKILL)) if killed => Ok(Outcome::Done),
            Some(Verdict::Failed(text)) => anyhow::bail!(text),
            other => anyhow::bail!("unexpected result of a child: {other:?}"),
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        &[Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE]
    }
}
