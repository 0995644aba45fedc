// SPDX-License-Identifier: GPL-2.0

//! The kernel, the module for it, and what the kernel demands of modules.

use super::Finding;
use crate::heaps;
use crate::module;
use crate::system::System;
use crate::text::escaped;

const RELEASE: &str = "/proc/sys/kernel/osrelease";
const SIG_ENFORCE: &str = "/sys/module/module/parameters/sig_enforce";
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const MODULE: &str = "rk_dma_heap";
const CONFIGURATION: [&str; 3] = ["/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d"];

/// The folder with the lists of files of each Debian package.
const PACKAGES: &str = "/var/lib/dpkg/info";

/// Packages of the module are named after the kernel's release.
const PACKAGE_PREFIX: &str = "rk-dma-heap-modules-";

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
    if module::is_loaded(system) {
        let loaded = format!("rk_dma_heap is loaded on kernel {}", escaped(release));
        let mut findings = vec![Finding::ok("module", loaded)];
        findings.extend(parameters(system));
        findings.extend(left_out(system));
        return findings;
    }
    let mut findings = vec![not_loaded(system, release)];
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

/// Says which parameters are configured: the kernel does not publish those that are in effect.
fn parameters(system: &System) -> Option<Finding> {
    let mut set: Vec<String> = Vec::new();
    for file in configuration(system) {
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

/// Returns what the module has reported as left out, as far as this user may read the kernel log.
fn left_out(system: &System) -> Vec<Finding> {
    let log = system.kernel_log();
    log.lines()
        .filter_map(|line| line.split_once("rk_dma_heap: "))
        .map(|(_, message)| message)
        .filter(|message| message.contains("left out"))
        .map(|message| Finding::note("log", escaped(message), None))
        .collect()
}

/// Says why the module is not loaded.
fn not_loaded(system: &System, release: &str) -> Finding {
    let shown = escaped(release);
    if let Some(file) = blacklisted(system) {
        return Finding::wrong(
            "module",
            format!("{} keeps rk_dma_heap from being loaded", escaped(&file)),
            "remove what it says of rk_dma_heap, then sudo modprobe rk_dma_heap",
        );
    }
    let modules = system.text(&format!("/lib/modules/{release}/modules.dep"));
    let installed = modules.is_some_and(|modules| {
        modules
            .lines()
            .filter_map(|line| line.split(':').next())
            .any(|path| path.rsplit('/').next().is_some_and(is_module_file))
    });
    if installed {
        return Finding::wrong(
            "module",
            format!("rk_dma_heap is installed for kernel {shown}, and not loaded"),
            "sudo modprobe rk_dma_heap, and read what it says",
        );
    }
    let others = packaged_releases(system);
    if others.is_empty() {
        return Finding::wrong(
            "module",
            format!("rk_dma_heap is not installed for kernel {shown}"),
            format!(
                "sudo apt install ./{PACKAGE_PREFIX}{}_*.deb, or rk-dma-heap-dkms, which builds it",
                package_release(release)
            ),
        );
    }
    Finding::wrong(
        "module",
        format!(
            "rk_dma_heap is installed for kernel {}, but kernel {shown} runs",
            escaped(&others.join(", "))
        ),
        "boot that kernel, or install the package for this one, or rk-dma-heap-dkms",
    )
}

fn is_module_file(name: &str) -> bool {
    name.split('.').next() == Some(MODULE)
}

/// Returns the file, or the argument of the kernel, that keeps the module from being loaded.
fn blacklisted(system: &System) -> Option<String> {
    let cmdline = system.command_line();
    let argument = cmdline.split_whitespace().find(|word| {
        let names = word
            .strip_prefix("module_blacklist=")
            .or_else(|| word.strip_prefix("modprobe.blacklist="));
        names.is_some_and(|names| names.split(',').any(is_module_name))
    });
    if let Some(argument) = argument {
        return Some(argument.to_owned());
    }
    configuration(system).into_iter().find(|file| {
        let text = system.text(file).unwrap_or_default();
        text.lines().any(|line| {
            let mut words = line.split_whitespace();
            // `install` runs a command instead of loading the module.
            matches!(words.next(), Some("blacklist" | "install"))
                && words.next().is_some_and(is_module_name)
        })
    })
}

/// Returns whether modprobe takes `name` for that of the module.
fn is_module_name(name: &str) -> bool {
    name.replace('-', "_") == MODULE
}

/// Returns the files that configure how modules are loaded.
fn configuration(system: &System) -> Vec<String> {
    let files = CONFIGURATION.iter().flat_map(|folder| system.files(folder));
    files.filter(|file| file.ends_with(".conf")).collect()
}

/// Returns the releases for which a package with the module is installed.
fn packaged_releases(system: &System) -> Vec<String> {
    system
        .names(PACKAGES)
        .iter()
        .filter_map(|name| name.strip_prefix(PACKAGE_PREFIX)?.strip_suffix(".list"))
        .map(|release| release.split(':').next().unwrap_or(release).to_owned())
        .collect()
}

/// Returns a release as names of packages have it.
fn package_release(release: &str) -> String {
    escaped(release).replace('_', "-")
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
