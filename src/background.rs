// SPDX-License-Identifier: GPL-2.0

//! A kernel thread of low priority that does what others have left for it.
//!
//! The type that keeps the work implements [`Background`] and holds a [`Trigger`]. While a [`Thread`] for it exists, firing
//! the trigger has the thread call [`Background::run`] a moment later; firing it again meanwhile changes nothing, so a
//! burst costs one wake-up.
//!
//! # Examples
//!
//! ```
//! use crate::background::{Background, Thread, Trigger};
//! use kernel::sync::{Arc, Completion};
//!
//! #[pin_data]
//! struct Work {
//!     #[pin]
//!     trigger: Trigger,
//!     #[pin]
//!     done: Completion,
//! }
//!
//! impl Background for Work {
//!     fn trigger(&self) -> &Trigger {
//!         &self.trigger
//!     }
//!
//!     fn run(&self) {
//!         self.done.complete_all();
//!     }
//! }
//!
//! let work = Arc::pin_init(
//!     pin_init!(Work { trigger <- Trigger::new(), done <- Completion::new() }),
//!     GFP_KERNEL,
//! )?;
//! // Without a thread nothing happens.
//! work.trigger.fire(0);
//! let thread = Thread::start(c"example", work.clone())?;
//! work.trigger.fire(1);
//! work.done.wait_for_completion();
//! drop(thread);
//! ```
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use crate::bindings as c;
use core::ptr::{self, NonNull};
use kernel::{
    bindings,
    error::from_err_ptr,
    ffi::c_void,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Arc, SpinLock,
    },
    types::Opaque,
};

/// The lowest priority that an ordinary thread can have.
const MAX_NICE: isize = 19;

/// Work for a [`Thread`].
pub(crate) trait Background: Send + Sync + 'static {
    /// What has the thread run.
    fn trigger(&self) -> &Trigger;

    /// Does what there is to do. May sleep.
    fn run(&self);
}

/// Has a [`Thread`] run, when there is one.
///
/// # Invariants
///
/// `worker` is a running kthread worker or `None`. Where it is one, `owner` is what a [`Thread`] keeps alive and `work` was
/// initialised with the function that runs that type. Where `fired` is true the thread is going to run, unless it ends before.
#[pin_data]
pub(crate) struct Trigger {
    /// Spares those who fire one after the other the locks of the worker.
    fired: Atomic<bool>,
    #[pin]
    worker: SpinLock<Option<Worker>>,
    #[pin]
    work: Opaque<bindings::kthread_delayed_work>,
    owner: Opaque<*const c_void>,
}

/// A way to queue delayed work.
type Queue = unsafe extern "C" fn(
    *mut bindings::kthread_worker,
    *mut bindings::kthread_delayed_work,
    usize,
) -> bool;

/// A kthread worker.
#[derive(Clone, Copy)]
struct Worker(NonNull<bindings::kthread_worker>);

// SAFETY: The C side does the locking.
unsafe impl Send for Worker {}

// SAFETY: `worker` is locked, `work` is only touched by the C side, and `owner` only changes while there is no worker.
unsafe impl Send for Trigger {}
// SAFETY: As above.
unsafe impl Sync for Trigger {}

impl Trigger {
    /// A trigger without a thread.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: There is no worker, and nobody has fired.
            fired: Atomic::new(false),
            worker <- new_spinlock!(None),
            work: Opaque::zeroed(),
            owner: Opaque::new(ptr::null()),
        })
    }

    /// Has the thread run in `milliseconds`, unless it is going to anyway. Does not sleep.
    pub(crate) fn fire(&self, milliseconds: u32) {
        // Ordered after what the thread is to see: `run()` takes it back before it looks.
        if self.fired.xchg(true, Full) {
            return;
        }
        self.queue(bindings::kthread_queue_delayed_work, milliseconds);
    }

    /// Has the thread run in `milliseconds`, also where it was going to earlier or later. Does not sleep.
    pub(crate) fn fire_at(&self, milliseconds: u32) {
        self.fired.xchg(true, Full);
        self.queue(bindings::kthread_mod_delayed_work, milliseconds);
    }

    fn queue(&self, queue: Queue, milliseconds: u32) {
        let worker = self.worker.lock();
        let Some(Worker(worker)) = *worker else {
            // INVARIANT: Nothing is going to run.
            self.fired.store(false, Relaxed);
            return;
        };
        let work = self.work.get();
        // SAFETY: By the type's invariant the worker runs, and the work was initialised. The lock keeps it so.
        unsafe { queue(worker.as_ptr(), work, c::msecs_to_jiffies(milliseconds)) };
    }
}

/// A kernel thread that works for a `T`. It ends when this is dropped; work under way is finished first.
///
/// # Invariants
///
/// `owner`'s trigger has a worker, which this thread has started.
pub(crate) struct Thread<T: Background> {
    owner: Arc<T>,
}

impl<T: Background> Thread<T> {
    /// Starts a thread named `name`.
    ///
    /// May sleep. Fails with `ENOMEM`, with `EINTR` where a fatal signal came first, and with `EBUSY` where `owner` has a
    /// thread already.
    pub(crate) fn start(name: &CStr, owner: Arc<T>) -> Result<Self> {
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
            bindings::set_user_nice((*worker.as_ptr()).task, MAX_NICE);
            bindings::wake_up_process((*worker.as_ptr()).task);
        }

        let trigger = owner.trigger();
        let mut slot = trigger.worker.lock();
        if slot.is_some() {
            drop(slot);
            // SAFETY: The worker was just made, and nobody else knows it.
            unsafe { bindings::kthread_destroy_worker(worker.as_ptr()) };
            return Err(EBUSY);
        }
        // INVARIANT: The worker runs; `owner` is kept by the thread; the work runs a `T`.
        // SAFETY: There is no worker yet, so nobody else looks at these fields.
        unsafe {
            trigger.owner.get().write(Arc::as_ptr(&owner).cast());
            c::kthread_init_delayed_work(trigger.work.get(), Some(run::<T>));
        }
        // INVARIANT: A thread before this one may have ended before it ran.
        trigger.fired.store(false, Relaxed);
        *slot = Some(Worker(worker));
        drop(slot);
        Ok(Self { owner })
    }
}

impl<T: Background> Drop for Thread<T> {
    fn drop(&mut self) {
        let trigger = self.owner.trigger();
        // Nobody can queue the work any more once the trigger has no worker.
        let worker = trigger.worker.lock().take();
        if let Some(Worker(worker)) = worker {
            // SAFETY: The worker was started by `start()` and is destroyed once; its work is cancelled or done before that.
            unsafe {
                bindings::kthread_cancel_delayed_work_sync(trigger.work.get());
                bindings::kthread_destroy_worker(worker.as_ptr());
            }
        }
    }
}

/// # Safety
///
/// For the kthread worker: `work` is the work of a [`Trigger`] whose owner is a `T`.
unsafe extern "C" fn run<T: Background>(work: *mut bindings::kthread_work) {
    // SAFETY: The work is the first field of the delayed work, which is a field of a trigger.
    let trigger = unsafe {
        let delayed: *mut bindings::kthread_delayed_work =
            kernel::container_of!(work, bindings::kthread_delayed_work, work);
        let work: *mut Opaque<bindings::kthread_delayed_work> = delayed.cast();
        &*kernel::container_of!(work, Trigger, work)
    };
    // INVARIANT: From here on, whoever fires has the thread run once more.
    trigger.fired.xchg(false, Full);
    // SAFETY: The thread keeps the owner until the work is cancelled or done.
    unsafe { &*(*trigger.owner.get()).cast::<T>() }.run();
}
