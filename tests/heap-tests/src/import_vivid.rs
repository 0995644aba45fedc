// SPDX-License-Identifier: GPL-2.0

//! Import by a video driver (`V4L2_MEMORY_DMABUF`). The camera of vivid writes its pictures into
//! buffers, its display reads them. One instance uses the kernel mapping (`vmap`), the other one a
//! DMA mapping in addition.
//!
//! A picture is larger than a page and is checked up to the last byte, so that a page in the wrong
//! position is detected.

use crate::capacity::Capacity;
use crate::footprint::Footprint;
use crate::Case;
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use guest_support::dma_buf::{
    self,
    Buffer,
    SYNC_END,
    SYNC_RW,
    SYNC_START, //
};
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::process::{
    Child,
    CHILD_TIMEOUT, //
};
use guest_support::retry::eventually;
use guest_support::v4l2::{
    BufferType,
    Device,
    PixFormat,
    Stream,
    GREY,
    YUYV, //
};
use guest_support::vgem::Vgem;
use guest_support::vivid::{
    self,
    Access, //
};
use guest_support::{
    expect_errno,
    page_size, //
};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::time::Duration;

pub const CASES: &[Case] = &[
    Case::new("camera-by-vmap", |heap| {
        camera(Access::Kernel, || mixed(heap))
    }),
    Case::new("camera-by-dma", |heap| {
        camera(Access::Contiguous, || contiguous(heap))
    }),
    Case::new("display-by-vmap", |heap| {
        display(Access::Kernel, || mixed(heap))
    }),
    Case::new("display-by-dma", |heap| {
        display(Access::Contiguous, || contiguous(heap))
    }),
    Case::new("pieces-refused-by-dma", pieces_refused_by_dma),
    Case::new("camera-is-the-last-holder", camera_is_the_last_holder),
    Case::new("killed-while-the-camera-runs", killed_while_the_camera_runs),
    Case::new("camera-rounds", camera_rounds),
    Case::new("all-importers-at-once", all_importers_at_once),
];

/// The same tests with another exporter: if one of these fails, the heaps are not the cause.
pub fn add_controls(tests: &mut Tests) {
    tests.add("control/import/camera-with-vgem", move || {
        camera(Access::Kernel, other_exporter)
    });
    tests.add("control/import/display-with-vgem", move || {
        display(Access::Kernel, other_exporter)
    });
}

fn other_exporter() -> Result<Buffer> {
    Vgem::open()?.allocate(512 * page_size())
}

/// One MiB.
const MIB: usize = 1 << 20;

/// Returns a picture that fits into contiguous memory of any heap, or one that needs several runs.
fn picture(access: Access) -> PixFormat {
    let pixel_format = match access {
        Access::Kernel => YUYV,
        Access::Contiguous => GREY,
    };
    PixFormat::new(1280, 720, pixel_format)
}

/// Allocates a buffer for the larger picture and some more, with runs of every order.
fn mixed(heap: &str) -> Result<Buffer> {
    let large = (1280 * 720 * 2usize).next_multiple_of(MIB);
    Heap::open(heap)?.allocate(large + (16 + 3) * page_size())
}

/// Allocates a contiguous buffer for the smaller picture.
fn contiguous(heap: &str) -> Result<Buffer> {
    Heap::open(heap)?.allocate(MIB)
}

fn check_attached(buffer: &Buffer, expected: &[&str]) -> Result<()> {
    let found = dma_buf::attached_devices(buffer)?;
    ensure!(
        found == expected,
        "attached: {found:?}, expected {expected:?}"
    );
    Ok(())
}

/// Checks that a buffer has the camera's test pattern, the same in every line, and zeros after it.
fn check_test_pattern(buffer: &Buffer, picture: &PixFormat) -> Result<()> {
    let mapping = buffer.map()?;
    buffer.with_cpu_access(|| {
        let line = picture.bytes_per_line as usize;
        let first = mapping.copy_out(0, line);
        let colours: HashSet<_> = first.chunks(4).collect();
        ensure!(
            colours.len() >= 7,
            "{} colours are not colour bars",
            colours.len()
        );
        for number in 1..picture.height as usize {
            let found = mapping.copy_out(number * line, line);
            if let Some(offset) = first.iter().zip(&found).position(|(a, b)| a != b) {
                bail!("line {number} of the picture differs from the first at byte {offset}");
            }
        }
        let size = picture.image_size as usize;
        mapping
            .check_zero_range(size, mapping.len() - size)
            .context("after the picture")
    })?
}

fn camera(access: Access, allocate: impl Fn() -> Result<Buffer>) -> Result<()> {
    let camera = vivid::camera(access)?;
    let picture = camera.set_format(BufferType::Capture, picture(access))?;
    let buffers = [allocate()?, allocate()?, allocate()?];
    for buffer in &buffers {
        buffer
            .map()?
            .check_zero()
            .context("before the camera ran")?;
    }
    let stream = camera.stream(BufferType::Capture, buffers.len())?;
    for (index, buffer) in buffers.iter().enumerate() {
        stream
            .queue(index, buffer, 0)
            .context("VIDIOC_QBUF failed")?;
    }
    if access == Access::Contiguous {
        check_attached(&buffers[0], &[vivid::DEVICE])?;
    }
    stream.start()?;
    for _ in 0..2 * buffers.len() {
        let done = stream.dequeue()?;
        let buffer = &buffers[done.index];
        ensure!(done.bytes_used == picture.image_size as usize, "{done:?}");
        check_test_pattern(buffer, &picture)?;
        stream.queue(done.index, buffer, 0)?;
    }
    drop(stream);
    for buffer in &buffers {
        check_attached(buffer, &[])?;
        check_test_pattern(buffer, &picture).context("after the camera has detached")?;
    }
    Ok(())
}

/// Returns the bytes of a picture in which all lines differ, and which differs from other pictures.
fn drawing(number: usize, picture: &PixFormat) -> Vec<u8> {
    (0..picture.image_size as usize)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 9) as u8 ^ (number * 85) as u8)
        .collect()
}

/// Shows drawings on a display until a camera, which records the display, has captured each of
/// them.
///
/// The camera's buffers are from another exporter: the same error on both sides would not be
/// detected.
fn display(access: Access, allocate: impl Fn() -> Result<Buffer>) -> Result<()> {
    let (display, camera) = vivid::display_and_camera(access)?;
    let shown = display.set_format(BufferType::Output, picture(access))?;
    let seen = camera.set_format(BufferType::Capture, picture(access))?;
    ensure!(
        seen.image_size == shown.image_size,
        "{shown:?} but {seen:?}"
    );
    let drawings = [0, 1, 2].map(|number| drawing(number, &shown));

    let frames = [allocate()?, allocate()?, allocate()?];
    let out = display.stream(BufferType::Output, frames.len())?;
    for (frame, drawing) in frames.iter().zip(&drawings) {
        frame.map()?.copy_in(0, drawing);
    }
    let pictures = [other_exporter()?, other_exporter()?];
    let back = camera.stream(BufferType::Capture, pictures.len())?;
    for (index, buffer) in pictures.iter().enumerate() {
        back.queue(index, buffer, 0)
            .context("VIDIOC_QBUF to the camera failed")?;
    }

    // The display repeats the last frame until the next one is queued.
    out.queue(0, &frames[0], shown.image_size)
        .context("VIDIOC_QBUF to the display failed")?;
    out.start()?;
    back.start()?;
    for (index, drawing) in drawings.iter().enumerate() {
        if index > 0 {
            out.queue(index, &frames[index], shown.image_size)?;
        }
        wait_for(drawing, &back, &pictures).with_context(|| format!("drawing {index}"))?;
    }
    drop((out, back));
    for (frame, drawing) in frames.iter().zip(&drawings) {
        let content = frame.map()?.copy_out(0, drawing.len());
        ensure!(content == *drawing, "the display changed the frame");
        check_attached(frame, &[])?;
    }
    Ok(())
}

/// Captures pictures until one has exactly these bytes.
fn wait_for(drawing: &[u8], stream: &Stream<'_>, pictures: &[Buffer]) -> Result<()> {
    // A frame may be in progress, and the camera may rarely fail to acquire the display's lock.
    for _ in 0..30 {
        let done = stream.dequeue()?;
        let buffer = &pictures[done.index];
        let found = buffer
            .with_cpu_access(|| -> Result<_> { Ok(buffer.map()?.copy_out(0, drawing.len())) })??;
        stream.queue(done.index, buffer, 0)?;
        if found == drawing {
            return Ok(());
        }
    }
    bail!("the camera did not capture it in 30 pictures")
}

// A device that needs contiguous memory maps a buffer, detects several segments, and unmaps it.
// More than one buffer is tested, because runs may be adjacent by chance. A heap of contiguous
// memory has no rejected buffers.
fn pieces_refused_by_dma(heap: &str) -> Result<()> {
    let camera = vivid::camera(Access::Contiguous)?;
    camera.set_format(BufferType::Capture, picture(Access::Contiguous))?;
    let first = mixed(heap)?;
    let capacity = Capacity::of(heap)?;
    // A small machine does not have memory for many buffers.
    let more = match capacity.reserved {
        true => 1,
        false => (capacity.unused / 2 / first.size()?).clamp(1, 7),
    };
    let mut buffers = vec![first];
    for _ in 0..more {
        buffers.push(mixed(heap)?);
    }
    let stream = camera.stream(BufferType::Capture, buffers.len())?;
    let mut refused = 0;
    for (index, buffer) in buffers.iter().enumerate() {
        match stream.queue(index, buffer, 0) {
            Ok(()) => check_attached(buffer, &[vivid::DEVICE])?,
            answer => {
                expect_errno("VIDIOC_QBUF of pieces", answer, Errno::EFAULT)?;
                check_attached(buffer, &[])?;
                refused += 1;
            }
        }
        let mapping = buffer.map()?;
        buffer.with_cpu_access(|| mapping.check_zero())??;
    }
    diagnose(&format!(
        "{refused} of {} buffers are not contiguous",
        buffers.len()
    ));
    Ok(())
}

fn start_camera<'a>(camera: &'a Device, heap: &str) -> Result<Stream<'a>> {
    let stream = camera.stream(BufferType::Capture, 3)?;
    for index in 0..3 {
        let buffer = contiguous(heap)?;
        stream.queue(index, &buffer, 0)?;
    }
    stream.start()?;
    Ok(stream)
}

fn camera_is_the_last_holder(heap: &str) -> Result<()> {
    for access in [Access::Kernel, Access::Contiguous] {
        let before = dma_buf::totals()?;
        let camera = vivid::camera(access)?;
        camera.set_format(BufferType::Capture, PixFormat::new(1280, 720, GREY))?;
        let stream = start_camera(&camera, heap)?;
        for _ in 0..3 {
            stream.dequeue()?;
        }
        let held = dma_buf::totals()?;
        ensure!(
            held.buffers == before.buffers + 3,
            "{before:?}, then {held:?}"
        );
        drop(stream);
        let after = dma_buf::totals()?;
        ensure!(
            after == before,
            "{access:?}: {before:?} before, {after:?} after"
        );
    }
    Ok(())
}

fn killed_while_the_camera_runs(heap: &str) -> Result<()> {
    for access in [Access::Kernel, Access::Contiguous] {
        let before = dma_buf::totals()?;
        let mut child = Child::run(|| {
            let camera = vivid::camera(access)?;
            camera.set_format(BufferType::Capture, PixFormat::new(1280, 720, GREY))?;
            let _stream = start_camera(&camera, heap)?;
            std::thread::sleep(2 * CHILD_TIMEOUT);
            Ok(())
        })?;
        eventually(CHILD_TIMEOUT, || {
            let held = dma_buf::totals()?;
            ensure!(
                held.buffers == before.buffers + 3,
                "{before:?}, then {held:?}"
            );
            Ok(())
        })?;
        child.signal(Signal::SIGKILL)?;
        child.wait(CHILD_TIMEOUT)?;
        eventually(Duration::from_secs(2), || {
            let after = dma_buf::totals()?;
            ensure!(
                after == before,
                "{access:?}: {before:?} before, {after:?} after"
            );
            Ok(())
        })?;
    }
    Ok(())
}

// The page tables of a kernel mapping of such a buffer have at least 4 KiB; 500 lost ones exceed
// the tolerance.
fn camera_rounds(heap: &str) -> Result<()> {
    let camera = vivid::camera(Access::Kernel)?;
    camera.set_format(BufferType::Capture, picture(Access::Kernel))?;
    let buffer = mixed(heap)?;
    let round = || -> Result<()> {
        let stream = camera.stream(BufferType::Capture, 2)?;
        Ok(stream.queue(0, &buffer, 0)?)
    };
    (0..20).try_for_each(|_| round())?;
    let before = Footprint::now()?;
    (0..500).try_for_each(|_| round())?;
    before.check_unchanged()
}

// Two cameras write the same buffer, which vgem attaches twice and a program maps and synchronizes
// at the same time.
fn all_importers_at_once(heap: &str) -> Result<()> {
    let buffer = contiguous(heap)?;
    let mapping = buffer.map()?;
    let (vgem, other_vgem) = (Vgem::open()?, Vgem::open()?);
    let (handle, _) = (vgem.import(&buffer)?, other_vgem.import(&buffer)?);

    let cameras = [
        vivid::camera(Access::Kernel)?,
        vivid::camera(Access::Contiguous)?,
    ];
    let mut format = picture(Access::Contiguous);
    let mut streams = Vec::new();
    for camera in &cameras {
        format = camera.set_format(BufferType::Capture, format)?;
        // A buffer may be queued several times, and a camera needs more than one.
        let stream = camera.stream(BufferType::Capture, 2)?;
        for index in 0..2 {
            stream
                .queue(index, &buffer, 0)
                .context("VIDIOC_QBUF failed")?;
        }
        stream.start()?;
        streams.push(stream);
    }
    let mut attached = dma_buf::attached_devices(&buffer)?;
    attached.sort();
    let expected = ["vgem", "vgem", vivid::DEVICE, vivid::DEVICE];
    ensure!(
        attached == expected,
        "attached: {attached:?}, expected {expected:?}"
    );
    for _ in 0..5 {
        for stream in &streams {
            let done = stream.dequeue()?;
            for _ in 0..20 {
                buffer.sync(SYNC_START | SYNC_RW)?;
                buffer.sync(SYNC_END | SYNC_RW)?;
            }
            stream.queue(done.index, &buffer, 0)?;
        }
    }
    drop(streams);
    check_attached(&buffer, &["vgem", "vgem"])?;
    check_test_pattern(&buffer, &format)?;

    drop((mapping, buffer, other_vgem));
    check_test_pattern(&vgem.export(handle)?, &format).context("held by vgem alone")
}
