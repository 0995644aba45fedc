// SPDX-License-Identifier: GPL-2.0

//! Directories under `/sys/kernel` with a file that contains one number.
//!
//! C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use crate::{
    abstractions::version,
    bindings as c, //
};
use core::{
    mem,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    ffi::{
        c_char,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};

/// The source of a number.
#[vtable]
pub(crate) trait Number: Send + Sync + 'static {
    /// Returns the number. May sleep.
    fn number(&self) -> usize;
}

/// A directory under `/sys/kernel` with one file.
///
/// Dropping it waits for readers and removes the file and the directory.
///
/// # Examples
///
/// ```
/// use crate::abstractions::sysfs::{Number, NumberFile};
/// use kernel::sync::Arc;
///
/// struct Answer;
///
/// #[vtable]
/// impl Number for Answer {
///     fn number(&self) -> usize {
///         42
///     }
/// }
///
/// let answer = Arc::new(Answer, GFP_KERNEL)?;
/// let file = NumberFile::new(c"rk_dma_heap_example", c"answer", answer)?;
/// drop(file);
/// ```
///
/// # Invariants
///
/// `directory` was created by `kobject_create_and_add()` and has a file for `attribute`, whose
/// `source` points to `_source`.
#[must_use = "the directory and the file are removed when this is dropped"]
pub(crate) struct NumberFile<T: Number> {
    directory: NonNull<bindings::kobject>,
    attribute: KBox<Attribute>,
    _source: Arc<T>,
}

/// A `struct kobj_attribute`, followed by the source of the number.
#[repr(C)]
struct Attribute {
    attribute: bindings::kobj_attribute,
    source: *const c_void,
}

static_assert!(mem::offset_of!(Attribute, attribute) == 0);

// SAFETY: Any thread may remove the file and the directory, and `Arc<T>` is `Send`.
unsafe impl<T: Number> Send for NumberFile<T> {}
// SAFETY: A shared reference gives no access to the fields.
unsafe impl<T: Number> Sync for NumberFile<T> {}

impl<T: Number> NumberFile<T> {
    /// Creates `/sys/kernel/DIRECTORY/FILE`, which all users can read. It contains the number of
    /// `source` and a newline.
    ///
    /// May sleep. Fails with `ENOMEM`, also if the directory exists.
    pub(crate) fn new(directory: &CStr, file: &'static CStr, source: Arc<T>) -> Result<Self> {
        #[allow(
            clippy::needless_update,
            reason = "the structure has more fields with lockdep"
        )]
        let attribute = bindings::attribute {
            name: file.as_char_ptr(),
            mode: 0o444,
            ..pin_init::zeroed()
        };
        let mut attribute = KBox::new(
            Attribute {
                attribute: version::kobj_attribute(attribute, show::<T>),
                source: Arc::as_ptr(&source).cast(),
            },
            GFP_KERNEL,
        )?;
        // SAFETY: The attribute is valid, and nothing else uses it yet.
        unsafe { c::sysfs_attr_init(&raw mut attribute.attribute.attr) };
        // SAFETY: The name is copied. `kernel_kobj` exists since boot.
        let directory = unsafe {
            bindings::kobject_create_and_add(directory.as_char_ptr(), bindings::kernel_kobj)
        };
        let directory = NonNull::new(directory).ok_or(ENOMEM)?;
        // SAFETY: The attribute is not moved out of its box, which is freed after the file is
        // removed. Its functions are those of `struct kobj_attribute`.
        let created = to_result(unsafe {
            bindings::sysfs_create_file_ns(
                directory.as_ptr(),
                (&raw const *attribute).cast(),
                ptr::null(),
            )
        });
        if let Err(error) = created {
            // SAFETY: `kobject_create_and_add()` returned this reference.
            unsafe { bindings::kobject_put(directory.as_ptr()) };
            return Err(error);
        }
        // INVARIANT: Directory and file were created above.
        Ok(Self {
            directory,
            attribute,
            _source: source,
        })
    }
}

impl<T: Number> Drop for NumberFile<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the directory and the file exist. Removing the file waits
        // for its readers, so nothing uses the attribute or the source after this.
        unsafe {
            bindings::sysfs_remove_file_ns(
                self.directory.as_ptr(),
                (&raw const *self.attribute).cast(),
                ptr::null(),
            );
            bindings::kobject_put(self.directory.as_ptr());
        }
    }
}

/// # Safety
///
/// `attribute` must be that of a [`NumberFile<T>`], and `text` must be a buffer of one page that
/// sysfs provides.
unsafe extern "C" fn show<T: Number>(
    _: *mut bindings::kobject,
    attribute: *mut bindings::kobj_attribute,
    text: *mut c_char,
) -> isize {
    // SAFETY: The attribute is the first field of an `Attribute`. It and its source are valid while
    // the file exists, and the source is a `T`.
    let number = unsafe { &*(*attribute.cast::<Attribute>()).source.cast::<T>() }.number();
    // SAFETY: The format has one `unsigned long` argument. The buffer is valid by the safety
    // requirements.
    unsafe { bindings::sysfs_emit(text, c"%lu\n".as_char_ptr(), number) as isize }
}
