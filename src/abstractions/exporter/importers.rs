// SPDX-License-Identifier: GPL-2.0

//! The importers of a dma-buf: what CPU access has to be made coherent with.
//!
//! The core's list of attachments, and its record of the kernel mapping, are protected by the
//! reservation lock. Cache maintenance takes long, and whoever submits work for a GPU needs the
//! reservation locks of all its buffers. So the exporter has records of its own, under a mutex of
//! its own.
//!
//! The records are those of the attachments that are mapped: nothing else needs cache maintenance.
//! So attaching and detaching acquire no lock, and the list is linked through the attachments' own
//! data, so mapping allocates nothing.

use super::Exporter;
use crate::abstractions::{
    kernel_mapping::{
        kept::Kept,
        KernelMapping, //
    },
    once_box::OnceBox, //
};
use core::{
    iter,
    marker::PhantomData,
    mem::offset_of,
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

/// A link of the list. The private data of each attachment begins with one.
pub(super) struct Link(Option<NonNull<bindings::dma_buf_attachment>>);

/// An importer: the private data of an attachment to a dma-buf that was exported with `T`.
#[repr(C)]
pub(super) struct Importer<T: Exporter> {
    link: Link,
    pub(super) data: T::Attachment,
}

impl<T: Exporter> Importer<T> {
    /// Returns an initializer of an importer that is in no list.
    pub(super) fn new(data: impl Init<T::Attachment, Error>) -> impl Init<Self, Error> {
        const { assert!(offset_of!(Self, link) == 0) };
        try_init!(Self {
            link: Link(None),
            data <- data,
        }? Error)
    }
}

/// The mapping that all kernel users of a dma-buf share, unless it is part of the linear map.
pub(super) enum SharedMapping {
    /// There is none.
    None,
    /// There are users.
    Used(KernelMapping),
    /// The last user is gone.
    Kept(Kept),
}

/// The importers.
///
/// # Invariants
///
/// Beginning with `first`, the links lead to different attachments to the dma-buf of this list, and
/// end. The private data of each is a valid [`Importer`]. The links change only with the lock held.
pub(super) struct List {
    first: Link,
    kernel_mapping: SharedMapping,
}

// SAFETY: An attachment is not bound to a thread.
unsafe impl Send for List {}

impl Importers {
    /// Creates an empty list.
    pub(super) const fn new() -> Self {
        Self(OnceBox::new())
    }

    /// Acquires the lock. Returns `None` if there has been no importer yet. May sleep.
    #[inline]
    pub(super) fn lock(&self) -> Option<MutexGuard<'_, List>> {
        self.0.get().map(Mutex::lock)
    }

    /// Creates the list if there is none: the first importer is coming. May sleep. Fails with
    /// `ENOMEM`.
    #[inline]
    pub(super) fn create(&self) -> Result<&Mutex<List>> {
        if let Some(list) = self.0.get() {
            return Ok(list);
        }
        // INVARIANT: The list is empty.
        let list = List {
            first: Link(None),
            kernel_mapping: SharedMapping::None,
        };
        self.0.get_or_init(new_mutex!(list, "Importers"))
    }
}

impl List {
    /// Adds an attachment. Does not sleep.
    ///
    /// # Safety
    ///
    /// `attachment` must be one to the dma-buf of this list, and not be in the list. Its private
    /// data must be a [`Importer`], and must stay valid until the attachment is removed.
    pub(super) unsafe fn add(&mut self, attachment: NonNull<bindings::dma_buf_attachment>) {
        // SAFETY: By the safety requirements. The lock of the list is held.
        let link = unsafe { Self::link_of(attachment) };
        // INVARIANT: The attachment is not in the list, so the links still end.
        // SAFETY: As above.
        unsafe { link.write(Link(self.first.0)) };
        self.first = Link(Some(attachment));
    }

    /// Removes an attachment, if it is in the list. Does not sleep.
    pub(super) fn remove(&mut self, attachment: NonNull<bindings::dma_buf_attachment>) {
        let mut link: *mut Link = &mut self.first;
        // SAFETY: By the type invariants the links are valid, and nothing else accesses them.
        unsafe {
            while let Some(found) = (*link).0 {
                let next = Self::link_of(found);
                if found == attachment {
                    // INVARIANT: The links lead to the others as before.
                    (*link).0 = (*next).0;
                    return;
                }
                link = next;
            }
        }
    }

    /// Returns the link of `attachment`.
    ///
    /// # Safety
    ///
    /// The attachment must be valid.
    unsafe fn link_of(attachment: NonNull<bindings::dma_buf_attachment>) -> *mut Link {
        // SAFETY: By the safety requirements.
        unsafe { (*attachment.as_ptr()).priv_.cast() }
    }

    /// Replaces the kernel mapping, and returns the former one.
    pub(super) fn replace_kernel_mapping(&mut self, mapping: SharedMapping) -> SharedMapping {
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

    /// Returns the devices that have the dma-buf mapped, in no particular order, and their data.
    ///
    /// None of them is unmapped while `self` is borrowed.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Device, &T::Attachment)> {
        let mut next = self.list.as_ref().and_then(|list| list.first.0);
        iter::from_fn(move || {
            let raw = next?.as_ptr();
            // SAFETY: By the invariants of `List` the attachment and its private data are valid,
            // the latter of this type by the invariants of `Self`. A device is valid while it is
            // attached. The lock is held as long as `self` is borrowed, so there is no exclusive
            // reference to the data.
            unsafe {
                let private = &*(*raw).priv_.cast::<Importer<T>>();
                next = private.link.0;
                Some((Device::from_raw((*raw).dev), &private.data))
            }
        })
    }

    /// Returns whether no device has the dma-buf mapped.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.as_ref().is_none_or(|list| list.first.0.is_none())
    }

    /// Returns whether the lock is held. It is not if there has been no importer yet.
    pub(crate) fn is_locked(&self) -> bool {
        self.list.is_some()
    }

    /// Returns the kernel mapping, if there is one that the DMA interface does not know.
    pub(crate) fn kernel_mapping(&self) -> Option<&KernelMapping> {
        match &self.list.as_ref()?.kernel_mapping {
            SharedMapping::Used(mapping) => Some(mapping),
            _ => None,
        }
    }
}
