// SPDX-License-Identifier: GPL-2.0

//! The fields of the allocation ioctl: valid and invalid values.

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
    Heap, //
};
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::fcntl::{
    fcntl,
    FcntlArg,
    FdFlag,
    OFlag, //
};
use nix::sys::mman::{
    MapFlags,
    ProtFlags, //
};
use std::os::fd::{
    AsFd,
    AsRawFd,
    FromRawFd,
    OwnedFd,
    RawFd, //
};

pub const CASES: &[Case] = &[
    Case::new("only-fd-is-written", only_fd_is_written),
    Case::new("len-is-rounded-to-pages", len_is_rounded_to_pages),
    Case::new("len-zero", len_zero),
    Case::new("len-wrapping", len_wrapping),
    Case::new("fd-not-zero", fd_not_zero),
    Case::new("fd-flags-unknown-bits", fd_flags_unknown_bits),
    Case::new("heap-flags-any-bit", heap_flags_any_bit),
    Case::new(
        "fd-flags-become-the-descriptors",
        fd_flags_become_the_descriptors,
    ),
    Case::new("access-mode-is-kept-to", access_mode_is_kept_to),
];

/// Checks that the kernel rejects `data` with EINVAL and does not change it.
fn expect_invalid(heap: &Heap, data: AllocationData) -> Result<()> {
    let mut passed = data;
    expect_errno(
        format!("{data:x?}"),
        heap.allocate_raw(&mut passed),
        Errno::EINVAL,
    )?;
    ensure!(passed == data, "{data:x?} was changed to {passed:x?}");
    Ok(())
}

fn only_fd_is_written(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let mut data = AllocationData::read_write(5 * page_size() as u64 - 1);
    let requested = data;
    let returned = heap.allocate_raw(&mut data)?;
    // SAFETY: The kernel has created this descriptor for the call above, so it has no other owner.
    let buffer = Buffer::from(unsafe { OwnedFd::from_raw_fd(data.fd as RawFd) });
    ensure!(returned == 0, "the ioctl returned {returned}, expected 0");
    ensure!(
        data.fd as RawFd > heap.as_fd().as_raw_fd(),
        "fd {}",
        data.fd
    );
    ensure!(
        data == AllocationData {
            fd: data.fd,
            ..requested
        },
        "{requested:x?} became {data:x?}: more than fd was written"
    );
    ensure!(buffer.size()? == 5 * page_size());
    Ok(())
}

fn len_is_rounded_to_pages(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let page = page_size();
    let sizes = [
        1,
        8,
        page - 1,
        page,
        page + 1,
        16 * page - 1,
        16 * page,
        16 * page + 1,
        256 * page - 1,
        256 * page,
        256 * page + 1,
        275 * page + 1,
        1023 * page,
    ];
    for size in sizes {
        let buffer = heap.allocate(size)?;
        let (found, expected) = (buffer.size()?, size.next_multiple_of(page));
        ensure!(
            found == expected,
            "{size} bytes requested: {found} allocated, expected {expected}"
        );
        let info_size = buffer.info()?.size;
        ensure!(
            info_size == expected,
            "{size} bytes requested: fdinfo has size {info_size}"
        );
        buffer.map()?.check_zero()?;
    }
    Ok(())
}

fn len_zero(heap: &str) -> Result<()> {
    expect_invalid(&Heap::open(heap)?, AllocationData::read_write(0))
}

fn len_wrapping(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let page = page_size() as u64;
    // Lengths above the last multiple of the page size, from the lowest to the highest.
    for len in [
        u64::MAX - page + 2,
        u64::MAX - page / 2,
        u64::MAX - 1,
        u64::MAX,
    ] {
        expect_invalid(&heap, AllocationData::read_write(len))?;
    }
    Ok(())
}

fn fd_not_zero(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let own = heap.as_fd().as_raw_fd() as u32;
    for fd in [1, 2, own, own + 1, 1000, i32::MAX as u32, 1 << 31, u32::MAX] {
        expect_invalid(
            &heap,
            AllocationData {
                fd,
                ..AllocationData::read_write(1)
            },
        )?;
    }
    Ok(())
}

fn fd_flags_unknown_bits(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let known = (libc::O_ACCMODE | libc::O_CLOEXEC) as u32;
    let before = Footprint::now()?;
    for bit in (0..u32::BITS)
        .map(|bit| 1 << bit)
        .filter(|bit| bit & known == 0)
    {
        for others in [0, known, libc::O_RDWR as u32] {
            expect_invalid(
                &heap,
                AllocationData {
                    fd_flags: bit | others,
                    ..AllocationData::read_write(1)
                },
            )?;
        }
    }
    let everything = AllocationData {
        fd_flags: u32::MAX,
        ..AllocationData::read_write(1)
    };
    expect_invalid(&heap, everything)?;
    before.check_unchanged()
}

fn heap_flags_any_bit(path: &str) -> Result<()> {
    let heap = Heap::open(path)?;
    let before = Footprint::now()?;
    // Bit 0 is RK_DMA_HEAP_UNCACHED in that folder, which drivers' tests use.
    let first = u32::from(path.starts_with("/dev/rk_dma_heap/"));
    for heap_flags in (first..u64::BITS).map(|bit| 1 << bit).chain([u64::MAX]) {
        expect_invalid(
            &heap,
            AllocationData {
                heap_flags,
                ..AllocationData::read_write(1)
            },
        )?;
    }
    before.check_unchanged()
}

fn fd_flags_become_the_descriptors(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    // Both bits of the access mode together are not a mode, but the kernel's heaps accept them.
    for mode in [
        libc::O_RDONLY,
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_ACCMODE,
    ] {
        for close_on_exec in [0, libc::O_CLOEXEC] {
            let fd_flags = (mode | close_on_exec) as u32;
            let buffer = heap
                .allocate_with(&AllocationData {
                    fd_flags,
                    ..AllocationData::read_write(1)
                })
                .with_context(|| format!("fd_flags {fd_flags:#o}"))?;
            let status = OFlag::from_bits_retain(fcntl(&buffer, FcntlArg::F_GETFL)?);
            ensure!(
                (status & OFlag::O_ACCMODE).bits() == mode,
                "fd_flags {fd_flags:#o}: F_GETFL returns {status:?}"
            );
            let descriptor = FdFlag::from_bits_retain(fcntl(&buffer, FcntlArg::F_GETFD)?);
            ensure!(
                descriptor.contains(FdFlag::FD_CLOEXEC) == (close_on_exec != 0),
                "fd_flags {fd_flags:#o}: F_GETFD returns {descriptor:?}"
            );
        }
    }
    Ok(())
}

fn access_mode_is_kept_to(heap: &str) -> Result<()> {
    let heap = Heap::open(heap)?;
    let (read, write) = (ProtFlags::PROT_READ, ProtFlags::PROT_WRITE);
    for (mode, may_read, may_write) in [
        (libc::O_RDONLY, true, false),
        (libc::O_WRONLY, false, false),
        (libc::O_RDWR, true, true),
        (libc::O_ACCMODE, false, false),
    ] {
        let buffer = heap.allocate_with(&AllocationData {
            fd_flags: mode as u32,
            ..AllocationData::read_write(1)
        })?;
        for (protection, allowed) in [(read, may_read), (read | write, may_read && may_write)] {
            let answer = buffer.map_with(0, page_size(), protection, MapFlags::MAP_SHARED);
            let what = format!("mode {mode}, mmap with {protection:?}");
            if allowed {
                answer.context(what)?.check_zero()?;
            } else {
                expect_errno(what, answer, Errno::EACCES)?;
            }
        }
    }
    Ok(())
}
