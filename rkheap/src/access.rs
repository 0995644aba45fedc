// SPDX-License-Identifier: GPL-2.0

//! How this user gets the right to open a device node.

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

/// What gives the nodes of heaps to a group.
pub const HEAP_RULE: &str =
    "install rk-dma-heap-common, whose udev rule gives the nodes to group video";

/// Returns how this user gets access to a node. `rule` is what gives it to the group `video`, if no
/// group has access.
pub fn cure(system: &System, node: &str, rule: &str) -> String {
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
