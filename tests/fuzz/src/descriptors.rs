// SPDX-License-Identifier: GPL-2.0

//! Descriptors that are copied, passed on, and taken from other processes.

use crate::call::{
    Answer,
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
    /// Onto another buffer's descriptor.
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
    /// Opens it again through `/proc/self/fd`.
    OpenAgain {
        buffer: u8,
        flags: i32,
    },
    /// Sends it to another process.
    Send {
        buffer: u8,
        process: u8,
        copies: u8,
    },
    Receive,
    /// Sends it, and the socket, over that very socket: the kernel has to find out that nobody can
    /// get at them.
    Cycle {
        buffer: u8,
    },
    /// Takes a descriptor of another process.
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

fn send(process: &Process, buffer: u8, to: u8, copies: u8) -> Result<Answer> {
    let which = usize::from(to) % process.lines.len().max(1);
    let (Some(fd), Some(line)) = (process.buffer(buffer), process.lines.get(which)) else {
        return Ok(Answer::Skipped);
    };
    // What lies in a queue counts for nobody.
    let size = nix::unistd::lseek64(fd, 0, nix::unistd::Whence::SeekEnd).unwrap_or(i64::MAX);
    if size > process.quota as i64 / 32 {
        return Ok(Answer::Skipped);
    }
    let fds = vec![fd.as_raw_fd(); copies.into()];
    let result = sendmsg::<()>(
        line.as_raw_fd(),
        &[IoSlice::new(b"x")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
        None,
    );
    Ok(result.into())
}

pub fn receive(process: &mut Process) -> Result<Answer> {
    let inbox = process
        .inbox
        .get(process.number)
        .context("a process without inbox")?;
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([i32; 8]);
    let message = recvmsg::<()>(
        inbox.as_raw_fd(),
        &mut data,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC,
    );
    let message = match message {
        Ok(message) => message,
        Err(errno) => return Ok(Answer::Failed(errno)),
    };
    let mut received = Vec::new();
    // Where descriptors were short, some are missing, and that is said.
    for part in message.cmsgs().into_iter().flatten() {
        if let ControlMessageOwned::ScmRights(fds) = part {
            // SAFETY: The kernel has just installed them for this process.
            received.extend(
                fds.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    for fd in received {
        process.take(fd)?;
    }
    Ok(Answer::Done)
}

fn cycle(process: &Process, buffer: u8) -> Result<Answer> {
    let Some(fd) = process.buffer(buffer) else {
        return Ok(Answer::Skipped);
    };
    let pair = socketpair(
        AddressFamily::Unix,
        SockType::Datagram,
        None,
        SockFlag::SOCK_CLOEXEC,
    );
    let (a, b) = match pair {
        Ok(pair) => pair,
        Err(errno) => return Ok(Answer::Failed(errno)),
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

/// A descriptor, of what a system call returns.
#[allow(clippy::unnecessary_cast)] // of another type on some architectures
fn descriptor(result: libc::c_long) -> i32 {
    result as i32
}

fn steal(process: &mut Process, from: u8, number: u8) -> Result<Answer> {
    let all = process.shared.processes();
    let pid = usize::from(from)
        .checked_rem(all.len())
        .map_or(0, |which| process.shared.pid(which));
    if pid <= 0 {
        return Ok(Answer::Skipped);
    }
    // SAFETY: Neither call has to do with memory; each makes a descriptor for this process.
    let result = unsafe {
        Errno::result(libc::syscall(libc::SYS_pidfd_open, pid, 0)).and_then(|pidfd| {
            let pidfd = OwnedFd::from_raw_fd(descriptor(pidfd));
            let number = i32::from(number);
            let got = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0);
            Errno::result(got).map(|fd| OwnedFd::from_raw_fd(descriptor(fd)))
        })
    };
    match result {
        // What is no dma-buf may be another process's tool, which has to stay as it is.
        Ok(fd) => {
            process.take_dma_buf(fd)?;
            Ok(Answer::Done)
        }
        Err(errno) => Ok(Answer::Failed(errno)),
    }
}

impl Perform for DescriptorCall {
    fn perform(&self, process: &mut Process) -> Result<Answer> {
        let made = match *self {
            DescriptorCall::Dup { buffer } => match process.buffer(buffer) {
                Some(fd) => nix::unistd::dup(fd),
                None => return Ok(Answer::Skipped),
            },
            DescriptorCall::DupTwo { from, to } => {
                return Ok(match process.replace(from, to) {
                    Some(result) => result.into(),
                    None => Answer::Skipped,
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
                    // SAFETY: The call has just made the descriptor.
                    Some(fd) => fcntl(fd, command).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                    None => return Ok(Answer::Skipped),
                }
            }
            DescriptorCall::CloseFile { file } => {
                return Ok(match process.close_file(file) {
                    Some(()) => Answer::Done,
                    None => Answer::Skipped,
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
                None => return Ok(Answer::Skipped),
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
                process.take(fd)?;
                Ok(Answer::Done)
            }
            Err(errno) => Ok(Answer::Failed(errno)),
        }
    }

    fn allowed(&self) -> &'static [Errno] {
        match self {
            DescriptorCall::Dup { .. } => &[Errno::EMFILE],
            DescriptorCall::DupTwo { .. } | DescriptorCall::CloseFile { .. } => &[],
            DescriptorCall::DupFrom { .. } => &[Errno::EMFILE, Errno::EINVAL],
            DescriptorCall::OpenAgain { .. } => &[Errno::ENXIO, Errno::EACCES, Errno::EMFILE],
            // Full, or too many on their way.
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
