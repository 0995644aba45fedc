// SPDX-License-Identifier: GPL-2.0

//! Video devices that import DMA-BUFs (`V4L2_MEMORY_DMABUF`).
//!
//! C header: `include/uapi/linux/videodev2.h`

use crate::dma_buf::Buffer;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use nix::poll::{
    poll,
    PollFd,
    PollFlags,
    PollTimeout, //
};
use std::fs::File;
use std::os::fd::{
    AsFd,
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};
use std::path::Path;

/// `struct v4l2_capability`
#[repr(C)]
#[derive(Debug, Default)]
pub struct Capability {
    driver: [u8; 16],
    card: [u8; 32],
    bus_info: [u8; 32],
    version: u32,
    capabilities: u32,
    pub device_caps: u32,
    reserved: [u32; 3],
}

/// `V4L2_CAP_VIDEO_CAPTURE`
pub const CAP_VIDEO_CAPTURE: u32 = 0x1;
/// `V4L2_CAP_VIDEO_OUTPUT`
pub const CAP_VIDEO_OUTPUT: u32 = 0x2;

impl Capability {
    pub fn driver(&self) -> String {
        text(&self.driver)
    }

    pub fn bus_info(&self) -> String {
        text(&self.bus_info)
    }
}

fn text(field: &[u8]) -> String {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// `V4L2_BUF_TYPE_VIDEO_*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum BufferType {
    Capture = 1,
    Output = 2,
}

/// `struct v4l2_pix_format`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct PixFormat {
    pub width: u32,
    pub height: u32,
    pub pixel_format: u32,
    pub field: u32,
    pub bytes_per_line: u32,
    pub image_size: u32,
    colorspace: u32,
    private: u32,
    flags: u32,
    encoding: u32,
    quantization: u32,
    transfer: u32,
}

impl PixFormat {
    /// Creates the format for a request to a device.
    pub fn new(width: u32, height: u32, pixel_format: u32) -> PixFormat {
        PixFormat {
            width,
            height,
            pixel_format,
            field: FIELD_NONE,
            ..Default::default()
        }
    }
}

/// Pixel format with two bytes per pixel.
pub const YUYV: u32 = u32::from_le_bytes(*b"YUYV");
/// Pixel format with one byte per pixel.
pub const GREY: u32 = u32::from_le_bytes(*b"GREY");
/// `V4L2_FIELD_NONE`: whole frames.
const FIELD_NONE: u32 = 1;

/// `struct v4l2_format`. Its union has the alignment of a pointer and a size of 200 bytes.
#[repr(C)]
#[derive(Debug)]
pub struct Format {
    kind: u32,
    align: [usize; 0],
    picture: PixFormat,
    rest: [u8; 200 - size_of::<PixFormat>()],
}

const _: () = assert!(size_of::<Format>() == size_of::<usize>() + 200);

/// `struct v4l2_requestbuffers`
#[repr(C)]
#[derive(Debug)]
pub struct RequestBuffers {
    count: u32,
    kind: u32,
    memory: u32,
    capabilities: u32,
    flags: u8,
    reserved: [u8; 3],
}

/// `V4L2_MEMORY_MMAP`
const MEMORY_MMAP: u32 = 1;
/// `V4L2_MEMORY_DMABUF`
const MEMORY_DMABUF: u32 = 4;

/// The member `m` of `struct v4l2_buffer`.
#[repr(C)]
#[derive(Clone, Copy)]
union Memory {
    fd: i32,
    pointer: usize,
}

/// `struct v4l2_buffer`
#[repr(C)]
pub struct QueuedBuffer {
    index: u32,
    kind: u32,
    bytes_used: u32,
    flags: u32,
    field: u32,
    timestamp: libc::timeval,
    timecode: [u32; 4],
    sequence: u32,
    memory: u32,
    m: Memory,
    length: u32,
    reserved: u32,
    request: u32,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<QueuedBuffer>() == 88);

/// `V4L2_BUF_FLAG_ERROR`
const FLAG_ERROR: u32 = 0x40;

/// `struct v4l2_exportbuffer`
#[repr(C)]
#[derive(Debug)]
pub struct ExportBuffer {
    kind: u32,
    index: u32,
    plane: u32,
    flags: u32,
    fd: i32,
    reserved: [u32; 11],
}

/// `struct v4l2_control`
#[repr(C)]
#[derive(Debug)]
pub struct Control {
    id: u32,
    value: i32,
}

mod raw {
    use super::*;

    nix::ioctl_read!(query_capability, b'V', 0, Capability);
    nix::ioctl_readwrite!(set_format, b'V', 5, Format);
    nix::ioctl_readwrite!(request_buffers, b'V', 8, RequestBuffers);
    nix::ioctl_readwrite!(queue, b'V', 15, QueuedBuffer);
    nix::ioctl_readwrite!(dequeue, b'V', 17, QueuedBuffer);
    nix::ioctl_readwrite!(export_buffer, b'V', 16, ExportBuffer);
    nix::ioctl_write_ptr!(stream_on, b'V', 18, u32);
    nix::ioctl_write_ptr!(stream_off, b'V', 19, u32);
    nix::ioctl_readwrite!(get_control, b'V', 27, Control);
    nix::ioctl_readwrite!(set_control, b'V', 28, Control);
    nix::ioctl_readwrite!(set_input, b'V', 39, u32);
    nix::ioctl_readwrite!(set_output, b'V', 47, u32);
}

/// A buffer that the device has completed.
#[derive(Debug)]
pub struct Done {
    pub index: usize,
    pub bytes_used: usize,
}

/// An open video device.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    pub fn open(path: &Path) -> Result<Device> {
        File::options()
            .read(true)
            .write(true)
            .open(path)
            .map(Device)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    pub fn capability(&self) -> Result<Capability> {
        let mut capability = Capability::default();
        // SAFETY: The kernel only accesses the struct. This applies to all ioctls below.
        unsafe { raw::query_capability(self.0.as_raw_fd(), &mut capability) }
            .context("VIDIOC_QUERYCAP failed")?;
        Ok(capability)
    }

    /// Sets the format and returns it as completed by the device. Fails if the device changes it.
    pub fn set_format(&self, kind: BufferType, wanted: PixFormat) -> Result<PixFormat> {
        let mut format = Format {
            kind: kind as u32,
            align: [],
            picture: wanted,
            rest: [0; 200 - size_of::<PixFormat>()],
        };
        unsafe { raw::set_format(self.0.as_raw_fd(), &mut format) }
            .context("VIDIOC_S_FMT failed")?;
        let got = format.picture;
        ensure!(
            (got.width, got.height, got.pixel_format)
                == (wanted.width, wanted.height, wanted.pixel_format),
            "the device offers {got:?} instead of {wanted:?}"
        );
        Ok(got)
    }

    pub fn set_input(&self, input: u32) -> Result<()> {
        let mut input = input;
        unsafe { raw::set_input(self.0.as_raw_fd(), &mut input) }
            .context("VIDIOC_S_INPUT failed")?;
        Ok(())
    }

    pub fn set_output(&self, output: u32) -> Result<()> {
        let mut output = output;
        unsafe { raw::set_output(self.0.as_raw_fd(), &mut output) }
            .context("VIDIOC_S_OUTPUT failed")?;
        Ok(())
    }

    pub fn control(&self, id: u32) -> Result<i32> {
        let mut control = Control { id, value: 0 };
        unsafe { raw::get_control(self.0.as_raw_fd(), &mut control) }
            .with_context(|| format!("VIDIOC_G_CTRL {id:#x} failed"))?;
        Ok(control.value)
    }

    pub fn set_control(&self, id: u32, value: i32) -> Result<()> {
        let mut control = Control { id, value };
        unsafe { raw::set_control(self.0.as_raw_fd(), &mut control) }
            .with_context(|| format!("VIDIOC_S_CTRL {id:#x} = {value} failed"))?;
        Ok(())
    }

    /// Requests `count` DMA-BUF buffers from the device.
    pub fn stream(&self, kind: BufferType, count: usize) -> Result<Stream<'_>> {
        let stream = Stream { device: self, kind };
        stream.request(count, MEMORY_DMABUF)?;
        Ok(stream)
    }

    /// Lets the device allocate a buffer and exports it. This frees all other buffers of the
    /// device.
    pub fn allocate(&self, kind: BufferType) -> Result<Buffer> {
        let own = std::mem::ManuallyDrop::new(Stream { device: self, kind });
        own.request(1, MEMORY_MMAP)?;
        let mut export = ExportBuffer {
            kind: kind as u32,
            index: 0,
            plane: 0,
            flags: (libc::O_RDWR | libc::O_CLOEXEC) as u32,
            fd: -1,
            reserved: [0; 11],
        };
        unsafe { raw::export_buffer(self.0.as_raw_fd(), &mut export) }
            .context("VIDIOC_EXPBUF failed")?;
        Ok(Buffer::from(unsafe { OwnedFd::from_raw_fd(export.fd) }))
    }
}

/// A queue of imported buffers; the device releases them when the queue is dropped.
#[derive(Debug)]
pub struct Stream<'a> {
    device: &'a Device,
    kind: BufferType,
}

impl Stream<'_> {
    fn request(&self, count: usize, memory: u32) -> Result<()> {
        let mut request = RequestBuffers {
            count: count as u32,
            kind: self.kind as u32,
            memory,
            capabilities: 0,
            flags: 0,
            reserved: [0; 3],
        };
        unsafe { raw::request_buffers(self.device.0.as_raw_fd(), &mut request) }
            .with_context(|| format!("VIDIOC_REQBUFS for {count} buffers failed"))?;
        ensure!(
            request.count as usize >= count,
            "the device accepts only {} of {count} buffers",
            request.count
        );
        Ok(())
    }

    fn empty(&self, index: usize) -> QueuedBuffer {
        QueuedBuffer {
            index: index as u32,
            kind: self.kind as u32,
            bytes_used: 0,
            flags: 0,
            field: FIELD_NONE,
            timestamp: libc::timeval {
                tv_sec: 0,
                tv_usec: 0,
            },
            timecode: [0; 4],
            sequence: 0,
            memory: MEMORY_DMABUF,
            m: Memory { pointer: 0 },
            length: 0,
            reserved: 0,
            request: 0,
        }
    }

    /// Queues a buffer. The device attaches to it and maps it. `bytes_used` is for output devices.
    pub fn queue(&self, index: usize, buffer: &Buffer, bytes_used: u32) -> nix::Result<()> {
        let mut queued = self.empty(index);
        queued.bytes_used = bytes_used;
        queued.m.fd = buffer.raw_fd();
        unsafe { raw::queue(self.device.0.as_raw_fd(), &mut queued) }.map(drop)
    }

    pub fn start(&self) -> Result<()> {
        unsafe { raw::stream_on(self.device.0.as_raw_fd(), &(self.kind as u32)) }
            .context("VIDIOC_STREAMON failed")?;
        Ok(())
    }

    pub fn stop(&self) -> Result<()> {
        unsafe { raw::stream_off(self.device.0.as_raw_fd(), &(self.kind as u32)) }
            .context("VIDIOC_STREAMOFF failed")?;
        Ok(())
    }

    /// Waits for the next buffer that the device has completed.
    pub fn dequeue(&self) -> Result<Done> {
        let ready = match self.kind {
            BufferType::Capture => PollFlags::POLLIN,
            BufferType::Output => PollFlags::POLLOUT,
        };
        let mut fds = [PollFd::new(self.device.0.as_fd(), ready)];
        ensure!(
            poll(&mut fds, PollTimeout::from(10_000u16))? == 1,
            "the device completed no buffer within 10 s"
        );
        let mut queued = self.empty(0);
        unsafe { raw::dequeue(self.device.0.as_raw_fd(), &mut queued) }
            .context("VIDIOC_DQBUF failed")?;
        ensure!(
            queued.flags & FLAG_ERROR == 0,
            "the device reports an error in a buffer"
        );
        Ok(Done {
            index: queued.index as usize,
            bytes_used: queued.bytes_used as usize,
        })
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        let _ = self.stop();
        let _ = self.request(0, MEMORY_DMABUF);
    }
}
