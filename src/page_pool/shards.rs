// SPDX-License-Identifier: GPL-2.0

//! What each CPU keeps of a pool.

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

/// One CPU's part of a pool.
pub(crate) struct Shard {
    /// Single pages that are ready.
    pub(crate) ready: RunList,
    /// What came back on this CPU and is not ready.
    pub(crate) backlog: Runs,
}

/// Keeps two shards out of one cache line.
#[pin_data]
#[repr(align(64))]
struct Slot {
    #[pin]
    shard: SpinLock<Shard>,
}

/// A shard for each CPU that there can be.
pub(crate) struct Shards(Pin<KBox<[Slot]>>);

impl Shards {
    /// Empty shards. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let [.., single] = ORDERS;
        let slots = KBox::pin_slice(
            |_| {
                try_pin_init!(Slot {
                    shard <- new_spinlock!(Shard { ready: RunList::new(single), backlog: Runs::new() }),
                }? Error)
            },
            cpu::nr_cpu_ids() as usize,
            GFP_KERNEL,
        )?;
        Ok(Self(slots))
    }

    /// Runs `f` on the shard of the CPU that this is called on. The caller may be moved to another
    /// CPU meanwhile; the shard is locked, so that only costs time. `f` must not sleep.
    pub(crate) fn this_cpu<R>(&self, f: impl FnOnce(&mut Shard) -> R) -> Option<R> {
        let slot = self.0.get(CpuId::current().as_u32() as usize)?;
        Some(f(&mut slot.shard.lock()))
    }

    /// Runs `f` on each shard, this CPU's first, until it returns something. `f` must not sleep.
    pub(crate) fn find<R>(&self, mut f: impl FnMut(&mut Shard) -> Option<R>) -> Option<R> {
        let this_cpu = CpuId::current().as_u32() as usize;
        let (before, from) = self.0.split_at_checked(this_cpu)?;
        Iterator::chain(from.iter(), before).find_map(|slot| f(&mut slot.shard.lock()))
    }
}
