// SPDX-License-Identifier: GPL-2.0

//! A record of each dma-buf of the system: what there is, how much it is, and who made it.
//!
//! A dma-buf is entered when it is exported and leaves when it is released, so the sum over all is
//! exact at any moment and its peak misses nothing. Those from before the module was loaded are
//! entered then: the kernel's iterator runs only after the events are observed, and whatever both
//! of them find is entered once.
//!
//! Where the kernel does not let all of them be observed, or nobody wants it, the module's own are
//! all there are.
//!
//! # Locks
//!
//! [`RECORDS`] is a spin lock, taken with the lock of a dma-buf's name held. Nothing is taken under
//! it, and nothing under it sleeps.

mod records;

use records::Records;
pub(crate) use records::Slot;

use crate::{
    abstractions::{
        dma_buf::{
            ActiveRef,
            DmaBuf,
            Exported, //
        },
        dma_buf_events::{
            DmaBufIter,
            Events,
            Observer, //
        },
        exporter,
        task, //
    },
    decisions::{
        digits::Digits,
        text::Text, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        BootTime,
        Instant, //
    }, //
};

/// The most of a default name that is kept, in bytes, and a zero.
const DEFAULT_NAME: usize = 16 + 1;

kernel::sync::global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The records. There are none before [`AllBuffers::start`].
    unsafe(uninit) static RECORDS: SpinLock<Records> = Records::new();
}

/// Initialises the lock.
///
/// # Safety
///
/// Must be called once, before anything else in this file.
pub(crate) unsafe fn init_lock() {
    // SAFETY: Called once and first, as the caller promises.
    unsafe { RECORDS.init() };
}

/// Whether dma-bufs without a name are given one.
static DEFAULT_NAMES: Atomic<bool> = Atomic::new(false);

/// Whether that happens when they are exported, whoever does it.
static NAMES_OBSERVED: Atomic<bool> = Atomic::new(false);

/// Whether dma-bufs of other exporters are entered.
static OTHERS: Atomic<bool> = Atomic::new(false);

/// Whether a dma-buf could not be entered for want of memory.
static MISSING: Atomic<bool> = Atomic::new(false);

/// Who exported a dma-buf, and when.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// The number of the process.
    pub(crate) process: i32,
    /// The name of the thread.
    pub(crate) thread: task::Name,
    time: Instant<BootTime>,
}

impl Origin {
    fn now() -> Self {
        Self {
            process: task::current_process(),
            thread: task::Name::current(),
            time: Instant::now(),
        }
    }

    /// `PID-THREADNAME`, cut.
    fn default_name(&self) -> Text<DEFAULT_NAME> {
        let mut name = Text::new();
        name.push_whole(Digits::decimal(self.process.unsigned_abs().into()).as_bytes());
        name.push_whole(b"-");
        name.push_whole(self.thread.as_bytes());
        name
    }

    /// How long ago that was, in milliseconds.
    pub(crate) fn age(&self) -> i64 {
        self.time.elapsed().as_millis()
    }
}

/// The slot that comes with `dma_buf`, if this module has exported it.
fn own_slot(dma_buf: &DmaBuf) -> Option<NonNull<Slot>> {
    exporter::extra::<Slot>(dma_buf).map(NonNull::from)
}

/// Room for the record of `dma_buf`: with its exporter, if that is this module, else in memory that
/// is allocated with `flags`.
fn slot_for(dma_buf: &DmaBuf, flags: Flags) -> Result<NonNull<Slot>> {
    if let Some(own) = own_slot(dma_buf) {
        return Ok(own);
    }
    Ok(NonNull::from(KBox::leak(KBox::new(Slot::new(), flags)?)))
}

/// Gives up a slot that has no record in it.
///
/// # Safety
///
/// The slot must come from [`slot_for`] and, unless it is `dma_buf`'s exporter's, not be used any
/// more.
unsafe fn give_up(slot: NonNull<Slot>, dma_buf: &DmaBuf) {
    if own_slot(dma_buf) != Some(slot) {
        // SAFETY: It was made from a box, and nobody uses it, as the caller promises.
        drop(unsafe { KBox::from_raw(slot.as_ptr()) });
    }
}

/// Enters a dma-buf, allocating with `flags`. Fails with `ENOMEM`.
fn enter(dma_buf: &DmaBuf, origin: Option<Origin>, flags: Flags) -> Result {
    let slot = slot_for(dma_buf, flags)?;
    // SAFETY: The slot stays until `leave()`, which is called when the dma-buf's file is released.
    let entered = unsafe { RECORDS.lock().enter(slot, dma_buf, origin) };
    if !entered {
        // SAFETY: The slot is not used: the dma-buf has a record already.
        unsafe { give_up(slot, dma_buf) };
    }
    Ok(())
}

/// Enters a dma-buf that is there already. May sleep. Fails with `ENOMEM`.
fn enter_existing(dma_buf: &DmaBuf) -> Result {
    enter(dma_buf, None, GFP_KERNEL)
}

/// Takes a dma-buf out, if it is there.
fn leave(dma_buf: &DmaBuf) {
    let own = own_slot(dma_buf);
    let mut records = RECORDS.lock();
    let Some(slot) = own.or_else(|| records.slot_of(dma_buf.inode())) else {
        return;
    };
    // SAFETY: The slot of a dma-buf of this module stays as long as that, one in the tree until it
    // has left.
    records.leave(unsafe { slot.as_ref() });
    drop(records);
    if own.is_none() {
        // SAFETY: The record has left, and nobody looks at the slot any more.
        unsafe { give_up(slot, dma_buf) };
    }
}

/// Observes all dma-bufs.
struct RecordKeeper;

impl Observer for RecordKeeper {
    fn exported(new: Exported<'_>) {
        let origin = Origin::now();
        if DEFAULT_NAMES.load(Relaxed) {
            // Where there is no memory left, the dma-buf stays without a name.
            let _ = new.name_if_unnamed(origin.default_name().as_bytes());
        }
        if OTHERS.load(Relaxed) && enter(new.dma_buf(), Some(origin), GFP_ATOMIC).is_err() {
            MISSING.store(true, Relaxed);
        }
    }

    fn released(dma_buf: &DmaBuf) {
        leave(dma_buf);
    }
}

/// Enters a dma-buf that this module has just exported, where those of others are not observed.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn exported_own(dma_buf: &DmaBuf) -> Result {
    if DEFAULT_NAMES.load(Relaxed) && !NAMES_OBSERVED.load(Relaxed) {
        dma_buf.set_name(Origin::now().default_name().as_bytes())?;
    }
    if !OTHERS.load(Relaxed) {
        enter(dma_buf, Some(Origin::now()), GFP_KERNEL)?;
    }
    Ok(())
}

/// A dma-buf of this module is gone, whose record has its place in `slot`. Does not sleep.
pub(crate) fn released_own(slot: &Slot) {
    // Where all are observed, it has left already.
    if slot.is_entered() {
        RECORDS.lock().leave(slot);
    }
}

/// What is alive.
#[derive(Clone, Copy)]
pub(crate) struct Totals {
    /// The sum of all sizes, in bytes.
    pub(crate) bytes: u64,
    /// The largest that it has been since the module was loaded or [`reset_peak`] was called.
    pub(crate) peak: u64,
}

/// What is alive at this moment. May sleep. Fails with `ENOMEM`.
pub(crate) fn totals() -> Result<Totals> {
    if MISSING.load(Relaxed) {
        MISSING.store(false, Relaxed);
        DmaBufIter::find()
            .ok_or(ENOENT)
            .and_then(|existing| existing.try_for_each(enter_existing))
            .inspect_err(|_| MISSING.store(true, Relaxed))?;
    }
    let records = RECORDS.lock();
    Ok(Totals {
        bytes: records.bytes,
        peak: records.peak,
    })
}

/// Sets the peak to what is alive now.
pub(crate) fn reset_peak() {
    let mut records = RECORDS.lock();
    records.peak = records.bytes;
}

/// A dma-buf, and what is known of it.
pub(crate) struct Found {
    /// The dma-buf.
    pub(crate) dma_buf: ActiveRef,
    /// Who exported it; `None` where that was before the module was loaded.
    pub(crate) origin: Option<Origin>,
}

/// The newest dma-buf whose inode number is at most `inode`, and not yet on its way out. Does not
/// sleep.
///
/// With each call for the number below the last one, all are found, newest first, whatever comes
/// and goes meanwhile.
pub(crate) fn newest(inode: u64) -> Option<Found> {
    let records = RECORDS.lock();
    let mut next = records.at_most(inode);
    while let Some(record) = next {
        // SAFETY: They are not freed while the record is entered, by its invariant, and the lock is
        // held.
        if let Some(dma_buf) = unsafe { ActiveRef::new(record.dma_buf) } {
            return Some(Found {
                dma_buf,
                origin: record.origin,
            });
        }
        next = records.older(record);
    }
    None
}

/// All dma-bufs, newest first: those that come after the first was found are not among them.
pub(crate) fn iter() -> impl Iterator<Item = Found> {
    let mut next = Some(u64::MAX);
    core::iter::from_fn(move || {
        let found = newest(next?)?;
        next = found.dma_buf.inode().checked_sub(1);
        Some(found)
    })
}

/// Whether dma-bufs of all exporters are entered; if not, only this module's own are.
pub(crate) fn covers_all() -> bool {
    OTHERS.load(Relaxed)
}

/// Records are kept while this lives.
pub(crate) struct AllBuffers {
    /// Dropped first: nothing is entered any more.
    events: Option<Events<RecordKeeper>>,
}

impl AllBuffers {
    /// Begins. With `others`, dma-bufs of all exporters are entered, also those that there are
    /// already; with `default_names`, those that come without a name are given one.
    ///
    /// Where the kernel does not allow that, the log says so, and it is done for this module's own.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn start(others: bool, default_names: bool) -> Result<Self> {
        let mut this = Self { events: None };
        DEFAULT_NAMES.store(default_names, Relaxed);
        let existing = others.then(find_existing).flatten();
        OTHERS.store(existing.is_some(), Relaxed);
        if existing.is_none() && !default_names {
            return Ok(this);
        }
        match Events::observe(existing.is_some()) {
            Ok(events) => {
                NAMES_OBSERVED.store(true, Relaxed);
                this.events = Some(events);
                if let Some(existing) = existing {
                    existing.try_for_each(enter_existing)?;
                }
            }
            Err(error) => {
                OTHERS.store(false, Relaxed);
                not_observed("a tracepoint or kprobe is refused", error);
            }
        }
        Ok(this)
    }
}

/// The kernel's iterator, if all dma-bufs can be observed; if not, the log says why. May sleep.
fn find_existing() -> Option<DmaBufIter> {
    if cfg!(CONFIG_PREEMPT_RT) {
        not_observed("spin locks sleep in this kernel", ENODEV);
        return None;
    }
    let existing = DmaBufIter::find();
    if existing.is_none() {
        not_observed(
            "this kernel has no iterator over them, or no kprobes",
            ENOENT,
        );
    }
    existing
}

fn not_observed(why: &str, error: Error) {
    pr_info!(
        "/proc/rk_dmabuf shows this module's own dma-bufs only: {} ({:?})\n",
        why,
        error
    );
}

impl Drop for AllBuffers {
    fn drop(&mut self) {
        self.events = None;
        OTHERS.store(false, Relaxed);
        NAMES_OBSERVED.store(false, Relaxed);
        // The module's own have all gone, or it would still be there. Nobody enters or takes out
        // any more.
        loop {
            let mut records = RECORDS.lock();
            let Some(slot) = records.newest_slot() else {
                break;
            };
            // SAFETY: A slot in the tree stays until it has left.
            records.leave(unsafe { slot.as_ref() });
            drop(records);
            // SAFETY: The slot is that of another exporter's dma-buf, so it was made from a box;
            // nobody uses it any more.
            drop(unsafe { KBox::from_raw(slot.as_ptr()) });
        }
    }
}
