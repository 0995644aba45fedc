// SPDX-License-Identifier: GPL-2.0

//! `examples/upstream`: a module that has the abstractions of this one and none of its heaps.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::client::{
    self,
    Client,
    Direction, //
};
use guest_support::dma_buf::Buffer;
use guest_support::kernel_module;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::page_size;
use guest_support::pattern::Pattern;
use nix::errno::Errno;
use nix::libc;
use std::fs::{
    self,
    File, //
};
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};
use std::path::Path;

pub fn add(tests: &mut Tests) {
    tests.add("module/upstream-sample", sample);
}

const NAME: &str = "rust_dma_buf";
const FILE: &str = "/lib/modules/rust_dma_buf.ko";
const DEVICE: &str = "/dev/rust_dma_buf/buffers";
const EXPORTED: &str = "/proc/rust_dma_buf/exported";

/// `_IO('R', 0)`.
const EXPORT: libc::c_ulong = 0x5200;

/// Returns a dma-buf of the sample.
fn export(device: &File, command: libc::c_ulong, pages: libc::c_ulong) -> nix::Result<Buffer> {
    // SAFETY: The ioctl accesses no memory of this process.
    let fd = unsafe { libc::ioctl(device.as_raw_fd(), command as _, pages) };
    let fd = Errno::result(fd)?;
    // SAFETY: The descriptor is new.
    Ok(Buffer::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn sample() -> Result<()> {
    let module = Module::load("")?;
    client::load("")?;
    kernel_module::load(Path::new(FILE), "")?.context("the sample does not load")?;
    let device = File::open(DEVICE)?;
    for (command, pages, expected) in [
        (EXPORT + 1, 1, Errno::ENOTTY),
        (EXPORT, 0, Errno::EINVAL),
        (EXPORT, 1025, Errno::EINVAL),
    ] {
        let errno = export(&device, command, pages).map(drop);
        ensure!(errno == Err(expected), "{pages} pages: {errno:?}");
    }
    let buffer = export(&device, EXPORT, 4)?;
    ensure!(buffer.size()? == 4 * page_size());
    ensure!(buffer.info()?.exporter == "rk_dma_heap_example");
    // The module sees the buffer of another one.
    let total = fs::read_to_string("/proc/rk_dmabuf/size")?;
    let expected = format!("Total: {} KiB", (4 * page_size()) >> 10);
    ensure!(total.contains(&expected), "{total}");
    ensure!(fs::read_to_string(EXPORTED)? == "1\n");

    let mapping = buffer.map()?;
    mapping.check_zero()?;
    mapping.fill(Pattern(5), 0);
    let client = Client::open()?;
    let attachment = client.attach(&buffer)?;
    attachment.map(Direction::ToDevice)?;
    ensure!(
        kernel_module::unload(NAME) == Err(Errno::EAGAIN),
        "the sample is unloaded while its buffer is used"
    );
    mapping.check(Pattern(5), 0)?;
    drop(attachment);
    drop((client, mapping, buffer, device));
    kernel_module::unload(NAME).context("the sample cannot be unloaded")?;
    ensure!(!Path::new("/dev/rust_dma_buf").exists());
    ensure!(!Path::new(EXPORTED).exists());
    client::unload()?;
    module.unload()
}
