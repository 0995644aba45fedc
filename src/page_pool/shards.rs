// SPDX-License-Identifier: GPL-2.0

//! The per-CPU part of a pool.
//!
//! # Locks
//!
//! Each shard has a spin lock. No other lock is acquired under it.

use super::{
    Runs,
    ORDERS, //
};
use crate::abstractions::pages::RunList;
use kernel::{
    cpu::{
        self,
        CpuId, //
    },
    new_spinlock,
    prelude::*,
    sync::SpinLock, //
};

/// The part of a pool of one CPU.
pub(crate) struct Shard {
    /// Ready single pages.
    pub(crate) ready: RunList,
    /// Runs that were freed on this CPU and are not prepared.
    pub(crate) backlog: Runs,
}

/// Aligns a shard to a cache line, to prevent false sharing.
#[pin_data]
#[repr(align(64))]
struct Slot {
    #[pin]
    shard: SpinLock<Shard>,
}

/// One shard for each possible CPU.
pub(crate) struct Shards(Pin<KBox<[Slot]>>);

impl Shards {
    /// Creates empty shards. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let [.., single] = ORDERS;
        let slots = KBox::pin_slice(
            |_| {
                try_pin_init!(Slot {
                    shard <- new_spinlock!(Shard {
                        ready: RunList::new(single),
                        backlog: Runs::new(),
                    }),
                }? Error)
            },
            cpu::nr_cpu_ids() as usize,
            GFP_KERNEL,
        )?;
        Ok(Self(slots))
    }

    /// Calls `f` with the shard of the current CPU and its lock held. `f` must not sleep.
    ///
    /// Preemption is not disabled, so the caller may migrate to another CPU. The lock makes that
    /// safe; it only costs time.
    pub(crate) fn this_cpu<R>(&self, f: impl FnOnce(&mut Shard) -> R) -> Option<R> {
        let slot = self.0.get(CpuId::current().as_u32() as usize)?;
        Some(f(&mut slot.shard.lock()))
    }

    /// Calls `f` with each shard, that of the current CPU first, until it returns a value. The
    /// shard's lock is held, so `f` must not sleep.
    pub(crate) fn find<R>(&self, mut f: impl FnMut(&mut Shard) -> Option<R>) -> Option<R> {
        let this_cpu = CpuId::current().as_u32() as usize;
        let (before, from) = self.0.split_at_checked(this_cpu)?;
        Iterator::chain(from.iter(), before).find_map(|slot| f(&mut slot.shard.lock()))
    }
}
