// SPDX-License-Identifier: GPL-2.0

//! Being called whenever a function of the kernel is entered.
//!
//! Where the kernel can trace functions, and lets a tracer see their arguments, that costs about as
//! much as a call. Elsewhere, and where the administrator has switched tracing off, a kprobe does
//! it, which costs an exception.

mod probe;
#[cfg(CONFIG_DYNAMIC_FTRACE_WITH_ARGS)]
mod tracer;

use kernel::prelude::*;

/// What is to be called.
pub(crate) trait EntryHandler: 'static {
    /// The function was entered; `arguments` are its first ones, pointers or numbers. Must not
    /// sleep, nor call the function.
    fn entered(arguments: [usize; 2]);
}

/// Calls `T` until it is dropped.
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
    /// Hooks `function`. May sleep. Fails as `register_kprobe()` does: with `ENOENT` where there is
    /// no such function.
    pub(crate) fn new(function: &'static CStr) -> Result<Self> {
        #[cfg(CONFIG_DYNAMIC_FTRACE_WITH_ARGS)]
        if let Ok(hook) = tracer::Tracer::new(function) {
            return Ok(Self::Tracer { _hook: hook });
        }
        Ok(Self::Probe {
            _hook: probe::Probe::new(function)?,
        })
    }
}
