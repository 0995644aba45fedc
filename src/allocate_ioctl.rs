// SPDX-License-Identifier: GPL-2.0

//! The ioctl that allocates a buffer, byte for byte as the kernel's own dma-heap core takes it.
//!
//! The core knows commands by their number alone: it ignores the type, and takes the size and the
//! direction from the caller's command rather than from its own. An argument shorter than the
//! structure is extended with zeros; the tail of a longer one comes back as it was. All of that is
//! what userspace sees, so all of that is done here too.
//!
//! C header: [`include/uapi/linux/dma-heap.h`](srctree/include/uapi/linux/dma-heap.h)

use crate::{
    abstractions::dma_buf::DmaBuf,
    decisions::request::Request,
    heap::{
        self,
        Heap, //
    }, //
};
use core::mem::size_of;
use kernel::{
    fs::file::FileDescriptorReservation,
    ioctl::{
        _IOC_DIR,
        _IOC_NR,
        _IOC_SIZE, //
    },
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

use zerocopy_derive::Immutable;

/// `struct dma_heap_allocation_data`.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable)]
struct Allocation {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

/// The number of `DMA_HEAP_IOCTL_ALLOC`.
const ALLOCATE: u32 = 0;

/// Arguments up to this size need no allocation.
const SMALL: usize = 128;

/// Serves an ioctl on a heap's node.
///
/// May sleep. Fails with `EINVAL` for an unknown command or a request that [`Request::new`]
/// refuses, with `EFAULT` for memory that the caller may not read or write, with `EMFILE` where it
/// has no file descriptor left, and as the heap does. After a failure nothing is left behind.
pub(crate) fn serve(heap: &dyn Heap, command: u32, argument: usize) -> Result<isize> {
    if _IOC_NR(command) != ALLOCATE {
        return Err(EINVAL);
    }
    let size = _IOC_SIZE(command);
    let whole = size.max(size_of::<Allocation>());

    let mut small = [0; SMALL];
    let mut large = KVec::new();
    let bytes = match small.get_mut(..whole) {
        Some(bytes) => bytes,
        None => {
            large.resize(whole, 0, GFP_KERNEL)?;
            large.as_mut_slice()
        }
    };

    let user = UserPtr::from_addr(argument);
    if _IOC_DIR(command) & uapi::_IOC_WRITE != 0 {
        UserSlice::new(user, size)
            .reader()
            .read_slice(bytes.get_mut(..size).ok_or(EINVAL)?)?;
    }

    let (mut allocation, _) = Allocation::read_from_prefix(bytes).map_err(|_| EINVAL)?;
    if allocation.fd != 0 {
        return Err(EINVAL);
    }
    let request = Request::new(allocation.len, allocation.fd_flags, allocation.heap_flags)?;
    let buffer = heap::allocate(heap, request)?;
    let descriptor = FileDescriptorReservation::get_unused_fd_flags(request.flags())?;
    allocation.fd = descriptor.reserved_fd();
    allocation.write_to_prefix(bytes).map_err(|_| EINVAL)?;

    if _IOC_DIR(command) & uapi::_IOC_READ != 0 {
        UserSlice::new(user, size)
            .writer()
            .write_slice(bytes.get(..size).ok_or(EINVAL)?)?;
    }
    descriptor.fd_install(DmaBuf::into_file(buffer));
    Ok(0)
}
