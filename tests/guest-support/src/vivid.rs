// SPDX-License-Identifier: GPL-2.0

//! The kernel's virtual video driver with two instances. One accesses buffers through a kernel
//! mapping (`vmap`). The other accesses them as a DMA device does (`map_dma_buf`) and needs
//! contiguous buffers.

use crate::kernel_module;
use crate::retry::eventually;
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
/// The first two menu entries are the test pattern and no input; the outputs follow.
const HDMI_TEST_PATTERN: i32 = 0;
const HDMI_FIRST_OUTPUT: i32 = 2;

// HDMI delivers 60 frames per second. The webcam input delivers only a few large frames per second.
const INPUT_HDMI: u32 = 3;
const OUTPUT_HDMI: u32 = 1;

/// The name of the device that attaches to buffers; it is the same for all instances.
pub const DEVICE: &str = "vivid.0";

/// The way in which an instance accesses the memory of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Through `vmap`; the memory need not be contiguous.
    Kernel,
    /// Through a DMA mapping; the memory must be contiguous.
    Contiguous,
}

impl Access {
    /// Returns the number of the instance.
    fn instance(self) -> i32 {
        match self {
            Access::Kernel => 0,
            Access::Contiguous => 1,
        }
    }
}

/// Opens the camera of an instance. It delivers a test pattern with identical lines.
pub fn camera(access: Access) -> Result<Device> {
    camera_with_source(access, HDMI_TEST_PATTERN)
}

/// Opens the display of an instance and a camera that captures its output. The camera accesses its
/// own buffers through a kernel mapping.
pub fn display_and_camera(access: Access) -> Result<(Device, Device)> {
    let display = open(access, CAP_VIDEO_OUTPUT)?;
    display.set_output(OUTPUT_HDMI)?;
    let camera = camera_with_source(Access::Kernel, HDMI_FIRST_OUTPUT + access.instance())?;
    Ok((display, camera))
}

fn camera_with_source(access: Access, source: i32) -> Result<Device> {
    let camera = open(access, CAP_VIDEO_CAPTURE)?;
    camera.set_input(INPUT_HDMI)?;
    camera.set_control(OSD_TEXT_MODE, OSD_TEXT_NONE)?;
    connect(&camera, source)?;
    Ok(camera)
}

/// Connects a camera to its source.
///
/// When a connection changes, vivid updates the possible connections in the background. If the
/// update runs during the change, vivid reverts the new connection. So the connection is set until
/// it is stable.
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
    // Node types: bit 0 is a capture device, bit 8 is an output device.
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
            "module vivid has no /dev/video* for {access:?}: unload it, since it may have been \
            loaded with other parameters"
        )
    })
}
