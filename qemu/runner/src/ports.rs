// SPDX-License-Identifier: GPL-2.0

//! Byte streams between the runner and the guest: socket pairs, of which QEMU inherits one end.

use std::io::{
    self,
    Read,
    Write, //
};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::{
    self,
    JoinHandle, //
};

use anyhow::{
    Context,
    Result, //
};
use command_fds::FdMapping;

/// The ends that QEMU gets, under the numbers it knows them by.
#[derive(Default)]
pub struct Inherited {
    mappings: Vec<FdMapping>,
}

impl Inherited {
    /// Passes a file on, and says under which number.
    pub fn add(&mut self, file: impl Into<OwnedFd>) -> i32 {
        // After standard input, output and error.
        let child_fd = 3 + self.mappings.len() as i32;
        self.mappings.push(FdMapping {
            parent_fd: file.into(),
            child_fd,
        });
        child_fd
    }

    /// A new stream: the runner's end, and the number of QEMU's.
    pub fn add_stream(&mut self) -> Result<(UnixStream, i32)> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a socket pair")?;
        Ok((ours, self.add(theirs)))
    }

    pub fn into_mappings(self) -> Vec<FdMapping> {
        self.mappings
    }
}

/// Copies what comes from the guest, until it ends. Where nobody reads any more, it is thrown away:
/// the guest must not wait for somebody who is gone.
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

/// Copies standard input to the guest. The end of input is passed on; the end of the guest is left
/// to others to notice.
pub fn pump_in(mut to: UnixStream) {
    thread::spawn(move || {
        if io::copy(&mut io::stdin().lock(), &mut to).is_ok() {
            let _ = to.shutdown(Shutdown::Write);
        }
    });
}

/// Collects all that comes from the guest.
pub fn collect(mut from: UnixStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let mut buffer = [0; 16384];
        while let Some(length) = read_some(&mut from, &mut buffer) {
            all.extend_from_slice(&buffer[..length]);
        }
        all
    })
}

/// A killed QEMU resets its sockets, which is an end like any other.
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
