// SPDX-License-Identifier: GPL-2.0

//! What programs of named stacks ask a machine for.

use super::Finding;
use crate::access;
use crate::arguments::Stack;
use crate::heaps;
use crate::system::System;

/// What a stack asks for.
struct Needs {
    subject: &'static str,
    /// Heaps, any of which is sufficient, the preferred one first.
    heaps: &'static [&'static str],
    /// A device node, any of which is needed.
    devices: &'static [&'static str],
    /// What the device is, and where it comes from.
    device_cure: &'static str,
}

/// Returns what `stack` asks for.
fn needs(stack: Stack) -> Needs {
    match stack {
        Stack::Mpp => Needs {
            subject: "mpp",
            heaps: &[
                "system-uncached",
                "system",
                "cma-uncached",
                "cma",
                "system-uncached-dma32",
                "system-dma32",
                "cma-uncached-dma32",
                "cma-dma32",
            ],
            devices: &["/dev/mpp_service"],
            device_cure:
                "encoding and decoding need Rockchip's driver mpp_service, which mainline \
                          kernels lack: use a kernel that has it, or V4L2 programs instead of MPP",
        },
        Stack::Rga => Needs {
            subject: "rga",
            heaps: &[
                "system-uncached-dma32",
                "system-dma32",
                "cma-uncached-dma32",
                "system-uncached",
            ],
            devices: &["/dev/rga"],
            device_cure: "librga needs Rockchip's driver for /dev/rga, which mainline kernels \
                          lack: use a kernel that has it, or mainline's V4L2 driver rockchip-rga",
        },
        Stack::Rknn => Needs {
            subject: "rknn",
            heaps: &["system-uncached-dma32", "system-dma32", "system-uncached"],
            devices: &["/dev/rknpu", "/sys/module/rknpu"],
            device_cure: "the RKNN runtime needs Rockchip's driver rknpu, which mainline kernels \
                          lack: use a kernel that has it",
        },
        Stack::Libcamera => Needs {
            subject: "libcamera",
            heaps: &["linux,cma", "reserved", "system"],
            devices: &["/dev/media0"],
            device_cure: "no camera was found: connect it, and load its driver and its overlay",
        },
    }
}

pub(super) fn examine(system: &System, stack: Stack) -> Vec<Finding> {
    let needs = needs(stack);
    let mut heaps = needs.heaps.iter().copied();
    let heap = heaps.find(|heap| heaps::node(system, heap).is_ok());
    let first = needs.heaps.first().copied().unwrap_or_default();
    let mut findings = vec![match heap {
        Some(heap) if heap == first => Finding::ok(
            needs.subject,
            format!("its first choice of heaps, {heap}, is there"),
        ),
        Some(heap) => Finding::note(
            needs.subject,
            format!("its first choice of heaps, {first}, is missing; it uses {heap}"),
            None,
        ),
        None => Finding::wrong(
            needs.subject,
            format!(
                "none of the heaps that it opens is there: {}",
                needs.heaps.join(", ")
            ),
            "load the module rk_dma_heap",
        ),
    }];
    findings.push(device(system, &needs));
    findings
}

/// Looks at the device node that a stack opens.
fn device(system: &System, needs: &Needs) -> Finding {
    let Some(path) = needs.devices.iter().find(|path| system.exists(path)) else {
        return Finding::wrong(
            needs.subject,
            format!("{} is missing", needs.devices.join(" or ")),
            needs.device_cure,
        );
    };
    if path.starts_with("/dev/") && !system.may_read_and_write(path) {
        return Finding::wrong(
            needs.subject,
            format!("permission denied for {path}"),
            access::cure(
                system,
                path,
                "write a udev rule that gives it to group video with MODE=\"0660\"",
            ),
        );
    }
    Finding::ok(needs.subject, format!("{path} is there"))
}
