// SPDX-License-Identifier: GPL-2.0

//! `buffers`: the allocating process of each dma-buf, and its holders.

use crate::exporters::{
    self,
    SIZE, //
};
use crate::nodes::{
    self,
    record,
    records,
    size, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::channel::Channel;
use guest_support::client::{
    self,
    Client, //
};
use guest_support::dma_buf::{
    Buffer,
    SetName, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::process::{
    rename_thread,
    Child,
    CHILD_TIMEOUT, //
};
use guest_support::retry::{
    before,
    eventually, //
};
use guest_support::vgem::Vgem;
use nix::errno::Errno;
use nix::sys::resource::{
    setrlimit,
    Resource, //
};
use nix::sys::signal::Signal;
use std::fs::{
    File,
    OpenOptions, //
};
use std::os::fd::{
    AsFd,
    FromRawFd,
    OwnedFd, //
};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{
    Duration,
    Instant, //
};

pub fn add(tests: &mut Tests) {
    tests.add("buffers/every-exporter", every_exporter);
    tests.add(
        "buffers/names-the-leaking-process",
        names_the_leaking_process,
    );
    tests.add("buffers/holders", holders);
    tests.add("buffers/held-by-the-kernel", held_by_the_kernel);
    tests.add("buffers/from-before-the-module", from_before_the_module);
    tests.add("buffers/odd-names", odd_names);
    tests.add("buffers/first-thread-has-exited", first_thread_has_exited);
    tests.add("buffers/descriptors", descriptors);
    tests.add("buffers/reader-can-be-killed", reader_can_be_killed);
}

fn every_exporter() -> Result<()> {
    let _module = Module::load("")?;
    let all = exporters::all()?;
    ensure!(records()?.len() == all.len(), "{:?}", records()?);
    for exported in &all {
        let info = exported.buffer.info()?;
        let record = record(exported.buffer.inode()?)?;
        ensure!(record.number("size")? == exported.buffer.size()? as u64);
        ensure!(record.field("exporter")? == info.exporter, "{record:?}");
        ensure!(record.number("pid")? == u64::from(std::process::id()));
        ensure!(record.number("age_ms")? < 60_000, "{record:?}");
        ensure!(
            record.number("references")? == info.count as u64,
            "{record:?}, {info:?}"
        );
    }
    Ok(())
}

// A process that keeps a descriptor accounts for the difference between two reads, and is listed.
fn names_the_leaking_process() -> Result<()> {
    let _module = Module::load("")?;
    let before = size()?;
    let (ours, theirs) = Channel::pair()?;
    let mut child = Child::run(move || {
        rename_thread("careless")?;
        let heap = Heap::open("system")?;
        let leaked = heap.allocate(SIZE)?;
        for _ in 0..10 {
            drop(heap.allocate(1 << 20)?);
        }
        theirs.send("working", None)?;
        std::thread::sleep(2 * CHILD_TIMEOUT);
        drop(leaked);
        Ok(())
    })?;
    ours.expect("working")?;
    let lost = size()? - before;
    ensure!(lost == SIZE as u64 / 1024, "{lost} KiB");
    let all = records()?;
    let [record] = &all[..] else {
        anyhow::bail!("other buffers than the leaked one: {all:?}");
    };
    let pid = child.pid();
    ensure!(record.number("pid")? == pid.as_raw() as u64, "{record:?}");
    ensure!(record.field("thread")? == "careless", "{record:?}");
    ensure!(record.number("size")? == SIZE as u64, "{record:?}");
    let holder = format!("{pid}:careless:fd=1:map=0");
    ensure!(
        record.field("holders")? == holder,
        "{record:?}, expected {holder}"
    );
    std::thread::sleep(Duration::from_millis(300));
    let inode = record.number("inode")?;
    let older = crate::nodes::record(inode)?.number("age_ms")?;
    ensure!(older >= record.number("age_ms")? + 300, "{older} ms");
    child.signal(Signal::SIGKILL)?;
    child.wait(CHILD_TIMEOUT)?;
    guest_support::retry::eventually(Duration::from_secs(2), || {
        ensure!(size()? == before, "{} KiB are left", size()? - before);
        Ok(())
    })
}

fn holders() -> Result<()> {
    let _module = Module::load("")?;
    let (ours, theirs) = Channel::pair()?;
    let child = Child::run(move || {
        rename_thread("second")?;
        let buffer = Buffer::from(theirs.expect_fd("take")?);
        let (_first, _second) = (buffer.map()?, buffer.map()?);
        drop(buffer);
        theirs.send("mapped", None)?;
        theirs.expect("end")?;
        Ok(())
    })?;
    let buffer = Heap::open("system")?.allocate(SIZE)?;
    let inode = buffer.inode()?;
    ours.send("take", Some(buffer.as_fd()))?;
    ours.expect("mapped")?;
    let _twice = buffer.duplicate()?;
    let (pid, own) = (child.pid(), std::process::id());
    let found = record(inode)?;
    let mut holders: Vec<_> = found.field("holders")?.split(',').collect();
    holders.sort_unstable();
    let name = std::fs::read_to_string("/proc/self/comm")?;
    let mut expected = [
        format!("{own}:{}:fd=2:map=0", name.trim_end()),
        format!("{pid}:second:fd=0:map=2"),
    ];
    expected.sort_unstable();
    ensure!(holders == expected, "{holders:?}, expected {expected:?}");
    ensure!(found.number("references")? == 4, "{found:?}");
    ours.send("end", None)?;
    child.succeed()
}

fn held_by_the_kernel() -> Result<()> {
    let _module = Module::load("")?;
    client::load("")?;
    let client = Client::open()?;
    let buffer = Vgem::open()?.allocate(SIZE)?;
    let inode = buffer.inode()?;
    let attachment = client.attach(&buffer)?;
    let device = guest_support::dma_buf::attached_devices(&buffer)?;
    drop(buffer);
    let found = record(inode)?;
    ensure!(found.field("holders")? == "-", "{found:?}");
    ensure!(
        found.field("devices")? == device.join(","),
        "{found:?}, {device:?}"
    );
    ensure!(found.number("references")? >= 1, "{found:?}");
    drop(attachment);
    ensure!(record(inode).is_err());
    Ok(())
}

fn from_before_the_module() -> Result<()> {
    let buffer = Vgem::open()?.allocate(SIZE)?;
    let _module = Module::load("")?;
    let found = record(buffer.inode()?)?;
    for column in ["age_ms", "pid", "thread"] {
        ensure!(found.field(column)? == "-", "{found:?}");
    }
    ensure!(found.number("size")? == SIZE as u64, "{found:?}");
    ensure!(found.field("holders")?.contains(":fd=1:map=0"), "{found:?}");
    Ok(())
}

fn odd_names() -> Result<()> {
    let _module = Module::load("")?;
    let child = Child::run(|| {
        rename_thread("a b,c:d\\e\n")?;
        let buffer = Heap::open("system")?.allocate(1)?;
        for (name, shown) in [
            ("a b\tc\nd", "a\\040b\\011c\\012d"),
            ("naïve", "naïve"),
            ("", "-"),
        ] {
            buffer.set_name(name, SetName::Pointer64)?;
            let found = record(buffer.inode()?)?;
            ensure!(found.field("name")? == shown, "{name:?}: {found:?}");
            let thread = found.field("thread")?;
            ensure!(
                thread.starts_with("a\\040b\\054c\\072d\\134e"),
                "{thread:?}"
            );
        }
        Ok(())
    })?;
    child.succeed()
}

// The kernel has closed nothing: the other thread holds all that the process held.
fn first_thread_has_exited() -> Result<()> {
    let _module = Module::load("")?;
    let (ours, theirs) = Channel::pair()?;
    let child = Child::run(move || {
        rename_thread("first")?;
        let buffer = Heap::open("system")?.allocate(SIZE)?;
        std::mem::forget(buffer.map()?);
        theirs.send("take", Some(buffer.as_fd()))?;
        let thread = std::thread::spawn(move || {
            let _held = buffer;
            // The first thread is a zombie by then.
            std::thread::sleep(Duration::from_millis(300));
            let _ = theirs.send("alone", None);
            std::thread::sleep(2 * CHILD_TIMEOUT);
        });
        // SAFETY: The thread ends here. Nothing on its stack is used by the other one.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        drop(thread);
        Ok(())
    })?;
    let buffer = Buffer::from(ours.expect_fd("take")?);
    ours.expect("alone")?;
    let found = record(buffer.inode()?)?;
    let holder = format!("{}:first:fd=1:map=1", child.pid());
    ensure!(
        found
            .field("holders")?
            .split(',')
            .any(|found| found == holder),
        "{found:?}, expected {holder}"
    );
    Ok(())
}

fn descriptors() -> Result<()> {
    const HIGH: i32 = 70_000;
    let _module = Module::load("")?;
    let buffer = Heap::open("system")?.allocate(SIZE)?;
    let inode = buffer.inode()?;
    let expect = |fds: &str| {
        let found = record(inode)?;
        let holders = found.field("holders")?;
        ensure!(holders.ends_with(fds), "{found:?}, expected {fds}");
        Ok(())
    };
    expect(":fd=1:map=0")?;
    // A descriptor that gives no access to the memory.
    let path = format!("/proc/self/fd/{}", buffer.raw_fd());
    let _path = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(&path)?;
    expect(":fd=1:map=0")?;
    // A descriptor far behind all others.
    setrlimit(Resource::RLIMIT_NOFILE, 80_000, 80_000)?;
    // SAFETY: No descriptor has that number.
    let _high = unsafe {
        Errno::result(libc::dup2(buffer.raw_fd(), HIGH))?;
        OwnedFd::from_raw_fd(HIGH)
    };
    expect(":fd=2:map=0")
}

// vgem waits for the reservation lock of a buffer that is being mapped. Until then nobody can look
// at the mappings of that process.
fn reader_can_be_killed() -> Result<()> {
    let _module = Module::load("")?;
    client::load("")?;
    let buffer = Vgem::open()?.allocate(SIZE)?;
    let unprepared = || Ok(());
    let (waited, killed) = before(HELD, unprepared, || {
        let start = Instant::now();
        let (ours, theirs) = Channel::pair()?;
        let busy = Child::run(|| map_while_locked(&buffer, theirs))?;
        ours.expect("locked")?;
        busy.wait_until_blocked()?;
        let mut reader = Child::run(|| {
            // The processes are visited when the node is opened.
            File::open(nodes::path("buffers"))?;
            Ok(())
        })?;
        let waited = reader.wait(Duration::from_millis(500))?.is_none();
        let killed = reader.kill(Duration::from_secs(2));
        let passed = start.elapsed();
        ensure!(passed < HELD, "{passed:?} passed, so the lock was free");
        Ok((waited, killed))
    })?;
    ensure!(waited, "the reader has not waited for the process");
    killed
}

/// How long the reservation lock is held.
const HELD: Duration = Duration::from_secs(8);

/// Maps a buffer while another thread holds its reservation lock, and sends a word before.
fn map_while_locked(buffer: &Buffer, channel: Channel) -> Result<()> {
    let client = Client::open()?;
    let attachment = client.attach(buffer)?;
    std::thread::scope(|scope| {
        let milliseconds = HELD.as_millis().try_into()?;
        let holder = scope.spawn(move || attachment.hold(milliseconds));
        // `sgt` shows whether somebody holds the lock.
        eventually(HELD, || {
            let text = nodes::read("sgt")?;
            ensure!(text.contains(" (in use)"), "nobody holds the lock: {text}");
            Ok(())
        })?;
        channel.send("locked", None)?;
        drop(buffer.map()?);
        holder.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        Ok(())
    })
}
