// SPDX-License-Identifier: GPL-2.0

//! A record of each dma-buf of the system: what there is, how much it is, and who made it.
//!
//! A dma-buf is entered when it is exported and leaves when it is released, so the sum over all is exact at any moment and
//! its peak misses nothing. Those from before the module was loaded are entered then: the kernel's iterator runs only after
//! the events are observed, and whatever both of them find is entered once.
//!
//! Where the kernel does not let all of them be observed, or nobody wants it, the module's own are all there are.
//!
//! # Locks
//!
//! [`RECORDS`] is a spin lock, taken with the lock of a dma-buf's name held. Nothing is taken under it, and nothing under it
//! sleeps.

use crate::{
    dma_buf::{DmaBuf, Exported, Visit},
    dma_buf_events::{Events, Existing, Observer},
    task,
    text::Text,
};
use core::{cmp::Reverse, fmt::Write, ptr::NonNull};
use kernel::{
    bindings,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::atomic::{Atomic, Relaxed},
    time::{BootTime, Instant},
};

/// The most of a default name that is kept, in bytes, and a zero.
const DEFAULT_NAME: usize = 16 + 1;

/// Newest first.
type Key = Reverse<u64>;

kernel::sync::global_lock! {
    // SAFETY: `prepare()` initialises the lock, and the module calls it before anything else.
    /// The records. There are none before [`AllBuffers::start`].
    unsafe(uninit) static RECORDS: SpinLock<Records> =
        Records { tree: None, bytes: 0, peak: 0 };
}

/// Prepares for records.
///
/// # Safety
///
/// Must be called once, before anything else in this module.
pub(crate) unsafe fn prepare() {
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

struct Records {
    tree: Option<RBTree<Key, Record>>,
    /// The sum of the sizes.
    bytes: u64,
    /// The largest that it has been.
    peak: u64,
}

/// What is kept of a dma-buf.
///
/// # Invariants
///
/// Neither `dma_buf` nor its file is freed while the record is entered.
struct Record {
    dma_buf: NonNull<bindings::dma_buf>,
    size: usize,
    origin: Option<Origin>,
}

// SAFETY: The pointer is only used under the lock of the records.
unsafe impl Send for Record {}

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

    /// How long ago that was, in milliseconds.
    pub(crate) fn age(&self) -> i64 {
        self.time.elapsed().as_millis()
    }
}

impl Records {
    /// Enters `dma_buf` if it is not there yet.
    fn enter(
        &mut self,
        dma_buf: &DmaBuf,
        origin: Option<Origin>,
        node: RBTreeNodeReservation<Key, Record>,
    ) {
        let key = Reverse(dma_buf.inode());
        let Some(tree) = &mut self.tree else {
            return;
        };
        if tree.get(&key).is_some() {
            return;
        }
        // INVARIANT: `leave()` is called before the file, and then the dma-buf, is freed.
        let record = Record {
            dma_buf: NonNull::from(dma_buf).cast(),
            size: dma_buf.size(),
            origin,
        };
        tree.insert(node.into_node(key, record));
        self.bytes = self.bytes.saturating_add(dma_buf.size() as u64);
        self.peak = self.peak.max(self.bytes);
    }
}

/// Enters a dma-buf that is there already. May sleep. Fails with `ENOMEM`.
fn enter_existing(dma_buf: &DmaBuf) -> Result {
    let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
    RECORDS.lock().enter(dma_buf, None, node);
    Ok(())
}

fn leave(inode: u64) {
    let mut records = RECORDS.lock();
    let tree = records.tree.as_mut();
    let Some(node) = tree.and_then(|tree| tree.remove_node(&Reverse(inode))) else {
        return;
    };
    let (_, record) = node.to_key_value();
    records.bytes = records.bytes.saturating_sub(record.size as u64);
}

/// Observes all dma-bufs.
struct Everything;

impl Observer for Everything {
    fn exported(new: Exported<'_>) {
        if DEFAULT_NAMES.load(Relaxed) {
            // Where there is no memory left, the dma-buf stays without a name.
            let _ = new.name_if_unnamed(default_name().as_c_str());
        }
        if OTHERS.load(Relaxed) {
            match RBTreeNodeReservation::new(GFP_ATOMIC) {
                Ok(node) => RECORDS
                    .lock()
                    .enter(new.dma_buf(), Some(Origin::now()), node),
                Err(_) => MISSING.store(true, Relaxed),
            }
        }
    }

    fn released(inode: u64) {
        leave(inode);
    }
}

/// `PID-THREADNAME`, cut. Does not sleep.
fn default_name() -> Text<DEFAULT_NAME> {
    let mut name = Text::new();
    // What does not fit is cut.
    let _ = write!(name, "{}-", task::current_process());
    name.push(task::Name::current().as_bytes());
    name
}

/// Enters a dma-buf that this module has just exported, where those of others are not observed.
///
/// May sleep. Fails with `ENOMEM`.
pub(crate) fn exported_own(dma_buf: &DmaBuf) -> Result {
    if DEFAULT_NAMES.load(Relaxed) && !NAMES_OBSERVED.load(Relaxed) {
        dma_buf.set_name(default_name().as_c_str())?;
    }
    if !OTHERS.load(Relaxed) {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        RECORDS.lock().enter(dma_buf, Some(Origin::now()), node);
    }
    Ok(())
}

/// A dma-buf of this module is released, whose inode number was `inode`. Does not sleep.
pub(crate) fn released_own(inode: u64) {
    if !OTHERS.load(Relaxed) {
        leave(inode);
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
        Existing::find()
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
    pub(crate) dma_buf: Visit,
    /// Who exported it; `None` where that was before the module was loaded.
    pub(crate) origin: Option<Origin>,
}

/// The newest dma-buf whose inode number is at most `inode`, and not yet on its way out. Does not sleep.
///
/// With each call for the number below the last one, all are found, newest first, whatever comes and goes meanwhile.
pub(crate) fn newest(inode: u64) -> Option<Found> {
    let mut records = RECORDS.lock();
    let mut cursor = records
        .tree
        .as_mut()
        .and_then(|tree| tree.cursor_lower_bound_mut(&Reverse(inode)))?;
    loop {
        let (_, record) = cursor.current();
        // SAFETY: They are not freed while the record is entered, by the type's invariant, and the lock is held.
        if let Some(dma_buf) = unsafe { Visit::new(record.dma_buf) } {
            return Some(Found {
                dma_buf,
                origin: record.origin,
            });
        }
        cursor = cursor.move_next()?;
    }
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
    events: Option<Events<Everything>>,
}

impl AllBuffers {
    /// Begins. With `others`, dma-bufs of all exporters are entered, also those that there are already; with
    /// `default_names`, those that come without a name are given one.
    ///
    /// Where the kernel does not allow that, the log says so, and it is done for this module's own.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn start(others: bool, default_names: bool) -> Result<Self> {
        RECORDS.lock().tree = Some(RBTree::new());
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
fn find_existing() -> Option<Existing> {
    if cfg!(CONFIG_PREEMPT_RT) {
        not_observed("spin locks sleep in this kernel", ENODEV);
        return None;
    }
    let existing = Existing::find();
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
        let tree = RECORDS.lock().tree.take();
        drop(tree);
    }
}
