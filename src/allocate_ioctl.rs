// SPDX-License-Identifier: GPL-2.0

//! `DMA_HEAP_IOCTL_ALLOC`, with the ABI of the kernel's dma-heap core.
//!
//! The core identifies a command by its number alone: it ignores the type, and takes size and
//! direction from the command that the caller passes. It extends an argument shorter than the
//! structure with zeros, and returns the tail of a longer one unchanged. Userspace can observe all
//! of this, so this file does the same.
//!
//! C header: [`include/uapi/linux/dma-heap.h`](srctree/include/uapi/linux/dma-heap.h)

use crate::{
    abstractions::dma_buf::DmaBuf,
    decisions::request::Request,
    heap::Heap, //
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

// The ABI.
static_assert!(size_of::<Allocation>() == 24);

/// The number (`_IOC_NR()`) of `DMA_HEAP_IOCTL_ALLOC`.
const ALLOC_NR: u32 = 0;

/// Arguments up to this size, in bytes, are copied to the stack.
const STACK_BUFFER_SIZE: usize = 128;
static_assert!(size_of::<Allocation>() <= STACK_BUFFER_SIZE);

/// Handles an ioctl on a heap's device node, whose size and flags `check` validates, as
/// [`Request::new`] does.
///
/// May sleep. Fails with `EINVAL` for an unknown command or a request that `check` refuses, with
/// `EFAULT` for memory that the caller must not access, with `EMFILE` if the caller has no free
/// file descriptor, and as [`Heap::allocate`] does. On failure the buffer and the descriptor are
/// released.
pub(crate) fn handle(
    heap: &dyn Heap,
    check: impl FnOnce(u64, u32, u64) -> Result<Request>,
    command: u32,
    argument: usize,
) -> Result<isize> {
    if _IOC_NR(command) != ALLOC_NR {
        return Err(EINVAL);
    }
    let size = _IOC_SIZE(command);
    let padded_size = size.max(size_of::<Allocation>());

    let mut on_stack = [0; STACK_BUFFER_SIZE];
    let mut on_heap = KVec::new();
    let bytes = match on_stack.get_mut(..padded_size) {
        Some(bytes) => bytes,
        None => {
            on_heap.resize(padded_size, 0, GFP_KERNEL)?;
            on_heap.as_mut_slice()
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
    let request = check(allocation.len, allocation.fd_flags, allocation.heap_flags)?;
    let buffer = heap.allocate(request)?;
    let descriptor = FileDescriptorReservation::get_unused_fd_flags(request.flags())?;
    allocation.fd = descriptor.reserved_fd();
    allocation.write_to_prefix(bytes).map_err(|_| EINVAL)?;

    if _IOC_DIR(command) & uapi::_IOC_READ != 0 {
        UserSlice::new(user, size)
            .writer()
            .write_slice(bytes.get(..size).ok_or(EINVAL)?)?;
    }
    DmaBuf::install(buffer, descriptor);
    Ok(0)
}
