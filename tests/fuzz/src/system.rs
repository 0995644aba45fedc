// SPDX-License-Identifier: GPL-2.0

//! What concerns the whole machine: the module comes and goes, and memory is short.

use crate::call::{
    Answer,
    Perform, //
};
use crate::process::Process;
use crate::random::Random;
use crate::targets::Targets;
use anyhow::{
    Context,
    Result, //
};
use guest_support::mapping::Mapping;
use guest_support::{
    errno_of,
    kernel_module,
    module,
    page_size, //
};
use nix::errno::Errno;
use std::path::Path;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum SystemCall {
    /// Has all processes let go of everything, tries to unload, and loads again after a while.
    /// Quiet: the others leave heaps alone until it is unloaded.
    Reload {
        quiet: bool,
        tries: u8,
        pause: Duration,
        parameters: &'static str,
    },
    Unload,
    Load {
        parameters: &'static str,
    },
    DropCaches {
        what: u8,
    },
    CompactMemory,
    /// Takes memory, this many hundredths of the process's share, and gives it back.
    TakeMemory {
        share: u8,
    },
}

const MODULE_FILE: &str = "/lib/modules/rk_dma_heap.ko";

/// Parameters that the module takes.
const GOOD: &[&str] = &[
    "",
    "",
    "advanced=1",
    "default_names=0",
    "pool_max_percent=0",
    "pool_max_mib=1",
    "mem_accounting=1",
    "max_percent=100 pool_max_percent=100",
    "advanced=1 mem_accounting=1 pool_max_mib=4",
];

/// And those that it does not take.
const BAD: &[&str] = &[
    "max_percent=0",
    "pool_max_percent=101",
    "advanced=2",
    "max_percent=256",
    "pool_max_mib=-1",
    "track_all=",
];

impl SystemCall {
    pub fn generate(random: &mut Random) -> SystemCall {
        match random.below(100) {
            0..6 => SystemCall::Reload {
                quiet: random.chance(60),
                tries: 20 + random.below(80) as u8,
                pause: Duration::from_micros(random.below(30_000).into()),
                parameters: random.pick(GOOD),
            },
            6..20 => SystemCall::Unload,
            20..50 => SystemCall::Load {
                parameters: match random.chance(80) {
                    true => random.pick(GOOD),
                    false => random.pick(BAD),
                },
            },
            50..60 => SystemCall::DropCaches {
                what: random.below(5) as u8,
            },
            60..63 => SystemCall::CompactMemory,
            _ => SystemCall::TakeMemory {
                share: random.below(90) as u8,
            },
        }
    }
}

/// Loads the module. The kernel gives those who load one file at the same time one answer: it may
/// be that to the parameters of another process.
pub fn load(parameters: &str) -> Result<nix::Result<()>> {
    let result = kernel_module::load(Path::new(MODULE_FILE), parameters)?;
    if result.is_ok() {
        Targets::open_to_everybody()?;
    }
    Ok(result)
}

fn reload(
    process: &mut Process,
    quiet: bool,
    tries: u8,
    pause: Duration,
    parameters: &str,
) -> Result<Answer> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(kernel_module::unload(module::NAME).into());
    }
    if process.depth > 0 {
        // It could be killed, and nobody would end the quiet.
        return Ok(Answer::Skipped);
    }
    if quiet {
        process.shared.keep_quiet(true);
    }
    process.shared.release_all();
    process.release()?;
    let mut result = Err(Errno::EAGAIN);
    for _ in 0..tries {
        // The kernel looks for sockets that nobody can get at when one is closed.
        drop(std::os::unix::net::UnixDatagram::pair());
        result = kernel_module::unload(module::NAME);
        // Another process may have been faster.
        if matches!(result, Ok(()) | Err(Errno::ENOENT)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if quiet {
        process.shared.keep_quiet(false);
    }
    if matches!(result, Ok(()) | Err(Errno::ENOENT)) {
        std::thread::sleep(pause);
        for _ in 0..tries {
            match load(parameters)? {
                // Another process was faster.
                Ok(()) | Err(Errno::EEXIST | Errno::EBUSY) => break,
                // Another process was refused, or killed: the kernel answers all who load a file at
                // the same time alike.
                Err(Errno::EINVAL | Errno::EINTR) => {}
                Err(errno) => return Ok(Answer::Failed(errno)),
            }
        }
    }
    Ok(result.into())
}

fn write(path: &str, text: &str) -> Answer {
    std::fs::write(path, text)
        .map_err(|error| errno_of(&error))
        .into()
}

impl Perform for SystemCall {
    fn perform(&self, process: &mut Process) -> Result<Answer> {
        match self {
            SystemCall::Reload { .. } | SystemCall::Unload if process.shared.stays_loaded() => {
                Ok(Answer::Skipped)
            }
            SystemCall::Reload {
                quiet,
                tries,
                pause,
                parameters,
            } => reload(process, *quiet, *tries, *pause, parameters),
            SystemCall::Unload => Ok(kernel_module::unload(module::NAME).into()),
            SystemCall::Load { parameters } => Ok(load(parameters)?.into()),
            SystemCall::DropCaches { what } => {
                Ok(write("/proc/sys/vm/drop_caches", &what.to_string()))
            }
            SystemCall::CompactMemory => Ok(write("/proc/sys/vm/compact_memory", "1")),
            SystemCall::TakeMemory { share } => {
                let len = process.quota / 100 * usize::from(*share);
                let len = len.next_multiple_of(page_size()).max(page_size());
                if !process.make_room(len) {
                    return Ok(Answer::Skipped);
                }
                let memory = Mapping::anonymous(len).context("no addresses")?;
                for offset in (0..len).step_by(page_size()) {
                    memory.write(offset, 1);
                }
                Ok(Answer::Done)
            }
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        match self {
            // EAGAIN: it is in use. EBUSY: it is just coming or going.
            SystemCall::Reload { .. } | SystemCall::Unload => {
                &[Errno::EAGAIN, Errno::EBUSY, Errno::EPERM, Errno::ENOENT]
            }
            // EINTR: another process was killed while it loaded the same file, and the kernel
            // answers both alike.
            SystemCall::Load { .. } => &[
                Errno::EEXIST,
                Errno::EBUSY,
                Errno::EINVAL,
                Errno::EPERM,
                Errno::EINTR,
            ],
            SystemCall::DropCaches { .. } => &[Errno::EINVAL, Errno::EACCES],
            SystemCall::CompactMemory => &[Errno::EACCES],
            SystemCall::TakeMemory { .. } => &[],
        }
    }
}
