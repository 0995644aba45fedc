// SPDX-License-Identifier: GPL-2.0

//! dma-bufs of any exporter.
//!
//! # Locks
//!
//! - The reservation lock of a dma-buf is a sleeping lock. It protects the list of attachments, and
//!   a [`ResvGuard`] holds it.
//! - The name lock of a dma-buf is a spin lock and protects its name. An [`Exported`] holds it;
//!   [`UncountedDmaBuf::name`] and [`UncountedDmaBuf::set_name`] acquire it.
//! - The spin locks of an inode and of its dentry are acquired by [`Inode::dma_buf`].
//!
//! # Lifetime
//!
//! A dma-buf is freed with its dentry, not with its file: a path that refers to the dentry, such as
//! an `O_PATH` descriptor, keeps the dma-buf and its memory after the file is freed. So there are
//! five references, from the weakest:
//!
//! | type | holds | keeps |
//! | --- | --- | --- |
//! | [`Unreleased`] | nothing | nothing; for the exporter, until it releases the dma-buf |
//! | [`Inode`] | the inode | the inode, by which the dma-buf is found as long as it exists |
//! | [`Pinned`] | the dentry | the dma-buf, its attachments and its memory |
//! | [`ActiveRef`] | the file | all of it; importers may use it |
//! | [`ARef<DmaBuf>`] | the file | the same; may be dropped in any context |
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/dma-buf.html>

mod active_ref;
mod exported;
mod inode;
mod mapped_attachment;
mod pinned;
mod resv_guard;
mod unreleased;

pub(crate) use active_ref::ActiveRef;
pub(crate) use exported::Exported;
pub(crate) use inode::Inode;
pub(crate) use mapped_attachment::MappedAttachment;
pub(crate) use pinned::Pinned;
pub(crate) use resv_guard::ResvGuard;
pub(crate) use unreleased::Unreleased;

use crate::bindings as c;
use core::{
    mem,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_int,
    fs::file::FileDescriptorReservation,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// The capacity of a dma-buf's name in bytes, including the terminating NUL.
pub(crate) const NAME_LEN: usize = c::DMA_BUF_NAME_LEN;

/// A dma-buf whose file may have been freed.
///
/// # Invariants
///
/// The dma-buf is valid as long as a reference to this type: its exporter has not released it.
#[repr(transparent)]
pub(crate) struct UncountedDmaBuf(Opaque<bindings::dma_buf>);

// SAFETY: A dma-buf is not bound to a thread. The C side does the locking.
unsafe impl Send for UncountedDmaBuf {}
// SAFETY: As above.
unsafe impl Sync for UncountedDmaBuf {}

impl UncountedDmaBuf {
    /// Creates a reference from a pointer.
    ///
    /// # Safety
    ///
    /// The dma-buf must be valid for `'a`, and its exporter must not release it during `'a`.
    pub(crate) unsafe fn from_raw<'a>(raw: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: By the safety requirements `raw` is valid. The type is a transparent wrapper.
        unsafe { &*raw.cast() }
    }

    /// Returns the C structure.
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }

    /// Returns the size in bytes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: By the type invariants the dma-buf is valid. Its size never changes.
        unsafe { (*self.as_raw()).size }
    }

    /// Returns the exporter's name.
    pub(crate) fn exporter(&self) -> &CStr {
        // SAFETY: By the type invariants the dma-buf is valid. The exporter's name is valid as long
        // as the dma-buf.
        unsafe { CStr::from_char_ptr((*self.as_raw()).exp_name) }
    }

    /// Returns 16 digits that identify the dma-buf without disclosing its address, as `%p` does.
    pub(crate) fn hashed_address(&self) -> [u8; 16] {
        let mut digits = [b'0'; 16];
        // SAFETY: The call writes 16 bytes and does not dereference the second pointer.
        unsafe { c::hashed_pointer(digits.as_mut_ptr(), self.as_raw().cast()) };
        digits
    }

    /// Returns the name, padded with zeros. It is all zeros if the dma-buf has none.
    ///
    /// Acquires the name lock. Does not sleep.
    pub(crate) fn name(&self) -> [u8; NAME_LEN] {
        let mut name = [0; NAME_LEN];
        let raw = self.as_raw();
        // SAFETY: By the type invariants the dma-buf is valid. The lock protects its name, which is
        // null or a C string.
        unsafe {
            bindings::spin_lock(&raw mut (*raw).name_lock);
            if !(*raw).name.is_null() {
                let text = CStr::from_char_ptr((*raw).name).to_bytes();
                let len = text.len().min(NAME_LEN - 1);
                if let (Some(to), Some(from)) = (name.get_mut(..len), text.get(..len)) {
                    to.copy_from_slice(from);
                }
            }
            bindings::spin_unlock(&raw mut (*raw).name_lock);
        }
        name
    }

    /// Sets the name as `DMA_BUF_SET_NAME` does, truncated to [`NAME_LEN`]` - 1` bytes. The name
    /// ends at its first NUL.
    ///
    /// Acquires the name lock. May sleep. Fails with `ENOMEM`.
    #[inline]
    pub(crate) fn set_name(&self, name: &[u8]) -> Result {
        let copy = copy_name(name, bindings::GFP_KERNEL)?;
        let raw = self.as_raw();
        // SAFETY: By the type invariants the dma-buf is valid. The lock protects its name. The old
        // name is null or was allocated by `kmalloc()`, and has no other user once it is replaced.
        unsafe {
            bindings::spin_lock(&raw mut (*raw).name_lock);
            let old = core::mem::replace(&mut (*raw).name, copy);
            bindings::spin_unlock(&raw mut (*raw).name_lock);
            bindings::kfree(old.cast());
        }
        Ok(())
    }

    /// Acquires the reservation lock. May sleep. Fails with `EINTR` if a signal is pending.
    pub(crate) fn lock_interruptible(&self) -> Result<ResvGuard<'_>> {
        // SAFETY: By the type invariants the dma-buf is valid.
        to_result(unsafe {
            c::dma_resv_lock_interruptible((*self.as_raw()).resv, ptr::null_mut())
        })
        .map_err(|_| EINTR)?;
        // INVARIANT: The lock was acquired above.
        Ok(ResvGuard {
            dma_buf: self,
            _not_send: NotThreadSafe,
        })
    }

    /// Acquires the reservation lock if it is free. Does not sleep.
    pub(crate) fn try_lock(&self) -> Option<ResvGuard<'_>> {
        // SAFETY: By the type invariants the dma-buf is valid.
        let acquired = unsafe { c::dma_resv_trylock((*self.as_raw()).resv) };
        // INVARIANT: The lock was acquired above.
        acquired.then(|| ResvGuard {
            dma_buf: self,
            _not_send: NotThreadSafe,
        })
    }
}

/// A dma-buf.
///
/// # Examples
///
/// ```
/// use crate::abstractions::exporter::{self, example::PageExporter};
/// use kernel::page::PAGE_SIZE;
///
/// let dma_buf = exporter::export(PageExporter::new(2), 2 * PAGE_SIZE, 0)?;
/// assert_eq!(dma_buf.size(), 2 * PAGE_SIZE);
/// assert!(dma_buf.inode() > 0);
/// assert_eq!(dma_buf.exporter(), c"rk_dma_heap_example");
///
/// dma_buf.set_name(b"example")?;
/// assert!(dma_buf.name().starts_with(b"example\0"));
/// // Longer names are truncated.
/// dma_buf.set_name(&[b'a'; 100])?;
/// assert_eq!(dma_buf.name().iter().position(|byte| *byte == 0), Some(31));
///
/// let guard = dma_buf.lock_interruptible()?;
/// assert!(dma_buf.try_lock().is_none());
/// assert_eq!(guard.devices().count(), 0);
/// drop(guard);
/// assert!(dma_buf.try_lock().is_some());
/// ```
///
/// # Invariants
///
/// Instances are counted by the reference count of the dma-buf's file, which is not zero.
#[repr(transparent)]
pub(crate) struct DmaBuf(UncountedDmaBuf);

// SAFETY: The reference count of the file keeps the dma-buf valid.
unsafe impl AlwaysRefCounted for DmaBuf {
    fn inc_ref(&self) {
        // SAFETY: By the type invariants the reference count is not zero. `file` never changes.
        unsafe { bindings::get_file((*self.as_raw()).file) };
    }

    unsafe fn dec_ref(this: NonNull<Self>) {
        // SAFETY: By the safety requirements the caller owns a reference, which is dropped here.
        unsafe { bindings::dma_buf_put(this.cast().as_ptr()) };
    }
}

impl Deref for DmaBuf {
    type Target = UncountedDmaBuf;

    fn deref(&self) -> &UncountedDmaBuf {
        &self.0
    }
}

impl DmaBuf {
    /// Creates a reference from a pointer.
    ///
    /// # Safety
    ///
    /// The dma-buf must be valid for `'a`, and the reference count of its file must not be zero.
    pub(crate) unsafe fn from_raw<'a>(raw: *mut bindings::dma_buf) -> &'a Self {
        // INVARIANT: By the safety requirements.
        // SAFETY: By the safety requirements `raw` is valid. The type is a transparent wrapper.
        unsafe { &*raw.cast() }
    }

    /// Returns the inode number. Inode numbers of dma-bufs are not reused.
    pub(crate) fn inode(&self) -> u64 {
        // SAFETY: By the type invariants the dma-buf, its file and the inode are valid. The
        // pointers to them never change.
        unsafe { (*(*(*self.as_raw()).file).f_inode).i_ino }
    }

    /// Acquires a reference to the inode. Does not sleep.
    pub(crate) fn inode_ref(&self) -> Inode {
        // SAFETY: By the type invariants the file is valid. It refers to the dma-buf's inode.
        unsafe { Inode::from_raw((*(*self.as_raw()).file).f_inode) }
    }

    /// Installs a reference to the dma-buf as the reserved file descriptor. The descriptor cannot
    /// be removed again.
    ///
    /// Like `dma_buf_fd()`, this calls the functions of the tracepoint `dma_buf_fd`. Acquires the
    /// name lock for them. Does not sleep.
    pub(crate) fn install(this: ARef<Self>, descriptor: FileDescriptorReservation) {
        let number = descriptor.reserved_fd() as c_int;
        // Dropping the reservation would free the descriptor.
        mem::forget(descriptor);
        // SAFETY: The current process has reserved the descriptor, and no other value stands for
        // the reservation. The descriptor takes over the reference that `into_raw()` releases.
        unsafe { c::dma_buf_fd_install(ARef::into_raw(this).cast().as_ptr(), number) };
    }
}

/// Returns a copy of `name`, truncated to [`NAME_LEN`]` - 1` bytes, that a dma-buf may own.
#[inline]
fn copy_name(name: &[u8], flags: bindings::gfp_t) -> Result<*mut kernel::ffi::c_char> {
    let text = name.get(..NAME_LEN - 1).unwrap_or(name);
    // SAFETY: The call accepts any flags.
    let copy = unsafe { c::kmalloc_name(flags) };
    if copy.is_null() {
        return Err(ENOMEM);
    }
    // SAFETY: `copy` has `NAME_LEN` bytes. The text with its terminating NUL has no more.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), copy.cast(), text.len());
        copy.add(text.len()).write(0);
    }
    Ok(copy)
}
