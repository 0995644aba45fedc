// SPDX-License-Identifier: GPL-2.0

//! All uses of the module prevent unloading, and not longer than they last.

use crate::module::Module;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::channel::Channel;
use guest_support::dma_buf::Buffer;
use guest_support::expect_errno;
use guest_support::ktap::Tests;
use guest_support::pattern::Pattern;
use guest_support::process::{
    Child,
    CHILD_TIMEOUT, //
};
use guest_support::v4l2::{
    BufferType,
    PixFormat,
    GREY, //
};
use guest_support::vgem::Vgem;
use guest_support::vivid::{
    self,
    Access, //
};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::os::fd::AsFd;

pub fn add(tests: &mut Tests) {
    tests.add("module/busy/heap-open", heap_open);
    tests.add("module/busy/buffer", buffer);
    tests.add("module/busy/mapping", mapping);
    tests.add("module/busy/in-flight", in_flight);
    tests.add("module/busy/other-process", other_process);
    tests.add("module/busy/graphics-importer", graphics_importer);
    tests.add("module/busy/video-importer", video_importer);
}

const LEN: usize = 1 << 20;
const PATTERN: Pattern = Pattern(1);

/// Checks that the module cannot be unloaded and still works.
///
/// The kernel's answer to unloading a module in use is `EWOULDBLOCK`, which is `EAGAIN`.
fn expect_busy(module: &Module) -> Result<()> {
    for _ in 0..3 {
        expect_errno("unloading", module.try_unload(), Errno::EAGAIN)?;
    }
    module
        .heap()?
        .allocate(1)
        .context("after the failed unload")?;
    Ok(())
}

fn filled(module: &Module) -> Result<Buffer> {
    let buffer = module.heap()?.allocate(LEN)?;
    buffer.map()?.fill(PATTERN, 0);
    Ok(buffer)
}

fn heap_open() -> Result<()> {
    let module = Module::load()?;
    let heap = module.heap()?;
    expect_busy(&module)?;
    drop(heap);
    module.unload()
}

fn buffer() -> Result<()> {
    let module = Module::load()?;
    let buffer = filled(&module)?;
    expect_busy(&module)?;
    buffer.map()?.check(PATTERN, 0)?;
    drop(buffer);
    module.unload()
}

fn mapping() -> Result<()> {
    let module = Module::load()?;
    let mapping = filled(&module)?.map()?;
    expect_busy(&module)?;
    mapping.check(PATTERN, 0)?;
    drop(mapping);
    module.unload()
}

fn in_flight() -> Result<()> {
    let module = Module::load()?;
    let (ours, theirs) = Channel::pair()?;
    ours.send("take", Some(filled(&module)?.as_fd()))?;
    expect_busy(&module)?;
    Buffer::from(theirs.expect_fd("take")?)
        .map()?
        .check(PATTERN, 0)?;
    module.unload()
}

fn other_process() -> Result<()> {
    let module = Module::load()?;
    let (ours, theirs) = Channel::pair()?;
    let mut child = Child::run(|| {
        let mapping = filled(&module)?.map()?;
        theirs.send("holding", None)?;
        std::thread::sleep(2 * CHILD_TIMEOUT);
        drop(mapping);
        Ok(())
    })?;
    ours.expect("holding")?;
    expect_busy(&module)?;
    child.signal(Signal::SIGKILL)?;
    child.wait(CHILD_TIMEOUT)?;
    module.unload()
}

fn graphics_importer() -> Result<()> {
    let module = Module::load()?;
    let vgem = Vgem::open()?;
    let handle = vgem.import(&filled(&module)?)?;
    expect_busy(&module)?;
    vgem.export(handle)?.map()?.check(PATTERN, 0)?;
    vgem.close(handle)?;
    module.unload()
}

fn video_importer() -> Result<()> {
    for access in [Access::Kernel, Access::Contiguous] {
        let module = Module::load()?;
        let camera = vivid::camera(access)?;
        camera.set_format(BufferType::Capture, PixFormat::new(1280, 720, GREY))?;
        let stream = camera.stream(BufferType::Capture, 2)?;
        for index in 0..2 {
            stream.queue(index, &filled(&module)?, 0)?;
        }
        stream.start()?;
        expect_busy(&module)?;
        ensure!(stream.dequeue()?.bytes_used > 0);
        drop(stream);
        module.unload().with_context(|| format!("{access:?}"))?;
    }
    Ok(())
}
