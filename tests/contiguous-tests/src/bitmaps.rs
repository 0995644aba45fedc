// SPDX-License-Identifier: GPL-2.0

//! `/proc/rk_dma_heap/alloc_bitmap`, `/proc/rk_cma/AREA` and the vendor's names of the list of
//! allocations. The kernel's own counters in sysfs are the reference.

use crate::areas::{
    self,
    Area, //
};
use crate::trees::Tree;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::errno_of;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::page_size;
use guest_support::process::Child;
use nix::errno::Errno;

const ROCKCHIP: &str = "rk-dma-heap-cma";
const OWN: &str = "/proc/rk_dma_heap/alloc_bitmap";
const AREAS: &str = "/proc/rk_cma";

pub fn add(tests: &mut Tests, tree: &'static Tree) {
    tests.add("bitmap/areas", every_area);
    tests.add("bitmap/allocation", || allocation(tree));
    tests.add("bitmap/for-administrators", for_administrators);
    tests.add("bitmap/list-by-other-names", list_by_other_names);
}

/// The content of a file: sizes in KiB, and whether each page is allocated.
struct Bitmap {
    total: usize,
    used: usize,
    pages: Vec<bool>,
}

impl Bitmap {
    fn read(path: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&text).with_context(|| format!("{path}: {text:?}"))
    }

    /// Parses the file and checks its format.
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let mut kib = |label: &str| -> Result<usize> {
            let line = lines.next().context("incomplete")?;
            let number = line
                .strip_prefix(label)
                .and_then(|n| n.strip_suffix(" KiB"));
            Ok(number.with_context(|| format!("no {label:?}"))?.parse()?)
        };
        let (total, used) = (kib("Total: ")?, kib(" Used: ")?);
        ensure!(lines.next() == Some(""), "no empty line");
        let count = total * 1024 / page_size();
        let mut pages = Vec::new();
        let mut left = count.div_ceil(32);
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            ensure!(
                words.len() == left.min(8),
                "{line:?} with {left} words left"
            );
            left -= words.len();
            for word in words {
                let valid = |digit: u8| matches!(digit, b'0'..=b'9' | b'A'..=b'F');
                ensure!(word.len() == 8 && word.bytes().all(valid), "{word:?}");
                let bits = u32::from_str_radix(word, 16)?;
                pages.extend((0..32).map(|bit| (bits >> bit) & 1 == 1));
            }
        }
        ensure!(left == 0, "{left} words are missing");
        ensure!(text.ends_with('\n'), "the last line is incomplete");
        let behind = pages.split_off(count);
        ensure!(!behind.contains(&true), "pages behind the area");
        let set = pages.iter().filter(|page| **page).count();
        ensure!(set * page_size() == used * 1024, "{set} bits are set");
        Ok(Bitmap { total, used, pages })
    }

    /// Checks the sizes against the kernel's own counters.
    fn check(&self, area: &Area) -> Result<()> {
        let used = area.total - area.available;
        ensure!(
            (self.total, self.used) == (area.total / 1024, used / 1024),
            "{} KiB, of which {} are used; {area:?}",
            self.total,
            self.used
        );
        Ok(())
    }
}

fn every_area() -> Result<()> {
    let mut found: Vec<_> = std::fs::read_dir(AREAS)
        .with_context(|| format!("cannot list {AREAS}"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    found.sort();
    let areas = areas::all()?;
    ensure!(
        found.iter().eq(areas.iter().map(|area| &area.name)),
        "{found:?} for {areas:?}"
    );
    areas::retry(|| {
        for area in areas::all()? {
            Bitmap::read(&format!("{AREAS}/{}", area.name))?.check(&area)?;
        }
        Ok(())
    })
}

// The bits of a buffer are set while it is alive, and no others change.
fn allocation(tree: &Tree) -> Result<()> {
    let name = tree.rockchip.unwrap_or(tree.default_name);
    let client = areas::client()?;
    let heap = Heap::open(ROCKCHIP)?;
    areas::retry(|| {
        let before = Bitmap::read(OWN)?;
        let buffers = (heap.allocate(77 * page_size())?, heap.allocate(1)?);
        let ranges = [
            areas::range_of(&client, &buffers.0)?,
            areas::range_of(&client, &buffers.1)?,
        ];
        let now = Bitmap::read(OWN)?;
        now.check(&areas::find(name)?)?;
        let changed: Vec<usize> = (0..now.pages.len())
            .filter(|page| now.pages[*page] != before.pages[*page])
            .collect();
        ensure!(changed.len() == 78, "pages {changed:?}");
        ensure!(changed.iter().all(|page| now.pages[*page]), "{changed:?}");
        // The heap packs its buffers, so the bits tell the base of the area.
        let mut frames: Vec<u64> = ranges
            .iter()
            .flat_map(|range| (range.base..range.end()).step_by(page_size()))
            .collect();
        frames.sort_unstable();
        let base = frames[0] - (changed[0] * page_size()) as u64;
        for (page, frame) in changed.iter().zip(frames) {
            ensure!(base + (page * page_size()) as u64 == frame, "{changed:?}");
        }
        let same = Bitmap::read(&format!("{AREAS}/{name}"))?;
        ensure!(same.pages == now.pages, "{AREAS}/{name} differs");
        drop(buffers);
        let after = Bitmap::read(OWN)?;
        ensure!(after.pages == before.pages, "pages stay allocated");
        Ok(())
    })
}

fn for_administrators() -> Result<()> {
    let name = &areas::all()?.first().context("no area")?.name.clone();
    let paths = [OWN.to_owned(), format!("{AREAS}/{name}")];
    let refused = |paths: &[String], errno: Errno| -> Result<()> {
        for path in paths {
            let answer = std::fs::read(path);
            ensure!(
                answer.is_err_and(|error| errno_of(&error) == errno),
                "{path} is not refused with {errno}"
            );
        }
        Ok(())
    };
    for path in &paths {
        std::fs::read(path)?;
    }
    Child::run(|| {
        nix::unistd::setuid(nix::unistd::Uid::from_raw(65534))?;
        refused(&paths, Errno::EACCES)
    })?
    .succeed()?;
    // Root of a user namespace, as in a container.
    Child::run(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)?;
        refused(&paths, Errno::EPERM)
    })?
    .succeed()
}

fn list_by_other_names() -> Result<()> {
    let debugfs = "/sys/kernel/debug";
    let _buffer = Heap::open(ROCKCHIP)?.allocate(1)?;
    let expected = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    ensure!(expected.contains("Alloc by"), "{expected:?}");
    for path in [
        "/proc/rk_dma_heap/dma_heap_info".to_owned(),
        format!("{debugfs}/rk_dma_heap/dma_heap_info"),
    ] {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        ensure!(text == expected, "{path}: {text:?}, not {expected:?}");
    }
    Ok(())
}
