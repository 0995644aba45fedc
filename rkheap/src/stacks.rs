// SPDX-License-Identifier: GPL-2.0

//! The call stacks of allocations, which the kernel records in a tracing instance of this process.

use crate::exit::Missing;
use crate::parse::trace_file::{
    self,
    Stack, //
};
use crate::processes;
use crate::system::System;
use crate::text;
use anyhow::{
    anyhow,
    Context,
    Result, //
};
use std::collections::HashMap;
use std::fs::{
    self,
    OpenOptions, //
};
use std::io::{
    ErrorKind,
    Write, //
};

const INSTANCES: &str = "/sys/kernel/tracing/instances";

/// The names of instances start with it and end with the PID of their process.
const PREFIX: &str = "rkheap-";

/// Size of the records of a CPU, in KiB: some thousand stacks.
const SIZE_KIB: &str = "1024";

/// The event of each new dma-buf, of whichever exporter. It has the inode number.
const EVENT: &str = "events/dma_buf/dma_buf_export/enable";

/// Records the call stacks of all allocations until it is dropped.
#[must_use]
pub struct Recorder {
    system: System,
    instance: String,
}

/// The recorded stacks.
#[derive(Debug, Default)]
pub struct Stacks {
    by_inode: HashMap<u64, Stack>,
    /// What is missing, and why.
    pub remark: Option<String>,
}

impl Stacks {
    /// Returns the stack of the allocation of a dma-buf.
    pub fn of(&self, inode: u64) -> Option<&Stack> {
        self.by_inode.get(&inode)
    }
}

impl Recorder {
    /// Starts to record. Fails with [`Missing`] if tracefs does not exist, or is not for this user.
    pub fn start(system: &System) -> Result<Self> {
        remove_stale(system);
        let instance = format!("{INSTANCES}/{PREFIX}{}", std::process::id());
        fs::create_dir(system.path(&instance)).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => anyhow::Error::new(Missing(
                "permission denied: the call stacks are in /sys/kernel/tracing, which is for root \
                 only: use sudo"
                    .to_owned(),
            )),
            ErrorKind::NotFound => anyhow::Error::new(Missing(format!(
                "{INSTANCES} is missing, and only tracefs has the call stacks: sudo mount -t \
                 tracefs tracefs /sys/kernel/tracing, on a kernel with CONFIG_FTRACE"
            ))),
            _ => anyhow!("cannot create {instance}: {error}"),
        })?;
        let recorder = Recorder {
            system: system.clone(),
            instance,
        };
        recorder.write("buffer_size_kb", SIZE_KIB)?;
        // Functions only: an address tells where the kernel lies in memory.
        for option in ["sym-addr", "sym-offset", "latency-format"] {
            recorder.write(&format!("options/{option}"), "0")?;
        }
        recorder.write("options/stacktrace", "1")?;
        // Not every architecture has the stack of the program.
        for option in ["sym-userobj", "userstacktrace"] {
            let _ = recorder.write(&format!("options/{option}"), "1");
        }
        recorder.write(EVENT, "1")?;
        Ok(recorder)
    }

    /// Writes to a file of the instance. Fails with [`Missing`] if the kernel does not have it.
    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = format!("{}/{file}", self.instance);
        let opened = OpenOptions::new().write(true).open(self.system.path(&path));
        let mut opened = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow::Error::new(Missing(format!(
                "this kernel records no call stacks of allocations, it has no {file}: it needs \
                 CONFIG_STACKTRACE, and the event dma_buf_export"
            ))),
            _ => anyhow!("cannot open {path}: {error}"),
        })?;
        opened
            .write_all(value.as_bytes())
            .with_context(|| format!("cannot write to {path}"))
    }

    /// Returns what was recorded until now.
    pub fn stacks(&self) -> Result<Stacks> {
        let path = format!("{}/trace", self.instance);
        let trace = self.system.read(&path).content();
        let trace = trace.with_context(|| format!("cannot read {path}"))?;
        let lost = self.lost();
        Ok(Stacks {
            by_inode: trace_file::parse(&String::from_utf8_lossy(&trace)),
            remark: (lost > 0).then(|| {
                format!("the oldest call stacks are lost: there were {lost} records too many")
            }),
        })
    }

    /// Returns the number of records that newer ones have replaced.
    fn lost(&self) -> u64 {
        let folder = format!("{}/per_cpu", self.instance);
        let cpus = self.system.names(&folder).into_iter();
        let overruns = cpus.filter_map(|cpu| {
            let stats = self.system.text(&format!("{folder}/{cpu}/stats"))?;
            let line = stats
                .lines()
                .find_map(|line| line.strip_prefix("overrun:"))?;
            line.trim().parse::<u64>().ok()
        });
        overruns.fold(0, u64::saturating_add)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.system.path(&self.instance));
    }
}

/// Removes the instances of processes that were killed.
fn remove_stale(system: &System) {
    for name in system.names(INSTANCES) {
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !processes::runs(system, pid)) {
            let _ = fs::remove_dir(system.path(&format!("{INSTANCES}/{name}")));
        }
    }
}

impl Stack {
    /// Returns one line for each function, in printable form. The entry of a system call is the
    /// last of the kernel: whatever is around it is the same for all calls.
    pub fn lines(&self) -> Vec<String> {
        let is_entry = |name: &String| name.contains("_sys_") || name.starts_with("sys_");
        let entry = self.kernel.iter().position(is_entry);
        let count = entry.map_or(self.kernel.len(), |entry| entry + 1);
        let program = self.program.iter().map(|place| text::escaped(place));
        self.kernel
            .iter()
            .take(count)
            .cloned()
            .chain(program)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(prepare: impl FnOnce(&std::path::Path)) -> String {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let recorder = Recorder::start(&System::new(root.path()));
        let error = recorder.err().unwrap();
        assert!(error.is::<Missing>(), "{error}");
        error.to_string()
    }

    #[test]
    fn what_is_missing_is_named() {
        let no_tracefs = refusal(|_| {});
        assert!(no_tracefs.contains("sudo mount -t tracefs"), "{no_tracefs}");
        // A plain folder has no files.
        let no_files = refusal(|root| {
            fs::create_dir_all(root.join(INSTANCES.trim_start_matches('/'))).unwrap();
        });
        assert!(no_files.contains("CONFIG_STACKTRACE"), "{no_files}");
    }

    #[test]
    fn lines_end_with_the_system_call() {
        let stack = |kernel: &[&str]| Stack {
            kernel: kernel.iter().map(|name| (*name).to_owned()).collect(),
            program: vec!["/a\x1b[+0x1]".to_owned()],
        };
        assert_eq!(
            stack(&["dma_buf_export", "__arm64_sys_ioctl", "el0_svc"]).lines(),
            ["dma_buf_export", "__arm64_sys_ioctl", "/a\\u{1b}[+0x1]"]
        );
        assert_eq!(stack(&["sys_ioctl", "ret_fast_syscall"]).lines().len(), 2);
        assert_eq!(stack(&["export", "kthread"]).lines().len(), 3);
    }

    #[test]
    fn instances_of_ended_processes_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let instances = root.path().join(INSTANCES.trim_start_matches('/'));
        for name in ["rkheap-1", "rkheap-2", "rkheap-3", "rkheap-x", "other-2"] {
            fs::create_dir_all(instances.join(name)).unwrap();
        }
        for pid in ["1", "3"] {
            fs::create_dir_all(root.path().join("proc").join(pid)).unwrap();
        }
        // Its parent has not waited for it.
        let ended = "3 (rkheap) Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9\n";
        fs::write(root.path().join("proc/3/stat"), ended).unwrap();
        let system = System::new(root.path());
        remove_stale(&system);
        assert_eq!(system.names(INSTANCES), ["other-2", "rkheap-1", "rkheap-x"]);
    }
}
