// SPDX-License-Identifier: GPL-2.0

//! Gates before functions that somebody else may take away.
//!
//! The lock of a gate is a mutex, held for a moment only. Nothing else is acquired under it.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        CondVar,
        Mutex, //
    }, //
};

/// A gate that calls pass until it is closed.
///
/// # Examples
///
/// ```
/// use crate::abstractions::call_gate::CallGate;
/// use kernel::sync::Arc;
///
/// let gate = Arc::pin_init(CallGate::new(), GFP_KERNEL)?;
/// let first = gate.enter().ok_or(ENODEV)?;
/// let second = gate.enter().ok_or(ENODEV)?;
/// drop(first);
/// drop(second);
/// gate.close();
/// assert!(gate.enter().is_none());
/// // It stays closed.
/// gate.close();
/// assert!(gate.enter().is_none());
/// ```
#[pin_data]
pub(crate) struct CallGate {
    #[pin]
    state: Mutex<State>,
    /// Notified when the last call leaves a closed gate.
    #[pin]
    idle: CondVar,
}

/// The state of a gate.
struct State {
    closed: bool,
    /// The number of values of [`Entered`].
    calls: usize,
}

impl CallGate {
    /// Creates an open gate.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State { closed: false, calls: 0 }),
            idle <- new_condvar!(),
        })
    }

    /// Enters the gate for one call. Returns `None` if it is closed. May sleep for a moment.
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        // INVARIANT: The call is counted here.
        state.calls = state.calls.checked_add(1)?;
        Some(Entered(self))
    }

    /// Closes the gate and waits until the last call has left. Sleeps as long as the calls last, so
    /// none of them may close the gate.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        while state.calls > 0 {
            self.idle.wait(&mut state);
        }
    }
}

/// A call that has entered a [`CallGate`]. It leaves when this is dropped, which may sleep for a
/// moment.
///
/// # Invariants
///
/// The gate counts this call.
#[must_use = "the call leaves the gate when this is dropped"]
pub(crate) struct Entered<'a>(&'a CallGate);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.calls = state.calls.saturating_sub(1);
        if state.closed && state.calls == 0 {
            self.0.idle.notify_all();
        }
    }
}
