// SPDX-License-Identifier: GPL-2.0

//! Byte streams between the runner and the guest: socket pairs of which QEMU inherits one end.

use std::io::{
    self,
    Read,
    Write, //
};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::sync::Arc;
use std::thread::{
    self,
    JoinHandle, //
};

use anyhow::{
    Context,
    Result, //
};
use command_fds::FdMapping;

/// The files that QEMU inherits, with their descriptor numbers.
#[derive(Default)]
pub struct Inherited {
    mappings: Vec<FdMapping>,
}

impl Inherited {
    /// Adds a file and returns its descriptor number in QEMU.
    pub fn add(&mut self, file: impl Into<OwnedFd>) -> i32 {
        // 0 to 2 are standard input, output and error.
        let child_fd = 3 + self.mappings.len() as i32;
        self.mappings.push(FdMapping {
            parent_fd: file.into(),
            child_fd,
        });
        child_fd
    }

    /// Adds a stream and returns the runner's end and the descriptor number of QEMU's end.
    pub fn add_stream(&mut self) -> Result<(UnixStream, i32)> {
        let (ours, theirs) = UnixStream::pair().context("cannot create a socket pair")?;
        Ok((ours, self.add(theirs)))
    }

    pub fn into_mappings(self) -> Vec<FdMapping> {
        self.mappings
    }
}

/// Copies the guest's output until the guest ends. Discards it if the reader has closed its end:
/// the guest must not block.
pub fn pump_out(mut from: UnixStream, mut to: impl Write + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 16384];
        let mut open = true;
        while let Some(length) = read_some(&mut from, &mut buffer) {
            open = open
                && to
                    .write_all(&buffer[..length])
                    .and_then(|()| to.flush())
                    .is_ok();
        }
    })
}

/// Copies standard input to the guest and passes the end of input on. Does not detect the end of
/// the guest; other streams do.
pub fn pump_in(mut to: UnixStream) {
    thread::spawn(move || {
        if io::copy(&mut io::stdin().lock(), &mut to).is_ok() {
            let _ = to.shutdown(Shutdown::Write);
        }
    });
}

/// Collects the guest's output until the guest ends, and sets `heard` whenever there is some.
pub fn collect(mut from: UnixStream, heard: Arc<AtomicBool>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let mut buffer = [0; 16384];
        while let Some(length) = read_some(&mut from, &mut buffer) {
            heard.store(true, Ordering::Relaxed);
            all.extend_from_slice(&buffer[..length]);
        }
        all
    })
}

/// Reads until the end of the stream. A reset, which follows when QEMU is killed, is an end too.
fn read_some(from: &mut UnixStream, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match from.read(buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
