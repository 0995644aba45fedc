// SPDX-License-Identifier: GPL-2.0

//! Charging pages to the memory cgroup of the calling task.
//!
//! The page allocator charges pages when it allocates them with `__GFP_ACCOUNT`. Pages from a pool
//! were allocated earlier, outside of any cgroup. The functions that the page allocator uses are
//! not exported, so they are looked up by name.
//!
//! C header: [`include/linux/memcontrol.h`](srctree/include/linux/memcontrol.h)

use crate::{
    abstractions::{
        kernel_symbol,
        pages::{
            PageRun,
            RunList, //
        }, //
    },
    bindings as c, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_int,
    prelude::*, //
};

/// Charges pages to memory cgroups.
///
/// # Examples
///
/// ```
/// use crate::abstractions::memory_cgroup::Charger;
/// use crate::abstractions::pages::{PageRun, Reclaim, RunList, Zone};
///
/// // The kernel may have been built without memory cgroups.
/// let Ok(charger) = Charger::new() else {
///     return Ok(());
/// };
/// let mut runs = RunList::new(1);
/// runs.push(PageRun::allocate(1, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?);
/// charger.charge(&mut runs)?;
/// // The former charge does not leak.
/// charger.charge(&mut runs)?;
/// charger.uncharge(&mut runs);
///
/// let mut run = PageRun::allocate(1, Zone::Any, Reclaim::Direct).ok_or(ENOMEM)?;
/// charger.charge_run(&mut run)?;
/// // The page allocator uncharges the run.
/// ```
///
/// # Invariants
///
/// `__memcg_kmem_charge_page()` and `__memcg_kmem_uncharge_page()` were found.
pub(crate) struct Charger(());

impl Charger {
    /// Looks up the functions.
    ///
    /// May sleep. Fails with `ENOENT` if the kernel does not have them.
    pub(crate) fn new() -> Result<Self> {
        let find = |name| kernel_symbol::lookup(name).ok_or(ENOENT);
        let charge = find(c"__memcg_kmem_charge_page")?;
        let uncharge = find(c"__memcg_kmem_uncharge_page")?;
        // SAFETY: These are the functions' addresses.
        unsafe {
            c::found___memcg_kmem_charge_page(charge.as_ptr());
            c::found___memcg_kmem_uncharge_page(uncharge.as_ptr());
        }
        // INVARIANT: The functions were found by these names.
        Ok(Self(()))
    }

    /// Charges `run` to the memory cgroup of the calling task. A former charge is replaced.
    ///
    /// May sleep. Fails with `ENOMEM` if the cgroup is at its limit; the run is not charged then.
    /// Never triggers the OOM killer of the cgroup.
    pub(crate) fn charge_run(&self, run: &mut PageRun) -> Result {
        // SAFETY: The exclusive borrow keeps everything else from accessing the charge.
        unsafe { self.replace_charge(run) }
    }

    /// Charges all of `runs` to the memory cgroup of the calling task. Former charges are replaced.
    ///
    /// May sleep. Fails as [`Charger::charge_run`] does; no run is charged then.
    pub(crate) fn charge(&self, runs: &mut RunList) -> Result {
        // SAFETY: The list owns the run and is borrowed exclusively, so nothing else accesses the
        // charge.
        runs.try_for_each(|run| unsafe { self.replace_charge(run) })
            .inspect_err(|_| self.uncharge(runs))
    }

    /// Uncharges `run`, and charges it to the memory cgroup of the calling task.
    ///
    /// # Safety
    ///
    /// Nothing else may access the charge of `run`.
    unsafe fn replace_charge(&self, run: &PageRun) -> Result {
        let gfp = bindings::GFP_KERNEL | c::GFP_RETRY_MAYFAIL | c::GFP_NOWARN;
        let (head, order) = (run.head().as_ptr(), run.order() as c_int);
        // SAFETY: By the type invariant the functions were found. The first does nothing if the run
        // is not charged, and the second requires that. The run has this order, and nothing else
        // accesses its charge by the safety requirements.
        unsafe {
            c::__memcg_kmem_uncharge_page(head, order);
            to_result(c::__memcg_kmem_charge_page(head, gfp, order))
        }
    }

    /// Uncharges those of `runs` that are charged, each from the cgroup that it was charged to.
    ///
    /// Does not sleep.
    pub(crate) fn uncharge(&self, runs: &mut RunList) {
        let _ = runs.try_for_each(|run| {
            // SAFETY: By the type invariant the function was found. It does nothing if the run is
            // not charged. The list owns the run, which has this order, and is borrowed
            // exclusively, so nothing else accesses the charge.
            unsafe { c::__memcg_kmem_uncharge_page(run.head().as_ptr(), run.order() as c_int) };
            Ok(())
        });
    }
}
