// SPDX-License-Identifier: GPL-2.0

//! The ioctls of the driver and their arguments.
//!
//! C header: `tests/client/uapi.h`

#[repr(C)]
pub struct Attach {
    pub fd: i32,
    pub handle: u32,
}

#[repr(C)]
pub struct Transfer {
    pub handle: u32,
    pub direction: u32,
}

#[repr(C)]
pub struct Segments {
    pub handle: u32,
    pub count: u32,
    pub segments: u64,
}

#[repr(C)]
pub struct Access {
    pub handle: u32,
    pub view: u32,
    pub operation: u32,
    pub value: u32,
    pub offset: u64,
    pub length: u64,
    pub data: u64,
    pub found: u64,
}

#[repr(C)]
pub struct TypeQuery {
    pub handle: u32,
    pub view: u32,
    pub position: u64,
    pub memory_type: u32,
    pub attribute: u32,
}

#[repr(C)]
pub struct Hold {
    pub handle: u32,
    pub milliseconds: u32,
}

#[repr(C)]
pub struct Coherent {
    pub length: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct Low {
    pub count: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct LateCalls {
    pub count: u32,
}

#[repr(C)]
#[derive(Default)]
pub struct Follow {
    pub address: u64,
    pub physical_address: u64,
    pub writable: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Default)]
pub struct Export {
    pub milliseconds: u32,
    pub fd: i32,
}

#[repr(C)]
#[derive(Default)]
pub struct Fail {
    pub physical_address: u64,
    pub action_required: u32,
    pub result: i32,
}

nix::ioctl_readwrite!(attach, b'r', 0x00, Attach);
nix::ioctl_write_ptr!(detach, b'r', 0x01, u32);
nix::ioctl_write_ptr!(map, b'r', 0x02, Transfer);
nix::ioctl_write_ptr!(unmap, b'r', 0x03, u32);
nix::ioctl_readwrite!(segments, b'r', 0x04, Segments);
nix::ioctl_readwrite!(access, b'r', 0x05, Access);
nix::ioctl_write_ptr!(vmap, b'r', 0x06, u32);
nix::ioctl_write_ptr!(vunmap, b'r', 0x07, u32);
nix::ioctl_write_ptr!(begin, b'r', 0x08, Transfer);
nix::ioctl_write_ptr!(end, b'r', 0x09, Transfer);
nix::ioctl_readwrite!(memory_type, b'r', 0x0a, TypeQuery);
nix::ioctl_write_ptr!(hold, b'r', 0x0b, Hold);
nix::ioctl_write_ptr!(coherent, b'r', 0x0c, Coherent);
nix::ioctl_write_ptr!(occupy, b'r', 0x0d, Coherent);
nix::ioctl_read!(low, b'r', 0x0e, Low);
nix::ioctl_read!(late_calls, b'r', 0x10, LateCalls);
nix::ioctl_readwrite!(follow, b'r', 0x11, Follow);
nix::ioctl_readwrite!(export, b'r', 0x12, Export);
nix::ioctl_write_ptr!(leave, b'r', 0x13, u32);
nix::ioctl_readwrite!(fail, b'r', 0x14, Fail);
