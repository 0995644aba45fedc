// SPDX-License-Identifier: GPL-2.0

//! How modprobe is configured for the module, see `modprobe.d(5)`.

use super::{
    Finding,
    MODULE, //
};
use crate::system::System;
use crate::text::escaped;
use std::collections::BTreeMap;

/// The folders with files of configuration. One in an earlier folder hides those of the same name
/// in later ones.
const FOLDERS: [&str; 5] = [
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
];

/// Says which parameters are configured: the kernel does not publish those that are in effect.
pub(super) fn parameters(system: &System) -> Option<Finding> {
    let mut set: Vec<String> = Vec::new();
    for file in files(system) {
        for line in system.text(&file).unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            let of_module =
                words.next() == Some("options") && words.next().is_some_and(is_module_name);
            if of_module {
                set.extend(words.map(escaped));
            }
        }
    }
    let cmdline = system.command_line();
    let prefix = format!("{MODULE}.");
    set.extend(
        cmdline
            .split_whitespace()
            .filter_map(|word| word.strip_prefix(&prefix))
            .map(escaped),
    );
    (!set.is_empty()).then(|| {
        let found = format!("its parameters are configured: {}", set.join(" "));
        Finding::note("module", found, None)
    })
}

/// Says which file, or argument of the kernel, keeps the module from being loaded.
pub(super) fn kept_out(system: &System) -> Option<Finding> {
    let cmdline = system.command_line();
    let argument = cmdline.split_whitespace().find(|word| {
        let names = word
            .strip_prefix("module_blacklist=")
            .or_else(|| word.strip_prefix("modprobe.blacklist="));
        names.is_some_and(|names| names.split(',').any(is_module_name))
    });
    let cause = match argument {
        Some(argument) => argument.to_owned(),
        None => files(system).into_iter().find(|file| {
            let text = system.text(file).unwrap_or_default();
            text.lines().any(|line| {
                let mut words = line.split_whitespace();
                // `install` runs a command instead of loading the module.
                matches!(words.next(), Some("blacklist" | "install"))
                    && words.next().is_some_and(is_module_name)
            })
        })?,
    };
    Some(Finding::wrong(
        "module",
        format!("{} keeps rk_dma_heap from being loaded", escaped(&cause)),
        "remove what it says of rk_dma_heap, then sudo modprobe rk_dma_heap",
    ))
}

/// Returns whether modprobe takes `name` for that of the module.
fn is_module_name(name: &str) -> bool {
    name.replace('-', "_") == MODULE
}

/// Returns the files that are in effect, sorted by name as modprobe reads them.
fn files(system: &System) -> Vec<String> {
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        for name in system.names(folder) {
            if name.ends_with(".conf") {
                files
                    .entry(name.clone())
                    .or_insert_with(|| format!("{folder}/{name}"));
            }
        }
    }
    files.into_values().collect()
}
