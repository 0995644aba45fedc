// SPDX-License-Identifier: GPL-2.0

//! The device nodes of the heaps, and who may open them.

use super::Finding;
use crate::access;
use crate::heaps::{
    CLASS,
    FOLDERS, //
};
use crate::system::System;
use crate::text;

pub(super) fn examine(system: &System) -> Vec<Finding> {
    let nodes: Vec<String> = FOLDERS
        .iter()
        .flat_map(|folder| system.files(folder))
        .collect();
    let devices = system.names(CLASS);
    if nodes.is_empty() && devices.is_empty() {
        return vec![Finding::wrong(
            "nodes",
            "/dev/dma_heap has no heaps",
            "load the module first",
        )];
    }
    if nodes.is_empty() {
        return vec![Finding::wrong(
            "nodes",
            "the kernel has heaps, but /dev has no nodes of them",
            "mount -t devtmpfs devtmpfs /dev; a container needs --device /dev/dma_heap/NAME",
        )];
    }
    // Programs open them for reading, libcamera for writing too.
    let denied: Vec<&String> = nodes
        .iter()
        .filter(|node| !system.may_read_and_write(node))
        .collect();
    let Some(first) = denied.first() else {
        return vec![Finding::ok(
            "nodes",
            if system.is_running() {
                format!(
                    "{}, and this user may open {}",
                    text::plural(nodes.len(), "heap"),
                    if nodes.len() == 1 { "it" } else { "all" }
                )
            } else {
                text::plural(nodes.len(), "heap")
            },
        )];
    };
    vec![Finding::wrong(
        "nodes",
        format!(
            "permission denied for {} of {}, for example {}",
            denied.len(),
            text::plural(nodes.len(), "heap"),
            text::escaped(first)
        ),
        access::cure(system, first, access::HEAP_RULE),
    )]
}
