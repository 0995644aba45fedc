// SPDX-License-Identifier: GPL-2.0

//! Records of all dma-bufs of the system, with their total size and its peak.
//!
//! A record is inserted when a dma-buf is exported and removed when its exporter is about to
//! release it, so the total is always exact and the peak misses no dma-buf. Dma-bufs that were
//! exported before the module was loaded are found with the kernel's iterator. It runs after the
//! observation of events has started, and a dma-buf that both find is inserted once.
//!
//! That of a dma-buf of this module ([`records::own`]) is inserted and removed by the exporter
//! itself, which cannot be missed, so it needs no reference to anything.
//!
//! For those of others ([`records`]), events inform, references keep: a record holds a reference to
//! the inode of its dma-buf, by which a reader acquires one to the dma-buf itself. Where the
//! release was missed, there is none to acquire, and the record is swept by the next readers and
//! exports.
//!
//! Without `track_all`, or if the kernel does not allow the observation, only this module's own
//! dma-bufs are recorded.
//!
//! # Locks
//!
//! [`RECORDS`] is a raw spin lock over the records of other exporters' dma-bufs, because a release
//! is reported where nobody may sleep. It is acquired with the name lock of a dma-buf held or with
//! none, and held for a bounded number of steps, each a search in a tree. Under it no other lock is
//! acquired and nothing is allocated or freed: a reader takes the inode along and asks it for the
//! dma-buf afterwards, and dead records are dropped by a thread. [`records::own`] has the locks of
//! the module's own records.

mod missing;
mod origin;
mod records;

use missing::Missing;
pub(crate) use origin::Origin;
pub(crate) use records::totals::Totals;
pub(crate) use records::OwnSlot;
use records::{
    own,
    totals,
    Records, //
};

use crate::abstractions::{
    background::{
        Background,
        DelayedWork,
        Priority,
        Thread, //
    },
    dma_buf::{
        DmaBuf,
        Exported,
        Pinned,
        UncountedDmaBuf, //
    },
    dma_buf_events::{
        DmaBufIter,
        Events,
        Observer, //
    },
    exporter,
    global_lock::global_lock,
    raw_spin_lock::RawSpinLockBackend,
    signal,
    task, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    rbtree::RBTreeNode,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The records of others, between [`AllBuffers::start`] and the end.
    unsafe(uninit) static RECORDS: Lock<Option<Records>, RawSpinLockBackend> = None;
}

/// Initialises [`RECORDS`] and the module's own records.
///
/// # Safety
///
/// Must be called once, before any other function of this file.
pub(crate) unsafe fn init_lock() {
    // SAFETY: The caller promises that this is the first and only call.
    unsafe {
        RECORDS.init();
        own::init();
    }
}

/// Whether dma-bufs that are exported without a name get a default name.
static SET_DEFAULT_NAMES: Atomic<bool> = Atomic::new(false);

/// Whether dma-bufs of other exporters are recorded.
static TRACK_ALL: Atomic<bool> = Atomic::new(false);

/// The records whose allocation failed.
static MISSING: Missing = Missing::new();

/// The number of records that a reader looks at while it holds the lock.
const SWEEP_STEPS: usize = 32;

/// The time for which dead records are collected before they are dropped, in milliseconds.
const BURIAL_DELAY_MS: u32 = 10;

/// Returns whether the records of [`own`] cover `dma_buf`.
fn is_own(dma_buf: &UncountedDmaBuf) -> bool {
    exporter::extra::<OwnSlot>(dma_buf).is_some()
}

/// Inserts a record of another exporter's `dma_buf`, if there is none. Allocates with `flags`.
/// Fails with `ENOMEM`.
fn insert(dma_buf: &DmaBuf, origin: Option<Origin>, flags: Flags) -> Result {
    let node = RBTreeNode::new(records::Key::new(dma_buf), records::Other::new(), flags)?;
    let mut records = RECORDS.lock();
    let Some(open) = records.as_mut() else {
        return Ok(());
    };
    let unused = open.insert_other(node, dma_buf, origin);
    let burial = open.sweep_some().then(|| open.burial.clone());
    drop(records);
    drop(unused);
    if let Some(burial) = burial {
        burial.queue(BURIAL_DELAY_MS);
    }
    Ok(())
}

/// Inserts a record of a dma-buf of unknown origin. May sleep. Fails with `ENOMEM`.
fn insert_existing(dma_buf: &DmaBuf) -> Result {
    if is_own(dma_buf) {
        return Ok(());
    }
    insert(dma_buf, None, GFP_KERNEL)
}

/// Drops the records of dma-bufs that do not exist any more. May sleep.
fn bury_dead() {
    loop {
        // The lock is released at the end of the statement.
        let dead = RECORDS.lock().as_mut().and_then(Records::take_dead);
        if dead.is_none() {
            return;
        }
        drop(dead);
        task::reschedule();
    }
}

/// Drops records for those who must not sleep.
struct Undertaker;

impl Background for Undertaker {
    fn run(&self) {
        bury_dead();
    }
}

/// Inserts and removes records on events of all exporters.
struct Recorder;

impl Observer for Recorder {
    fn exported(new: Exported<'_>) {
        // The exporter names and records its own, see `exported_own()`.
        if is_own(new.dma_buf()) {
            return;
        }
        let origin = Origin::now();
        if SET_DEFAULT_NAMES.load(Relaxed) {
            // On `ENOMEM` the dma-buf keeps no name.
            let _ = new.set_default_name(&origin.default_name());
        }
        if TRACK_ALL.load(Relaxed) && insert(new.dma_buf(), Some(origin), GFP_ATOMIC).is_err() {
            MISSING.count();
            totals::set_peak_stale();
        }
    }

    fn released(dma_buf: &UncountedDmaBuf) {
        // The exporter reports its own, see `released_own()`.
        if is_own(dma_buf) {
            return;
        }
        let mut records = RECORDS.lock();
        let Some(open) = records.as_mut() else {
            return;
        };
        let burial = open.released_other(dma_buf).then(|| open.burial.clone());
        drop(records);
        if let Some(burial) = burial {
            burial.queue(BURIAL_DELAY_MS);
        }
    }
}

/// Names and records a dma-buf that this module has just exported.
///
/// May sleep. Fails with `ENOMEM`.
///
/// # Safety
///
/// - [`released_own`] must be called when the exporter of `dma_buf` releases it.
/// - This must be called once for each dma-buf.
pub(crate) unsafe fn exported_own(dma_buf: &DmaBuf) -> Result {
    let origin = Origin::now();
    if SET_DEFAULT_NAMES.load(Relaxed) {
        dma_buf.set_name(&origin.default_name())?;
    }
    if let Some(slot) = exporter::extra::<OwnSlot>(dma_buf) {
        // SAFETY: The slot lives as long as the dma-buf. The rest is required of the caller.
        unsafe { own::insert(slot, dma_buf, origin) };
    }
    Ok(())
}

/// Removes the record in `slot` of a dma-buf of this module that is being released. Does not sleep.
pub(crate) fn released_own(slot: &OwnSlot) {
    own::remove(slot);
}

/// Calls `f` for each dma-buf of this module that is not being released and was recorded before the
/// call. Stops if it fails. May sleep.
pub(crate) fn for_each_own(f: impl Fn(&UncountedDmaBuf) -> Result) -> Result {
    let mut next = Some(u64::MAX);
    while let Some(found) = next.and_then(|number| own::newest_up_to(number, None)) {
        if let Some((dma_buf, _)) = found.dma_buf {
            f(&dma_buf)?;
        }
        next = found.number.checked_sub(1);
        task::reschedule();
    }
    Ok(())
}

/// Returns the current totals. May sleep.
pub(crate) fn totals() -> Totals {
    sweep();
    totals::current()
}

/// Stops counting dma-bufs whose release was missed. May sleep.
fn sweep() {
    let mut from = Some(records::Key::FIRST);
    while let Some(at) = from {
        if signal::fatal_pending() {
            return;
        }
        // The lock is released at the end of the statement.
        from = RECORDS
            .lock()
            .as_mut()
            .and_then(|records| records.sweep(at, SWEEP_STEPS));
        task::reschedule();
    }
    bury_dead();
}

/// Sets the peak to the current total. May sleep.
pub(crate) fn reset_peak() {
    sweep();
    totals::reset_peak();
}

/// A recorded dma-buf.
pub(crate) struct BufferInfo {
    /// The dma-buf.
    pub(crate) dma_buf: Pinned,
    /// Its origin. `None` if it was exported before the module was loaded, or its record was
    /// missing for a while.
    pub(crate) origin: Option<Origin>,
}

/// Returns the newest dma-buf whose inode number is at most `number` and which is not being
/// released. Returns `None` also if a fatal signal is pending. May sleep.
///
/// Repeated calls, each with the number below the last one found, visit all dma-bufs, newest first,
/// even if others are exported and released in between.
pub(crate) fn newest_up_to(mut number: u64) -> Option<BufferInfo> {
    loop {
        // The lock is released at the end of the statement.
        let other = RECORDS
            .lock()
            .as_ref()
            .and_then(|records| records.newest_up_to(number));
        let (found, reference) = match own::newest_up_to(number, other) {
            Some(own) => (own.number, own.dma_buf),
            None => {
                let found = other?;
                (found, other_dma_buf(found))
            }
        };
        if let Some((dma_buf, origin)) = reference {
            return Some(BufferInfo { dma_buf, origin });
        }
        if signal::fatal_pending() {
            return None;
        }
        task::reschedule();
        number = found.checked_sub(1)?;
    }
}

/// Returns the dma-buf of another exporter with the inode number `number`, with its origin, if it
/// exists.
fn other_dma_buf(number: u64) -> Option<(Pinned, Option<Origin>)> {
    let (inode, origin) = RECORDS.lock().as_ref()?.get(number)?;
    Some((inode.dma_buf()?, origin))
}

/// Iterates over all recorded dma-bufs, newest first. Those exported after the first step are not
/// visited.
pub(crate) fn iter() -> impl Iterator<Item = BufferInfo> {
    let mut next = Some(u64::MAX);
    core::iter::from_fn(move || {
        let found = newest_up_to(next?)?;
        next = found.dma_buf.inode().checked_sub(1);
        Some(found)
    })
}

/// Which dma-bufs the records cover.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Those of all exporters.
    All,
    /// Those of all exporters, but some have no record for lack of memory.
    Incomplete,
    /// This module's own.
    Own,
}

/// Returns which dma-bufs the records cover, after inserting records that are missing. May sleep.
pub(crate) fn coverage() -> Coverage {
    if !TRACK_ALL.load(Relaxed) {
        return Coverage::Own;
    }
    MISSING.repair(|| {
        DmaBufIter::new()
            .ok_or(ENOENT)?
            .try_for_each(insert_existing)
    });
    match MISSING.any() {
        true => Coverage::Incomplete,
        false => Coverage::All,
    }
}

/// Records dma-bufs until it is dropped.
#[must_use = "dropping this ends the recording"]
pub(crate) struct AllBuffers {
    /// Set to `None` to stop the observation.
    events: Option<Events<Recorder>>,
    /// Set to `None` when no event queues work for it any more.
    undertaker: Option<Thread<Undertaker>>,
}

impl AllBuffers {
    /// Starts recording. With `track_all`, records the dma-bufs of all exporters, including
    /// existing ones. With `default_names`, names those of them that are exported without a name.
    ///
    /// If the kernel does not allow the observation, logs the reason and records only this module's
    /// own dma-bufs.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINTR` on a fatal signal.
    pub(crate) fn start(track_all: bool, default_names: bool) -> Result<Self> {
        let burial = DelayedWork::new()?;
        *RECORDS.lock() = Some(Records::new(burial.clone()));
        let mut this = Self {
            events: None,
            undertaker: None,
        };
        SET_DEFAULT_NAMES.store(default_names, Relaxed);
        if !track_all {
            return Ok(this);
        }
        let existing = existing_dma_bufs();
        if existing.is_some() {
            // Ordinary work of any task releases dma-bufs, and each costs an inode until it is
            // dropped.
            let priority = Priority::Highest;
            let undertaker = Arc::new(Undertaker, GFP_KERNEL)?;
            this.undertaker = Some(Thread::start(
                c"rk_dma_heap_records",
                priority,
                burial,
                undertaker,
            )?);
        }
        TRACK_ALL.store(existing.is_some(), Relaxed);
        if existing.is_none() && !default_names {
            return Ok(this);
        }
        match Events::register(existing.is_some()) {
            Ok(events) => {
                this.events = Some(events);
                if let Some(existing) = existing {
                    existing.try_for_each(insert_existing)?;
                }
            }
            Err(error) => {
                TRACK_ALL.store(false, Relaxed);
                log_own_only("a tracepoint or kprobe is refused", error);
            }
        }
        Ok(this)
    }
}

/// Returns the kernel's iterator over dma-bufs. If they cannot be observed, logs the reason and
/// returns `None`. May sleep.
fn existing_dma_bufs() -> Option<DmaBufIter> {
    let existing = DmaBufIter::new();
    if existing.is_none() {
        log_own_only("this kernel has no dma-buf iterator, or no kprobes", ENOENT);
    }
    existing
}

fn log_own_only(reason: &str, error: Error) {
    pr_info!(
        "/proc/rk_dmabuf shows this module's own dma-bufs only: {} ({:?})\n",
        reason,
        error
    );
}

impl Drop for AllBuffers {
    fn drop(&mut self) {
        self.events = None;
        TRACK_ALL.store(false, Relaxed);
        self.undertaker = None;
        // The module's own dma-bufs are all released, because each pins the module. These are
        // dropped without the lock.
        let records = RECORDS.lock().take();
        drop(records);
    }
}
