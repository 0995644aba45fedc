// SPDX-License-Identifier: GPL-2.0

//! Deferred work on a kernel thread.
//!
//! A [`Thread`] runs [`Background::run`] of its owner whenever its [`DelayedWork`] is queued. Work
//! that is queued again before it runs stays queued once, so a burst of requests costs one wake-up.
//!
//! # Locks
//!
//! [`DelayedWork::queue`] takes a spin lock of its own and, under it, that of the kthread worker.
//! Both are raw, so it never sleeps, also with `PREEMPT_RT`.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use crate::{
    abstractions::raw_spin_lock::{
        new_raw_spinlock,
        RawSpinLock, //
    },
    bindings as c, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::c_void,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
    types::Opaque, //
};

/// The priority of a [`Thread`] among ordinary threads.
#[derive(Clone, Copy)]
pub(crate) enum Priority {
    /// For work that may take long, and that nobody waits for.
    ///
    /// With `PREEMPT_RT`, a thread may be preempted while it holds a spin lock. A task of ordinary
    /// priority that waits for the lock does not lend its nice value to the thread, which would get
    /// the lock's section done only when no other task wants the CPU. So there the priority is the
    /// ordinary one.
    Lowest,
    /// For work that its requester waits for.
    Ordinary,
    /// For short work that has to be done in time, whatever else runs.
    Highest,
}

impl Priority {
    fn nice(self) -> isize {
        match self {
            Self::Lowest if cfg!(CONFIG_PREEMPT_RT) => 0,
            Self::Lowest => 19,
            Self::Ordinary => 0,
            Self::Highest => -20,
        }
    }
}

/// Calls `f` on the calling kernel thread at ordinary priority, for a part of its work that others
/// may wait for. The priority of another task does not change.
///
/// # Examples
///
/// ```
/// use crate::abstractions::background::at_ordinary_priority;
///
/// assert_eq!(at_ordinary_priority(|| 1 + 1), 2);
/// ```
pub(crate) fn at_ordinary_priority<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: The function concerns the calling task, and has no requirements.
    let before = unsafe { c::exchange_own_nice(0) };
    let result = f();
    // SAFETY: As above.
    unsafe { c::exchange_own_nice(before) };
    result
}

/// The owner of deferred work.
pub(crate) trait Background: Send + Sync + 'static {
    /// Does the work. Runs on the [`Thread`], may sleep.
    fn run(&self);
}

/// Work that a [`Thread`] runs after a delay.
///
/// # Examples
///
/// ```
/// use crate::abstractions::background::{Background, DelayedWork, Priority, Thread};
/// use kernel::sync::{Arc, Completion};
///
/// #[pin_data]
/// struct Owner {
///     #[pin]
///     done: Completion,
/// }
///
/// impl Background for Owner {
///     fn run(&self) {
///         self.done.complete_all();
///     }
/// }
///
/// let owner = Arc::pin_init(pin_init!(Owner { done <- Completion::new() }), GFP_KERNEL)?;
/// let work = DelayedWork::new()?;
/// // Queueing has no effect before a thread is started.
/// work.queue(0);
/// let thread = Thread::start(c"example", Priority::Lowest, work.clone(), owner.clone())?;
/// work.queue(1);
/// owner.done.wait_for_completion();
/// drop(thread);
/// ```
///
/// # Invariants
///
/// - Where `state` is not [`State::Idle`], a [`Thread`] owns this work: `work` was initialised with
///   the function for the type that `owner` points to, and the thread keeps that owner alive. Its
///   worker runs where it is [`State::Running`].
/// - `owner` and `work` are written only while `state` is [`State::Idle`].
/// - Where `queued` is true, the thread runs the work later, or ends before.
#[pin_data]
pub(crate) struct DelayedWork {
    /// Lets repeated calls of [`DelayedWork::queue`] return without taking a lock.
    queued: Atomic<bool>,
    #[pin]
    state: RawSpinLock<State>,
    #[pin]
    work: Opaque<bindings::kthread_delayed_work>,
    owner: Opaque<*const c_void>,
}

/// The C function that queues delayed work, or that changes its delay.
type Queue = unsafe extern "C" fn(
    *mut bindings::kthread_worker,
    *mut bindings::kthread_delayed_work,
    usize,
) -> bool;

/// Whether a [`Thread`] owns the work.
#[derive(Clone, Copy)]
enum State {
    /// No thread does.
    Idle,
    /// A thread does; the work can be queued on its worker.
    Running(NonNull<bindings::kthread_worker>),
    /// A thread does and is ending; the work cannot be queued any more.
    Stopping,
}

// SAFETY: The C side locks a worker.
unsafe impl Send for State {}

// SAFETY: `state` is locked, the C side locks `work`, and `owner` does not change while a thread
// owns the work.
unsafe impl Send for DelayedWork {}
// SAFETY: As above.
unsafe impl Sync for DelayedWork {}

impl DelayedWork {
    /// Creates work that no thread runs yet. May sleep. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                // INVARIANT: No thread owns the work, and nothing is queued.
                queued: Atomic::new(false),
                state <- new_raw_spinlock!(State::Idle),
                work: Opaque::zeroed(),
                owner: Opaque::new(ptr::null()),
            }),
            GFP_KERNEL,
        )
    }

    /// Queues the work to run in `delay_ms` milliseconds, unless it is queued already. Does not
    /// sleep.
    pub(crate) fn queue(&self, delay_ms: u32) {
        // A full barrier: what the caller wrote before is visible to `run()`, which clears the flag
        // before it looks.
        if self.queued.xchg(true, Full) {
            return;
        }
        self.queue_with(bindings::kthread_queue_delayed_work, delay_ms);
    }

    /// Queues the work to run in `delay_ms` milliseconds, also where it is queued for another time.
    /// Does not sleep.
    pub(crate) fn queue_at(&self, delay_ms: u32) {
        self.queued.xchg(true, Full);
        self.queue_with(bindings::kthread_mod_delayed_work, delay_ms);
    }

    fn queue_with(&self, queue: Queue, delay_ms: u32) {
        let state = self.state.lock();
        let State::Running(worker) = *state else {
            // INVARIANT: No thread runs, so nothing is queued.
            self.queued.store(false, Relaxed);
            return;
        };
        let work = self.work.get();
        // SAFETY: By the type's invariant the worker runs and the work is initialised; the lock
        // keeps both so.
        unsafe { queue(worker.as_ptr(), work, c::msecs_to_jiffies(delay_ms)) };
    }
}

/// A kernel thread that runs the work of a `T`.
///
/// Dropping it waits for work that is running, cancels work that is queued, and ends the thread.
///
/// # Invariants
///
/// This value owns `work`, whose `state` is [`State::Running`], and `work.owner` points to `owner`.
pub(crate) struct Thread<T: Background> {
    work: Arc<DelayedWork>,
    /// Keeps what `work.owner` points to.
    _owner: Arc<T>,
}

impl<T: Background> Thread<T> {
    /// Starts a thread named `name` that runs `owner` when `work` is queued.
    ///
    /// May sleep. Fails with `ENOMEM`, with `EINTR` on a fatal signal, and with `EBUSY` where
    /// `work` has a thread already.
    pub(crate) fn start(
        name: &CStr,
        priority: Priority,
        work: Arc<DelayedWork>,
        owner: Arc<T>,
    ) -> Result<Self> {
        // SAFETY: The format takes one string.
        let worker = from_err_ptr(unsafe {
            bindings::kthread_create_worker_on_node(
                0,
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        let worker = NonNull::new(worker).ok_or(ENOMEM)?;
        // SAFETY: The worker's task runs until the worker is destroyed.
        unsafe {
            bindings::set_user_nice((*worker.as_ptr()).task, priority.nice());
            bindings::wake_up_process((*worker.as_ptr()).task);
        }

        let mut state = work.state.lock();
        if !matches!(*state, State::Idle) {
            drop(state);
            // SAFETY: The worker was just created, and nobody else knows it.
            unsafe { bindings::kthread_destroy_worker(worker.as_ptr()) };
            return Err(EBUSY);
        }
        // INVARIANT: No thread owned the work. The new one does and keeps `owner`; the function is
        // that of `T`. SAFETY: No thread owns the work, so by the type's invariant nobody else
        // reads these fields.
        unsafe {
            work.owner.get().write(Arc::as_ptr(&owner).cast());
            c::kthread_init_delayed_work(work.work.get(), Some(run::<T>));
        }
        // INVARIANT: An earlier thread may have ended before it ran the work.
        work.queued.store(false, Relaxed);
        *state = State::Running(worker);
        drop(state);
        // INVARIANT: The state was set above.
        Ok(Self {
            work,
            _owner: owner,
        })
    }
}

impl<T: Background> Drop for Thread<T> {
    fn drop(&mut self) {
        let mut state = self.work.state.lock();
        let State::Running(worker) = *state else {
            return;
        };
        *state = State::Stopping;
        drop(state);
        // SAFETY: By the type's invariant the worker is this thread's, so it is destroyed once. Its
        // work is cancelled or done before that.
        unsafe {
            // The caller does not wait for a thread that busy processes keep from running.
            bindings::set_user_nice((*worker.as_ptr()).task, 0);
            bindings::kthread_cancel_delayed_work_sync(self.work.work.get());
            bindings::kthread_destroy_worker(worker.as_ptr());
        }
        // INVARIANT: The worker is gone, and nobody uses the owner any more.
        *self.work.state.lock() = State::Idle;
    }
}

/// Runs the work of a `T` on its thread.
///
/// # Safety
///
/// `work` must be that of a [`DelayedWork`] whose `owner` points to a `T`.
unsafe extern "C" fn run<T: Background>(work: *mut bindings::kthread_work) {
    // SAFETY: The work is the first field of the delayed work, which is a field of a `DelayedWork`.
    let this = unsafe {
        let delayed: *mut bindings::kthread_delayed_work =
            kernel::container_of!(work, bindings::kthread_delayed_work, work);
        let work: *mut Opaque<bindings::kthread_delayed_work> = delayed.cast();
        &*kernel::container_of!(work, DelayedWork, work)
    };
    // INVARIANT: From here on, `queue()` queues the work again.
    this.queued.xchg(false, Full);
    // SAFETY: The thread keeps its owner until the work is cancelled or done.
    unsafe { &*(*this.owner.get()).cast::<T>() }.run();
}
