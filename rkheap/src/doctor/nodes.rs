// SPDX-License-Identifier: GPL-2.0

//! The device nodes of the heaps, and who may open them.

use super::Finding;
use crate::heaps::{
    CLASS,
    FOLDERS, //
};
use crate::system::System;
use crate::text;
use nix::sys::stat::Mode;
use nix::unistd::{
    Gid,
    Group,
    Uid,
    User, //
};
use std::os::unix::fs::MetadataExt;

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
        access_cure(
            system,
            first,
            "install rk-dma-heap-common, whose udev rule gives the nodes to group video",
        ),
    )]
}

/// Returns how this user gets access to a node. `rule` is what gives it to the group `video`, if no
/// group has access.
pub(super) fn access_cure(system: &System, node: &str, rule: &str) -> String {
    let of_group = (Mode::S_IRGRP | Mode::S_IWGRP).bits();
    let user = User::from_uid(Uid::current()).ok().flatten();
    let user = user.map_or("USER".to_owned(), |user| text::escaped(&user.name));
    let metadata = std::fs::metadata(system.path(node)).ok();
    let group = metadata
        .filter(|metadata| metadata.gid() != 0 && metadata.mode() & of_group == of_group)
        .and_then(|metadata| {
            Group::from_gid(Gid::from_raw(metadata.gid()))
                .ok()
                .flatten()
        });
    match group {
        Some(group) => format!(
            "sudo adduser {user} {}, then log in again",
            text::escaped(&group.name)
        ),
        None => format!("{rule}, then sudo adduser {user} video, and log in again"),
    }
}
