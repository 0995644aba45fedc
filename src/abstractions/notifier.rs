// SPDX-License-Identifier: GPL-2.0

//! Notifier chains: lists of functions that the kernel calls when something happens.
//!
//! A [`Chain`] is one of the kernel's chains: how a function gets into it and out of it, and what
//! it is told. A driver implements [`Notifier`] for a type, and a [`Registration`] of a value of
//! that type is in the chain until it is dropped.
//!
//! # Locks
//!
//! A chain has a lock of its own, which most hold while they call its functions and while the list
//! changes. So whoever is called can neither register nor unregister in the same chain.
//!
//! C header: [`include/linux/notifier.h`](srctree/include/linux/notifier.h)

use crate::bindings as c;
use core::ffi::c_void;
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_ulong, //
    },
    prelude::*,
    types::Opaque, //
};

/// A chain of the kernel.
///
/// # Safety
///
/// Implementors must ensure that:
///
/// - after [`Chain::register`] has succeeded, the chain calls the block's function with the block
///   and with what [`Chain::event`] requires, and does not use the block after
///   [`Chain::unregister`], which waits for running calls;
/// - the chain does not use the block if [`Chain::register`] fails.
pub(crate) unsafe trait Chain: 'static {
    /// What the functions are told. It is valid during the call only.
    type Event<'a>;

    /// Adds a block to the chain. May sleep. Returns 0 or a negative errno.
    ///
    /// # Safety
    ///
    /// The block must be valid and in no chain. It must stay valid and where it is until
    /// [`Chain::unregister`] has returned.
    unsafe fn register(block: *mut bindings::notifier_block) -> c_int;

    /// Removes a block from the chain, and waits for running calls. May sleep.
    ///
    /// # Safety
    ///
    /// [`Chain::register`] must have succeeded for the block.
    unsafe fn unregister(block: *mut bindings::notifier_block);

    /// Returns what the arguments of a call mean, or `None` if nobody is to be told of it.
    ///
    /// # Safety
    ///
    /// The arguments must be those with which this chain calls a function. That call must not
    /// return before the end of `'a`.
    unsafe fn event<'a>(action: c_ulong, data: *mut c_void) -> Option<Self::Event<'a>>;
}

/// Who is notified by a chain.
///
/// Several threads may call the function at the same time, unless the chain prevents that.
pub(crate) trait Notifier: Send + Sync + 'static {
    /// The chain.
    type Chain: Chain;

    /// Something has happened, or is about to. What the function may do, the chain says.
    ///
    /// After an error the chain calls no further functions. The chain says what else it means; some
    /// ignore it.
    fn notify(&self, event: <Self::Chain as Chain>::Event<'_>) -> Result;
}

/// The registration of a [`Notifier`].
///
/// Dropping it waits for running calls, so it must not be dropped by the notifier.
///
/// # Examples
///
/// A chain that this example owns and calls; others are the kernel's.
///
/// ```
/// use crate::abstractions::notifier::{Chain, Notifier, Registration};
/// use core::ffi::c_void;
/// use kernel::{
///     bindings,
///     ffi::{c_int, c_ulong},
///     sync::{
///         atomic::{Atomic, Relaxed},
///         Arc,
///     },
///     types::Opaque,
/// };
///
/// # struct Head(Opaque<bindings::raw_notifier_head>);
/// # // SAFETY: Only this test uses the head, in one thread.
/// # unsafe impl Sync for Head {}
/// # static HEAD: Head = Head(Opaque::new(bindings::raw_notifier_head {
/// #     head: core::ptr::null_mut(),
/// # }));
/// struct Numbers;
///
/// // SAFETY: The functions are those of one chain, which is called with numbers by one thread.
/// unsafe impl Chain for Numbers {
///     type Event<'a> = &'a mut usize;
///
///     unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
///         // SAFETY: By the safety requirements.
///         unsafe { bindings::raw_notifier_chain_register(HEAD.0.get(), block) }
///     }
///
///     unsafe fn unregister(block: *mut bindings::notifier_block) {
///         // SAFETY: By the safety requirements.
///         unsafe { bindings::raw_notifier_chain_unregister(HEAD.0.get(), block) };
///     }
///
///     unsafe fn event<'a>(action: c_ulong, data: *mut c_void) -> Option<Self::Event<'a>> {
///         if action != 1 {
///             return None;
///         }
///         // SAFETY: By the safety requirements it is what `call()` has passed.
///         Some(unsafe { &mut *data.cast() })
///     }
/// }
///
/// let call = |action: c_ulong, number: &mut usize| {
///     // SAFETY: The head is valid, and no other thread uses it.
///     let answer = unsafe {
///         let data = (&raw mut *number).cast();
///         bindings::raw_notifier_call_chain(HEAD.0.get(), action, data)
///     };
///     answer as u32 & bindings::NOTIFY_STOP_MASK != 0
/// };
///
/// struct Add(Arc<Atomic<usize>>);
///
/// impl Notifier for Add {
///     type Chain = Numbers;
///
///     fn notify(&self, number: &mut usize) -> Result {
///         *number += self.0.load(Relaxed);
///         if *number > 10 { Err(ERANGE) } else { Ok(()) }
///     }
/// }
///
/// let step = Arc::new(Atomic::new(3), GFP_KERNEL)?;
/// let first = KBox::pin_init(Registration::new(Add(step.clone())), GFP_KERNEL)?;
/// let second = KBox::pin_init(Registration::new(Add(step.clone())), GFP_KERNEL)?;
///
/// let mut number = 1;
/// assert!(!call(1, &mut number));
/// assert_eq!(number, 7);
/// // Of this event they are not told.
/// assert!(!call(2, &mut number));
/// assert_eq!(number, 7);
/// // The first one fails, so the second one is not called.
/// step.store(4, Relaxed);
/// assert!(call(1, &mut number));
/// assert_eq!(number, 11);
///
/// drop(first);
/// number = 0;
/// assert!(!call(1, &mut number));
/// assert_eq!(number, 4);
/// drop(second);
/// assert!(!call(1, &mut number));
/// assert_eq!(number, 4);
/// ```
///
/// # Invariants
///
/// `block` is in the chain of `T`, and its function is [`Registration::notified`]. Nothing but the
/// chain uses it.
#[must_use = "the notifier is unregistered when this is dropped"]
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T: Notifier> {
    notifier: T,
    #[pin]
    block: Opaque<bindings::notifier_block>,
}

// SAFETY: Any thread may unregister a block, and `T` may be dropped by any thread.
unsafe impl<T: Notifier> Send for Registration<T> {}
// SAFETY: A shared reference gives no access to the block, and `T` may be shared.
unsafe impl<T: Notifier> Sync for Registration<T> {}

impl<T: Notifier> Registration<T> {
    /// Returns an initializer that registers `notifier`, which may be called before it returns.
    ///
    /// May sleep. Fails as [`Chain::register`] does.
    pub(crate) fn new(notifier: T) -> impl PinInit<Self, Error> {
        // INVARIANT: The block is registered with that function, in its place. A failure drops the
        // notifier, which nobody calls then.
        try_pin_init!(Self {
            // The chain may call it as soon as the block is registered.
            notifier,
            block <- Opaque::try_ffi_init(|block: *mut bindings::notifier_block| {
                let new = bindings::notifier_block {
                    notifier_call: Some(Self::notified),
                    ..pin_init::zeroed()
                };
                // SAFETY: The field is valid for writing. It stays where it is until it is dropped,
                // since it is pinned, and `drop()` unregisters the block.
                to_result(unsafe {
                    block.write(new);
                    T::Chain::register(block)
                })
            }),
        }? Error)
    }

    /// # Safety
    ///
    /// Must only be called by the chain of `T`, with the block of a [`Registration<T>`].
    unsafe extern "C" fn notified(
        block: *mut bindings::notifier_block,
        action: c_ulong,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: By the safety requirements the chain calls this, and not beyond the end of this
        // function.
        let Some(event) = (unsafe { T::Chain::event(action, data) }) else {
            return bindings::NOTIFY_DONE as c_int;
        };
        let block = Opaque::cast_from(block).cast_mut();
        // SAFETY: By the safety requirements this is the block of a registration. Its notifier was
        // initialized before the block was registered, and is dropped after that was unregistered,
        // which waits for this call.
        let notifier = unsafe { &(*kernel::container_of!(block, Self, block)).notifier };
        let error = notifier.notify(event).err().map_or(0, Error::to_errno);
        // SAFETY: The function has no requirements.
        unsafe { c::notifier_from_errno(error) }
    }
}

#[pinned_drop]
impl<T: Notifier> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the block is in the chain.
        unsafe { T::Chain::unregister(self.block.get()) };
    }
}
