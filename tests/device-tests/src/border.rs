// SPDX-License-Identifier: GPL-2.0

//! The test driver refuses wrong requests, so that what the other tests see is not its own mistake.

use crate::{
    Case,
    MIB, //
};
use anyhow::{
    Context,
    Result, //
};
use guest_support::client::Direction;
use guest_support::dma_buf::Buffer;
use guest_support::expect_errno;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;

/// Adds the tests, which need a buffer that can be mapped.
pub fn add(tests: &mut Tests, case: &Case, is_refused: bool) {
    let this = case.clone();
    tests.add("driver/descriptors", move || descriptors(&this));
    if !is_refused {
        let this = case.clone();
        tests.add("driver/requests", move || requests(&this));
    }
}

fn descriptors(case: &Case) -> Result<()> {
    let devices = case.devices()?;
    let device = devices.first().context("the driver has no device")?;
    let file = Buffer::from(OwnedFd::from(File::open("/dev/null")?));
    expect_errno("a file", device.attach(&file), Errno::EINVAL)
}

fn requests(case: &Case) -> Result<()> {
    const LEN: u64 = MIB as u64;
    let devices = case.devices()?;
    let device = devices.first().context("the driver has no device")?;
    let buffer = Heap::open(&case.heap)?.allocate(MIB)?;
    let import = device.attach(&buffer)?;
    expect_errno("unmap, not mapped", import.unmap(), Errno::EINVAL)?;
    expect_errno("read, not mapped", import.read(0, 1), Errno::EINVAL)?;
    import.map(Direction::Both)?;
    expect_errno("mapped twice", import.map(Direction::Both), Errno::EBUSY)?;

    let mut byte = 0u8;
    let valid = std::ptr::from_mut(&mut byte) as u64;
    for (what, direction, offset, length, data, expected) in [
        ("no direction", 0, 0, 1, valid, Errno::EINVAL),
        ("a direction that is none", 3, 0, 1, valid, Errno::EINVAL),
        ("from the end on", 1, LEN, 1, valid, Errno::EINVAL),
        ("over the end", 2, 1, LEN, valid, Errno::EINVAL),
        ("a sum that overflows", 1, u64::MAX, 2, valid, Errno::EINVAL),
        ("an endless length", 2, 1, u64::MAX, valid, Errno::EINVAL),
        ("read to nowhere", 1, 0, 1, 0, Errno::EFAULT),
        ("written from nowhere", 2, 0, 1, 0, Errno::EFAULT),
    ] {
        // SAFETY: The kernel accesses nothing, or the one byte at a valid address.
        let result = unsafe { import.transfer(direction, offset, length, data) };
        expect_errno(what, result, expected)?;
    }
    // The last byte, and none behind it.
    import.write(MIB - 1, &[0xa5])?;
    let found = import.read(MIB - 1, 1)?;
    anyhow::ensure!(found == [0xa5], "the device reads {found:x?}");
    import.write(MIB, &[])?;
    import.unmap()?;
    expect_errno("read, unmapped", import.read(0, 1), Errno::EINVAL)
}
