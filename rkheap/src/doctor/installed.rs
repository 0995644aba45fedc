// SPDX-License-Identifier: GPL-2.0

//! For which kernels the module is installed, by a package or by DKMS.

use super::{
    Finding,
    MODULE, //
};
use crate::system::System;
use crate::text::escaped;

/// The folder with the lists of files of each Debian package.
const PACKAGES: &str = "/var/lib/dpkg/info";

/// Packages of the module are named after the kernel's release.
const PACKAGE_PREFIX: &str = "rk-dma-heap-modules-";

/// The folder in which DKMS keeps the module's versions.
const DKMS: &str = "/var/lib/dkms/rk-dma-heap";

/// Where packages and DKMS put the module, in the folder of a kernel's modules.
const PLACES: [&str; 3] = ["updates", "updates/dkms", "extra"];

/// Says why a module that is not loaded and may be is not in the kernel.
pub(super) fn examine(system: &System, release: &str) -> Finding {
    let shown = escaped(release);
    let folder = format!("/lib/modules/{release}");
    let listed = listed(system, &folder);
    match (listed, place(system, &folder)) {
        (Some(path), _) if system.exists(&format!("{folder}/{path}")) => Finding::wrong(
            "module",
            format!("rk_dma_heap is installed for kernel {shown}, and not loaded"),
            "sudo modprobe rk_dma_heap, and read what it says",
        ),
        (_, Some(path)) => Finding::wrong(
            "module",
            format!(
                "{} is there, but modprobe does not know of it",
                escaped(&path)
            ),
            "sudo depmod, then sudo modprobe rk_dma_heap",
        ),
        _ => not_installed(system, release),
    }
}

/// Returns the path of the module in the list that modprobe reads, within `folder`.
fn listed(system: &System, folder: &str) -> Option<String> {
    let list = system.text(&format!("{folder}/modules.dep"))?;
    list.lines()
        .filter_map(|line| line.split(':').next())
        .find(|path| path.rsplit('/').next().is_some_and(is_module_file))
        .map(str::to_owned)
}

/// Returns the path of the module's file.
fn place(system: &System, folder: &str) -> Option<String> {
    PLACES.iter().find_map(|place| {
        let place = format!("{folder}/{place}");
        let name = system
            .names(&place)
            .into_iter()
            .find(|name| is_module_file(name))?;
        Some(format!("{place}/{name}"))
    })
}

/// Returns whether a file holds the module, compressed or not.
fn is_module_file(name: &str) -> bool {
    name.strip_prefix(MODULE)
        .is_some_and(|rest| rest == ".ko" || rest.starts_with(".ko."))
}

/// Says for which kernel the module is installed instead.
fn not_installed(system: &System, release: &str) -> Finding {
    let shown = escaped(release);
    if system.exists(DKMS) {
        return Finding::wrong(
            "module",
            format!("DKMS has rk_dma_heap, but has not built it for kernel {shown}"),
            format!(
                "sudo apt install linux-headers-{shown}, and linux-source of the same version: the \
                 package then builds it, or says why not"
            ),
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
