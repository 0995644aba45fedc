// SPDX-License-Identifier: GPL-2.0

//! Folders under `/sys/kernel`, with files that show one number each.
//!
//! C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use crate::bindings as c;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::c_char,
    prelude::*,
    sync::Arc, //
};

/// A number that can be shown.
pub(crate) trait Number: Send + Sync + 'static {
    /// The number. May sleep.
    fn number(&self) -> usize;
}

/// A folder under `/sys/kernel` with one file, both removed when this is dropped.
///
/// # Invariants
///
/// `folder` was made by `kobject_create_and_add()`; it has a file for `attribute`, which shows what
/// `source` says.
pub(crate) struct NumberFile<T: Number> {
    folder: NonNull<bindings::kobject>,
    attribute: KBox<Attribute>,
    _source: Arc<T>,
}

/// A file, and where its number comes from. The first three fields are `struct kobj_attribute`,
/// whose functions bindgen describes in another way for each kernel version.
#[repr(C)]
struct Attribute {
    attribute: bindings::attribute,
    show: unsafe extern "C" fn(*mut bindings::kobject, *mut Attribute, *mut c_char) -> isize,
    store: *const (),
    source: *const (),
}

// SAFETY: sysfs does the locking; the source is `Sync`.
unsafe impl<T: Number> Send for NumberFile<T> {}
// SAFETY: As above.
unsafe impl<T: Number> Sync for NumberFile<T> {}

impl<T: Number> NumberFile<T> {
    /// Makes `/sys/kernel/FOLDER/FILE`, readable by everyone, which shows the number of `source`
    /// and a newline.
    ///
    /// May sleep. Fails with `ENOMEM`, also where there is such a folder already.
    pub(crate) fn new(folder: &CStr, file: &'static CStr, source: Arc<T>) -> Result<Self> {
        #[allow(
            clippy::needless_update,
            reason = "with lockdep the structure has more fields"
        )]
        let mut attribute = KBox::new(
            Attribute {
                attribute: bindings::attribute {
                    name: file.as_char_ptr(),
                    mode: 0o444,
                    ..pin_init::zeroed()
                },
                show: show::<T>,
                store: ptr::null(),
                source: Arc::as_ptr(&source).cast(),
            },
            GFP_KERNEL,
        )?;
        // SAFETY: The attribute is valid, and nobody else knows it yet.
        unsafe { c::sysfs_attr_init(&raw mut attribute.attribute) };
        // SAFETY: The name is copied; `kernel_kobj` is there since the kernel has started.
        let folder = unsafe {
            bindings::kobject_create_and_add(folder.as_char_ptr(), bindings::kernel_kobj)
        };
        let folder = NonNull::new(folder).ok_or(ENOMEM)?;
        // SAFETY: The attribute stays where it is, in its box, until the folder is gone.
        let made = to_result(unsafe {
            bindings::sysfs_create_file_ns(folder.as_ptr(), &attribute.attribute, ptr::null())
        });
        if let Err(error) = made {
            // SAFETY: The folder was made above.
            unsafe { bindings::kobject_put(folder.as_ptr()) };
            return Err(error);
        }
        // INVARIANT: Both were just made.
        Ok(Self {
            folder,
            attribute,
            _source: source,
        })
    }
}

impl<T: Number> Drop for NumberFile<T> {
    fn drop(&mut self) {
        // SAFETY: Folder and file exist, by the type's invariant. Removing the file waits for its
        // readers.
        unsafe {
            bindings::sysfs_remove_file_ns(
                self.folder.as_ptr(),
                &self.attribute.attribute,
                ptr::null(),
            );
            bindings::kobject_put(self.folder.as_ptr());
        }
    }
}

/// # Safety
///
/// For sysfs: `attribute` is that of a [`NumberFile<T>`]; `text` has room for a page.
unsafe extern "C" fn show<T: Number>(
    _: *mut bindings::kobject,
    attribute: *mut Attribute,
    text: *mut c_char,
) -> isize {
    // SAFETY: The attribute is in its box, and the source stays while the file does.
    let number = unsafe { &*(*attribute).source.cast::<T>() }.number();
    // SAFETY: The format takes one `unsigned long`.
    unsafe { bindings::sysfs_emit(text, c"%lu\n".as_char_ptr(), number) as isize }
}
