// SPDX-License-Identifier: GPL-2.0

//! Records of all dma-bufs of the system, with their total size and its peak.
//!
//! A record is inserted when a dma-buf is exported and removed when it is released, so the total is
//! always exact and the peak misses no dma-buf. Dma-bufs that were exported before the module was
//! loaded are found with the kernel's iterator. It runs after the observation of events has
//! started, and a dma-buf that both find is inserted once.
//!
//! Without `track_all`, or if the kernel does not allow the observation, only this module's own
//! dma-bufs are recorded.
//!
//! # Locks
//!
//! [`RECORDS`] is a spin lock, acquired with the name lock of a dma-buf held or with none. No other
//! lock is acquired under it.

mod origin;
mod records;

pub(crate) use origin::Origin;
use records::Records;
pub(crate) use records::Slot;

use crate::abstractions::{
    dma_buf::{
        ActiveRef,
        DmaBuf,
        Exported,
        UncountedDmaBuf, //
    },
    dma_buf_events::{
        DmaBufIter,
        Events,
        Observer, //
    },
    exporter, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

kernel::sync::global_lock! {
    // SAFETY: `init_lock()` initialises the lock, and the module calls it before anything else.
    /// The records: none before [`AllBuffers::start`].
    unsafe(uninit) static RECORDS: SpinLock<Records> = Records::new();
}

/// Initialises [`RECORDS`].
///
/// # Safety
///
/// Must be called once, before any other function of this file.
pub(crate) unsafe fn init_lock() {
    // SAFETY: The caller promises that this is the first and only call.
    unsafe { RECORDS.init() };
}

/// Whether dma-bufs that are exported without a name get a default name.
static SET_DEFAULT_NAMES: Atomic<bool> = Atomic::new(false);

/// Whether [`Recorder::exported`] is called, and sets the names of all exporters' dma-bufs.
static EXPORTS_OBSERVED: Atomic<bool> = Atomic::new(false);

/// Whether dma-bufs of other exporters are recorded.
static TRACK_ALL: Atomic<bool> = Atomic::new(false);

/// Whether a record is missing because its allocation failed.
static RECORDS_MISSING: Atomic<bool> = Atomic::new(false);

/// Returns the slot in the exporter's data of `dma_buf`, if this module has exported it.
fn own_slot(dma_buf: &UncountedDmaBuf) -> Option<NonNull<Slot>> {
    exporter::extra::<Slot>(dma_buf).map(NonNull::from)
}

/// Returns the slot for the record of `dma_buf`: that of [`own_slot`], or else a new one, which is
/// allocated with `flags`. Fails with `ENOMEM`.
fn slot_for(dma_buf: &DmaBuf, flags: Flags) -> Result<NonNull<Slot>> {
    if let Some(own) = own_slot(dma_buf) {
        return Ok(own);
    }
    Ok(NonNull::from(KBox::leak(KBox::new(Slot::new(), flags)?)))
}

/// Frees a slot without a record, unless it is that of [`own_slot`].
///
/// # Safety
///
/// The slot must come from [`slot_for`] with this `dma_buf`, and must not be used afterwards.
unsafe fn free_slot(slot: NonNull<Slot>, dma_buf: &UncountedDmaBuf) {
    if own_slot(dma_buf) != Some(slot) {
        // SAFETY: `slot_for()` has leaked it from a box, and the caller promises not to use it any
        // more.
        drop(unsafe { KBox::from_raw(slot.as_ptr()) });
    }
}

/// Inserts a record of `dma_buf`, if there is none. Allocates with `flags`. Fails with `ENOMEM`.
fn insert(dma_buf: &DmaBuf, origin: Option<Origin>, flags: Flags) -> Result {
    let slot = slot_for(dma_buf, flags)?;
    // SAFETY: The slot is valid until `remove()`, which is called when the dma-buf's file is
    // released.
    let used = unsafe { RECORDS.lock().insert(slot, dma_buf, origin) };
    if !used {
        // SAFETY: The slot is unused, because the dma-buf has a record in another one.
        unsafe { free_slot(slot, dma_buf) };
    }
    Ok(())
}

/// Inserts a record of a dma-buf of unknown origin. May sleep. Fails with `ENOMEM`.
fn insert_existing(dma_buf: &DmaBuf) -> Result {
    insert(dma_buf, None, GFP_KERNEL)
}

/// Removes the record of `dma_buf`, if there is one. Does not sleep.
fn remove(dma_buf: &UncountedDmaBuf) {
    let own = own_slot(dma_buf);
    let mut records = RECORDS.lock();
    let Some(slot) = own.or_else(|| records.slot_of(dma_buf.inode())) else {
        return;
    };
    // SAFETY: The slot of a dma-buf of this module lives as long as the dma-buf. Any other slot is
    // freed only after its removal.
    records.remove(unsafe { slot.as_ref() });
    drop(records);
    if own.is_none() {
        // SAFETY: The slot is not in the tree any more, so it is not used.
        unsafe { free_slot(slot, dma_buf) };
    }
}

/// Inserts and removes records on events of all exporters.
struct Recorder;

impl Observer for Recorder {
    fn exported(new: Exported<'_>) {
        let origin = Origin::now();
        if SET_DEFAULT_NAMES.load(Relaxed) {
            // On `ENOMEM` the dma-buf keeps no name.
            let _ = new.set_default_name(origin.default_name().as_bytes());
        }
        if TRACK_ALL.load(Relaxed) && insert(new.dma_buf(), Some(origin), GFP_ATOMIC).is_err() {
            RECORDS_MISSING.store(true, Relaxed);
        }
    }

    fn released(dma_buf: &UncountedDmaBuf) {
        remove(dma_buf);
    }
}

/// Names and records a dma-buf that this module has just exported, unless [`Recorder`] has done so.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn exported_own(dma_buf: &DmaBuf) -> Result {
    if SET_DEFAULT_NAMES.load(Relaxed) && !EXPORTS_OBSERVED.load(Relaxed) {
        dma_buf.set_name(Origin::now().default_name().as_bytes())?;
    }
    if !TRACK_ALL.load(Relaxed) {
        insert(dma_buf, Some(Origin::now()), GFP_KERNEL)?;
    }
    Ok(())
}

/// Removes the record in `slot` of a dma-buf of this module that is being released. Does not sleep.
pub(crate) fn released_own(slot: &Slot) {
    // If all dma-bufs are tracked, `Recorder` has removed it already.
    if slot.is_used() {
        RECORDS.lock().remove(slot);
    }
}

/// The size of all live dma-bufs that are recorded.
#[derive(Clone, Copy)]
pub(crate) struct Totals {
    /// The current total, in bytes.
    pub(crate) bytes: u64,
    /// The largest total since the module was loaded or [`reset_peak`] was called, in bytes.
    pub(crate) peak: u64,
}

/// Returns the current totals, after inserting records that are missing. May sleep. Fails with
/// `ENOMEM`.
pub(crate) fn totals() -> Result<Totals> {
    if RECORDS_MISSING.load(Relaxed) {
        RECORDS_MISSING.store(false, Relaxed);
        DmaBufIter::new()
            .ok_or(ENOENT)
            .and_then(|existing| existing.try_for_each(insert_existing))
            .inspect_err(|_| RECORDS_MISSING.store(true, Relaxed))?;
    }
    let records = RECORDS.lock();
    Ok(Totals {
        bytes: records.bytes,
        peak: records.peak,
    })
}

/// Sets the peak to the current total. Does not sleep.
pub(crate) fn reset_peak() {
    let mut records = RECORDS.lock();
    records.peak = records.bytes;
}

/// A recorded dma-buf.
pub(crate) struct BufferInfo {
    /// The dma-buf.
    pub(crate) dma_buf: ActiveRef,
    /// Its origin. `None` if it was exported before the module was loaded, or its record was
    /// missing for a while.
    pub(crate) origin: Option<Origin>,
}

/// Returns the newest dma-buf whose inode number is at most `inode` and which is not being
/// released. Does not sleep.
///
/// Repeated calls, each with the number below the last one found, visit all dma-bufs, newest first,
/// even if others are exported and released in between.
pub(crate) fn newest_up_to(inode: u64) -> Option<BufferInfo> {
    let records = RECORDS.lock();
    let mut next = records.at_most(inode);
    while let Some(record) = next {
        // SAFETY: By the record's invariant neither the dma-buf nor its file is freed while the
        // record is in the tree, which the lock ensures.
        if let Some(dma_buf) = unsafe { ActiveRef::new(record.dma_buf) } {
            return Some(BufferInfo {
                dma_buf,
                origin: record.origin,
            });
        }
        next = records.older(record);
    }
    None
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

/// Returns whether dma-bufs of all exporters are recorded, and not only this module's own.
pub(crate) fn covers_all() -> bool {
    TRACK_ALL.load(Relaxed)
}

/// Records dma-bufs until it is dropped.
#[must_use = "dropping this ends the recording"]
pub(crate) struct AllBuffers {
    /// Set to `None` to stop the observation.
    events: Option<Events<Recorder>>,
}

impl AllBuffers {
    /// Starts recording. With `track_all`, records the dma-bufs of all exporters, including
    /// existing ones. With `default_names`, names dma-bufs that are exported without a name.
    ///
    /// If the kernel does not allow the observation, logs the reason and handles only this module's
    /// own dma-bufs.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn start(track_all: bool, default_names: bool) -> Result<Self> {
        let mut this = Self { events: None };
        SET_DEFAULT_NAMES.store(default_names, Relaxed);
        let existing = track_all.then(existing_dma_bufs).flatten();
        TRACK_ALL.store(existing.is_some(), Relaxed);
        if existing.is_none() && !default_names {
            return Ok(this);
        }
        match Events::register(existing.is_some()) {
            Ok(events) => {
                EXPORTS_OBSERVED.store(true, Relaxed);
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
    if cfg!(CONFIG_PREEMPT_RT) {
        log_own_only("CONFIG_PREEMPT_RT is set, so spin locks may sleep", ENODEV);
        return None;
    }
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
        EXPORTS_OBSERVED.store(false, Relaxed);
        // The module's own dma-bufs are all released, because each pins the module. Without events
        // no other caller inserts or removes records.
        loop {
            let mut records = RECORDS.lock();
            let Some(slot) = records.newest_slot() else {
                break;
            };
            // SAFETY: A slot is valid while it is in the tree.
            records.remove(unsafe { slot.as_ref() });
            drop(records);
            // SAFETY: The slot belongs to another exporter's dma-buf, so `slot_for()` has leaked it
            // from a box. It is not in the tree any more, so it is not used.
            drop(unsafe { KBox::from_raw(slot.as_ptr()) });
        }
    }
}
