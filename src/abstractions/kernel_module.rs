// SPDX-License-Identifier: GPL-2.0

//! Kernel modules, this one and others: which one contains a function, and when it is unloaded.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::{
    abstractions::{
        kernel_symbol,
        notifier::{
            Chain,
            Notifier,
            Registration, //
        },
        version, //
    },
    bindings as c, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
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
#[must_use = "the observer is unregistered when this is dropped"]
pub(crate) struct Unloads<O: UnloadObserver>(
    #[allow(dead_code)] Pin<KBox<Registration<CallObserver<O>>>>, //
);

impl<O: UnloadObserver> Unloads<O> {
    /// Registers the observer. May sleep. Fails with `ENOMEM`.
    pub(crate) fn register() -> Result<Self> {
        let registration = Registration::new(CallObserver(PhantomData));
        KBox::pin_init(registration, GFP_KERNEL).map(Self)
    }
}

/// The chain that the kernel calls when modules are loaded and unloaded.
struct Modules;

// SAFETY: These are the functions of one chain. A semaphore is held during each call, and to remove
// a block.
unsafe impl Chain for Modules {
    type Event<'a> = &'a UnloadingModule;

    unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
        // SAFETY: By the safety requirements.
        unsafe { bindings::register_module_notifier(block) }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: By the safety requirements.
        unsafe { bindings::unregister_module_notifier(block) };
    }

    unsafe fn event<'a>(state: c_ulong, module: *mut c_void) -> Option<Self::Event<'a>> {
        if state != bindings::module_state_MODULE_STATE_GOING as c_ulong {
            return None;
        }
        // SAFETY: The chain passes a module that enters `state`, and which is valid during the
        // call. The type is a transparent wrapper.
        Some(unsafe { &*module.cast() })
    }
}

/// Calls the function of `O`.
struct CallObserver<O>(PhantomData<fn() -> O>);

impl<O: UnloadObserver> Notifier for CallObserver<O> {
    type Chain = Modules;

    fn notify(&self, module: &UnloadingModule) -> Result {
        O::unloading(module);
        Ok(())
    }
}
