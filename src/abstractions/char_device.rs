// SPDX-License-Identifier: GPL-2.0

//! Character devices: a range of minor numbers, the nodes in it, and what a file that was opened
//! there can do.
//!
//! A driver implements [`CharDevice`] on a type of its own, registers a [`ChrdevRegion`] of minors
//! for it and adds a device to a [`Class`] for each minor in use. The nodes appear in sysfs under
//! the class's name and in devtmpfs in a folder of that name.
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

/// What a file of a character device can do.
pub(crate) trait CharDevice: 'static {
    /// What an open file holds.
    type File: ForeignOwnable + Send + Sync;

    /// A file is opened on minor `minor`. May sleep. Fails with `ENXIO` where there is no such
    /// device.
    ///
    /// The module cannot be unloaded while the file is open.
    fn open(minor: u32) -> Result<Self::File>;

    /// An ioctl, by a process of the kernel's word size or of a smaller one: the argument must mean
    /// the same for both.
    ///
    /// May sleep.
    fn ioctl(
        file: <Self::File as ForeignOwnable>::Borrowed<'_>,
        command: u32,
        argument: usize,
    ) -> Result<isize>;
}

/// A major number and a range of its minors, from 0, that open as `T`.
///
/// # Invariants
///
/// `major` was registered for `minors` minors under `name`.
pub(crate) struct ChrdevRegion<T> {
    major: c_uint,
    minors: c_uint,
    name: &'static CStr,
    _device: PhantomData<T>,
}

impl<T: CharDevice> ChrdevRegion<T> {
    /// Registers a new major number with `minors` minors. `name` is what `/proc/devices` shows.
    ///
    /// May sleep. Fails with `EBUSY` where no number is free.
    pub(crate) fn new(name: &'static CStr, minors: u32) -> Result<Self> {
        // SAFETY: The operations are a constant of this module, and name it as their owner: they
        // stay while a file is open.
        let major = unsafe {
            bindings::__register_chrdev(0, 0, minors, name.as_char_ptr(), &Operations::<T>::TABLE)
        };
        to_result(major)?;
        // INVARIANT: The number was just registered.
        Ok(Self {
            major: major as c_uint,
            minors,
            name,
            _device: PhantomData,
        })
    }
}

impl<T> Drop for ChrdevRegion<T> {
    fn drop(&mut self) {
        // SAFETY: The range was registered with these values, by the type's invariant.
        unsafe {
            bindings::__unregister_chrdev(self.major, 0, self.minors, self.name.as_char_ptr())
        };
    }
}

/// A class of devices and its devices, all removed when this is dropped. Its name is that of the
/// folder in `/sys/class` and in `/dev`.
///
/// # Invariants
///
/// `class` was made by `class_create()` and not destroyed; `devices` are the numbers of all devices
/// in it.
pub(crate) struct Class {
    class: NonNull<bindings::class>,
    devices: KVec<bindings::dev_t>,
}

// SAFETY: The driver core does the locking.
unsafe impl Send for Class {}
// SAFETY: As above.
unsafe impl Sync for Class {}

impl Class {
    /// Makes a class. May sleep. Fails with `ENOMEM`, or with `EEXIST` where there is one of that
    /// name.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is static.
        let class = from_err_ptr(unsafe { bindings::class_create(name.as_char_ptr()) })?;
        // SAFETY: The class was just made and has no devices yet that could be asked for their
        // node.
        unsafe { (*class).devnode = Some(devnode) };
        // INVARIANT: The class was just made, without devices.
        Ok(Self {
            class: NonNull::new(class).ok_or(ENOMEM)?,
            devices: KVec::new(),
        })
    }

    /// Makes the device with minor `minor` of `range`, and its node.
    ///
    /// May sleep. Fails with `ENOMEM`, or with `EEXIST` where there is one of that name.
    pub(crate) fn add<T>(&mut self, range: &ChrdevRegion<T>, minor: u32, name: &CStr) -> Result {
        let number = (range.major << bindings::MINORBITS) | minor;
        self.devices.reserve(1, GFP_KERNEL)?;
        // SAFETY: The class is valid by the type's invariant; the format takes one string.
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
        // INVARIANT: The device was just made. There is room for its number.
        self.devices.push(number, GFP_KERNEL)?;
        Ok(())
    }
}

impl Class {
    /// Removes the device with minor `minor` of `range`, and its node. May sleep.
    pub(crate) fn remove<T>(&mut self, range: &ChrdevRegion<T>, minor: u32) {
        let number = (range.major << bindings::MINORBITS) | minor;
        let before = self.devices.len();
        // INVARIANT: The number goes with the device.
        self.devices.retain(|device| *device != number);
        if self.devices.len() < before {
            // SAFETY: The device existed, by the type's invariant.
            unsafe { bindings::device_destroy(self.class.as_ptr(), number) };
        }
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        for number in &self.devices {
            // SAFETY: The device exists, by the type's invariant.
            unsafe { bindings::device_destroy(self.class.as_ptr(), *number) };
        }
        // SAFETY: The class was made by `class_create()`, by the type's invariant, and has no
        // devices any more.
        unsafe { bindings::class_destroy(self.class.as_ptr()) };
    }
}

/// The path of a device's node below `/dev`: in a folder with the name of its class. The mode is
/// left at 0600.
///
/// # Safety
///
/// For the driver core: `device` is a device of a [`Class`].
unsafe extern "C" fn devnode(
    device: *const bindings::device,
    _mode: *mut bindings::umode_t,
) -> *mut c_char {
    // SAFETY: The device is valid and has a class and a name; the format takes two strings.
    unsafe {
        bindings::kasprintf(
            bindings::GFP_KERNEL,
            c"%s/%s".as_char_ptr(),
            (*(*device).class).name,
            bindings::dev_name(device),
        )
    }
}

/// The C operations of a [`CharDevice`].
struct Operations<T>(PhantomData<T>);

impl<T: CharDevice> Operations<T> {
    const TABLE: bindings::file_operations = bindings::file_operations {
        owner: version::this_module(),
        open: Some(Self::open),
        release: Some(Self::release),
        unlocked_ioctl: Some(Self::ioctl),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: Some(Self::ioctl),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// For the VFS: `file` is being opened on `inode`.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            // SAFETY: The inode is that of a character device.
            let minor = unsafe { (*inode).i_rdev } & ((1 << bindings::MINORBITS) - 1);
            let private = T::open(minor)?;
            // SAFETY: The file is being opened, so nobody else looks at it; both pointers are
            // valid.
            unsafe {
                (*file).private_data = private.into_foreign();
                bindings::nonseekable_open(inode, file);
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// For the VFS: `file` was opened by `open()`, and this is its last use.
    unsafe extern "C" fn release(_: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: `open()` has set the field, which is not used again.
        drop(unsafe { T::File::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// For the VFS: `file` was opened by `open()`.
    unsafe extern "C" fn ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        // SAFETY: `open()` has set the field, and `release()` is not called before this returns.
        let private: *mut c_void = unsafe { (*file).private_data };
        // SAFETY: As above.
        let file = unsafe { T::File::borrow(private) };
        match T::ioctl(file, command, argument) {
            Ok(value) => value as c_long,
            Err(error) => error.to_errno() as c_long,
        }
    }
}
