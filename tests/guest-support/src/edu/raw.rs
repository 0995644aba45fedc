// SPDX-License-Identifier: GPL-2.0

//! The ioctls of the driver and their arguments.
//!
//! C header: `tests/client/edu_uapi.h`

#[repr(C)]
pub struct Attach {
    pub fd: i32,
    pub handle: u32,
}

#[repr(C)]
pub struct Map {
    pub handle: u32,
    pub direction: u32,
}

#[repr(C)]
pub struct Transfer {
    pub handle: u32,
    pub direction: u32,
    pub offset: u64,
    pub length: u64,
    pub data: u64,
}

nix::ioctl_readwrite!(attach, b'e', 0x00, Attach);
nix::ioctl_write_ptr!(detach, b'e', 0x01, u32);
nix::ioctl_write_ptr!(map, b'e', 0x02, Map);
nix::ioctl_write_ptr!(unmap, b'e', 0x03, u32);
nix::ioctl_write_ptr!(transfer, b'e', 0x04, Transfer);
