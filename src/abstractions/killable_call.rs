// SPDX-License-Identifier: GPL-2.0

//! Calls of functions that cannot be interrupted, by tasks that can.
//!
//! A kernel thread makes the calls, one at a time. Their callers wait for it, and stop waiting on a
//! fatal signal or after a while. What was begun is finished all the same: the thread owns the
//! [`Job`] then, and drops it after the call. Until that, nobody else's call begins, so callers
//! that are killed and started again add neither threads nor memory.
//!
//! # Locks
//!
//! [`KillableCalls::call`] and the thread acquire a spin lock of their own, to hand jobs over.
//! Nothing is acquired under it but the lock of a completion.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use crate::{
    abstractions::{
        background::{
            Background,
            DelayedWork,
            Priority,
            Thread, //
        },
        kernel_module::{
            self,
            ModuleRef, //
        }, //
    },
    bindings as c, //
};
use core::mem;
use kernel::{
    bindings,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
    types::Opaque, //
};

/// The time after which a caller stops waiting, in milliseconds.
const TIMEOUT_MS: u32 = 3000;

/// A function that cannot be interrupted, with its arguments and its result.
pub(crate) trait Job: Send + Unpin + 'static {
    /// Makes the call. Runs on the thread, may sleep for any time.
    fn run(&mut self);
}

/// A thread that runs jobs, one at a time.
///
/// Dropping it waits for the job that is running.
///
/// # Examples
///
/// ```
/// use crate::abstractions::killable_call::{Job, KillableCalls};
///
/// struct Double(u32);
///
/// impl Job for Double {
///     fn run(&mut self) {
///         self.0 *= 2;
///     }
/// }
///
/// let calls = KillableCalls::new(c"rk_example")?;
/// assert_eq!(calls.call(Double(4))?.0, 8);
/// assert_eq!(calls.call(Double(8))?.0, 16);
/// ```
pub(crate) struct KillableCalls<J: Job> {
    shared: Arc<Shared<J>>,
    work: Arc<DelayedWork>,
    _thread: Thread<Shared<J>>,
}

/// What the callers and the thread share.
#[pin_data]
struct Shared<J> {
    /// Done once while no job is outstanding. A caller that has waited for it may set `state`.
    #[pin]
    free: Completion,
    /// Done once while `state` is [`State::Done`].
    #[pin]
    done: Completion,
    #[pin]
    state: SpinLock<State<J>>,
}

/// How far the outstanding job is.
enum State<J> {
    /// There is none.
    Idle,
    /// The thread has not taken it yet.
    Queued(J),
    /// The thread runs it.
    Running,
    /// The caller has not taken it yet.
    Done(J),
    /// The thread runs it, and nobody waits for it. The module cannot be unloaded, which would
    /// wait for it.
    Abandoned { _module: ModuleRef },
}

impl<J: Job> KillableCalls<J> {
    /// Starts a thread named `name`.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EINTR` on a fatal signal.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        let shared = Arc::pin_init(
            pin_init!(Shared {
                free <- Completion::new(),
                done <- Completion::new(),
                state <- new_spinlock!(State::Idle),
            }),
            GFP_KERNEL,
        )?;
        shared.free.complete();
        let work = DelayedWork::new()?;
        let thread = Thread::start(name, Priority::Ordinary, work.clone(), shared.clone())?;
        Ok(Self {
            shared,
            work,
            _thread: thread,
        })
    }

    /// Lets the thread run `job`, and returns it.
    ///
    /// May sleep, for [`TIMEOUT_MS`] until the calls of others have ended and for as long again.
    /// Fails with `EINTR` on a fatal signal, and with `EBUSY` if one of these times is over, if an
    /// abandoned job still runs, or if the module is being unloaded.
    pub(crate) fn call(&self, job: J) -> Result<J> {
        let shared = &*self.shared;
        if matches!(*shared.state.lock(), State::Abandoned { .. }) {
            return Err(EBUSY);
        }
        // Acquired first: once the module is being unloaded, which waits for the job, there is none
        // to acquire.
        let module = kernel_module::pin().ok_or(EBUSY)?;
        shared.free.wait_killable(TIMEOUT_MS)?;
        // No job is outstanding, so the former state has nothing to drop.
        *shared.state.lock() = State::Queued(job);
        self.work.queue(0);
        let waited = shared.done.wait_killable(TIMEOUT_MS);

        let mut state = shared.state.lock();
        let former = mem::replace(&mut *state, State::Idle);
        if matches!(former, State::Running) {
            *state = State::Abandoned { _module: module };
        }
        drop(state);
        let answer = match former {
            State::Done(job) => {
                if waited.is_err() {
                    // It was done after the wait.
                    let _ = shared.done.wait_killable(0);
                }
                Ok(job)
            }
            // Completed by the thread.
            State::Running => return waited.and(Err(EBUSY)),
            // The thread has not begun, and finds nothing.
            _ => waited.and(Err(EBUSY)),
        };
        shared.free.complete();
        answer
    }
}

impl<J: Job> Background for Shared<J> {
    fn run(&self) {
        let mut state = self.state.lock();
        let mut job = match mem::replace(&mut *state, State::Running) {
            State::Queued(job) => job,
            // The caller has withdrawn the job.
            other => {
                *state = other;
                return;
            }
        };
        drop(state);
        job.run();

        let mut state = self.state.lock();
        if matches!(*state, State::Running) {
            *state = State::Done(job);
            self.done.complete();
            return;
        }
        drop(state);
        drop(job);
        // The reference to the module is dropped without the lock.
        let former = mem::replace(&mut *self.state.lock(), State::Idle);
        self.free.complete();
        drop(former);
    }
}

/// A completion that each call of [`Completion::complete`] makes done for one waiter.
#[pin_data]
struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: The C side does the locking.
unsafe impl Send for Completion {}
// SAFETY: As above.
unsafe impl Sync for Completion {}

impl Completion {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is that of a completion.
            inner <- Opaque::ffi_init(|slot| unsafe { bindings::init_completion(slot) }),
        })
    }

    /// Lets one waiter continue. Does not sleep.
    fn complete(&self) {
        // SAFETY: The completion is initialized.
        unsafe { bindings::complete(self.inner.get()) };
    }

    /// Waits for at most `timeout_ms` milliseconds.
    ///
    /// May sleep. Fails with `EINTR` on a fatal signal, and with `EBUSY` after that time.
    fn wait_killable(&self, timeout_ms: u32) -> Result {
        // SAFETY: The completion is initialized.
        let left = unsafe {
            let timeout = c::msecs_to_jiffies(timeout_ms);
            bindings::wait_for_completion_killable_timeout(self.inner.get(), timeout)
        };
        match left {
            0 => Err(EBUSY),
            1.. => Ok(()),
            _ => Err(EINTR),
        }
    }
}
