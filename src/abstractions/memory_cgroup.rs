// SPDX-License-Identifier: GPL-2.0

//! Charging pages to the memory cgroup of whoever allocates a buffer.
//!
//! The page allocator charges what it allocates for a cgroup, but pages that come out of a pool
//! were allocated before, for nobody. The functions that it uses are not exported, so they are
//! looked up by name.
//!
//! C header: [`include/linux/memcontrol.h`](srctree/include/linux/memcontrol.h)

use crate::{
    abstractions::{
        kernel_symbol,
        pages::PageRun, //
    },
    bindings as c, //
};
use core::{
    ffi::c_void,
    mem::transmute,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_int,
    prelude::*, //
};

type Charge = unsafe extern "C" fn(*mut bindings::page, bindings::gfp_t, c_int) -> c_int;
type Uncharge = unsafe extern "C" fn(*mut bindings::page, c_int);

/// Charges pages to memory cgroups.
///
/// # Invariants
///
/// The functions are `__memcg_kmem_charge_page()` and `__memcg_kmem_uncharge_page()`.
pub(crate) struct Charger {
    charge: Charge,
    uncharge: Uncharge,
}

impl Charger {
    /// Looks the functions up. May sleep. Fails with `ENOENT` where the kernel does not have them.
    pub(crate) fn new() -> Result<Self> {
        let find = |name| kernel_symbol::address(name).ok_or(ENOENT);
        let charge = find(c"__memcg_kmem_charge_page")?;
        let uncharge = find(c"__memcg_kmem_uncharge_page")?;
        // INVARIANT: Found by their names. SAFETY: In every kernel that this is built for, the
        // functions of these names have these types.
        Ok(unsafe {
            Self {
                charge: transmute::<NonNull<c_void>, Charge>(charge),
                uncharge: transmute::<NonNull<c_void>, Uncharge>(uncharge),
            }
        })
    }

    /// Charges `run` to the current task's memory cgroup.
    ///
    /// May sleep. Fails with `ENOMEM` where the cgroup has no room left; it then has nobody killed.
    pub(crate) fn charge(&self, run: &PageRun) -> Result {
        let gfp = bindings::GFP_KERNEL | c::GFP_RETRY_MAYFAIL | c::GFP_NOWARN;
        // SAFETY: By the type's invariant this is the kernel's function; the run is owned and has
        // this order.
        to_result(unsafe { (self.charge)(run.head().as_ptr(), gfp, run.order() as c_int) })
    }

    /// Takes the charge of `run` back, if there is one, from whichever cgroup it was charged to.
    /// Does not sleep.
    pub(crate) fn uncharge(&self, run: &PageRun) {
        // SAFETY: As in `charge()`; the function does nothing where there is no charge.
        unsafe { (self.uncharge)(run.head().as_ptr(), run.order() as c_int) };
    }
}
