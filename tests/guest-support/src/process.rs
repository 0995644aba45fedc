// SPDX-License-Identifier: GPL-2.0

//! Child processes that run a closure.

use crate::checkers;
use crate::retry::eventually;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{
    kill,
    Signal, //
};
use nix::sys::wait::{
    waitpid,
    WaitPidFlag,
    WaitStatus, //
};
use nix::unistd::{
    fork,
    setgid,
    setpgid,
    setuid,
    ForkResult,
    Gid,
    Pid,
    Uid, //
};
use std::fs::{
    self,
    File, //
};
use std::io::{
    Read,
    Write, //
};
use std::panic::{
    catch_unwind,
    AssertUnwindSafe, //
};
use std::time::{
    Duration,
    Instant, //
};

/// Timeout of a child that should exit immediately.
pub const CHILD_TIMEOUT: Duration = Duration::from_secs(40);

const EXIT_FAILED: i32 = 1;
/// The exit status of a skipped kernel selftest.
const EXIT_SKIPPED: i32 = 4;

/// An error that marks a test as skipped, with the reason.
#[derive(Debug)]
pub struct Skipped(pub String);

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// The result of a child process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
    Killed(Signal),
}

/// A child process in its own process group; killed when dropped, or when the thread that started
/// it ends.
#[derive(Debug)]
#[must_use]
pub struct Child {
    pid: Pid,
    report: File,
    status: Option<WaitStatus>,
}

impl Child {
    /// Runs `body` in a child process. An error or a panic is a failure of the child.
    ///
    /// This process must be single-threaded, because a lock held by another thread would never be
    /// released in the child.
    pub fn run(body: impl FnOnce() -> Result<()>) -> Result<Child> {
        let (receiver, sender) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let parent = Pid::this();
        // SAFETY: This process is single-threaded, so the child may call any function.
        match unsafe { fork() }.context("cannot fork")? {
            ForkResult::Parent { child } => {
                // Parent and child both create the group, so it exists before either uses it.
                let _ = setpgid(child, child);
                Ok(Child {
                    pid: child,
                    report: File::from(receiver),
                    status: None,
                })
            }
            ForkResult::Child => {
                drop(receiver);
                let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
                let status = report_outcome(
                    || {
                        die_with(parent)?;
                        body()
                    },
                    File::from(sender),
                );
                // SAFETY: Exits without running the exit handlers of the parent.
                unsafe { libc::_exit(status) }
            }
        }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the child alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid, signal)?)
    }

    /// Waits until the child exits. Returns `None` if it still runs after `limit`, multiplied by
    /// [`checkers::timeout_factor`].
    pub fn wait(&mut self, limit: Duration) -> Result<Option<Verdict>> {
        let limit = limit * checkers::timeout_factor();
        let start = Instant::now();
        let mut pause = Duration::from_micros(200);
        let status = loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::StillAlive if start.elapsed() > limit => return Ok(None),
                WaitStatus::StillAlive => std::thread::sleep(pause),
                status => break status,
            }
            pause = (pause * 2).min(Duration::from_millis(10));
        };
        self.status = Some(status);
        let mut text = String::new();
        let verdict = match status {
            WaitStatus::Signaled(_, signal, _) => Verdict::Killed(signal),
            WaitStatus::Exited(_, 0) => Verdict::Passed,
            WaitStatus::Exited(_, code) => {
                self.report.read_to_string(&mut text)?;
                match code {
                    EXIT_SKIPPED => Verdict::Skipped(text),
                    EXIT_FAILED => Verdict::Failed(text),
                    other => Verdict::Failed(format!("exit status {other}")),
                }
            }
            other => bail!("unexpected state of a child: {other:?}"),
        };
        Ok(Some(verdict))
    }

    /// Waits until the child sleeps in the kernel where only a fatal signal or nothing wakes it.
    /// Fails if it exits, or does not sleep so within [`CHILD_TIMEOUT`].
    pub fn wait_until_blocked(&self) -> Result<()> {
        eventually(CHILD_TIMEOUT, || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
            // The name in parentheses may contain anything.
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            ensure!(state == Some('D'), "the child is in state {state:?}");
            Ok(())
        })
    }

    /// Kills the child, and fails if that does not end it within `limit`, multiplied as in
    /// [`Child::wait`].
    pub fn kill(&mut self, limit: Duration) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let verdict = self
            .wait(limit)?
            .with_context(|| format!("the process does not exit within {limit:?} of SIGKILL"))?;
        ensure!(verdict == Verdict::Killed(Signal::SIGKILL), "{verdict:?}");
        Ok(())
    }

    /// Waits for the child and fails if the child failed.
    pub fn succeed(mut self) -> Result<()> {
        match self.wait(CHILD_TIMEOUT)? {
            Some(Verdict::Passed) => Ok(()),
            Some(Verdict::Failed(text)) => bail!("in the child process: {text}"),
            Some(other) => bail!("the child process ended unexpectedly: {other:?}"),
            None => bail!("the child process is still running after {CHILD_TIMEOUT:?}"),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Kill the descendants of the child as well, which are in its group.
        let _ = nix::sys::signal::killpg(self.pid, Signal::SIGKILL);
        if self.status.is_none() {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = self.wait(CHILD_TIMEOUT);
        }
    }
}

/// Lets the kernel kill this process when its parent ends, even if that is killed and cannot do it
/// itself. A process group would not do: each child has one of its own.
fn die_with(parent: Pid) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // The first process of a PID namespace does not see its parent.
    let seen = Pid::parent();
    ensure!(seen == parent || seen.as_raw() == 0, "the parent has ended");
    Ok(())
}

/// Shortens a report to what a pipe takes while nobody reads it, which is what is done until the
/// child has exited.
fn truncate(text: &mut String) {
    const MAX: usize = 32 << 10;
    if text.len() > MAX {
        let end = (0..=MAX).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push_str(" ...");
    }
}

fn report_outcome(body: impl FnOnce() -> Result<()>, mut report: File) -> i32 {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => error,
        // The panic hook has printed the message.
        Err(_) => anyhow::anyhow!("panicked"),
    };
    let mut text = format!("{error:#}");
    truncate(&mut text);
    let _ = report.write_all(text.as_bytes());
    if error.is::<Skipped>() {
        EXIT_SKIPPED
    } else {
        EXIT_FAILED
    }
}

/// Sets the name of the calling thread. The kernel truncates it to 15 bytes.
pub fn rename_thread(name: &str) -> Result<()> {
    // The null byte makes the write non-empty for an empty name.
    let name = format!("{name}\0");
    std::fs::write("/proc/thread-self/comm", name).context("cannot rename the thread")
}

/// Changes this process to an ordinary user, who owns nothing.
pub fn become_ordinary_user() -> nix::Result<()> {
    const NOBODY: u32 = 65534;
    setgid(Gid::from_raw(NOBODY))?;
    setuid(Uid::from_raw(NOBODY))?;
    // The kernel has forgotten it.
    set_pdeathsig(Signal::SIGKILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The test runner is multi-threaded. These children only call functions that are safe after a
    // fork.

    #[test]
    fn child_result_is_reported() {
        let mut passed = Child::run(|| Ok(())).unwrap();
        assert_eq!(passed.wait(CHILD_TIMEOUT).unwrap(), Some(Verdict::Passed));
        let mut killed = Child::run(|| loop {
            std::thread::sleep(CHILD_TIMEOUT);
        })
        .unwrap();
        assert_eq!(killed.wait(Duration::from_millis(20)).unwrap(), None);
        killed.signal(Signal::SIGKILL).unwrap();
        let verdict = killed.wait(CHILD_TIMEOUT).unwrap();
        assert_eq!(verdict, Some(Verdict::Killed(Signal::SIGKILL)));
    }

    #[test]
    fn a_child_ends_with_its_parent() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut parent = Child::run(|| {
            let _child = Child::run(|| loop {
                std::thread::sleep(CHILD_TIMEOUT);
            })?;
            nix::unistd::write(&writer, b".")?;
            loop {
                std::thread::sleep(CHILD_TIMEOUT);
            }
        })
        .unwrap();
        drop(writer);
        let mut reader = File::from(reader);
        reader.read_exact(&mut [0]).unwrap();
        parent.kill(CHILD_TIMEOUT).unwrap();
        // Both had the other end.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn kill_expects_the_child_to_run() {
        let mut killed = Child::run(|| loop {
            std::thread::sleep(CHILD_TIMEOUT);
        })
        .unwrap();
        killed.kill(CHILD_TIMEOUT).unwrap();
        // It stays to be waited for, so the signal changes nothing.
        let mut passed = Child::run(|| Ok(())).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        passed.kill(CHILD_TIMEOUT).unwrap_err();
    }

    #[test]
    fn failure_reason_is_reported() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let status = report_outcome(|| bail!("a reason"), File::from(writer));
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!((status, text.as_str()), (EXIT_FAILED, "a reason"));
    }

    #[test]
    fn a_long_reason_fits_in_a_pipe() {
        // A byte before, so that no character ends at the limit.
        let reason = format!("x{}", "é".repeat(100_000));
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let fails = || Err(anyhow::Error::msg(reason.clone()));
        assert_eq!(report_outcome(fails, File::from(writer)), EXIT_FAILED);
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        let start = text.strip_suffix(" ...").unwrap();
        assert!(reason.starts_with(start) && start.len() > 30_000);
    }

    #[test]
    fn skip_has_its_own_exit_status() {
        let (_reader, writer) = nix::unistd::pipe().unwrap();
        let skip = || Err(anyhow::Error::new(Skipped("no device".into())));
        assert_eq!(report_outcome(skip, File::from(writer)), EXIT_SKIPPED);
    }
}
