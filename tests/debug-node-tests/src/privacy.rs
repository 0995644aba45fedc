// SPDX-License-Identifier: GPL-2.0

//! What readers without capabilities see and may change: ordinary users, and the root of a
//! container, which is user 0 without capabilities or owns a user namespace.

use crate::exporters::SIZE;
use crate::nodes;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::channel::Channel;
use guest_support::dma_buf::{
    Buffer,
    SetName, //
};
use guest_support::errno_of;
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::module::Module;
use guest_support::process::{
    become_ordinary_user,
    Child, //
};
use nix::errno::Errno;
use std::fs::OpenOptions;
use std::os::fd::AsFd;
use std::process::Command;

pub fn add(tests: &mut Tests) {
    tests.add("access/names-of-others", names_of_others);
    tests.add("access/roots-of-containers", roots_of_containers);
}

/// A task that the nodes must not trust.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// User 65534.
    Ordinary,
    /// User 0 without capabilities.
    Powerless,
    /// User 0 of a user namespace of its own, with all capabilities in it.
    Namespace,
}

const READERS: [Reader; 3] = [Reader::Ordinary, Reader::Powerless, Reader::Namespace];

/// Clears all capabilities of this process.
fn drop_capabilities() -> Result<()> {
    // `_LINUX_CAPABILITY_VERSION_3`, and 0 for this thread.
    let header: [u32; 2] = [0x2008_0522, 0];
    let none = [0u32; 6];
    // SAFETY: The call reads a header and two sets of three words.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
    Errno::result(result).context("cannot drop capabilities")?;
    Ok(())
}

/// Moves this process to a new user namespace, as its root.
fn enter_namespace() -> Result<()> {
    // SAFETY: The call has no memory arguments.
    Errno::result(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).context("no user namespace")?;
    std::fs::write("/proc/self/uid_map", "0 0 1")?;
    Ok(())
}

impl Reader {
    /// Changes this process to this reader.
    fn become_it(self) -> Result<()> {
        match self {
            Reader::Ordinary => Ok(become_ordinary_user()?),
            Reader::Powerless => drop_capabilities(),
            Reader::Namespace => enter_namespace(),
        }
    }

    /// Runs `body` as this reader.
    fn run(self, body: impl FnOnce() -> Result<()>) -> Result<()> {
        Child::run(move || {
            self.become_it()?;
            body()
        })?
        .succeed()
    }
}

/// Runs `body` as an ordinary user in a PID namespace of its own, with its own `/proc`.
fn in_a_container(body: impl FnOnce() -> Result<()>) -> Result<()> {
    Child::run(move || {
        let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS;
        // SAFETY: The call has no memory arguments.
        Errno::result(unsafe { libc::unshare(namespaces) }).context("no PID namespace")?;
        // The first child is the namespace's first process.
        Child::run(move || {
            let mount = Command::new("mount")
                .args(["-t", "proc", "proc", "/proc"])
                .status()?;
            ensure!(mount.success(), "cannot mount /proc: {mount}");
            Reader::Ordinary.become_it()?;
            body()
        })?
        .succeed()
    })?
    .succeed()
}

/// Returns the names in the lines of `rk-dma-heap-info`, newest first.
fn info_names() -> Result<Vec<String>> {
    let text = std::fs::read_to_string("/proc/rk_dma_heap/rk-dma-heap-info")?;
    text.lines()
        .filter_map(|line| line.strip_prefix("\tAlloc by ("))
        .map(|line| {
            let name = line.get(..20).with_context(|| format!("{line:?}"))?;
            ensure!(line.get(20..22) == Some(")\t"), "{line:?}: wrong width");
            Ok(name.trim_end().to_owned())
        })
        .collect()
}

fn names(rows: Vec<nodes::Row>) -> Vec<String> {
    rows.into_iter().map(|row| row.name).collect()
}

/// Checks the names of all buffers in all nodes, newest first.
fn expect(reader: &str, expected: [&str; 2]) -> Result<()> {
    let sgt = nodes::rows(&nodes::read("sgt")?, "SGLIST")?;
    for (node, seen) in [
        ("dev", names(nodes::dev()?)),
        ("sgt", names(sgt)),
        ("rk-dma-heap-info", info_names()?),
    ] {
        ensure!(
            seen == expected,
            "{reader} sees {seen:?} in {node}, expected {expected:?}"
        );
    }
    Ok(())
}

fn named(heap: &Heap, name: &str) -> Result<Buffer> {
    let buffer = heap.allocate(SIZE)?;
    buffer.set_name(name, SetName::Pointer64)?;
    Ok(buffer)
}

fn names_of_others() -> Result<()> {
    let _module = Module::load("")?;
    let heap = Heap::open("rk-dma-heap-cma")?;
    let _secret = named(&heap, "120-secret-app")?;
    for reader in READERS {
        reader.run(|| {
            let _own = named(&heap, "own")?;
            expect(&format!("{reader:?}"), ["own", ""])
        })?;
    }
    in_a_container(|| {
        let _own = named(&heap, "own")?;
        // Its number is that of the initial PID namespace.
        expect("a container's user", ["", ""])
    })?;
    // Root sees those of all users.
    let (ours, theirs) = Channel::pair()?;
    let heap = &heap;
    Reader::Ordinary.run(move || {
        let own = named(heap, "of-a-user")?;
        theirs.send("take", Some(own.as_fd()))
    })?;
    let _of_a_user = ours.expect_fd("take")?;
    expect("root", ["of-a-user", "120-secret-app"])
}

/// Checks that `path` is refused, and returns the error that refuses it.
fn refused(path: &str, write: Option<&str>) -> Result<Errno> {
    let error = match write {
        None => std::fs::read(path).err(),
        Some(text) => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .err(),
    };
    let error = error.with_context(|| format!("{path} is not refused, write={write:?}"))?;
    Ok(errno_of(&error))
}

fn roots_of_containers() -> Result<()> {
    let _module = Module::load("")?;
    let _buffer = Heap::open("system")?.allocate(SIZE)?;
    let switches = [
        nodes::path("advanced"),
        "/proc/rk_dma_heap/keep_ranges".to_owned(),
        nodes::path("peak"),
    ];
    drop(Heap::open("system")?.allocate(5 << 20)?);
    let state = || -> Result<Vec<String>> {
        let read = |path| Ok(std::fs::read_to_string(path)?);
        switches.iter().map(read).collect()
    };
    let before = state()?;
    for reader in READERS {
        let expected = match reader {
            Reader::Ordinary => Errno::EACCES,
            Reader::Powerless | Reader::Namespace => Errno::EPERM,
        };
        reader.run(|| {
            let answer = refused(&nodes::path("buffers"), None)?;
            ensure!(answer == expected, "{reader:?}, buffers: {answer}");
            for (path, text) in switches.iter().zip(["1", "0", "0"]) {
                let answer = refused(path, Some(text))?;
                ensure!(answer == expected, "{reader:?}, {path}: {answer}");
            }
            // Everybody may look.
            ensure!(state()? == before);
            Ok(())
        })?;
        ensure!(state()? == before, "{reader:?} has changed a switch");
    }
    // Only capabilities count: root itself may do all of it.
    nodes::records()?;
    for (path, text) in switches.iter().zip(["1", "0", "0"]) {
        std::fs::write(path, text).with_context(|| path.clone())?;
    }
    Ok(())
}
