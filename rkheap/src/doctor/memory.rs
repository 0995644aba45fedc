// SPDX-License-Identifier: GPL-2.0

//! Contiguous memory, RAM that 32-bit devices cannot reach, and IOMMUs.

use super::Finding;
use crate::areas::{
    self,
    page_size,
    Areas, //
};
use crate::heaps;
use crate::module;
use crate::ranges::Ranges;
use crate::system::System;
use crate::text;

const IOMMUS: &str = "/sys/class/iommu";
const ZONES: &str = "/proc/zoneinfo";

/// What states whether the kernel has real-time preemption, and whether no grace period of RCU is
/// expedited.
const VERSION: &str = "/proc/sys/kernel/version";
const RCU_NORMAL: &str = "/sys/kernel/rcu_normal";

/// Less contiguous memory than this is not enough for decoding of 4K video.
const SMALL: u64 = 128 << 20;

pub(super) fn examine(system: &System) -> Vec<Finding> {
    let cmdline = system.command_line();
    let mut findings = vec![area(system, &cmdline)];
    if has_word(&cmdline, |word| word.starts_with("rk_dma_heap_cma=")) {
        findings.push(Finding::note(
            "cmdline",
            "rk_dma_heap_cma= is an argument of a vendor's kernel and has no effect here",
            Some("write cma= instead, or a node in the device tree".to_owned()),
        ));
    }
    let forces_bounces = |word: &str| {
        let options = word.strip_prefix("swiotlb=");
        options.is_some_and(|options| options.split(',').any(|option| option == "force"))
    };
    if has_word(&cmdline, forces_bounces) {
        findings.push(Finding::wrong(
            "cmdline",
            "swiotlb=force puts a copy between each device and its buffer, so heaps with uncached \
             memory are left out",
            "remove swiotlb=force from the kernel's command line",
        ));
    }
    let iommus = system.names(IOMMUS);
    findings.push(match iommus.len() {
        0 => Finding::note(
            "iommu",
            "there is none, so a device without scatter-gather needs contiguous memory",
            None,
        ),
        count => Finding::ok("iommu", text::plural(count, "IOMMU")),
    });
    findings.extend(high_ram(system));
    findings.extend(grace_periods(system));
    findings
}

fn has_word(cmdline: &str, test: impl Fn(&str) -> bool) -> bool {
    cmdline.split_whitespace().any(test)
}

/// Looks at the default area, and at the RAM that its heaps may take beside it.
fn area(system: &System, cmdline: &str) -> Finding {
    let areas = Areas::read(system);
    let in_ram = left_in_ram(system, &areas);
    let default = areas.all.iter().find(|area| area.is_default);
    let Some(default) = default else {
        return without_area(system, cmdline, in_ram);
    };
    let name = text::escaped(&default.name);
    let (Some(size), Some(free)) = (default.size, default.available) else {
        return Finding::note(
            "area",
            format!("the default area {name} has an unknown size"),
            None,
        );
    };
    let found = format!(
        "the default area {name} has {}, of which {} are free",
        text::size(size),
        text::size(free)
    );
    match in_ram {
        Some(left) => Finding::ok(
            "area",
            format!("{found}; up to {} more come from RAM", text::size(left)),
        ),
        None if size < SMALL => Finding::note(
            "area",
            format!("{found}; 4K video takes more than {}", text::size(SMALL)),
            Some("boot with cma=256M, or name the area in the device tree".to_owned()),
        ),
        None => Finding::ok("area", found),
    }
}

/// Returns how much the heaps over the default area may still take from RAM. `None` if they may
/// not, or if it is unknown.
fn left_in_ram(system: &System, areas: &Areas) -> Option<u64> {
    let heaps = heaps::all(system, areas, &Ranges::read(system));
    heaps.iter().find(|heap| heap.heap == "cma")?.beyond_left
}

/// Looks at a kernel without a default area.
fn without_area(system: &System, cmdline: &str, in_ram: Option<u64>) -> Finding {
    if let Some(left) = in_ram {
        let found = format!(
            "the kernel has no default contiguous area; contiguous heaps take up to {} from RAM",
            text::size(left)
        );
        return Finding::ok("area", found);
    }
    let cause = if has_word(cmdline, |word| word == "cma=0") {
        "cma=0 on the command line removes the default contiguous area"
    } else if system.exists(areas::SYSFS) {
        "the kernel has no default contiguous area"
    } else {
        // Without their list in sysfs, areas are known from the device tree only.
        return Finding::note("area", "this kernel does not list its areas", None);
    };
    if !module::is_loaded(system) {
        return Finding::note(
            "area",
            format!("{cause}; contiguous heaps take RAM once the module is loaded"),
            None,
        );
    }
    Finding::wrong(
        "area",
        format!("{cause}, and the module takes no RAM for its heaps"),
        "load the module without contig_max_percent=0, or boot with cma=256M",
    )
}

/// Looks for a kernel that waits for a whole grace period before it migrates pages of an area.
fn grace_periods(system: &System) -> Option<Finding> {
    let is = |file, test: fn(&str) -> bool| system.text(file).is_some_and(|text| test(text.trim()));
    let is_real_time = is(VERSION, |text| {
        text.split(' ').any(|word| word == "PREEMPT_RT")
    });
    (is_real_time && is(RCU_NORMAL, |text| text == "1")).then(|| {
        Finding::note(
            "realtime",
            "with real-time preemption each new range of contiguous memory waits for a grace \
             period of RCU, some 10 ms",
            Some(
                "allocate before the work begins; or echo 0 | sudo tee /sys/kernel/rcu_normal, \
                 which lets each of them interrupt all CPUs for a moment"
                    .to_owned(),
            ),
        )
    })
}

/// Looks for RAM above 4 GiB.
fn high_ram(system: &System) -> Option<Finding> {
    let zones = system.text(ZONES)?;
    let end = zones.split("Node ").filter_map(end_of_zone).max()?;
    (end.saturating_mul(page_size()) > 4 << 30).then(|| {
        Finding::note(
            "ram",
            "there is RAM above 4 GiB, which devices with 32-bit addresses (RGA2) cannot reach",
            Some("for these use system-dma32, system-uncached-dma32 or cma".to_owned()),
        )
    })
}

/// Returns the page frame number after the last one of a zone with RAM, from its part of the file.
fn end_of_zone(zone: &str) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let rest = zone
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))?;
        rest.trim_start_matches(':').trim().parse().ok()
    };
    let present = number("present")?;
    let end = number("start_pfn")?.checked_add(number("spanned")?)?;
    (present > 0).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_without_ram_have_no_end() {
        let zone = |present| {
            format!(
                "0, zone  DMA\n  pages free 1\n        spanned  262144\n\
                 \x20       present  {present}\n  start_pfn:           262144\n"
            )
        };
        assert_eq!(end_of_zone(&zone(5)), Some(524_288));
        assert_eq!(end_of_zone(&zone(0)), None);
        assert_eq!(end_of_zone(""), None);
    }
}
