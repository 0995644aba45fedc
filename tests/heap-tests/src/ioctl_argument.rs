// SPDX-License-Identifier: GPL-2.0

//! The number of the allocation ioctl and the struct it points to: other numbers, other sizes, bad
//! addresses.
//!
//! The kernel's core checks only the lowest byte of the number and uses the program's direction and
//! size. Programs that are built against older and newer headers depend on this.

use crate::footprint::Footprint;
use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::Buffer;
use guest_support::heap::{
    AllocationData,
    Direction,
    Heap,
    Request, //
};
use guest_support::mapping::Mapping;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;
use std::os::fd::{
    AsFd,
    AsRawFd,
    FromRawFd,
    OwnedFd,
    RawFd, //
};

pub const CASES: &[Case] = &[
    Case::new("unknown-number", unknown_number),
    Case::new("type-is-ignored", type_is_ignored),
    Case::new("direction-not-in", direction_not_in),
    Case::new("direction-not-out", direction_not_out),
    Case::new("size-zero", size_zero),
    Case::new("shorter-struct", shorter_struct),
    Case::new("shorter-struct-cuts-a-field", shorter_struct_cuts_a_field),
    Case::new("longer-struct", longer_struct),
    Case::new("unaligned-struct", unaligned_struct),
    Case::new("bad-address", bad_address),
    Case::new("struct-ends-in-nowhere", struct_ends_in_nowhere),
    Case::new("read-only-struct", read_only_struct),
    Case::new("read-only-tail", read_only_tail),
];

/// The offset of `fd` in the struct.
const FD: usize = 8;

/// Allocates with a struct of `request.size` bytes and returns the buffer of the fd in it.
fn allocate(heap: &Heap, request: Request, argument: &mut [u8]) -> Result<Buffer> {
    let returned = heap
        .ioctl(request, argument)
        .with_context(|| format!("{request:?} failed"))?;
    ensure!(returned == 0, "{request:?} returned {returned}");
    let fd = u32::from_ne_bytes(argument[FD..FD + 4].try_into()?);
    ensure!(
        fd as RawFd > heap.as_fd().as_raw_fd(),
        "{request:?}: fd {fd} is not a new descriptor"
    );
    // SAFETY: The kernel has created this descriptor for the call above, so it has no other owner.
    Ok(Buffer::from(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
}

/// Returns the struct for `len` bytes, padded with `filler` up to `size`.
fn argument(len: u64, size: usize, filler: u8) -> Vec<u8> {
    let mut bytes = AllocationData::read_write(len).to_bytes();
    bytes.resize(size.max(bytes.len()), filler);
    bytes
}

/// Returns the descriptor number that the next call in this process will return.
fn next_descriptor() -> Result<RawFd> {
    Ok(nix::unistd::dup(std::io::stdout())?.as_raw_fd())
}

/// Adopts a descriptor of which only the number is known.
fn adopt(fd: RawFd) -> Buffer {
    // SAFETY: The callers pass a descriptor that an allocation has created but not returned.
    Buffer::from(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn unknown_number(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    for number in [1, 2, 3, 0x7f, 0x80, 0xff] {
        for ioctl_type in [b'H', b'R', 0] {
            let request = Request {
                number,
                ioctl_type,
                ..Default::default()
            };
            let what = format!("{request:?}");
            let mut valid = argument(1, 0, 0);
            let answer = heap.ioctl(request, &mut valid);
            expect_errno(&what, answer, Errno::EINVAL)?;
            // The number is checked first, before the address is accessed.
            // SAFETY: There is no memory at address 0.
            let answer = unsafe { heap.ioctl_at(request, 0) };
            expect_errno(format!("{what} at address 0"), answer, Errno::EINVAL)?;
        }
    }
    Ok(())
}

fn type_is_ignored(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    for ioctl_type in [b'H', b'R', b'V', 0, 0xff] {
        let request = Request {
            ioctl_type,
            ..Default::default()
        };
        let buffer = allocate(&heap, request, &mut argument(1, 0, 0))?;
        ensure!(buffer.size()? == page_size());
    }
    Ok(())
}

// A struct that is not copied in is all zero, including its length.
fn direction_not_in(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    for direction in [Direction::None, Direction::Read] {
        let request = Request {
            direction,
            ..Default::default()
        };
        let mut bytes = argument(1, 0, 0);
        let answer = heap.ioctl(request, &mut bytes);
        expect_errno(format!("{request:?}"), answer, Errno::EINVAL)?;
        ensure!(bytes == argument(1, 0, 0), "the struct was changed");
    }
    Ok(())
}

// If the struct is not copied out, the program does not know the descriptor. The kernel's core
// behaves in the same way.
fn direction_not_out(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let request = Request {
        direction: Direction::Write,
        ..Default::default()
    };
    let mut bytes = argument(1, 0, 0);
    let fd = next_descriptor()?;
    let returned = heap.ioctl(request, &mut bytes)?;
    ensure!(returned == 0, "returned {returned}");
    ensure!(bytes == argument(1, 0, 0), "the struct was changed");
    ensure!(adopt(fd).size()? == page_size());
    Ok(())
}

fn size_zero(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let answer = heap.ioctl(Request::of_size(0), &mut argument(1, 0, 0));
    expect_errno("a struct of no bytes", answer, Errno::EINVAL)
}

fn shorter_struct(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    // Sizes up to `fd`, up to `fd_flags`, and within `heap_flags`.
    for size in [12, 16, 17, 20, 23] {
        // The kernel must ignore the bytes after the struct, even if they are invalid.
        let mut bytes = AllocationData::read_write(1).to_bytes();
        bytes[size..].fill(0xff);
        let buffer = allocate(&heap, Request::of_size(size), &mut bytes)?;
        ensure!(buffer.size()? == page_size(), "size {size}");
        ensure!(
            bytes[size..].iter().all(|byte| *byte == 0xff),
            "size {size}: bytes after the struct were written"
        );
    }
    // With `len` alone, the descriptor is created but not returned.
    let fd = next_descriptor()?;
    let mut bytes = AllocationData::read_write(1).to_bytes();
    bytes[8..].fill(0xff);
    heap.ioctl(Request::of_size(8), &mut bytes)?;
    ensure!(adopt(fd).size()? == page_size());
    ensure!(bytes[8..].iter().all(|byte| *byte == 0xff));
    Ok(())
}

fn shorter_struct_cuts_a_field(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    if cfg!(target_endian = "little") {
        // The low bytes of `len`: 0x0002_0001 truncated to 2 bytes is 1.
        let fd = next_descriptor()?;
        let mut bytes = argument(0x0002_0001, 0, 0);
        heap.ioctl(Request::of_size(2), &mut bytes)?;
        ensure!(adopt(fd).size()? == page_size());
    }
    // A part of `heap_flags` that is not zero is as invalid as the whole field.
    let mut bytes = argument(1, 0, 0);
    bytes[18] = 1;
    let answer = heap.ioctl(Request::of_size(20), &mut bytes);
    expect_errno("half of heap_flags", answer, Errno::EINVAL)
}

fn longer_struct(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    // 128 bytes is the size of the buffer on the stack of the kernel's core; the last size is the
    // maximum that an ioctl number can encode.
    for size in [25, 32, 48, 127, 128, 129, 256, 4096, 4097, 0x3fff] {
        for filler in [0, 0xff] {
            let mut bytes = argument(1, size, filler);
            let buffer = allocate(&heap, Request::of_size(size), &mut bytes)?;
            ensure!(buffer.size()? == page_size(), "size {size}");
            ensure!(
                bytes[24..].iter().all(|byte| *byte == filler),
                "size {size}: the tail was changed"
            );
        }
    }
    Ok(())
}

fn unaligned_struct(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    for shift in 1..8 {
        let mut bytes = vec![0xff; shift];
        bytes.extend(argument(1, 0, 0));
        let buffer = allocate(&heap, Request::default(), &mut bytes[shift..])?;
        ensure!(buffer.size()? == page_size());
    }
    Ok(())
}

fn bad_address(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let hole = Mapping::anonymous(page_size())?;
    hole.protect(ProtFlags::PROT_NONE)?;
    let before = Footprint::now()?;
    let mut addresses = vec![0, 1, hole.address(), usize::MAX, usize::MAX - 100];
    if cfg!(target_pointer_width = "64") {
        // In the kernel's half. With 32-bit addresses a program's stack may be here.
        addresses.push(usize::MAX - (1 << 20));
    }
    for address in addresses {
        for size in [1, 24, 48, 256] {
            // SAFETY: These addresses are not mapped, or not writable.
            let answer = unsafe { heap.ioctl_at(Request::of_size(size), address) };
            let what = format!("{size} bytes at {address:#x}");
            expect_errno(what, answer, Errno::EFAULT)?;
        }
    }
    before.check_unchanged()
}

/// Returns two pages with the struct at the end of the first one, `inside` bytes of it there.
fn across_pages(len: u64, size: usize, inside: usize) -> Result<(Mapping, usize)> {
    let pages = Mapping::anonymous(2 * page_size())?;
    let offset = page_size() - inside;
    pages.copy_in(offset, &argument(len, size, 0));
    Ok((pages, offset))
}

fn struct_ends_in_nowhere(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let before = Footprint::now()?;
    for (size, inside) in [(24, 8), (24, 16), (24, 23), (48, 24), (256, 24)] {
        let (pages, offset) = across_pages(1, size, inside)?;
        pages.protect_range(page_size(), page_size(), ProtFlags::PROT_NONE)?;
        // SAFETY: The writable part belongs to `pages`.
        let answer = unsafe { heap.ioctl_at(Request::of_size(size), pages.address() + offset) };
        let what = format!("{size} bytes, of which {inside} are mapped");
        expect_errno(what, answer, Errno::EFAULT)?;
        drop(pages);
    }
    before.check_unchanged()
}

// The allocation has succeeded when the kernel detects that it cannot write the result. A leak
// would be 64 MiB.
fn read_only_struct(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let page = Mapping::anonymous(page_size())?;
    page.copy_in(0, &argument(1 << 20, 0, 0));
    page.protect(ProtFlags::PROT_READ)?;
    let before = Footprint::now()?;
    let fd = next_descriptor()?;
    for _ in 0..64 {
        // SAFETY: The page is not writable.
        let answer = unsafe { heap.ioctl_at(Request::default(), page.address()) };
        expect_errno("a struct that is not writable", answer, Errno::EFAULT)?;
    }
    ensure!(
        next_descriptor()? == fd,
        "the next descriptor is not the same as before"
    );
    before.check_unchanged()
}

// The kernel may have written the descriptor's number before it fails to write the tail.
fn read_only_tail(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let (pages, offset) = across_pages(1 << 20, 256, 24)?;
    pages.protect_range(page_size(), page_size(), ProtFlags::PROT_READ)?;
    let before = Footprint::now()?;
    for _ in 0..64 {
        pages.copy_in(offset + FD, &[0; 4]);
        // SAFETY: The writable part belongs to `pages`.
        let answer = unsafe { heap.ioctl_at(Request::of_size(256), pages.address() + offset) };
        expect_errno("a tail that is not writable", answer, Errno::EFAULT)?;
    }
    before.check_unchanged()
}
