// SPDX-License-Identifier: GPL-2.0

//! Kernel modules, this one and others: which one contains a function, and when it is unloaded.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::{
    abstractions::{
        kernel_symbol,
        version, //
    },
    bindings as c, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_int,
    prelude::*,
    sync::rcu, //
};

/// Finds modules by addresses.
///
/// # Invariants
///
/// `__module_address()` was found.
#[derive(Clone, Copy)]
pub(crate) struct ModuleFinder(());

impl ModuleFinder {
    /// Looks up the function of the kernel, which is not exported.
    ///
    /// May sleep. Returns `None` if the kernel does not have it or has no kprobes.
    pub(crate) fn new() -> Option<Self> {
        let address = kernel_symbol::lookup(c"__module_address")?;
        // SAFETY: This is the function's address.
        unsafe { c::found___module_address(address.as_ptr()) };
        // INVARIANT: The function was found by this name.
        Some(Self(()))
    }

    /// Returns the module that contains `address`. Does not sleep.
    pub(crate) fn find(self, address: usize) -> Option<ModulePointer> {
        let guard = rcu::read_lock();
        // SAFETY: By the type invariants the function was found, and the RCU read lock is held.
        let module = unsafe { c::__module_address(address) };
        drop(guard);
        NonNull::new(module.cast()).map(ModulePointer)
    }
}

/// A pointer to a module, which may have been unloaded.
#[derive(Clone, Copy)]
pub(crate) struct ModulePointer(NonNull<bindings::module>);

// SAFETY: A module is not bound to a thread, and the pointer is only dereferenced by functions that
// say when it must be valid.
unsafe impl Send for ModulePointer {}
// SAFETY: As above.
unsafe impl Sync for ModulePointer {}

impl ModulePointer {
    /// Takes a reference to the module, which keeps it loaded. Returns `None` if it is being
    /// unloaded. Does not sleep.
    ///
    /// # Safety
    ///
    /// The functions of the [`UnloadObserver`]s must not have returned for this module.
    pub(crate) unsafe fn try_get(self) -> Option<ModuleRef> {
        // SAFETY: A module is freed after the observers were called.
        unsafe { bindings::try_module_get(self.0.as_ptr()) }.then_some(ModuleRef(self.0))
    }
}

/// A reference to a module. Dropping it does not sleep.
///
/// # Invariants
///
/// This value owns a reference to the module.
#[must_use = "the module may be unloaded when this is dropped"]
pub(crate) struct ModuleRef(NonNull<bindings::module>);

// SAFETY: Any thread may drop a reference to a module.
unsafe impl Send for ModuleRef {}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns a reference.
        unsafe { bindings::module_put(self.0.as_ptr()) };
    }
}

/// Acquires a reference to this module, which keeps it loaded. Returns `None` if it is being
/// unloaded. Does not sleep.
pub(crate) fn pin() -> Option<ModuleRef> {
    let this = ModulePointer(NonNull::new(version::this_module())?);
    // SAFETY: The observers are called for this module after its code has run.
    unsafe { this.try_get() }
}

/// A module after its exit function, or after its failed init function. Its code and data still
/// exist.
#[repr(transparent)]
pub(crate) struct UnloadingModule(bindings::module);

impl UnloadingModule {
    /// Returns whether `address` is one of the module's code or data. Does not sleep.
    pub(crate) fn contains(&self, address: usize) -> bool {
        // SAFETY: The module is valid.
        unsafe { c::within_module(address, &raw const self.0) }
    }
}

/// Is told when modules are unloaded.
pub(crate) trait UnloadObserver: 'static {
    /// Nothing of `module` may be used after this call. May sleep.
    fn unloading(module: &UnloadingModule);
}

/// Registration of an [`UnloadObserver`]. Dropping it waits for calls of the observer.
///
/// # Examples
///
/// ```
/// use crate::abstractions::kernel_module::{
///     ModuleFinder,
///     Unloads,
///     UnloadObserver,
///     UnloadingModule,
/// };
///
/// struct Example;
///
/// impl UnloadObserver for Example {
///     fn unloading(_module: &UnloadingModule) {}
/// }
///
/// // The kernel calls notifiers while it runs these tests, so none can be registered by them.
/// let _register = Unloads::<Example>::register;
///
/// if let Some(finder) = ModuleFinder::new() {
///     assert!(finder.find(0).is_none());
/// }
/// ```
///
/// # Invariants
///
/// `block` is registered, and is not moved out of its box.
#[must_use = "the observer is unregistered when this is dropped"]
pub(crate) struct Unloads<O: UnloadObserver> {
    block: KBox<bindings::notifier_block>,
    _observer: PhantomData<O>,
}

// SAFETY: Any thread may unregister the observer.
unsafe impl<O: UnloadObserver> Send for Unloads<O> {}
// SAFETY: A shared reference gives no access to the fields.
unsafe impl<O: UnloadObserver> Sync for Unloads<O> {}

impl<O: UnloadObserver> Unloads<O> {
    /// Registers the observer. May sleep. Fails with `ENOMEM`.
    pub(crate) fn register() -> Result<Self> {
        let mut block = KBox::new(
            bindings::notifier_block {
                notifier_call: Some(notified::<O>),
                next: ptr::null_mut(),
                priority: 0,
            },
            GFP_KERNEL,
        )?;
        // SAFETY: The block is valid until it is unregistered, and its function has the type of a
        // module notifier.
        to_result(unsafe { bindings::register_module_notifier(&raw mut *block) })?;
        // INVARIANT: The block was registered above.
        Ok(Self {
            block,
            _observer: PhantomData,
        })
    }
}

impl<O: UnloadObserver> Drop for Unloads<O> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the block is registered.
        unsafe { bindings::unregister_module_notifier(&raw mut *self.block) };
    }
}

/// # Safety
///
/// `module` must be a module that enters `state`.
unsafe extern "C" fn notified<O: UnloadObserver>(
    _: *mut bindings::notifier_block,
    state: c_ulong,
    module: *mut c_void,
) -> c_int {
    if state == bindings::module_state_MODULE_STATE_GOING as c_ulong {
        // SAFETY: By the safety requirements the module is valid during the call. The type is a
        // transparent wrapper.
        O::unloading(unsafe { &*module.cast() });
    }
    bindings::NOTIFY_DONE as c_int
}
