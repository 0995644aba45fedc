// SPDX-License-Identifier: GPL-2.0

//! Calls that duplicate, send and receive descriptors, and take them from other processes.

use crate::call::{
    Outcome,
    Perform, //
};
use crate::process::Process;
use crate::random::Random;
use anyhow::{
    Context,
    Result, //
};
use guest_support::errno_of;
use nix::errno::Errno;
use nix::fcntl::{
    fcntl,
    FcntlArg, //
};
use nix::sys::socket::{
    recvmsg,
    sendmsg,
    socketpair,
    AddressFamily,
    ControlMessage,
    ControlMessageOwned,
    MsgFlags,
    SockFlag,
    SockType, //
};
use std::fs::File;
use std::io::{
    IoSlice,
    IoSliceMut, //
};
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};
use std::os::unix::fs::OpenOptionsExt;

#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum DescriptorCall {
    Dup {
        buffer: u8,
    },
    /// Duplicates onto the descriptor of another buffer.
    DupTwo {
        from: u8,
        to: u8,
    },
    DupFrom {
        buffer: u8,
        least: i32,
        on_exec: bool,
    },
    CloseFile {
        file: u8,
    },
    /// Opens the descriptor again through `/proc/self/fd`.
    OpenAgain {
        buffer: u8,
        flags: i32,
    },
    /// Sends the descriptor to another process.
    Send {
        buffer: u8,
        process: u8,
        copies: u8,
    },
    Receive,
    /// Sends the descriptor and the socket over the same socket. The kernel must detect that they
    /// are unreachable.
    Cycle {
        buffer: u8,
    },
    /// Takes a descriptor of another process with pidfd_getfd().
    Steal {
        process: u8,
        number: u8,
    },
}

impl DescriptorCall {
    pub fn generate(random: &mut Random) -> DescriptorCall {
        let buffer = random.index();
        match random.below(100) {
            0..12 => DescriptorCall::Dup { buffer },
            12..20 => DescriptorCall::DupTwo {
                from: buffer,
                to: random.index(),
            },
            20..30 => DescriptorCall::DupFrom {
                buffer,
                least: random.pick(&[0, 3, 50, 150, 1000, -1, i32::MAX]),
                on_exec: random.chance(50),
            },
            30..40 => DescriptorCall::CloseFile {
                file: random.index(),
            },
            40..50 => DescriptorCall::OpenAgain {
                buffer,
                flags: random.pick(&[libc::O_PATH, libc::O_RDONLY, libc::O_RDWR, libc::O_TRUNC]),
            },
            50..65 => DescriptorCall::Send {
                buffer,
                process: random.index(),
                copies: random.pick(&[1, 1, 2, 8]),
            },
            65..80 => DescriptorCall::Receive,
            80..85 => DescriptorCall::Cycle { buffer },
            _ => DescriptorCall::Steal {
                process: random.index(),
                number: random.below(64) as u8,
            },
        }
    }
}

fn send(process: &Process, buffer: u8, to: u8, copies: u8) -> Result<Outcome> {
    let which = usize::from(to) % process.sockets.senders.len().max(1);
    let (Some(fd), Some(socket)) = (process.buffer(buffer), process.sockets.senders.get(which))
    else {
        return Ok(Outcome::Skipped);
    };
    // Buffers in a queue are not charged to any quota, so only small ones are sent.
    let size = nix::unistd::lseek64(fd, 0, nix::unistd::Whence::SeekEnd).unwrap_or(i64::MAX);
    if size > process.quota as i64 / 32 {
        return Ok(Outcome::Skipped);
    }
    let fds = vec![fd.as_raw_fd(); copies.into()];
    let result = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(b"x")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        None,
    );
    Ok(result.into())
}

pub fn receive(process: &mut Process) -> Result<Outcome> {
    let receiver = process
        .sockets
        .receivers
        .get(process.number)
        .context("no receive socket for this process")?;
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([i32; 8]);
    let message = recvmsg::<()>(
        receiver.as_raw_fd(),
        &mut data,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC,
    );
    let message = match message {
        Ok(message) => message,
        Err(errno) => return Ok(Outcome::Failed(errno)),
    };
    let mut received = Vec::new();
    // If the process has too few free descriptors, some are missing (`MSG_CTRUNC`).
    for part in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(fds) = part {
            // SAFETY: The kernel has installed these descriptors; nothing else owns them.
            received.extend(
                fds.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    for fd in received {
        process.add_descriptor(fd)?;
    }
    Ok(Outcome::Done)
}

fn cycle(process: &Process, buffer: u8) -> Result<Outcome> {
    let Some(fd) = process.buffer(buffer) else {
        return Ok(Outcome::Skipped);
    };
    let pair = socketpair(
        AddressFamily::Unix,
        SockType::Datagram,
        None,
        SockFlag::SOCK_CLOEXEC,
    );
    let (a, b) = match pair {
        Ok(pair) => pair,
        Err(errno) => return Ok(Outcome::Failed(errno)),
    };
    let fds = [fd.as_raw_fd(), a.as_raw_fd(), b.as_raw_fd()];
    let result = sendmsg::<()>(
        a.as_raw_fd(),
        &[IoSlice::new(b"x")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_DONTWAIT,
        None,
    );
    Ok(result.into())
}

/// Converts the result of a system call to a descriptor.
#[allow(clippy::unnecessary_cast)] // of another type on some architectures
fn descriptor(result: libc::c_long) -> i32 {
    result as i32
}

fn steal(process: &mut Process, from: u8, number: u8) -> Result<Outcome> {
    let all = process.shared.processes();
    let pid = usize::from(from)
        .checked_rem(all.len())
        .map_or(0, |which| process.shared.pid(which));
    if pid <= 0 {
        return Ok(Outcome::Skipped);
    }
    // SAFETY: The calls do not access memory. Each installs a descriptor that nothing else owns.
    let result = unsafe {
        Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0)).and_then(|pidfd| {
            let pidfd = OwnedFd::from_raw_fd(descriptor(pidfd));
            let number = i32::from(number);
            let got = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0);
            Errno::result(got).map(|fd| OwnedFd::from_raw_fd(descriptor(fd)))
        })
    };
    match result {
        // A descriptor that is not a dma-buf may be internal to the other process and must not be
        // used.
        Ok(fd) => {
            process.add_if_dma_buf(fd)?;
            Ok(Outcome::Done)
        }
        Err(errno) => Ok(Outcome::Failed(errno)),
    }
}

impl Perform for DescriptorCall {
    fn perform(&self, process: &mut Process) -> Result<Outcome> {
        let made = match *self {
            DescriptorCall::Dup { buffer } => match process.buffer(buffer) {
                Some(fd) => nix::unistd::dup(fd),
                None => return Ok(Outcome::Skipped),
            },
            DescriptorCall::DupTwo { from, to } => {
                return Ok(match process.replace(from, to) {
                    Some(result) => result.into(),
                    None => Outcome::Skipped,
                })
            }
            DescriptorCall::DupFrom {
                buffer,
                least,
                on_exec,
            } => {
                let command = match on_exec {
                    true => FcntlArg::F_DUPFD_CLOEXEC(least),
                    false => FcntlArg::F_DUPFD(least),
                };
                match process.buffer(buffer) {
                    // SAFETY: The call has installed the descriptor; nothing else owns it.
                    Some(fd) => fcntl(fd, command).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                    None => return Ok(Outcome::Skipped),
                }
            }
            DescriptorCall::CloseFile { file } => {
                return Ok(match process.close_file(file) {
                    Some(()) => Outcome::Done,
                    None => Outcome::Skipped,
                })
            }
            DescriptorCall::OpenAgain { buffer, flags } => match process.buffer(buffer) {
                Some(fd) => File::options()
                    .read(true)
                    .write(flags & libc::O_ACCMODE == libc::O_RDWR)
                    .custom_flags(flags & !libc::O_ACCMODE)
                    .open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
                    .map(OwnedFd::from)
                    .map_err(|error| errno_of(&error)),
                None => return Ok(Outcome::Skipped),
            },
            DescriptorCall::Send {
                buffer,
                process: to,
                copies,
            } => return send(process, buffer, to, copies),
            DescriptorCall::Receive => return receive(process),
            DescriptorCall::Cycle { buffer } => return cycle(process, buffer),
            DescriptorCall::Steal {
                process: from,
                number,
            } => return steal(process, from, number),
        };
        match made {
            Ok(fd) => {
                process.add_descriptor(fd)?;
                Ok(Outcome::Done)
            }
            Err(errno) => Ok(Outcome::Failed(errno)),
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        match self {
            DescriptorCall::Dup { .. } => &[Errno::EMFILE],
            DescriptorCall::DupTwo { .. } | DescriptorCall::CloseFile { .. } => &[],
            DescriptorCall::DupFrom { .. } => &[Errno::EMFILE, Errno::EINVAL],
            DescriptorCall::OpenAgain { .. } => &[Errno::ENXIO, Errno::EACCES, Errno::EMFILE],
            // The queue is full, or too many descriptors are in flight.
            DescriptorCall::Send { .. } => &[Errno::EAGAIN, Errno::ETOOMANYREFS],
            DescriptorCall::Receive => &[Errno::EAGAIN, Errno::EMFILE],
            DescriptorCall::Cycle { .. } => &[Errno::EMFILE, Errno::ETOOMANYREFS],
            DescriptorCall::Steal { .. } => &[
                Errno::EBADF,
                Errno::EPERM,
                Errno::ESRCH,
                Errno::EMFILE,
                Errno::EINVAL,
            ],
        }
    }
}
