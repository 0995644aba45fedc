// SPDX-License-Identifier: GPL-2.0

//! Processes that are made in the midst of it, and end by themselves or are killed.

use crate::call::{
    self,
    Answer,
    Call,
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
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum ChildCall {
    /// A copy of the process makes some calls of its own, and ends without tidying up.
    Fork { seed: u64, calls: u8 },
    /// It is killed after a while.
    ForkAndKill { seed: u64, after: Duration },
    /// A child allocates and is killed meanwhile.
    KillAllocating {
        heap: u8,
        pages: u32,
        after: Duration,
    },
    /// A child closes what it was given.
    CloseInChild { buffer: u8 },
}

/// How long a child is waited for that should be done. A hang is found before, by whoever watches
/// all processes.
const LIMIT: Duration = Duration::from_secs(60);

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

/// Makes a child that dies with this process.
fn child(process: &mut Process, body: impl FnOnce(&mut Process) -> Result<()>) -> Result<Child> {
    Child::run(|| {
        process.fork()?;
        set_pdeathsig(Signal::SIGKILL)?;
        body(process)
    })
}

/// Makes calls of a generator of its own.
fn some_calls(process: &mut Process, seed: u64, calls: usize) -> Result<()> {
    let mut random = Random::new(seed, process.depth as u64);
    for number in 0..calls {
        let call = Call::generate(&mut random);
        call::make(&call, process)
            .with_context(|| format!("in a child, call {number}: {call:?}"))?;
    }
    Ok(())
}

fn allocate_for_ever(process: &mut Process, heap: u8, pages: u32) -> Result<()> {
    let count = process.targets.heaps.len().max(1);
    let path = process
        .targets
        .heaps
        .get(usize::from(heap) % count)
        .context("no heap")?;
    let Ok(heap) = File::open(path) else {
        return Ok(());
    };
    let len = (pages as usize * guest_support::page_size()).min(process.quota);
    loop {
        let mut data = AllocationData::read_write(len as u64);
        let command = guest_support::heap::Request::default().code();
        // SAFETY: The kernel reads and writes the one struct.
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
    fn perform(&self, process: &mut Process) -> Result<Answer> {
        if process.depth > 0 {
            return Ok(Answer::Skipped);
        }
        if matches!(self, ChildCall::KillAllocating { .. }) {
            // The child's buffer counts for this process.
            process.make_room(process.quota / 2);
        }
        let made = match *self {
            ChildCall::Fork { seed, calls } => {
                child(process, |process| some_calls(process, seed, calls.into()))
            }
            ChildCall::ForkAndKill { seed, .. } => {
                child(process, |process| some_calls(process, seed, usize::MAX))
            }
            ChildCall::KillAllocating { heap, pages, .. } => {
                child(process, |process| allocate_for_ever(process, heap, pages))
            }
            ChildCall::CloseInChild { buffer } => child(process, |process| {
                process.close(buffer);
                process.close_file(buffer);
                Ok(())
            }),
        };
        let mut made = match made {
            Ok(made) => made,
            Err(error) => {
                return crate::call::errno_in(&error)
                    .map(Answer::Failed)
                    .ok_or(error)
            }
        };
        let killed = match self {
            ChildCall::ForkAndKill { after, .. } | ChildCall::KillAllocating { after, .. } => {
                std::thread::sleep(*after);
                made.signal(Signal::SIGKILL)?;
                true
            }
            _ => false,
        };
        match made.wait(LIMIT)? {
            Some(Verdict::Passed) => Ok(Answer::Done),
            Some(Verdict::Killed(Signal::SIGKILL)) if killed => Ok(Answer::Done),
            Some(Verdict::Failed(text)) => anyhow::bail!(text),
            other => anyhow::bail!("a child ended so: {other:?}"),
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        &[Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE]
    }
}
