// SPDX-License-Identifier: GPL-2.0

//! Hooks that are called when a function of the kernel is entered.
//!
//! If the kernel has a function tracer that passes arguments, the hook is an ftrace callback, which
//! costs about as much as a function call. Otherwise, or if tracing is disabled by
//! `kernel.ftrace_enabled`, it is a kprobe, which may cost an exception.
//!
//! The C side does all locking.

mod probe;
#[cfg(CONFIG_DYNAMIC_FTRACE_WITH_ARGS)]
mod tracer;

use kernel::prelude::*;

/// A function that is called when another function is entered.
///
/// # Safety
///
/// [`EntryHandler::entered`] must be safe to call with the first arguments of each call of
/// [`EntryHandler::FUNCTION`].
pub(crate) unsafe trait EntryHandler: 'static {
    /// The name of the hooked function.
    const FUNCTION: &'static CStr;

    /// The function was entered. `arguments` are its first arguments, pointers or integers.
    ///
    /// Preemption may be disabled. Must not sleep, so of spin locks it may acquire only raw ones,
    /// and must neither allocate nor free memory. Must not call the function, directly or
    /// indirectly: nothing ends such a recursion.
    ///
    /// # Safety
    ///
    /// `arguments` must be those of a call of [`EntryHandler::FUNCTION`] that has just begun.
    unsafe fn entered(arguments: [usize; 2]);
}

/// A hook that calls `T`. Dropping it removes the hook and may sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::{
///     char_device::Class,
///     function_hook::{EntryHandler, FunctionHook},
/// };
/// use kernel::sync::atomic::{Atomic, Relaxed};
///
/// static NAME: Atomic<usize> = Atomic::new(0);
///
/// struct Example;
///
/// // SAFETY: The function does not dereference the arguments.
/// unsafe impl EntryHandler for Example {
///     const FUNCTION: &'static CStr = c"class_create";
///
///     unsafe fn entered([name, _]: [usize; 2]) {
///         NAME.store(name, Relaxed);
///     }
/// }
///
/// let hook = FunctionHook::<Example>::new()?;
/// let name = c"rk_dma_heap_example";
/// drop(Class::new(name)?);
/// assert_eq!(NAME.load(Relaxed), name.as_char_ptr() as usize);
///
/// drop(hook);
/// NAME.store(0, Relaxed);
/// drop(Class::new(name)?);
/// assert_eq!(NAME.load(Relaxed), 0);
/// ```
#[must_use]
pub(crate) enum FunctionHook<T: EntryHandler> {
    #[cfg(CONFIG_DYNAMIC_FTRACE_WITH_ARGS)]
    Tracer {
        _hook: tracer::Tracer<T>,
    },
    Probe {
        _hook: probe::Probe<T>,
    },
}

impl<T: EntryHandler> FunctionHook<T> {
    /// Hooks [`EntryHandler::FUNCTION`].
    ///
    /// May sleep. Fails with `ENOENT` if the kernel does not have the function, and as
    /// `register_kprobe()` does.
    pub(crate) fn new() -> Result<Self> {
        #[cfg(CONFIG_DYNAMIC_FTRACE_WITH_ARGS)]
        if let Ok(hook) = tracer::Tracer::new() {
            return Ok(Self::Tracer { _hook: hook });
        }
        Ok(Self::Probe {
            _hook: probe::Probe::new()?,
        })
    }
}
