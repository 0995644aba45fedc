// SPDX-License-Identifier: GPL-2.0

//! The structures and ioctls of `/dev/rk_allocator`, as in `tests/client/allocator_uapi.h`.

use nix::errno::Errno;

pub(super) const NAME_SIZE: usize = 64;
pub(super) type Name = [u8; NAME_SIZE];

#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum AllocationKind {
    Buffer,
    Descriptor,
    Pages,
}

#[repr(C)]
pub struct Request {
    pub(super) interface: u32,
    pub(super) kind: u32,
    pub(super) heap: Name,
    pub(super) name: Name,
    pub(super) length: u64,
    pub(super) fd_flags: u32,
    pub(super) heap_flags: u32,
    pub(super) fd: i32,
    pub(super) handle: u32,
    pub(super) physical_address: u64,
}

#[repr(C)]
pub struct Free {
    pub(super) handle: u32,
    pub(super) mistake: u32,
}

#[repr(C)]
pub struct Transfer {
    pub(super) handle: u32,
    pub(super) write: u32,
    pub(super) device: Name,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) data: u64,
}

#[repr(C)]
pub struct OwnHeap {
    pub(super) name: Name,
    pub(super) contiguous: u32,
    pub(super) incomplete: u32,
    pub(super) permit_noalloc: u32,
    pub(super) delay_ms: u32,
    pub(super) pool_bytes: u64,
    pub(super) handed_out: u64,
}

#[repr(C)]
pub struct CheckArgument {
    pub(super) heap: Name,
    pub(super) kind: u32,
    pub(super) round: u32,
    pub(super) address: u64,
    pub(super) length: u64,
}

/// Pages to hold.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HoldArgument {
    pub(super) address: u64,
    pub(super) pages: u64,
}

/// The properties of a heap as the kernel interface reports them, and the number of calls to the
/// driver's own heap.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Description {
    pub(super) heap: Name,
    pub(super) name: Name,
    pub own_data: u32,
    pub no_data: u32,
    pub device_bits: u32,
    pub has_area: u32,
    pub set_no_device: i32,
    pub set_device: i32,
    pub set_bits: u32,
    pub set_segment_size: u32,
    pub buffers: u32,
    pub arrays: u32,
    pub returned: u32,
    pub(super) padding: u32,
}

impl Description {
    /// Returns the name that the heap reports.
    pub fn name(&self) -> String {
        let end = self.name.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&self.name[..end.unwrap_or(NAME_SIZE)]).into_owned()
    }
}

nix::ioctl_readwrite!(allocate, b'a', 0x00, Request);
nix::ioctl_write_ptr!(free, b'a', 0x01, Free);
nix::ioctl_write_ptr!(export, b'a', 0x02, u32);
nix::ioctl_write_ptr!(keep, b'a', 0x03, u32);
nix::ioctl_write_ptr!(transfer, b'a', 0x04, Transfer);
nix::ioctl_write_ptr!(mapped, b'a', 0x05, Transfer);
nix::ioctl_write_ptr!(add_heap, b'a', 0x06, OwnHeap);
nix::ioctl_none!(remove_heap, b'a', 0x07);
nix::ioctl_readwrite!(describe, b'a', 0x08, Description);
nix::ioctl_write_ptr!(hold, b'a', 0x09, HoldArgument);
nix::ioctl_none!(let_go, b'a', 0x0a);
nix::ioctl_write_ptr!(check, b'a', 0x0b, CheckArgument);
nix::ioctl_none!(forget_heap, b'a', 0x0c);

/// Returns `text` as the driver expects it. Fails with `ENAMETOOLONG`.
pub(super) fn name(text: &str) -> nix::Result<Name> {
    let mut name = [0; NAME_SIZE];
    let target = name.get_mut(..text.len()).ok_or(Errno::ENAMETOOLONG)?;
    target.copy_from_slice(text.as_bytes());
    Ok(name)
}
