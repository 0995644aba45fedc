// SPDX-License-Identifier: GPL-2.0

//! The kernel's virtual video driver, in two instances: one reaches buffers through the kernel's
//! own mapping (`vmap`), the other as a device with DMA does (`map_dma_buf`, and only in one
//! piece).

use crate::kernel_module;
use crate::process::eventually;
use crate::v4l2::{
    Device,
    CAP_VIDEO_CAPTURE,
    CAP_VIDEO_OUTPUT, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use std::path::PathBuf;
use std::time::Duration;

/// `VIVID_CID_OSD_TEXT_MODE`
const OSD_TEXT_MODE: u32 = 0x00f0_f001;
const OSD_TEXT_NONE: i32 = 2;

/// `VIVID_CID_HDMI_IS_CONNECTED_TO_OUTPUT(0)`
const HDMI_CONNECTED_TO: u32 = 0x00f0_f000 + 113;
/// The menu's first two entries are the test pattern and nothing; then come the outputs.
const HDMI_TEST_PATTERN: i32 = 0;
const HDMI_FIRST_OUTPUT: i32 = 2;

// The webcam would do for a camera, but is slow: a few large pictures a second, and here it is 60.
const INPUT_HDMI: u32 = 3;
const OUTPUT_HDMI: u32 = 1;

/// The device that attaches to a buffer, for all instances the same.
pub const DEVICE: &str = "vivid.0";

/// How an instance of the driver reaches a buffer's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Through `vmap`; the memory may be in pieces.
    Kernel,
    /// Through a DMA mapping; the memory must be one piece.
    Contiguous,
}

impl Access {
    /// The number of the instance.
    fn instance(self) -> i32 {
        match self {
            Access::Kernel => 0,
            Access::Contiguous => 1,
        }
    }
}

/// Opens the camera of an instance: it delivers a test pattern, the same in every line.
pub fn camera(access: Access) -> Result<Device> {
    camera_that_sees(access, HDMI_TEST_PATTERN)
}

/// Opens the display of an instance, and a camera that sees what the display shows. The camera
/// reaches its own buffers through the kernel's mapping.
pub fn display_and_camera(access: Access) -> Result<(Device, Device)> {
    let display = open(access, CAP_VIDEO_OUTPUT)?;
    display.set_output(OUTPUT_HDMI)?;
    let camera = camera_that_sees(Access::Kernel, HDMI_FIRST_OUTPUT + access.instance())?;
    Ok((display, camera))
}

fn camera_that_sees(access: Access, source: i32) -> Result<Device> {
    let camera = open(access, CAP_VIDEO_CAPTURE)?;
    camera.set_input(INPUT_HDMI)?;
    camera.set_control(OSD_TEXT_MODE, OSD_TEXT_NONE)?;
    connect(&camera, source)?;
    Ok(camera)
}

/// Connects a camera to what it is to see.
///
/// When a connection changes, vivid works out in the background who may be connected to what, and
/// if it looks at the very moment of the change, it takes the new connection away again. So it is
/// made until it stays.
fn connect(camera: &Device, source: i32) -> Result<()> {
    if camera.control(HDMI_CONNECTED_TO)? == source {
        return Ok(());
    }
    eventually(Duration::from_secs(5), || {
        camera.set_control(HDMI_CONNECTED_TO, source)?;
        std::thread::sleep(Duration::from_millis(50));
        let connected = camera.control(HDMI_CONNECTED_TO)?;
        ensure!(
            connected == source,
            "vivid's camera stays connected to {connected}"
        );
        Ok(())
    })
}

fn open(access: Access, capability: u32) -> Result<Device> {
    // Node types: bit 0 is a camera, bit 8 a display.
    let bus_info = format!("platform:vivid-{:03}", access.instance());
    let parameters = ["n_devs=2", "allocators=0,1", "node_types=0x101,0x101"];
    kernel_module::probe("vivid", &parameters)?;
    for number in 0..64 {
        let path = PathBuf::from(format!("/dev/video{number}"));
        if !path.exists() {
            continue;
        }
        let device = Device::open(&path)?;
        let found = device.capability()?;
        if found.driver() == "vivid"
            && found.bus_info() == bus_info
            && found.device_caps & capability != 0
        {
            return Ok(device);
        }
    }
    None.with_context(|| {
        format!(
            "module vivid is loaded, but has no /dev/video* for {access:?}; was it loaded with other parameters?"
        )
    })
}
