// SPDX-License-Identifier: GPL-2.0

//! Import by the project's own driver, which maps a buffer of any number of segments for DMA, and
//! reads and writes each of them like its device.

use crate::footprint::Footprint;
use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Direction,
    View, //
};
use guest_support::dma_buf::{
    self,
    Buffer,
    SetName,
    SYNC_END,
    SYNC_READ,
    SYNC_RW,
    SYNC_START,
    SYNC_WRITE, //
};
use guest_support::heap::Heap;
use guest_support::ktap;
use guest_support::mapping::WORD;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    CHILD_TIMEOUT, //
};
use guest_support::retry::eventually;
use nix::sys::signal::Signal;

pub const CASES: &[Case] = &[
    Case::new("device-sees-every-piece", device_sees_every_piece),
    Case::new("device-maps-again", device_maps_again),
    Case::new("two-devices", two_devices),
    Case::new("device-is-the-last-holder", device_is_the_last_holder),
    Case::new("device-holds-the-lock", device_holds_the_lock),
    Case::new("device-rounds", device_rounds),
];

/// Opens the device. Skips the test if the machine does not have the driver.
pub fn open() -> Result<Client> {
    if !client::is_loaded() && !client::is_available() {
        return Err(ktap::skip("the driver rk_client is not installed"));
    }
    client::load("")?;
    Client::open()
}

fn allocate(heap: &str) -> Result<Buffer> {
    Heap::open(heap)?.allocate((2 * 256 + 3 * 16 + 5) * page_size())
}

pub fn bytes_of(pattern: Pattern, len: usize) -> Vec<u8> {
    (0..len)
        .step_by(WORD)
        .flat_map(|offset| pattern.word(offset).to_ne_bytes())
        .collect()
}

fn device_sees_every_piece(heap: &str) -> Result<()> {
    let client = open()?;
    let buffer = allocate(heap)?;
    let mapping = buffer.map()?;
    let device = client.import(&buffer)?;

    let segments = device.segments()?;
    let total: u64 = segments.iter().map(|segment| segment.length).sum();
    ensure!(
        total == mapping.len() as u64,
        "the device has {total} bytes of {}: {segments:x?}",
        mapping.len()
    );
    ensure!(
        device.find_nonzero(View::Cached)?.is_none(),
        "new memory is not zero for the device"
    );

    buffer.with_cpu_access(|| mapping.fill(Pattern(1), 0))?;
    let mut seen = vec![0; mapping.len()];
    device.read(View::Cached, 0, &mut seen)?;
    let offset = seen
        .iter()
        .zip(bytes_of(Pattern(1), mapping.len()))
        .position(|(found, written)| *found != written);
    ensure!(
        offset.is_none(),
        "the device does not read the written data at byte {offset:x?}"
    );

    device.write(View::Cached, 0, &bytes_of(Pattern(2), mapping.len()))?;
    buffer
        .with_cpu_access(|| mapping.check(Pattern(2), 0))?
        .context("the device's data")
}

fn device_maps_again(heap: &str) -> Result<()> {
    let client = open()?;
    let buffer = allocate(heap)?;
    let device = client.attach(&buffer)?;
    for direction in [Direction::Both, Direction::ToDevice, Direction::FromDevice] {
        let mut known = None;
        for _ in 0..3 {
            device.map(direction)?;
            let segments = device.segments()?;
            let lengths: Vec<_> = segments.iter().map(|segment| segment.length).collect();
            let addresses: Vec<_> = segments
                .iter()
                .map(|segment| segment.physical_address)
                .collect();
            let now = (addresses, lengths);
            ensure!(
                known.as_ref().is_none_or(|known| *known == now),
                "mapped again, {direction:?}: other memory"
            );
            known = Some(now);
            device.unmap()?;
        }
    }
    Ok(())
}

fn two_devices(heap: &str) -> Result<()> {
    let clients = [open()?, open()?];
    let buffer = allocate(heap)?;
    let mapping = buffer.map()?;
    let (one, other) = (clients[0].import(&buffer)?, clients[1].import(&buffer)?);
    ensure!(dma_buf::attached_devices(&buffer)?.len() == 2);
    buffer.with_cpu_access(|| mapping.fill(Pattern(3), 0))?;
    one.unmap()?;
    drop(one);
    let mut seen = vec![0; mapping.len()];
    other.read(View::Cached, 0, &mut seen)?;
    ensure!(
        seen == bytes_of(Pattern(3), mapping.len()),
        "the second device does not read the data after the first one has detached"
    );
    Ok(())
}

fn device_is_the_last_holder(heap: &str) -> Result<()> {
    let before = dma_buf::totals()?;
    let client = open()?;
    let buffer = allocate(heap)?;
    let len = buffer.size()?;
    buffer.map()?.fill(Pattern(4), 0);
    let device = client.import(&buffer)?;
    drop(buffer);
    let mut seen = vec![0; len];
    device.read(View::Cached, 0, &mut seen)?;
    ensure!(seen == bytes_of(Pattern(4), len), "the content has changed");
    device.unmap()?;
    drop(device);
    let after = dma_buf::totals()?;
    ensure!(after == before, "{before:?} before, {after:?} after");
    Ok(())
}

/// Returns whether a reader of `/proc/rk_dmabuf/sgt` finds the reservation lock of the buffer with
/// this name held.
fn is_locked(name: &str) -> Result<bool> {
    let list = std::fs::read_to_string("/proc/rk_dmabuf/sgt")?;
    let line = list.lines().find(|line| line.contains(name));
    let line = line.with_context(|| format!("{name} is not in {list}"))?;
    Ok(line.ends_with("(in use)"))
}

/// CPU access does not wait for the reservation lock, which each submission of work for a GPU
/// holds, neither by the ioctl nor by a driver.
fn device_holds_the_lock(heap: &str) -> Result<()> {
    const NAME: &str = "held-by-driver";
    let client = open()?;
    let buffer = allocate(heap)?;
    buffer.set_name(NAME, SetName::Pointer64)?;
    let device = client.import(&buffer)?;
    device.vmap()?;
    let mut holder = Child::run(|| {
        let client = Client::open()?;
        client.attach(&buffer)?.hold(10_000)?;
        Ok(())
    })?;
    eventually(CHILD_TIMEOUT, || {
        ensure!(is_locked(NAME)?, "the driver does not hold the lock yet");
        Ok(())
    })?;
    for flags in [SYNC_RW, SYNC_READ, SYNC_WRITE] {
        buffer.sync(SYNC_START | flags)?;
        buffer.sync(SYNC_END | flags)?;
    }
    ensure!(is_locked(NAME)?, "the ioctl has waited for the lock");
    device.begin_cpu_access(Direction::Both)?;
    device.end_cpu_access(Direction::Both)?;
    ensure!(is_locked(NAME)?, "the driver has waited for the lock");
    holder.signal(Signal::SIGKILL)?;
    holder.wait(CHILD_TIMEOUT)?;
    ensure!(!is_locked(NAME)?, "the lock is held by somebody else");
    device.vunmap()?;
    Ok(())
}

// An attachment to a buffer of 30 segments has at least 1 KiB; 2000 lost ones exceed the tolerance.
fn device_rounds(heap: &str) -> Result<()> {
    let client = open()?;
    let buffer = Heap::open(heap)?.allocate(255 * page_size())?;
    let round = || -> Result<()> {
        drop(client.attach(&buffer)?);
        Ok(())
    };
    (0..100).try_for_each(|_| round())?;
    let before = Footprint::now()?;
    (0..2000).try_for_each(|_| round())?;
    before.check_unchanged()
}
