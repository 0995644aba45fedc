// SPDX-License-Identifier: GPL-2.0

//! dma-bufs, whoever exported them.
//!
//! C header: [`include/linux/dma-buf.h`](srctree/include/linux/dma-buf.h)
//!
//! Reference: <https://docs.kernel.org/driver-api/dma-buf.html>

use crate::{
    abstractions::sg_table::MappedTable,
    bindings as c, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    device::Device,
    dma::DataDirection,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::file::File,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};

/// The longest name of a dma-buf, with the zero at its end.
pub(crate) const NAME_LEN: usize = c::DMA_BUF_NAME_LEN;

/// A dma-buf, whoever exported it.
///
/// # Invariants
///
/// Instances are counted by the reference count of the dma-buf's file.
#[repr(transparent)]
pub(crate) struct DmaBuf(Opaque<bindings::dma_buf>);

// SAFETY: A dma-buf is shared between threads by design; the C side does the locking.
unsafe impl Send for DmaBuf {}
// SAFETY: As above.
unsafe impl Sync for DmaBuf {}

// SAFETY: The file's reference count keeps the dma-buf alive.
unsafe impl AlwaysRefCounted for DmaBuf {
    fn inc_ref(&self) {
        // SAFETY: The shared reference shows that the count is not zero. `file` never changes.
        unsafe { bindings::get_file((*self.0.get()).file) };
    }

    unsafe fn dec_ref(this: NonNull<Self>) {
        // SAFETY: The caller passes a reference on.
        unsafe { bindings::dma_buf_put(this.cast().as_ptr()) };
    }
}

impl DmaBuf {
    /// # Safety
    ///
    /// `raw` must be valid for `'a`.
    pub(crate) unsafe fn from_raw<'a>(raw: *mut bindings::dma_buf) -> &'a Self {
        // SAFETY: As the caller promises; the type is a transparent wrapper.
        unsafe { &*raw.cast() }
    }

    /// The C structure.
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_buf {
        self.0.get()
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: The dma-buf is valid, and its size never changes.
        unsafe { (*self.as_raw()).size }
    }

    /// The inode number: no other dma-buf has had it since boot. A dma-buf that is being released
    /// has none any more.
    pub(crate) fn inode(&self) -> u64 {
        // SAFETY: The dma-buf is valid; its file and the file's inode never change.
        unsafe { (*(*(*self.as_raw()).file).f_inode).i_ino }
    }

    /// The exporter's name.
    pub(crate) fn exporter(&self) -> &CStr {
        // SAFETY: The exporter lends its name to the dma-buf.
        unsafe { CStr::from_char_ptr((*self.as_raw()).exp_name) }
    }

    /// How many references there are: descriptors, mappings, attachments and whoever else holds
    /// one.
    pub(crate) fn references(&self) -> usize {
        // SAFETY: The dma-buf is valid.
        unsafe { c::file_count((*self.as_raw()).file) as usize }
    }

    /// 16 digits that tell dma-bufs apart and say nothing of where they are.
    pub(crate) fn identity(&self) -> [u8; 16] {
        let mut digits = [b'0'; 16];
        // SAFETY: There is room for the digits; the address is printed hashed.
        unsafe { c::hashed_pointer(digits.as_mut_ptr(), self.as_raw().cast()) };
        digits
    }

    /// The name, zeros behind it; all zeros where there is none.
    pub(crate) fn name(&self) -> [u8; NAME_LEN] {
        let mut name = [0; NAME_LEN];
        let raw = self.as_raw();
        // SAFETY: The dma-buf is valid; the lock protects its name, which is a C string.
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

    /// Gives the dma-buf a name, in which no byte is zero, as `DMA_BUF_SET_NAME` does; it is cut to
    /// what fits.
    ///
    /// May sleep. Fails with `ENOMEM`.
    pub(crate) fn set_name(&self, name: &[u8]) -> Result {
        let copy = copy_name(name, bindings::GFP_KERNEL)?;
        let raw = self.as_raw();
        // SAFETY: The dma-buf is valid; its name is exchanged under the lock that protects it, and
        // the old one is freed.
        unsafe {
            bindings::spin_lock(&raw mut (*raw).name_lock);
            let old = core::mem::replace(&mut (*raw).name, copy);
            bindings::spin_unlock(&raw mut (*raw).name_lock);
            bindings::kfree(old.cast());
        }
        Ok(())
    }

    /// Takes the reservation lock. May sleep.
    pub(crate) fn lock(&self) -> Locked<'_> {
        // SAFETY: The dma-buf is valid. Without a context the call cannot fail.
        unsafe { bindings::dma_resv_lock((*self.as_raw()).resv, ptr::null_mut()) };
        // INVARIANT: The lock was just taken.
        Locked { dma_buf: self }
    }

    /// As [`DmaBuf::lock`], but fails with `EINTR` where a signal comes first.
    pub(crate) fn lock_interruptible(&self) -> Result<Locked<'_>> {
        // SAFETY: The dma-buf is valid.
        to_result(unsafe {
            c::dma_resv_lock_interruptible((*self.as_raw()).resv, ptr::null_mut())
        })
        .map_err(|_| EINTR)?;
        // INVARIANT: The lock was just taken.
        Ok(Locked { dma_buf: self })
    }

    /// Takes the reservation lock if nobody holds it. Does not sleep.
    pub(crate) fn try_lock(&self) -> Option<Locked<'_>> {
        // SAFETY: The dma-buf is valid.
        let taken = unsafe { c::dma_resv_trylock((*self.as_raw()).resv) };
        // INVARIANT: The lock was just taken.
        taken.then(|| Locked { dma_buf: self })
    }

    /// Turns a reference to the dma-buf into one to its file, for a file descriptor.
    pub(crate) fn into_file(this: ARef<Self>) -> ARef<File> {
        let raw = ARef::into_raw(this);
        // SAFETY: The reference that was just given up keeps the dma-buf valid. `file` never
        // changes.
        let file = unsafe { (*raw.cast::<bindings::dma_buf>().as_ptr()).file };
        // SAFETY: A reference to the dma-buf is one to its file. A dma-buf that was just exported
        // or is shared has no `fdget_pos()` under way: it has no file position.
        unsafe { ARef::from_raw(NonNull::new_unchecked(file.cast())) }
    }
}

/// A reference to a dma-buf for a moment. Where it turns out to be the last one, the dma-buf is
/// released at once: an ordinary reference that is dropped in a system call lets go at its end
/// only, so that whoever looks at many dma-bufs in one call would keep all of those alive that end
/// meanwhile.
///
/// # Invariants
///
/// `dma_buf` is valid, and this value owns a reference to its file.
pub(crate) struct ActiveRef {
    dma_buf: NonNull<DmaBuf>,
}

impl ActiveRef {
    /// Visits the dma-buf at `raw`, if there are any references left. Does not sleep.
    ///
    /// # Safety
    ///
    /// During the call neither `raw` nor its file may be freed.
    pub(crate) unsafe fn new(raw: NonNull<bindings::dma_buf>) -> Option<Self> {
        // SAFETY: The dma-buf and its file are there, as the caller promises.
        let file = unsafe { c::get_file_active(&raw mut (*raw.as_ptr()).file) };
        // INVARIANT: The call returns a reference to the file, if it returns anything.
        (!file.is_null()).then(|| Self {
            dma_buf: raw.cast(),
        })
    }
}

impl core::ops::Deref for ActiveRef {
    type Target = DmaBuf;

    fn deref(&self) -> &DmaBuf {
        // SAFETY: Valid, by the type's invariant.
        unsafe { self.dma_buf.as_ref() }
    }
}

impl Drop for ActiveRef {
    /// May sleep.
    fn drop(&mut self) {
        // SAFETY: By the type's invariant there is a reference to give back. Nothing is held here
        // that an exporter may want.
        unsafe { c::__fput_sync((*self.as_raw()).file) };
    }
}

// SAFETY: A dma-buf may be let go of by any thread.
unsafe impl Send for ActiveRef {}

/// A copy of `name` that a dma-buf may own, cut to what fits.
fn copy_name(name: &[u8], flags: bindings::gfp_t) -> Result<*mut kernel::ffi::c_char> {
    let text = name.get(..NAME_LEN - 1).unwrap_or(name);
    // SAFETY: Any flags may be asked for.
    let copy = unsafe { c::kmalloc_name(flags) };
    if copy.is_null() {
        return Err(ENOMEM);
    }
    // SAFETY: There is room for `NAME_LEN` bytes, and the text with its zero is not longer.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), copy.cast(), text.len());
        copy.add(text.len()).write(0);
    }
    Ok(copy)
}

/// A dma-buf that is being exported: nobody but its exporter knows it yet. Its name lock is held.
///
/// # Invariants
///
/// `dma_buf` is valid, and the lock of its name is held.
pub(crate) struct Exported<'a> {
    dma_buf: &'a DmaBuf,
}

impl<'a> Exported<'a> {
    /// # Safety
    ///
    /// `raw` must be valid for `'a`, and its name lock be held as long.
    pub(crate) unsafe fn from_raw(raw: *mut bindings::dma_buf) -> Self {
        // INVARIANT: As the caller promises.
        Self {
            // SAFETY: As the caller promises.
            dma_buf: unsafe { DmaBuf::from_raw(raw) },
        }
    }

    /// The dma-buf. Its name must be left alone: the lock is held.
    pub(crate) fn dma_buf(&self) -> &DmaBuf {
        self.dma_buf
    }

    /// Gives the dma-buf a name, in which no byte is zero, where it has none. Does not sleep. Fails
    /// with `ENOMEM`.
    pub(crate) fn name_if_unnamed(&self, name: &[u8]) -> Result {
        let raw = self.dma_buf.as_raw();
        // SAFETY: The lock is held, by the type's invariant.
        unsafe {
            if (*raw).name.is_null() {
                (*raw).name = copy_name(name, bindings::GFP_ATOMIC)?;
            }
        }
        Ok(())
    }
}

/// A dma-buf whose reservation lock is held, by this value.
///
/// # Invariants
///
/// The lock was taken and is given back when this is dropped.
pub(crate) struct Locked<'a> {
    dma_buf: &'a DmaBuf,
}

impl Locked<'_> {
    /// The dma-buf.
    pub(crate) fn dma_buf(&self) -> &DmaBuf {
        self.dma_buf
    }

    /// The attachments, in the dma-buf's own order. They stay while the lock is held.
    pub(crate) fn attachments(
        &self,
    ) -> impl Iterator<Item = *mut bindings::dma_buf_attachment> + '_ {
        // SAFETY: The dma-buf is valid; the lock protects its list of attachments.
        let head = unsafe { &raw mut (*self.dma_buf.as_raw()).attachments };
        // SAFETY: As above.
        let mut node = unsafe { (*head).next };
        core::iter::from_fn(move || {
            if node == head {
                return None;
            }
            // SAFETY: Every node of this list is that of an attachment, and the lock is held.
            unsafe {
                let attachment = kernel::container_of!(node, bindings::dma_buf_attachment, node);
                node = (*node).next;
                Some(attachment)
            }
        })
    }

    /// The attached devices, in the dma-buf's own order.
    pub(crate) fn devices(&self) -> impl Iterator<Item = &Device> + '_ {
        self.attachments().map(|attachment| {
            // SAFETY: A device stays while it is attached, and attachments stay while the lock is
            // held.
            unsafe { Device::from_raw((*attachment).dev) }
        })
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: The lock is held, by the type's invariant.
        unsafe { bindings::dma_resv_unlock((*self.dma_buf.as_raw()).resv) };
    }
}

/// A device attached to a dma-buf for a moment, and mapped to be read by it.
///
/// # Invariants
///
/// `attachment` is one to `dma_buf`; `table` is its mapping, made for a device that only reads.
pub(crate) struct MappedAttachment<'a> {
    dma_buf: &'a DmaBuf,
    attachment: NonNull<bindings::dma_buf_attachment>,
    table: Option<NonNull<bindings::sg_table>>,
}

impl<'a> MappedAttachment<'a> {
    /// Attaches `device` and maps the memory for it. Nothing of what the memory holds is lost by
    /// that: a device that only reads needs no cache to be thrown away.
    ///
    /// May sleep. Fails with `EBUSY` where somebody holds the reservation lock, and as the exporter
    /// does.
    ///
    /// # Safety
    ///
    /// `device` must be valid for `'a`, and must be able to do DMA.
    pub(crate) unsafe fn new(dma_buf: &'a DmaBuf, device: *mut bindings::device) -> Result<Self> {
        // Attaching waits for the lock. Whoever holds it now may do so for long.
        drop(dma_buf.try_lock().ok_or(EBUSY)?);
        // SAFETY: The dma-buf is valid, and so is the device.
        let attachment = from_err_ptr(unsafe { c::dma_buf_attach(dma_buf.as_raw(), device) })?;
        // INVARIANT: Just attached, not mapped.
        let mut this = Self {
            dma_buf,
            attachment: NonNull::new(attachment).ok_or(ENOMEM)?,
            table: None,
        };
        let locked = dma_buf.try_lock().ok_or(EBUSY)?;
        // SAFETY: The attachment is there and the lock is held.
        let table = from_err_ptr(unsafe {
            c::dma_buf_map_attachment(attachment, DataDirection::ToDevice.into())
        })?;
        drop(locked);
        // INVARIANT: Just mapped.
        this.table = NonNull::new(table);
        Ok(this)
    }

    /// What the device sees.
    pub(crate) fn table(&self) -> Option<MappedTable<'_>> {
        let table = self.table?;
        // SAFETY: Mapped as long as this value is there, by the type's invariant.
        Some(unsafe { MappedTable::from_raw(table) })
    }
}

impl Drop for MappedAttachment<'_> {
    fn drop(&mut self) {
        let raw = self.dma_buf.as_raw();
        // SAFETY: By the type's invariant this is what was attached, and mapped where there is a
        // table.
        unsafe {
            if let Some(table) = self.table {
                c::dma_buf_unmap_attachment_unlocked(
                    self.attachment.as_ptr(),
                    table.as_ptr(),
                    DataDirection::ToDevice.into(),
                );
            }
            c::dma_buf_detach(raw, self.attachment.as_ptr());
        }
    }
}
