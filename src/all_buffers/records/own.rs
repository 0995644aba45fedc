// SPDX-License-Identifier: GPL-2.0

//! The records of this module's dma-bufs.
//!
//! A record is stored in the private data of its dma-buf and leaves with it: the exporter's
//! `release` cannot be missed. So it holds no reference to anything. A reader acquires one to the
//! dma-buf under the lock that `release` acquires to remove the record.
//!
//! # Locks
//!
//! Each CPU has a tree of its own under a spin lock ([`SHARDS`]), so CPUs that allocate and free
//! buffers of their own do not wait for each other. No two of these locks are held at a time, and
//! no other lock is acquired under them than that of a dentry. Each is held for one search in a
//! tree.

use super::{
    totals,
    tree::{
        OwnSlot,
        Tree, //
    },
    Origin, //
};
use crate::abstractions::{
    dma_buf::{
        DmaBuf,
        Pinned,
        Unreleased, //
    },
    static_cell::StaticCell, //
};
use core::num::NonZeroU32;
use kernel::{
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    new_spinlock,
    prelude::*,
    sync::SpinLock, //
};

/// The number of trees. CPUs whose numbers have the same remainder share one.
const SHARD_COUNT: usize = 32;

/// A tree and its lock, in cache lines of their own.
#[pin_data]
#[repr(align(64))]
struct Shard {
    #[pin]
    tree: SpinLock<Tree<Unreleased>>,
}

// SAFETY: `init()` is called before any other function of this file.
static SHARDS: StaticCell<[Shard; SHARD_COUNT]> = unsafe { StaticCell::uninit() };

/// Returns the shards of the CPUs that this machine may have.
fn shards() -> &'static [Shard] {
    let all: &[Shard] = SHARDS.get().get_ref();
    all.get(..nr_cpu_ids() as usize).unwrap_or(all)
}

/// Initialises the trees.
///
/// # Safety
///
/// Must be called once, before any other function of this file.
pub(in super::super) unsafe fn init() {
    let shards = pin_init::pin_init_array_from_fn(|index| {
        let number = NonZeroU32::MIN.saturating_add(index as u32);
        pin_init!(Shard {
            tree <- new_spinlock!(Tree::new(number)),
        })
    });
    // SAFETY: The caller promises that this is the first and only call.
    unsafe { SHARDS.init(shards) };
}

/// Inserts a record of `dma_buf`, whose private data contains `slot`. Does not sleep.
///
/// # Safety
///
/// - `slot` must live until the exporter releases `dma_buf`, and [`remove`] must be called with it
///   before the exporter returns from that.
/// - No other thread may call this function with `slot`.
pub(in super::super) unsafe fn insert(slot: &OwnSlot, dma_buf: &DmaBuf, origin: Origin) {
    let this_cpu = CpuId::current().as_u32() as usize;
    let Some(shard) = shards().get(this_cpu % SHARD_COUNT) else {
        return;
    };
    // SAFETY: By the safety requirements the slot stays until `remove()`, and nobody else inserts
    // it.
    let is_new = unsafe {
        shard
            .tree
            .lock()
            .insert(slot, dma_buf, Unreleased::of, Some(origin))
    };
    if is_new {
        totals::add(dma_buf.size());
    }
}

/// Removes the record in `slot` of a dma-buf that is being released. Does not sleep.
pub(in super::super) fn remove(slot: &OwnSlot) {
    let shard = (slot.tree() as usize)
        .checked_sub(1)
        .and_then(|index| shards().get(index));
    let Some(shard) = shard else {
        return;
    };
    let mut tree = shard.tree.lock();
    let removed = tree.remove(slot);
    drop(tree);
    if let Some(bytes) = removed {
        totals::subtract(bytes);
    }
}

/// A record.
pub(in super::super) struct Found {
    /// The inode number of its dma-buf.
    pub(in super::super) number: u64,
    /// The dma-buf and its origin, unless it is being released.
    pub(in super::super) dma_buf: Option<(Pinned, Option<Origin>)>,
}

/// Returns the newest record whose inode number is at most `number`, and above that of `other`. May
/// sleep.
pub(in super::super) fn newest_up_to(number: u64, other: Option<u64>) -> Option<Found> {
    let mut newest: Option<Found> = None;
    for shard in shards() {
        let tree = shard.tree.lock();
        let Some((found, record)) = tree.at_most(number) else {
            continue;
        };
        let above = newest.as_ref().map(|newest| newest.number).or(other);
        if above.is_some_and(|above| found <= above) {
            continue;
        }
        // SAFETY: `remove()` is called before the exporter returns from the release of the dma-buf.
        // That needs the lock, which is held, and the record is still there.
        let dma_buf = unsafe { record.reference.pin() }.map(|dma_buf| (dma_buf, record.origin));
        // A reference to an older dma-buf is dropped without the lock.
        drop(tree);
        newest = Some(Found {
            number: found,
            dma_buf,
        });
    }
    newest
}
