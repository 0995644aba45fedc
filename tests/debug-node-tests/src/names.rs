// SPDX-License-Identifier: GPL-2.0

//! Default names, PID-THREADNAME, of buffers without a name.

use crate::exporters;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::checkers;
use guest_support::dma_buf::{
    Buffer,
    SetName, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::process::{
    rename_thread,
    Child, //
};
use guest_support::vgem::Vgem;
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};

pub fn add(tests: &mut Tests) {
    tests.add("names/every-exporter", every_exporter);
    tests.add("names/of-threads", of_threads);
    tests.add("names/set-later-wins", set_later_wins);
    tests.add("names/renamed-in-flight", renamed_in_flight);
    tests.add("names/switched-off", switched_off);
    tests.add("names/own-buffers-only", own_buffers_only);
    tests.add("names/outlive-the-module", outlive_the_module);
}

fn name(buffer: &Buffer) -> Result<Option<String>> {
    Ok(buffer.info()?.name)
}

/// Returns the expected name of a buffer of this process and a thread with that name.
fn expected(thread: &str) -> String {
    let whole = format!("{}-{thread}", std::process::id());
    let cut = (0..=16.min(whole.len())).rev();
    let cut = cut.clone().find(|at| whole.is_char_boundary(*at));
    whole[..cut.unwrap_or(0)].to_owned()
}

fn every_exporter() -> Result<()> {
    let _module = Module::load("")?;
    let thread = std::fs::read_to_string("/proc/thread-self/comm")?;
    let thread = thread.trim_end();
    for exported in exporters::all()? {
        let expected = match exported.exporter {
            // The vendor's programs expect the thread name alone.
            "rk-dma-heap-cma" => thread.to_owned(),
            _ => expected(thread),
        };
        let name = name(&exported.buffer)?;
        ensure!(
            name.as_deref() == Some(&*expected),
            "{}: {name:?}, expected {expected:?}",
            exported.exporter
        );
    }
    Ok(())
}

fn of_threads() -> Result<()> {
    let _module = Module::load("")?;
    let child = Child::run(|| {
        let (heap, vgem) = (Heap::open("system")?, Vgem::open()?);
        // The kernel keeps 15 bytes of a thread's name, which cuts the last one of these within a
        // character.
        for thread in [
            "x",
            "allocator@4.0-s",
            "",
            "größe",
            "ÄÖÜäöüß",
            "日本語の名前",
            "emoji🦀🦀🦀",
        ] {
            rename_thread(thread)?;
            let kept = String::from_utf8_lossy(&thread.as_bytes()[..thread.len().min(15)])
                .trim_end_matches('\u{fffd}')
                .to_owned();
            let expected = expected(&kept);
            for buffer in [heap.allocate(1)?, vgem.allocate(4096)?] {
                let name = name(&buffer)?.unwrap_or_default();
                ensure!(
                    name == expected,
                    "{thread:?}: {name:?}, expected {expected:?}"
                );
                ensure!(name.len() <= 16);
            }
        }
        Ok(())
    })?;
    child.succeed()
}

fn set_later_wins() -> Result<()> {
    let _module = Module::load("")?;
    for exported in exporters::all()? {
        exported.buffer.set_name("mine", SetName::Pointer64)?;
        let name = name(&exported.buffer)?;
        ensure!(
            name.as_deref() == Some("mine"),
            "{}: {name:?}",
            exported.exporter
        );
    }
    Ok(())
}

// One thread allocates while another one changes the first one's name: a buffer has one name or the
// other. The kernel changes thread names without a lock, so a reader may rarely see a mixture of
// both; that is valid text too.
fn renamed_in_flight() -> Result<()> {
    const NAMES: [&str; 2] = ["aaaaaaaaaaaaaaa", "b"];
    let count = checkers::rounds(3000);
    let _module = Module::load("")?;
    let child = Child::run(|| {
        let done = AtomicBool::new(false);
        let comm = format!("/proc/self/task/{}/comm", nix::unistd::gettid());
        rename_thread(NAMES[0])?;
        std::thread::scope(|scope| {
            let renamer = scope.spawn(|| -> Result<usize> {
                let mut count = 0;
                while !done.load(Ordering::Relaxed) {
                    std::fs::write(&comm, NAMES[count % 2])?;
                    count += 1;
                }
                Ok(count)
            });
            let allocate = || -> Result<[usize; 3]> {
                let heap = Heap::open("system")?;
                let mut seen = [0; 3];
                let pid = expected("");
                for _ in 0..count {
                    let name = name(&heap.allocate(1)?)?.unwrap_or_default();
                    let which = NAMES.iter().position(|thread| name == expected(thread));
                    seen[which.unwrap_or(2)] += 1;
                    let thread = name.strip_prefix(&pid);
                    let thread = thread.with_context(|| format!("{name:?} without {pid:?}"))?;
                    let text = thread.bytes().all(|byte| matches!(byte, b'a' | b'b'));
                    ensure!(text && name.len() <= 16, "{name:?} is not a valid name");
                }
                let [long, short, neither] = seen;
                ensure!(long > 0 && short > 0 && neither * 100 < count, "{seen:?}");
                Ok(seen)
            };
            let seen = allocate();
            done.store(true, Ordering::Relaxed);
            let renamed = renamer.join().map_err(|_| anyhow::anyhow!("panicked"))??;
            let seen = seen?;
            guest_support::ktap::diagnose(&format!(
                "[first name, second name, mixture] = {seen:?}, renamed {renamed} times"
            ));
            Ok(())
        })
    })?;
    child.succeed()
}

fn switched_off() -> Result<()> {
    let _module = Module::load("default_names=0")?;
    for exported in exporters::all()? {
        let name = name(&exported.buffer)?;
        let given = (exported.exporter == "rk-dma-heap-cma").then_some("debug-node-test");
        ensure!(name.as_deref() == given, "{}: {name:?}", exported.exporter);
    }
    Ok(())
}

fn own_buffers_only() -> Result<()> {
    let _module = Module::load("track_all=0")?;
    let name = name(&Heap::open("system")?.allocate(1)?)?;
    ensure!(
        name.is_some_and(|name| name.starts_with(&format!("{}-", std::process::id()))),
        "a buffer of the module itself has no name"
    );
    // Buffers of others are none of its business.
    for exported in exporters::others()? {
        let name = self::name(&exported.buffer)?;
        ensure!(name.is_none(), "{}: {name:?}", exported.exporter);
    }
    Ok(())
}

fn outlive_the_module() -> Result<()> {
    let module = Module::load("")?;
    let buffer = Vgem::open()?.allocate(4096)?;
    let before = name(&buffer)?;
    ensure!(before.is_some());
    drop(module);
    ensure!(name(&buffer)? == before);
    Ok(())
}
