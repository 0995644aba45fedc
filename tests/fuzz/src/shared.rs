// SPDX-License-Identifier: GPL-2.0

//! State shared by all processes: the current call of fields process and statistics.

use crate::call::Outcome;
use anyhow::{
    ensure,
    Result, //
};
use nix::errno::Errno;
use std::ops::Range;
use std::sync::atomic::{
    AtomicU64,
    Ordering::Relaxed, //
};

/// An array of numbers in shared memory.
struct Numbers(&'static [AtomicU64]);

impl Numbers {
    fn new(count: usize) -> Result<Numbers> {
        // SAFETY: The kernel chooses an unused address.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * size_of::<AtomicU64>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        ensure!(start != libc::MAP_FAILED, "cannot map shared memory");
        // SAFETY: The mapping is page-aligned, zeroed, which is valid for `AtomicU64`, and is never
        // unmapped.
        Ok(Numbers(unsafe {
            std::slice::from_raw_parts(start.cast(), count)
        }))
    }
}

/// A field of the state of a process.
#[derive(Clone, Copy)]
enum Field {
    /// The process ID.
    Pid,
    /// The number of completed calls.
    Calls,
    /// The start of the current call in milliseconds; 0 if there is none.
    CallStart,
    /// The number of release requests that the process has handled.
    ReleasesHandled,
    Count,
}

/// Number of global fields: end of the run, number of release requests, quiet phase, and module
/// pinned.
const COMMON: usize = 4;

/// Number of possible outcomes of a call: done, skipped, and the error numbers.
const OUTCOMES: usize = 2 + 134;

/// Returns the index of the counter of an outcome.
fn outcome_index(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Done => 0,
        Outcome::Skipped => 1,
        Outcome::Failed(errno) => (1 + errno as usize).min(OUTCOMES - 1),
    }
}

/// The number of calls of a kind by outcome.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub done: u64,
    pub skipped: u64,
    pub failed: Vec<(Errno, u64)>,
}

/// The state shared by all processes.
pub struct Shared {
    numbers: Numbers,
    processes: usize,
    kinds: usize,
}

impl Shared {
    pub fn new(processes: usize, kinds: usize) -> Result<Shared> {
        let fields = Field::Count as usize + kinds * OUTCOMES;
        Ok(Shared {
            numbers: Numbers::new(COMMON + processes * fields)?,
            processes,
            kinds,
        })
    }

    pub fn processes(&self) -> Range<usize> {
        0..self.processes
    }

    fn number(&self, index: usize) -> &AtomicU64 {
        // The array is never empty.
        self.numbers.0.get(index).unwrap_or(&self.numbers.0[0])
    }

    fn process_number(&self, process: usize, field: usize) -> &AtomicU64 {
        let fields = Field::Count as usize + self.kinds * OUTCOMES;
        self.number(COMMON + process * fields + field)
    }

    fn field(&self, process: usize, field: Field) -> &AtomicU64 {
        self.process_number(process, field as usize)
    }

    /// Requests all processes to end.
    pub fn end(&self) {
        self.number(0).store(1, Relaxed);
    }

    pub fn is_ending(&self) -> bool {
        self.number(0).load(Relaxed) != 0
    }

    /// Requests all processes to release all heaps and buffers once.
    pub fn release_all(&self) {
        self.number(1).fetch_add(1, Relaxed);
    }

    /// Starts or ends a quiet phase, in which processes make no calls on heaps.
    pub fn set_quiet(&self, quiet: bool) {
        self.number(2).store(quiet.into(), Relaxed);
    }

    /// Keeps the module loaded from now on, because a reload would reset its counters.
    pub fn pin_module(&self) {
        self.number(3).store(1, Relaxed);
    }

    pub fn is_module_pinned(&self) -> bool {
        self.number(3).load(Relaxed) != 0
    }

    pub fn is_quiet(&self) -> bool {
        self.number(2).load(Relaxed) != 0
    }

    /// Returns whether a process must release its heaps and buffers. Returns true once per request.
    pub fn take_release_request(&self, process: usize) -> bool {
        let wanted = self.number(1).load(Relaxed);
        self.field(process, Field::ReleasesHandled)
            .swap(wanted, Relaxed)
            != wanted
    }

    pub fn set_pid(&self, process: usize, pid: i32) {
        self.field(process, Field::Pid).store(pid as u64, Relaxed);
    }

    pub fn pid(&self, process: usize) -> i32 {
        self.field(process, Field::Pid).load(Relaxed) as i32
    }

    /// Marks the start of a call of a process.
    pub fn begin(&self, process: usize, now: u64) {
        self.field(process, Field::CallStart)
            .store(now.max(1), Relaxed);
    }

    /// Marks the end of a call and counts its outcome.
    pub fn finish(&self, process: usize, kind: usize, outcome: Outcome) {
        let field = Field::Count as usize + kind * OUTCOMES + outcome_index(outcome);
        self.process_number(process, field).fetch_add(1, Relaxed);
        self.field(process, Field::Calls).fetch_add(1, Relaxed);
        self.field(process, Field::CallStart).store(0, Relaxed);
    }

    /// Returns the number of completed calls, which is also the number of the current call.
    pub fn calls(&self, process: usize) -> u64 {
        self.field(process, Field::Calls).load(Relaxed)
    }

    /// Returns the start of the current call.
    pub fn call_start(&self, process: usize) -> Option<u64> {
        Some(self.field(process, Field::CallStart).load(Relaxed)).filter(|start| *start != 0)
    }

    /// Returns the outcomes of all calls of a kind.
    pub fn outcomes(&self, kind: usize) -> Outcomes {
        let count = |outcome: usize| {
            let field = Field::Count as usize + kind * OUTCOMES + outcome;
            let of = |process| self.process_number(process, field).load(Relaxed);
            self.processes().map(of).sum::<u64>()
        };
        let failed =
            (2..OUTCOMES).map(|outcome| (Errno::from_raw(outcome as i32 - 1), count(outcome)));
        Outcomes {
            done: count(0),
            skipped: count(1),
            failed: failed.filter(|(_, count)| *count > 0).collect(),
        }
    }
}
