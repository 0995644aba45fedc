// SPDX-License-Identifier: GPL-2.0

//! Calls that affect the complete system: module load and unload, and memory pressure.

use crate::call::{
    Outcome,
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
    /// Requests all processes to release their resources, tries to unload the module, and loads it
    /// again after a pause. If `quiet` is set, the other processes make no calls on heaps until it
    /// is unloaded.
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
    /// Allocates and frees `share` percent of the quota of the process.
    TakeMemory {
        share: u8,
    },
}

const MODULE_FILE: &str = "/lib/modules/rk_dma_heap.ko";

/// Parameters that the module accepts.
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

/// Parameters that the module rejects.
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

/// Loads the module. The kernel returns one result to all processes that load the same file
/// concurrently, so the result may belong to the parameters of another process.
pub fn load(parameters: &str) -> Result<nix::Result<()>> {
    let result = kernel_module::load(Path::new(MODULE_FILE), parameters)?;
    if result.is_ok() {
        Targets::make_world_accessible()?;
    }
    Ok(result)
}

fn reload(
    process: &mut Process,
    quiet: bool,
    tries: u8,
    pause: Duration,
    parameters: &str,
) -> Result<Outcome> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(kernel_module::unload(module::NAME).into());
    }
    if process.depth > 0 {
        // If this process were killed, the quiet phase would not end.
        return Ok(Outcome::Skipped);
    }
    if quiet {
        process.shared.set_quiet(true);
    }
    process.shared.release_all();
    process.release()?;
    let mut result = Err(Errno::EAGAIN);
    for _ in 0..tries {
        // Closing a socket triggers the kernel's garbage collection of unreachable sockets.
        drop(std::os::unix::net::UnixDatagram::pair());
        result = kernel_module::unload(module::NAME);
        // Another process may have unloaded it.
        if matches!(result, Ok(()) | Err(Errno::ENOENT)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if quiet {
        process.shared.set_quiet(false);
    }
    if matches!(result, Ok(()) | Err(Errno::ENOENT)) {
        std::thread::sleep(pause);
        for _ in 0..tries {
            match load(parameters)? {
                // Another process has loaded it.
                Ok(()) | Err(Errno::EEXIST | Errno::EBUSY) => break,
                // The load by another process failed or was interrupted. The kernel returns its
                // result to all processes that load the same file concurrently.
                Err(Errno::EINVAL | Errno::EINTR) => {}
                Err(errno) => return Ok(Outcome::Failed(errno)),
            }
        }
    }
    Ok(result.into())
}

fn write(path: &str, text: &str) -> Outcome {
    std::fs::write(path, text)
        .map_err(|error| errno_of(&error))
        .into()
}

impl Perform for SystemCall {
    fn perform(&self, process: &mut Process) -> Result<Outcome> {
        match self {
            SystemCall::Reload { .. } | SystemCall::Unload if process.shared.is_module_pinned() => {
                Ok(Outcome::Skipped)
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
                if !process.reserve_quota(len) {
                    return Ok(Outcome::Skipped);
                }
                let memory = Mapping::anonymous(len).context("cannot map memory")?;
                for offset in (0..len).step_by(page_size()) {
                    memory.write(offset, 1);
                }
                Ok(Outcome::Done)
            }
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        match self {
            // EAGAIN: the module is in use. EBUSY: it is being loaded or unloaded.
            SystemCall::Reload { .. } | SystemCall::Unload => {
                &[Errno::EAGAIN, Errno::EBUSY, Errno::EPERM, Errno::ENOENT]
            }
            // EINTR: another process was killed while it loaded the same file, and the kernel
            // returns the result to both.
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
