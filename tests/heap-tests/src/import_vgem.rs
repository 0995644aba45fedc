// SPDX-License-Identifier: GPL-2.0

//! Import by a graphics driver: vgem attaches to a buffer (PRIME), exports it again, and adds
//! fences to it.

use crate::footprint::Footprint;
use crate::Case;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::channel::Channel;
use guest_support::dma_buf::{
    self,
    Buffer,
    SYNC_END,
    SYNC_READ,
    SYNC_START, //
};
use guest_support::heap::Heap;
use guest_support::pattern::Pattern;
use guest_support::process::Child;
use guest_support::vgem::Vgem;
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::poll::{
    poll,
    PollFd,
    PollFlags,
    PollTimeout, //
};
use std::os::fd::AsFd;
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("vgem", keeps_content),
    Case::new("vgem-is-the-last-holder", is_the_last_holder),
    Case::new("vgem-twice", twice),
    Case::new("vgem-fence-is-waited-for", fence_is_waited_for),
    Case::new("vgem-rounds", rounds),
];

fn allocate(heap: &str) -> Result<Buffer> {
    Heap::open(heap)?.allocate((256 + 16 + 3) * page_size())
}

fn check_attached(buffer: &Buffer, expected: &[&str]) -> Result<()> {
    let found = dma_buf::attached_devices(buffer)?;
    ensure!(
        found == expected,
        "attached: {found:?}, expected {expected:?}"
    );
    Ok(())
}

fn keeps_content(heap: &str) -> Result<()> {
    let buffer = allocate(heap)?;
    let mapping = buffer.map()?;
    mapping.fill(Pattern(1), 0);
    let vgem = Vgem::open()?;
    let handle = vgem.import(&buffer)?;
    check_attached(&buffer, &["vgem"])?;

    ensure!(
        vgem.import(&buffer)? == handle,
        "imported again: another handle"
    );
    let again = vgem.export(handle)?;
    ensure!(
        again.inode()? == buffer.inode()?,
        "exported again: another buffer"
    );
    again.map()?.check(Pattern(1), 0)?;
    buffer.with_cpu_access(|| mapping.fill(Pattern(2), 0))?;
    again.map()?.check(Pattern(2), 0)?;

    vgem.close(handle)?;
    check_attached(&buffer, &[])?;
    expect_errno("closed handle", vgem.close(handle), Errno::EINVAL)
}

fn is_the_last_holder(heap: &str) -> Result<()> {
    let before = dma_buf::totals()?;
    let vgem = Vgem::open()?;
    let buffer = allocate(heap)?;
    buffer.map()?.fill(Pattern(3), 0);
    let handle = vgem.import(&buffer)?;
    drop(buffer);
    ensure!(
        dma_buf::totals()?.buffers == before.buffers + 1,
        "released although vgem holds it"
    );
    let again = vgem.export(handle)?;
    again.map()?.check(Pattern(3), 0)?;
    drop(again);
    vgem.close(handle)?;
    ensure!(
        dma_buf::totals()? == before,
        "not released by its last importer"
    );

    // An importer that exits without closing the handle.
    let buffer = allocate(heap)?;
    vgem.import(&buffer)?;
    drop(buffer);
    drop(vgem);
    ensure!(
        dma_buf::totals()? == before,
        "not released with the importer's file"
    );
    Ok(())
}

fn twice(heap: &str) -> Result<()> {
    let (one, other) = (Vgem::open()?, Vgem::open()?);
    let buffer = allocate(heap)?;
    let handles = (one.import(&buffer)?, other.import(&buffer)?);
    check_attached(&buffer, &["vgem", "vgem"])?;
    let mapping = buffer.map()?;
    buffer.with_cpu_access(|| mapping.fill(Pattern(4), 0))?;
    one.close(handles.0)?;
    buffer.with_cpu_access(|| mapping.check(Pattern(4), 0))??;
    other.close(handles.1)?;
    check_attached(&buffer, &[])
}

fn ready(buffer: &Buffer, events: PollFlags) -> Result<PollFlags> {
    let mut fds = [PollFd::new(buffer.as_fd(), events)];
    poll(&mut fds, PollTimeout::ZERO)?;
    Ok(fds[0].revents().unwrap_or(PollFlags::empty()))
}

fn fence_is_waited_for(heap: &str) -> Result<()> {
    let buffer = allocate(heap)?;
    let vgem = Vgem::open()?;
    let handle = vgem.import(&buffer)?;
    let fence = vgem.start_writing(handle)?;
    for events in [PollFlags::POLLIN, PollFlags::POLLOUT] {
        let ready = ready(&buffer, events)?;
        ensure!(ready.is_empty(), "{ready:?} while a device is writing");
    }

    let (ours, theirs) = Channel::pair()?;
    let mut reader = Child::run(|| {
        let channel = theirs;
        channel.send("starts", None)?;
        buffer.sync(SYNC_START | SYNC_READ)?;
        Ok(buffer.sync(SYNC_END | SYNC_READ)?)
    })?;
    ours.expect("starts")?;
    let ended = reader.wait(Duration::from_millis(200))?;
    ensure!(ended.is_none(), "SYNC_START has not waited: {ended:?}");
    vgem.signal(fence)?;
    reader.succeed()?;

    let both = PollFlags::POLLIN | PollFlags::POLLOUT;
    let ready = ready(&buffer, both)?;
    ensure!(ready == both, "{ready:?} after the device is done");
    Ok(())
}

// An attachment to a buffer of 30 segments has at least 1 KiB; 2000 lost ones exceed the tolerance.
fn rounds(heap: &str) -> Result<()> {
    let buffer = Heap::open(heap)?.allocate(255 * page_size())?;
    let vgem = Vgem::open()?;
    let round = || -> Result<()> { Ok(vgem.close(vgem.import(&buffer)?)?) };
    (0..100).try_for_each(|_| round())?;
    let before = Footprint::now()?;
    (0..2000).try_for_each(|_| round())?;
    before.check_unchanged()
}
