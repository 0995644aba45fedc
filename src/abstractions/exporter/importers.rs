// SPDX-License-Identifier: GPL-2.0

//! The importers of a dma-buf: what CPU access has to be made coherent with.
//!
//! The core's list of attachments, and its record of the kernel mapping, are protected by the
//! reservation lock. Cache maintenance takes long, and whoever submits work for a GPU needs the
//! reservation locks of all its buffers. So the exporter has records of its own, under a mutex of
//! its own.

use super::Exporter;
use crate::abstractions::{
    kernel_mapping::KernelMapping,
    once_box::OnceBox, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::Device,
    new_mutex,
    prelude::*,
    sync::{
        Mutex,
        MutexGuard, //
    }, //
};

/// The importers of a dma-buf, and their lock. A dma-buf that has had none needs no memory for
/// them.
pub(super) struct Importers(OnceBox<Mutex<List>>);

/// The importers.
///
/// # Invariants
///
/// Each of `attachments` is an attachment to the dma-buf of this list. The exporter's `attach()`
/// has succeeded for it, and it is removed from here before the exporter's `detach()` frees its
/// data.
pub(super) struct List {
    attachments: KVec<NonNull<bindings::dma_buf_attachment>>,
    /// The mapping of all kernel users.
    kernel_mapping: Option<KernelMapping>,
}

// SAFETY: An attachment is not bound to a thread.
unsafe impl Send for List {}

impl Importers {
    /// Creates an empty list.
    pub(super) const fn new() -> Self {
        Self(OnceBox::new())
    }

    /// Acquires the lock. Returns `None` if there has been no importer yet. May sleep.
    pub(super) fn lock(&self) -> Option<MutexGuard<'_, List>> {
        self.0.get().map(Mutex::lock)
    }

    /// Acquires the lock to add an importer. May sleep. Fails with `ENOMEM`.
    pub(super) fn lock_to_add(&self) -> Result<MutexGuard<'_, List>> {
        let list = List {
            attachments: KVec::new(),
            kernel_mapping: None,
        };
        Ok(self.0.get_or_init(new_mutex!(list, "Importers"))?.lock())
    }
}

impl List {
    /// Adds an attachment. May sleep. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `attachment` must be one to the dma-buf of this list. The exporter's `attach()` must have
    /// succeeded for it, and it must be removed before the exporter's `detach()` frees its data.
    pub(super) unsafe fn add(
        &mut self,
        attachment: NonNull<bindings::dma_buf_attachment>,
    ) -> Result {
        // INVARIANT: By the safety requirements.
        Ok(self.attachments.push(attachment, GFP_KERNEL)?)
    }

    /// Removes an attachment.
    pub(super) fn remove(&mut self, attachment: *mut bindings::dma_buf_attachment) {
        let mut all = self.attachments.iter();
        if let Some(index) = all.position(|other| other.as_ptr() == attachment) {
            let _ = self.attachments.remove(index);
        }
    }

    /// Replaces the kernel mapping, and returns the former one.
    pub(super) fn set_kernel_mapping(
        &mut self,
        mapping: Option<KernelMapping>,
    ) -> Option<KernelMapping> {
        core::mem::replace(&mut self.kernel_mapping, mapping)
    }
}

/// The importers of a dma-buf, with their lock held.
///
/// # Invariants
///
/// `list` is that of a dma-buf which was exported with `T`.
#[must_use]
pub(crate) struct Attached<'a, T: Exporter> {
    list: Option<MutexGuard<'a, List>>,
    _exporter: PhantomData<&'a T>,
}

impl<'a, T: Exporter> Attached<'a, T> {
    /// Acquires the lock. May sleep.
    ///
    /// # Safety
    ///
    /// `importers` must be those of a dma-buf that was exported with `T`.
    pub(super) unsafe fn lock(importers: &'a Importers) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            list: importers.lock(),
            _exporter: PhantomData,
        }
    }

    /// Calls `f` for each attached device, in the order in which they were attached.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Device, &T::Attachment)) {
        let Some(list) = &self.list else {
            return;
        };
        for attachment in &list.attachments {
            // SAFETY: By the invariants of `List` the attachment is valid, and `attach()` has set
            // its data, of this type by the invariants of `Self`. A device is valid while it is
            // attached. The lock is held, so there is no exclusive reference to the data.
            unsafe {
                let raw = attachment.as_ptr();
                let private = &*(*raw).priv_.cast::<T::Attachment>();
                f(Device::from_raw((*raw).dev), private);
            }
        }
    }

    /// Returns the kernel mapping, if there is one.
    pub(crate) fn kernel_mapping(&self) -> Option<&KernelMapping> {
        self.list.as_ref()?.kernel_mapping.as_ref()
    }
}
