// SPDX-License-Identifier: GPL-2.0

//! Records and the dma-bufs that they describe: memory is counted until it is given back, and no
//! reader follows a record whose dma-buf is gone.

use crate::exporters::SIZE;
use crate::nodes::{
    self,
    dev,
    record,
    records,
    size, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::dma_buf::Buffer;
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::module::Module;
use guest_support::process::Child;
use guest_support::retry::eventually;
use guest_support::vgem::Vgem;
use std::fs::{
    File,
    OpenOptions, //
};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add("lifetime/path-alone", path_alone);
    tests.add("lifetime/path-alone-own-only", path_alone_own_only);
    tests.add_within(
        Duration::from_secs(120),
        "lifetime/releases-beside-a-reader",
        releases_beside_a_reader,
    );
    tests.add("lifetime/missed-releases", missed_releases);
    tests.add_within(
        Duration::from_secs(120),
        "lifetime/closed-without-events",
        closed_without_events,
    );
    tests.add_within(
        Duration::from_secs(400),
        "lifetime/own-only-beside-paths",
        own_only_beside_paths,
    );
}

/// Opens a descriptor that refers to the path of a buffer and not to its file.
fn open_path(fd: i32) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(format!("/proc/self/fd/{fd}"))
        .with_context(|| format!("cannot open the path of descriptor {fd}"))
}

/// Closes a buffer and checks that it stays in all nodes as long as a path refers to it.
fn hold_by_path(buffer: Buffer, note: &str) -> Result<()> {
    let kib = buffer.size()? as u64 / 1024;
    let inode = buffer.inode()?;
    let total = || -> Result<u64> {
        let text = nodes::read("size")?;
        let number = text.strip_prefix("Total: ").and_then(|text| {
            let end = format!(" KiB{note}\n");
            text.strip_suffix(&end)
        });
        Ok(number.with_context(|| format!("{text:?}"))?.parse()?)
    };
    let with = total()?;
    let path = open_path(buffer.raw_fd())?;
    let listed = || nodes::read("dev").map(|text| text.lines().count());
    let lines = listed()?;
    std::fs::write(nodes::path("peak"), "0")?;
    drop(buffer);
    for _ in 0..10 {
        let is = total()?;
        ensure!(
            is == with,
            "{is} KiB, {with} KiB before the descriptor was closed"
        );
        ensure!(listed()? == lines, "{:?}", nodes::read("dev")?);
        nodes::read("sgt")?;
        let text = nodes::read("buffers")?;
        let start = format!("\n{inode} {} ", kib * 1024);
        ensure!(text.contains(&start), "no {start:?} in {text:?}");
    }
    let peak = nodes::read("peak")?;
    ensure!(
        peak == format!("Peak: {} MiB{note}\n", with / 1024),
        "{peak:?}"
    );
    drop(path);
    let is = total()?;
    ensure!(is == with - kib, "{is} KiB are left of {with} KiB");
    ensure!(listed()? == lines - 1, "{:?}", nodes::read("dev")?);
    Ok(())
}

fn path_alone() -> Result<()> {
    let _module = Module::load("")?;
    hold_by_path(Vgem::open()?.allocate(4 << 20)?, "")?;
    for heap in ["system", "system-uncached", "rk-dma-heap-cma"] {
        hold_by_path(Heap::open(heap)?.allocate(4 << 20)?, "")?;
    }
    // No descriptor refers to the file any more.
    let buffer = Vgem::open()?.allocate(SIZE)?;
    let inode = buffer.inode()?;
    let _path = open_path(buffer.raw_fd())?;
    ensure!(record(inode)?.number("references")? == 1);
    drop(buffer);
    let record = record(inode)?;
    ensure!(record.number("references")? == 0, "{record:?}");
    ensure!(record.field("devices")? == "-", "{record:?}");
    Ok(())
}

fn path_alone_own_only() -> Result<()> {
    let _module = Module::load("track_all=0")?;
    for heap in ["system", "rk-dma-heap-cma"] {
        hold_by_path(
            Heap::open(heap)?.allocate(4 << 20)?,
            " (this module's own buffers only)",
        )?;
    }
    Ok(())
}

/// Kprobes are disarmed until this is dropped.
struct Disarmed;

const KPROBES: &str = "/sys/kernel/debug/kprobes";

impl Disarmed {
    fn new() -> Result<Self> {
        std::fs::write(format!("{KPROBES}/enabled"), "0").context("cannot disarm kprobes")?;
        Ok(Self)
    }
}

impl Drop for Disarmed {
    fn drop(&mut self) {
        let _ = std::fs::write(format!("{KPROBES}/enabled"), "1");
    }
}

/// Returns whether the module learns of releases by a kprobe: with a function tracer it does not.
fn uses_kprobe() -> Result<bool> {
    let list = std::fs::read_to_string(format!("{KPROBES}/list")).context("no list of kprobes")?;
    let uses = list.contains("dma_buf_release") || list.contains("dma_buf_file_release");
    diagnose(match uses {
        true => "releases are reported by a kprobe",
        false => "releases are reported by the function tracer",
    });
    Ok(uses)
}

// Each release is reported, also while several threads and a reader compete for the lock of the
// records.
fn releases_beside_a_reader() -> Result<()> {
    let _module = Module::load("")?;
    uses_kprobe()?;
    let count = checkers::rounds(3000);
    let devices = (0..3).map(|_| Vgem::open()).collect::<Result<Vec<_>>>()?;
    let (before, inodes_before) = (size()?, inodes()?);
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = devices
            .iter()
            .map(|vgem| {
                scope.spawn(move || (0..count).try_for_each(|_| vgem.allocate(4096).map(drop)))
            })
            .collect();
        let reader = scope.spawn(|| repeat(&end, || dev().map(drop)));
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        // Before any result is looked at: the reader ends only then.
        end.store(true, Ordering::Relaxed);
        for result in results {
            result.map_err(|_| anyhow::anyhow!("panicked"))??;
        }
        reader.join().map_err(|_| anyhow::anyhow!("panicked"))?
    })?;
    let text = nodes::read("size")?;
    ensure!(
        text == format!("Total: {before} KiB\n"),
        "{text:?}, before {before} KiB"
    );
    let peak = nodes::read("peak")?;
    ensure!(!peak.contains('('), "{peak:?}");
    eventually(Duration::from_secs(2), || {
        let kept = inodes()?.saturating_sub(inodes_before);
        ensure!(kept < 500, "{kept} inodes of {} are kept", 3 * count);
        Ok(())
    })
}

// An administrator has disarmed all kprobes: what was released is neither counted nor listed.
fn missed_releases() -> Result<()> {
    let _module = Module::load("")?;
    let before = size()?;
    let missed = uses_kprobe()?;
    let kprobes = Disarmed::new()?;
    let vgem = Vgem::open()?;
    let allocate = |count: usize| -> Result<Vec<Buffer>> {
        (0..count).map(|_| vgem.allocate(64 << 10)).collect()
    };
    let gone = allocate(64)?;
    let live = vgem.allocate(SIZE)?;
    let inode = live.inode()?;
    drop(gone);
    for round in 0..20 {
        // Others use the memory of what is gone.
        let files: Vec<_> = (0..200)
            .map(|_| File::open("/proc/self/stat"))
            .collect::<Result<_, _>>()?;
        drop(allocate(8)?);
        let others = allocate(4)?;
        let is = size()?;
        let expected = before + SIZE as u64 / 1024 + 4 * 64;
        ensure!(
            is == expected,
            "round {round}: {is} KiB, expected {expected} KiB"
        );
        let rows = dev()?;
        ensure!(rows.len() == 5, "round {round}: {rows:?}");
        ensure!(rows.iter().all(|row| row.exporter == "drm"), "{rows:?}");
        let all = records()?;
        ensure!(all.len() == 5, "round {round}: {all:?}");
        ensure!(all[4].number("inode")? == inode, "round {round}: {all:?}");
        nodes::read("sgt")?;
        drop(others);
        drop(files);
    }
    // The sum was right whenever it was read, but nobody knows what it was in between.
    std::thread::sleep(Duration::from_millis(1200));
    size()?;
    let peak = nodes::read("peak")?;
    let note = " (inexact: exports or releases were missed)";
    ensure!(
        peak.ends_with(&format!(" MiB{}\n", if missed { note } else { "" })),
        "{peak:?}"
    );
    drop(kprobes);
    std::fs::write(nodes::path("peak"), "0")?;
    nodes::peak()?;
    drop(live);
    ensure!(size()? == before, "{} KiB, before {before} KiB", size()?);
    Ok(())
}

/// Returns the number of inodes that are in use.
fn inodes() -> Result<usize> {
    let text = std::fs::read_to_string("/proc/sys/fs/inode-nr")?;
    let number = text.split_whitespace().next();
    Ok(number.with_context(|| format!("{text:?}"))?.parse()?)
}

// Nobody reads the nodes, and no release is reported: what the records keep is bounded all the
// same. With events, nothing is kept.
fn closed_without_events() -> Result<()> {
    let _module = Module::load("")?;
    uses_kprobe()?;
    let count = checkers::rounds(20_000);
    let vgem = Vgem::open()?;
    let kept_by = |count: usize| -> Result<usize> {
        let before = inodes()?;
        for _ in 0..count {
            drop(vgem.allocate(4096)?);
        }
        std::thread::sleep(Duration::from_millis(200));
        Ok(inodes()?.saturating_sub(before))
    };
    let kprobes = Disarmed::new()?;
    let started = Instant::now();
    let kept = kept_by(count)?;
    // Each export looks at two records, and buries those that have been dead for a second.
    let second = count * 1000 / (started.elapsed().as_millis() as usize).max(1);
    diagnose(&format!(
        "{kept} inodes of {count} are kept, {second} were exported in a second"
    ));
    ensure!(kept < 4 * second + 1000, "{kept} inodes are kept");
    drop(kprobes);
    let kept = kept_by(2000)?;
    ensure!(
        kept < 500,
        "{kept} inodes are kept although releases are reported"
    );
    Ok(())
}

const BUFFER_SIZE: usize = 8192;
const DESCRIPTORS: i32 = 48;

// What lsof does, beside buffers that come and go: the path outlives the file, whose memory is used
// for other files.
fn own_only_beside_paths() -> Result<()> {
    let _module = Module::load("track_all=0")?;
    let reads = checkers::rounds(10_000);
    let heap = Heap::open("system")?;
    let first = heap.allocate(BUFFER_SIZE)?.inode()?;
    let child = Child::run(move || {
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let workers = [
                scope.spawn(|| repeat(&end, come_and_go)),
                scope.spawn(|| repeat(&end, read_links)),
                scope.spawn(|| repeat(&end, hold_paths)),
                scope.spawn(|| repeat(&end, open_files)),
            ];
            let answer = (0..reads).try_for_each(|number| match number % 4 {
                0 => check_dev(),
                1 => check_info(first),
                2 => nodes::read("sgt").map(drop),
                _ => check_buffers(first),
            });
            end.store(true, Ordering::Relaxed);
            for worker in workers {
                worker.join().map_err(|_| anyhow::anyhow!("panicked"))??;
            }
            answer
        })
    })?;
    let mut child = child;
    let verdict = child.wait(Duration::from_secs(380))?;
    ensure!(
        verdict == Some(guest_support::process::Verdict::Passed),
        "{verdict:?}"
    );
    eventually(Duration::from_secs(2), || {
        let text = nodes::read("size")?;
        ensure!(text.starts_with("Total: 0 KiB "), "{text:?}");
        Ok(())
    })
}

fn repeat(end: &AtomicBool, work: impl Fn() -> Result<()>) -> Result<()> {
    while !end.load(Ordering::Relaxed) {
        work()?;
    }
    Ok(())
}

fn come_and_go() -> Result<()> {
    let heaps = [Heap::open("system")?, Heap::open("rk-dma-heap-cma")?];
    for heap in &heaps {
        let _buffers = [heap.allocate(BUFFER_SIZE)?, heap.allocate(BUFFER_SIZE)?];
    }
    Ok(())
}

fn read_links() -> Result<()> {
    for fd in 0..DESCRIPTORS {
        // Most are not open.
        let _ = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    }
    Ok(())
}

fn hold_paths() -> Result<()> {
    let _paths: Vec<_> = (3..DESCRIPTORS)
        .filter_map(|fd| open_path(fd).ok())
        .collect();
    Ok(())
}

fn open_files() -> Result<()> {
    let _files: Vec<_> = (0..16)
        .map(|_| File::open("/proc/self/stat"))
        .collect::<Result<_, _>>()?;
    Ok(())
}

/// Returns the highest inode number that a buffer has by now.
fn newest() -> Result<u64> {
    Heap::open("system")?.allocate(BUFFER_SIZE)?.inode()
}

/// Checks that these are inode numbers of buffers of this test, newest first.
fn check_inodes(inodes: &[u64], first: u64) -> Result<()> {
    let newest = newest()?;
    ensure!(
        inodes.iter().all(|inode| (first..newest).contains(inode))
            && inodes.windows(2).all(|pair| pair[0] > pair[1]),
        "{inodes:?} are not of the buffers from {first} to {newest}"
    );
    Ok(())
}

fn check_buffers(first: u64) -> Result<()> {
    let text = nodes::read("buffers")?;
    let mut inodes = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<_> = line.split(' ').collect();
        ensure!(
            fields.len() == 10
                && fields[1] == BUFFER_SIZE.to_string()
                && ["system", "rk-dma-heap-cma"].contains(&fields[2])
                && fields[8] == "-",
            "{line:?}"
        );
        inodes.push(fields[0].parse()?);
    }
    check_inodes(&inodes, first)
}

fn check_dev() -> Result<()> {
    for line in nodes::read("dev")?.lines().skip(2) {
        let row = nodes::Row::parse(line)?;
        ensure!(
            row.kib == BUFFER_SIZE as u64 / 1024
                && ["system", "rk-dma-heap-cma"].contains(&&*row.exporter)
                && row.rest.is_empty(),
            "{line:?}"
        );
    }
    Ok(())
}

fn check_info(first: u64) -> Result<()> {
    let text = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    let inodes = text
        .lines()
        .filter_map(|line| line.split_once("i_ino = "))
        .map(|(_, inode)| Ok(inode.parse()?))
        .collect::<Result<Vec<_>>>()?;
    check_inodes(&inodes, first)
}
