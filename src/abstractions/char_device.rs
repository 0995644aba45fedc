// SPDX-License-Identifier: GPL-2.0

//! Character devices.
//!
//! A driver implements [`CharDevice`] for a type, registers a [`ChrdevRegion`] for that type and
//! creates a device in a [`Class`] for each minor number in use. The devices appear below
//! `/sys/class/CLASS`, and their nodes below `/dev/CLASS`.
//!
//! The driver core and the VFS do all locking.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/device/class.h`](srctree/include/linux/device/class.h)

use crate::abstractions::version;
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int,
        c_long,
        c_uint,
        c_ulong,
        c_void, //
    },
    prelude::*,
    types::ForeignOwnable, //
};

/// The file operations of a character device.
#[vtable]
pub(crate) trait CharDevice: 'static {
    /// The private data of an open file.
    type File: ForeignOwnable + Send + Sync;

    /// Opens minor number `minor`.
    ///
    /// May sleep. Fails with `ENXIO` if there is no such device. The module cannot be unloaded
    /// while the file is open.
    fn open(minor: u32) -> Result<Self::File>;

    /// Handles an ioctl.
    ///
    /// May sleep. The caller may be a compat process, so `argument` must have the same meaning for
    /// both word sizes.
    fn ioctl(
        file: <Self::File as ForeignOwnable>::Borrowed<'_>,
        command: u32,
        argument: usize,
    ) -> Result<isize>;
}

/// A region of minor numbers, from 0, of a dynamically allocated major number.
///
/// Its files have the operations of `T`. Dropping it unregisters the region and may sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::char_device::{CharDevice, ChrdevRegion, Class};
/// use kernel::sync::{Arc, ArcBorrow};
///
/// struct Minor(u32);
///
/// struct Example;
///
/// #[vtable]
/// impl CharDevice for Example {
///     type File = Arc<Minor>;
///
///     fn open(minor: u32) -> Result<Arc<Minor>> {
///         Ok(Arc::new(Minor(minor), GFP_KERNEL)?)
///     }
///
///     fn ioctl(file: ArcBorrow<'_, Minor>, command: u32, _argument: usize) -> Result<isize> {
///         match command {
///             0 => Ok(file.0 as isize),
///             _ => Err(ENOTTY),
///         }
///     }
/// }
///
/// let region = ChrdevRegion::<Example>::new(c"rk_dma_heap_example", 2)?;
/// let mut class = Class::new(c"rk_dma_heap_example")?;
/// class.create_device(&region, 0, c"first")?;
/// class.create_device(&region, 1, c"second")?;
/// // Minor number 2 is not part of the region.
/// assert_eq!(class.create_device(&region, 2, c"third"), Err(EINVAL));
/// class.destroy_device(&region, 1);
/// class.create_device(&region, 1, c"second")?;
/// ```
///
/// # Invariants
///
/// `major` is registered for minor numbers `0..minors` under `name`.
#[must_use]
pub(crate) struct ChrdevRegion<T> {
    major: c_uint,
    minors: c_uint,
    name: &'static CStr,
    _operations: PhantomData<T>,
}

impl<T: CharDevice> ChrdevRegion<T> {
    /// Registers a new major number with `minors` minor numbers. `/proc/devices` shows it as
    /// `name`.
    ///
    /// May sleep. Fails with `EBUSY` if no major number is free.
    pub(crate) fn new(name: &'static CStr, minors: u32) -> Result<Self> {
        // SAFETY: `name` and the operations are static. The operations name this module as their
        // owner, so it is not unloaded while a file is open.
        let major = unsafe {
            bindings::__register_chrdev(
                0,
                0,
                minors,
                name.as_char_ptr(),
                OperationsVTable::<T>::build(),
            )
        };
        to_result(major)?;
        // INVARIANT: The region was registered above.
        Ok(Self {
            major: major as c_uint,
            minors,
            name,
            _operations: PhantomData,
        })
    }
}

impl<T> ChrdevRegion<T> {
    /// Returns the device number of `minor`. Fails with `EINVAL` if it is not in the region.
    fn number(&self, minor: u32) -> Result<bindings::dev_t> {
        if minor >= self.minors {
            return Err(EINVAL);
        }
        Ok((self.major << bindings::MINORBITS) | minor)
    }
}

impl<T> Drop for ChrdevRegion<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the region is registered with these arguments.
        unsafe {
            bindings::__unregister_chrdev(self.major, 0, self.minors, self.name.as_char_ptr())
        };
    }
}

/// A class of devices and its devices.
///
/// Its name is that of the folder in `/sys/class` and in `/dev`. Dropping it destroys all devices
/// and the class, and may sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::char_device::Class;
///
/// let class = Class::new(c"rk_dma_heap_example")?;
/// // Dropping the class frees its name.
/// drop(class);
/// drop(Class::new(c"rk_dma_heap_example")?);
/// ```
///
/// # Invariants
///
/// - `class` was created by `class_create()` and is not destroyed.
/// - `devices` are the numbers of all devices in the class.
#[must_use]
pub(crate) struct Class {
    class: NonNull<bindings::class>,
    devices: KVec<bindings::dev_t>,
}

// SAFETY: A class is not bound to a thread. The driver core does the locking.
unsafe impl Send for Class {}
// SAFETY: No method takes a shared reference.
unsafe impl Sync for Class {}

impl Class {
    /// Creates a class without devices.
    ///
    /// May sleep. Fails with `ENOMEM`, and with `EEXIST` if there is a class of that name.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is static.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        // SAFETY: The class is valid. It has no devices yet, so the driver core does not read the
        // field.
        unsafe { (*class).devnode = Some(devnode) };
        // INVARIANT: The class was created above and has no devices.
        Ok(Self {
            class: NonNull::new(class).ok_or(ENOMEM)?,
            devices: KVec::new(),
        })
    }

    /// Creates the device with minor number `minor` of `region`, and its node.
    ///
    /// May sleep. Fails with `ENOMEM`, with `EEXIST` if the class has a device of that name, and
    /// with `EINVAL` if the region does not have the minor number.
    pub(crate) fn create_device<T>(
        &mut self,
        region: &ChrdevRegion<T>,
        minor: u32,
        name: &CStr,
    ) -> Result {
        let number = region.number(minor)?;
        self.devices.reserve(1, GFP_KERNEL)?;
        // SAFETY: By the type invariants the class is valid. The format takes one string.
        let device = unsafe {
            bindings::device_create(
                self.class.as_ptr(),
                ptr::null_mut(),
                number,
                ptr::null_mut(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        };
        from_err_ptr(device)?;
        // INVARIANT: The device was created above. Pushing does not fail, as the capacity was
        // reserved.
        self.devices.push(number, GFP_KERNEL)?;
        Ok(())
    }

    /// Destroys the device with minor number `minor` of `region`, and its node. Does nothing if
    /// there is no such device. May sleep.
    pub(crate) fn destroy_device<T>(&mut self, region: &ChrdevRegion<T>, minor: u32) {
        let Ok(number) = region.number(minor) else {
            return;
        };
        let before = self.devices.len();
        // INVARIANT: The device is destroyed below.
        self.devices.retain(|device| *device != number);
        if self.devices.len() < before {
            // SAFETY: By the type invariants the class is valid and has this device.
            unsafe { bindings::device_destroy(self.class.as_ptr(), number) };
        }
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        for number in &self.devices {
            // SAFETY: By the type invariants the class is valid and has this device.
            unsafe { bindings::device_destroy(self.class.as_ptr(), *number) };
        }
        // SAFETY: By the type invariants the class was created by `class_create()`. Its devices
        // were destroyed above.
        unsafe { bindings::class_destroy(self.class.as_ptr()) };
    }
}

/// Returns the path of a device's node below `/dev`, which is `CLASS/DEVICE`. The mode stays 0600.
///
/// # Safety
///
/// `device` must be a valid device of a [`Class`].
unsafe extern "C" fn devnode(
    device: *const bindings::device,
    _mode: *mut bindings::umode_t,
) -> *mut c_char {
    // SAFETY: By the safety requirements the device is valid and has a class. Both have names, and
    // the format takes two strings.
    unsafe {
        bindings::kasprintf(
            bindings::GFP_KERNEL,
            c"%s/%s".as_char_ptr(),
            (*(*device).class).name,
            bindings::dev_name(device),
        )
    }
}

/// A vtable for the file operations of a [`CharDevice`].
struct OperationsVTable<T>(PhantomData<T>);

impl<T: CharDevice> OperationsVTable<T> {
    const VTABLE: bindings::file_operations = bindings::file_operations {
        owner: version::this_module(),
        open: Some(Self::open),
        release: Some(Self::release),
        unlocked_ioctl: Some(Self::ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: Some(Self::ioctl),
        ..pin_init::zeroed()
    };

    /// Returns the vtable.
    const fn build() -> &'static bindings::file_operations {
        &Self::VTABLE
    }

    /// # Safety
    ///
    /// `inode` must be that of a character device, and `file` a file that is being opened on it.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements the inode is valid and has a device number.
            let minor = unsafe { (*inode).i_rdev } & ((1 << bindings::MINORBITS) - 1);
            let private = T::open(minor)?;
            // SAFETY: By the safety requirements both pointers are valid. The file is being opened,
            // so it has no other user.
            unsafe {
                (*file).private_data = private.into_foreign();
                bindings::nonseekable_open(inode, file);
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `file` must have been opened by [`Self::open`] and is not used after this call.
    unsafe extern "C" fn release(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open()` set the field by `into_foreign()`. By the safety requirements it is not
        // borrowed any more.
        drop(unsafe { T::File::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// `file` must have been opened by [`Self::open`] and not be released during this call.
    unsafe extern "C" fn ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        // SAFETY: By the safety requirements the file is valid. `open()` set the field.
        let private: *mut c_void = unsafe { (*file).private_data };
        // SAFETY: `open()` set the field by `into_foreign()`. By the safety requirements
        // `from_foreign()` is not called during this call.
        let file = unsafe { T::File::borrow(private) };
        match T::ioctl(file, command, argument) {
            Ok(value) => value as c_long,
            Err(error) => error.to_errno() as c_long,
        }
    }
}
