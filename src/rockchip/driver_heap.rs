// SPDX-License-Identifier: GPL-2.0

//! A heap that a driver has added: the driver's operations, which are called only while the driver
//! is there.

use crate::{
    abstractions::{
        call_gate::{
            CallGate,
            Entered, //
        },
        kernel_module::{
            ModuleFinder,
            ModulePointer,
            ModuleRef,
            UnloadingModule, //
        }, //
    },
    bindings as c, //
};
use core::ffi::c_void;
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A heap that a driver has added.
///
/// # Invariants
///
/// - The operations in `ops` are valid while the gate is open or has calls. If `contiguous` is
///   true, those for contiguous pages are set.
/// - `owner` contains the operations. The gate is closed when it is unloaded.
pub(crate) struct DriverHeap {
    ops: c::rk_dma_heap_ops,
    pub(super) drvdata: *mut c_void,
    pub(super) contiguous: bool,
    gate: Arc<CallGate>,
    owner: Option<ModulePointer>,
}

// SAFETY: Any thread may call the driver's operations.
unsafe impl Send for DriverHeap {}
// SAFETY: As above.
unsafe impl Sync for DriverHeap {}

/// A call of an operation. The driver stays loaded, and the gate counts the call, until this is
/// dropped.
pub(super) struct Call<'a> {
    pub(super) ops: &'a c::rk_dma_heap_ops,
    // Dropped in this order: the module is valid as long as its gate has calls.
    _owner: Option<ModuleRef>,
    _entered: Entered<'a>,
}

impl DriverHeap {
    /// Creates a heap from a driver's description.
    ///
    /// May sleep. Fails with `EINVAL` if a mandatory operation is missing, and with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The operations must be valid until [`DriverHeap::close`] returns, which must be called
    /// before the module that contains them is unloaded.
    pub(crate) unsafe fn new(
        info: &c::rk_dma_heap_export_info,
        modules: Option<ModuleFinder>,
    ) -> Result<Self> {
        // SAFETY: The caller promises that the operations are null or valid.
        let ops = *unsafe { info.ops.as_ref() }.ok_or(EINVAL)?;
        let pages = ops.alloc_contig_pages.is_some() && ops.free_contig_pages.is_some();
        if (ops.allocate.is_none() && !info.permit_noalloc) || (info.support_cma && !pages) {
            return Err(EINVAL);
        }
        let function = addresses(&ops).next();
        let owner = modules.and_then(|modules| modules.find(function?));
        // INVARIANT: The operations were checked above. The caller promises that they are valid,
        // and to close the gate.
        Ok(Self {
            ops,
            drvdata: info.priv_.cast(),
            contiguous: info.support_cma,
            gate: Arc::pin_init(CallGate::new(), GFP_KERNEL)?,
            owner,
        })
    }

    /// Enters an operation that uses memory which the heap has handed out already.
    ///
    /// May sleep for a moment. Fails with `ENODEV` if the driver has removed the heap.
    pub(super) fn enter(&self) -> Result<Call<'_>> {
        Ok(Call {
            ops: &self.ops,
            _owner: None,
            _entered: self.gate.enter().ok_or(ENODEV)?,
        })
    }

    /// Enters an operation that allocates. Fails as [`DriverHeap::enter`] does, and with `ENODEV`
    /// while the driver is being unloaded.
    pub(super) fn enter_allocation(&self) -> Result<Call<'_>> {
        let call = self.enter()?;
        let Some(owner) = self.owner else {
            return Ok(call);
        };
        // SAFETY: By the type invariants the gate is closed when the module is unloaded. That waits
        // for the call that has entered the gate.
        let owner = unsafe { owner.try_get() }.ok_or(ENODEV)?;
        Ok(Call {
            _owner: Some(owner),
            ..call
        })
    }

    /// Calls no operation any more, and waits for those that are being called.
    pub(super) fn close(&self) {
        self.gate.close();
    }

    /// Returns whether an operation is a function of `module`. Does not sleep.
    pub(super) fn is_part_of(&self, module: &UnloadingModule) -> bool {
        addresses(&self.ops).any(|address| module.contains(address))
    }
}

/// Returns the addresses of the operations that are set.
fn addresses(ops: &c::rk_dma_heap_ops) -> impl Iterator<Item = usize> {
    [
        ops.allocate.map(|function| function as usize),
        ops.alloc_contig_pages.map(|function| function as usize),
        ops.free_contig_pages.map(|function| function as usize),
        ops.alloc_pages.map(|function| function as usize),
        ops.free_pages.map(|function| function as usize),
        ops.get_pool_size.map(|function| function as usize),
    ]
    .into_iter()
    .flatten()
}
