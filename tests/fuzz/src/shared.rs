// SPDX-License-Identifier: GPL-2.0

//! What all processes see of each other: what each is doing, and what came of it.

use crate::call::Answer;
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

/// Numbers in memory that all processes share.
struct Numbers(&'static [AtomicU64]);

impl Numbers {
    fn new(count: usize) -> Result<Numbers> {
        // SAFETY: The kernel picks an address where nothing else is.
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
        ensure!(start != libc::MAP_FAILED, "no memory to share");
        // SAFETY: The memory is zeroed, which is a valid number, aligned to a page, and never
        // unmapped.
        Ok(Numbers(unsafe {
            std::slice::from_raw_parts(start.cast(), count)
        }))
    }
}

/// A place in what a process tells.
#[derive(Clone, Copy)]
enum Field {
    /// The process.
    Pid,
    /// How many calls it has made.
    Calls,
    /// When the present one began, in milliseconds; 0 between two.
    Since,
    /// How often it has been asked to let go of everything.
    Released,
    Count,
}

/// How many numbers belong to no process: the end, how often all were asked to let go, whether to
/// keep quiet, and whether the module stays.
const COMMON: usize = 4;

/// How many outcomes a call can have: done, skipped, and the error numbers.
const OUTCOMES: usize = 2 + 134;

/// The place where an outcome is counted.
fn place(answer: Answer) -> usize {
    match answer {
        Answer::Done => 0,
        Answer::Skipped => 1,
        Answer::Failed(errno) => (1 + errno as usize).min(OUTCOMES - 1),
    }
}

/// How often a kind of calls was made, by what came of it.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub done: u64,
    pub skipped: u64,
    pub failed: Vec<(Errno, u64)>,
}

/// What all processes share.
pub struct Shared {
    numbers: Numbers,
    processes: usize,
    kinds: usize,
}

impl Shared {
    pub fn new(processes: usize, kinds: usize) -> Result<Shared> {
        let each = Field::Count as usize + kinds * OUTCOMES;
        Ok(Shared {
            numbers: Numbers::new(COMMON + processes * each)?,
            processes,
            kinds,
        })
    }

    pub fn processes(&self) -> Range<usize> {
        0..self.processes
    }

    fn at(&self, index: usize) -> &AtomicU64 {
        // There is always a first number.
        self.numbers.0.get(index).unwrap_or(&self.numbers.0[0])
    }

    fn of(&self, process: usize, place: usize) -> &AtomicU64 {
        let each = Field::Count as usize + self.kinds * OUTCOMES;
        self.at(COMMON + process * each + place)
    }

    fn field(&self, process: usize, field: Field) -> &AtomicU64 {
        self.of(process, field as usize)
    }

    /// Asks all processes to come to an end.
    pub fn end(&self) {
        self.at(0).store(1, Relaxed);
    }

    pub fn ends(&self) -> bool {
        self.at(0).load(Relaxed) != 0
    }

    /// Asks all processes to let go of all heaps and buffers, once.
    pub fn release_all(&self) {
        self.at(1).fetch_add(1, Relaxed);
    }

    /// Asks all processes to leave heaps alone, or not to any more.
    pub fn keep_quiet(&self, quiet: bool) {
        self.at(2).store(quiet.into(), Relaxed);
    }

    /// From here on the module stays: a new one has forgotten what the old one counted wrongly.
    pub fn stay_loaded(&self) {
        self.at(3).store(1, Relaxed);
    }

    pub fn stays_loaded(&self) -> bool {
        self.at(3).load(Relaxed) != 0
    }

    pub fn is_quiet(&self) -> bool {
        self.at(2).load(Relaxed) != 0
    }

    /// Whether process `process` has to let go; it is told once each time.
    pub fn must_release(&self, process: usize) -> bool {
        let wanted = self.at(1).load(Relaxed);
        self.field(process, Field::Released).swap(wanted, Relaxed) != wanted
    }

    pub fn set_pid(&self, process: usize, pid: i32) {
        self.field(process, Field::Pid).store(pid as u64, Relaxed);
    }

    pub fn pid(&self, process: usize) -> i32 {
        self.field(process, Field::Pid).load(Relaxed) as i32
    }

    /// Process `process` begins a call.
    pub fn begin(&self, process: usize, now: u64) {
        self.field(process, Field::Since).store(now.max(1), Relaxed);
    }

    /// It is done with it.
    pub fn finish(&self, process: usize, kind: usize, answer: Answer) {
        let place = Field::Count as usize + kind * OUTCOMES + place(answer);
        self.of(process, place).fetch_add(1, Relaxed);
        self.field(process, Field::Calls).fetch_add(1, Relaxed);
        self.field(process, Field::Since).store(0, Relaxed);
    }

    /// How many calls the process has made; this is also the number of the present one.
    pub fn calls(&self, process: usize) -> u64 {
        self.field(process, Field::Calls).load(Relaxed)
    }

    /// Since when it has been in its present call.
    pub fn since(&self, process: usize) -> Option<u64> {
        Some(self.field(process, Field::Since).load(Relaxed)).filter(|since| *since != 0)
    }

    /// What came of all processes' calls of a kind.
    pub fn outcomes(&self, kind: usize) -> Outcomes {
        let count = |outcome: usize| {
            let place = Field::Count as usize + kind * OUTCOMES + outcome;
            let of = |process| self.of(process, place).load(Relaxed);
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
