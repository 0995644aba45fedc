// SPDX-License-Identifier: GPL-2.0

//! The kernel, whether the module is loaded, and what the kernel demands of modules.

use super::{
    installed,
    modprobe,
    Finding, //
};
use crate::heaps;
use crate::module;
use crate::parse::kernel_log;
use crate::system::System;
use crate::text::escaped;

const RELEASE: &str = "/proc/sys/kernel/osrelease";
const SIG_ENFORCE: &str = "/sys/module/module/parameters/sig_enforce";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// The state of the module while it is in the kernel. A driver that is built in has none.
const STATE: &str = "/sys/module/rk_dma_heap/initstate";

pub(super) fn examine(system: &System) -> Vec<Finding> {
    let release = system.text(RELEASE).unwrap_or_default();
    let release = release.trim();
    if release.is_empty() {
        return vec![Finding::wrong(
            "kernel",
            "/proc is not mounted",
            "mount -t proc proc /proc",
        )];
    }
    let state = system.text(STATE).unwrap_or_default();
    let shown = escaped(release);
    match state.trim() {
        "live" => {
            let loaded = format!("rk_dma_heap is loaded on kernel {shown}");
            let mut findings = vec![Finding::ok("module", loaded)];
            findings.extend(modprobe::parameters(system));
            findings.extend(left_out(system));
            return findings;
        }
        "" => {}
        other => {
            let change = if other == "coming" {
                "loaded"
            } else {
                "removed"
            };
            let found = format!("rk_dma_heap is being {change} on kernel {shown}");
            return vec![Finding::wrong("module", found, "wait, then look again")];
        }
    }
    if module::is_loaded(system) {
        let found = format!(
            "kernel {shown} has /proc/rk_dmabuf of its own, as Rockchip's kernels do, and \
             rk_dma_heap is not loaded"
        );
        return vec![Finding::note("module", found, None)];
    }
    let mut findings =
        vec![modprobe::kept_out(system).unwrap_or_else(|| installed::examine(system, release))];
    findings.extend(signature(system));
    if !system.names(heaps::CLASS).is_empty() {
        findings.push(Finding::note(
            "kernel",
            "the kernel has heaps of its own, and without the module no others",
            None,
        ));
    }
    findings
}

/// Returns what the module has reported as left out, as far as this user may read the kernel log.
/// Heaps that exist by now were left out of an earlier load.
fn left_out(system: &System) -> Vec<Finding> {
    let log = system.kernel_log();
    let mut messages: Vec<&str> = log
        .lines()
        .filter_map(kernel_log::message)
        .filter_map(|line| line.strip_prefix("rk_dma_heap: "))
        .filter(|message| message.contains("left out"))
        .filter(|message| {
            let heap = message
                .strip_prefix("heap ")
                .and_then(|rest| rest.split(':').next());
            heap.is_none_or(|heap| heaps::node(system, heap).is_err())
        })
        .collect();
    messages.sort_unstable();
    messages.dedup();
    let findings = messages.into_iter();
    findings
        .map(|message| Finding::note("log", escaped(message), None))
        .collect()
}

/// Says whether the kernel refuses modules without a signature.
fn signature(system: &System) -> Option<Finding> {
    let enforced = system
        .text(SIG_ENFORCE)
        .is_some_and(|text| text.trim() == "Y");
    let locked = system
        .text(LOCKDOWN)
        .is_some_and(|text| text.contains("[integrity]") || text.contains("[confidentiality]"));
    let cause = match (enforced, locked) {
        (_, true) => {
            "the kernel is locked down, as with Secure Boot, and refuses modules not signed"
        }
        (true, false) => "module.sig_enforce is set, so the kernel refuses modules not signed",
        (false, false) => return None,
    };
    Some(Finding::note(
        "signature",
        format!("{cause} (Key was rejected by service)"),
        Some("sign the module with a key that the machine knows: docs/secure-boot.md".to_owned()),
    ))
}
