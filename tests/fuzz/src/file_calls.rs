// SPDX-License-Identifier: GPL-2.0

//! Generic file system calls on the descriptor of a dma-buf. Most of them are not supported.

use crate::process::Process;
use crate::random::Random;
use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{
    poll,
    PollFd,
    PollFlags,
    PollTimeout, //
};
use nix::sys::epoll::{
    Epoll,
    EpollCreateFlags,
    EpollEvent,
    EpollFlags, //
};
use std::os::fd::{
    AsRawFd,
    BorrowedFd, //
};

#[derive(Clone, Debug, PartialEq)]
pub enum FileCall {
    Seek {
        offset: i64,
        whence: i32,
    },
    Poll {
        events: i16,
    },
    Epoll {
        events: i32,
    },
    Read {
        len: usize,
    },
    Write {
        len: usize,
    },
    ReadAt {
        len: usize,
        offset: i64,
    },
    WriteAt {
        len: usize,
        offset: i64,
    },
    Stat,
    Truncate {
        len: i64,
    },
    Allocate {
        mode: i32,
        offset: i64,
        len: i64,
    },
    Splice {
        len: usize,
    },
    Sendfile {
        len: usize,
        into: bool,
    },
    Copy {
        len: usize,
        into: bool,
    },
    Lock {
        operation: i32,
    },
    Control {
        command: i32,
        argument: i32,
    },
    Datasync,
    ReadAhead {
        offset: i64,
        len: usize,
        advice: i32,
    },
}

impl FileCall {
    pub fn generate(random: &mut Random) -> FileCall {
        let len = random.pick(&[0, 1, 7, 8, 512, 4096, 65536]);
        let offset = random.boundary_value() as i64;
        match random.below(17) {
            0 => FileCall::Seek {
                offset: random.pick(&[0, 1, 4096, -1, offset]),
                whence: random.pick(&[0, 1, 2, 3, 4, 5, -1]),
            },
            1 => FileCall::Poll {
                events: random.number() as i16,
            },
            2 => FileCall::Epoll {
                events: random.flags(&[
                    libc::EPOLLIN,
                    libc::EPOLLOUT,
                    libc::EPOLLET,
                    libc::EPOLLONESHOT,
                    libc::EPOLLPRI,
                ]),
            },
            3 => FileCall::Read { len },
            4 => FileCall::Write { len },
            5 => FileCall::ReadAt { len, offset },
            6 => FileCall::WriteAt { len, offset },
            7 => FileCall::Stat,
            8 => FileCall::Truncate { len: offset },
            9 => FileCall::Allocate {
                mode: random.flags(&[1, 2, 4, 8, 16, 32, 64]),
                offset,
                len: random.boundary_value() as i64,
            },
            10 => FileCall::Splice { len },
            11 => FileCall::Sendfile {
                len,
                into: random.chance(50),
            },
            12 => FileCall::Copy {
                len,
                into: random.chance(50),
            },
            13 => FileCall::Lock {
                operation: random.pick(&[libc::LOCK_SH, libc::LOCK_EX, libc::LOCK_UN, 0, 77])
                    | libc::LOCK_NB,
            },
            14 => FileCall::Control {
                command: random.pick(&[
                    libc::F_GETFD,
                    libc::F_SETFD,
                    libc::F_GETFL,
                    libc::F_SETFL,
                    libc::F_ADD_SEALS,
                    libc::F_GET_SEALS,
                    libc::F_SETLEASE,
                    libc::F_SETPIPE_SZ,
                    libc::F_NOTIFY,
                ]),
                argument: random.boundary_value() as i32,
            },
            15 => FileCall::Datasync,
            _ => FileCall::ReadAhead {
                offset,
                len,
                advice: random.below(8) as i32,
            },
        }
    }

    pub fn perform(&self, fd: BorrowedFd<'_>, process: &Process) -> Result<nix::Result<()>> {
        let raw = fd.as_raw_fd();
        let scratch = process.scratch.as_raw_fd();
        let mut buffer = vec![0u8; 65536];
        let pointer = buffer.as_mut_ptr().cast();
        let none: *mut libc::loff_t = std::ptr::null_mut();
        let result = match self {
            FileCall::Poll { events } => {
                let mut polled = [PollFd::new(fd, PollFlags::from_bits_truncate(*events))];
                return Ok(poll(&mut polled, PollTimeout::ZERO).map(drop));
            }
            FileCall::Epoll { events } => {
                let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
                let event = EpollEvent::new(EpollFlags::from_bits_truncate(*events), 0);
                return Ok(epoll
                    .add(fd, event)
                    .and_then(|()| epoll.wait(&mut [EpollEvent::empty()], PollTimeout::ZERO))
                    .map(drop));
            }
            FileCall::Seek { offset, whence } => {
                // SAFETY: The call does not access memory. The result is wider than the others on
                // some architectures.
                let place = unsafe { libc::lseek64(raw, *offset, *whence) };
                return Ok(Errno::result(place).map(drop));
            }
            FileCall::Stat => return Ok(nix::sys::stat::fstat(fd).map(drop)),
            FileCall::Splice { len } => {
                let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK)?;
                let _ = nix::unistd::write(&writer, b"junk")?;
                // SAFETY: The calls do not access memory of this process.
                let results = unsafe {
                    let flags = libc::SPLICE_F_NONBLOCK;
                    let out = libc::splice(raw, none, writer.as_raw_fd(), none, *len, flags);
                    let out = Errno::result(out);
                    let into = libc::splice(reader.as_raw_fd(), none, raw, none, *len, flags);
                    (out, Errno::result(into))
                };
                return Ok(results.0.and(results.1).map(drop));
            }
            // SAFETY: The calls do not access memory of this process, or at most the length of
            // `buffer`.
            _ => unsafe {
                match *self {
                    FileCall::Read { len } => libc::read(raw, pointer, len),
                    FileCall::Write { len } => libc::write(raw, pointer, len),
                    FileCall::ReadAt { len, offset } => libc::pread64(raw, pointer, len, offset),
                    FileCall::WriteAt { len, offset } => libc::pwrite64(raw, pointer, len, offset),
                    FileCall::Truncate { len } => libc::ftruncate64(raw, len) as isize,
                    FileCall::Allocate { mode, offset, len } => {
                        libc::fallocate64(raw, mode, offset, len) as isize
                    }
                    FileCall::Sendfile { len, into } => {
                        let (target, source) = if into { (raw, scratch) } else { (scratch, raw) };
                        let mut from = 0;
                        libc::sendfile64(target, source, &mut from, len)
                    }
                    FileCall::Copy { len, into } => {
                        let (target, source) = if into { (raw, scratch) } else { (scratch, raw) };
                        let mut places = (0, 0);
                        libc::copy_file_range(source, &mut places.0, target, &mut places.1, len, 0)
                    }
                    FileCall::Lock { operation } => libc::flock(raw, operation) as isize,
                    FileCall::Control { command, argument } => {
                        libc::fcntl(raw, command, argument) as isize
                    }
                    FileCall::Datasync => libc::fdatasync(raw) as isize,
                    FileCall::ReadAhead {
                        offset,
                        len,
                        advice,
                    } => {
                        let result = libc::readahead(raw, offset, len);
                        // This function returns the error number.
                        let error = libc::posix_fadvise64(raw, offset, len as i64, advice);
                        Errno::set_raw(error.max(Errno::last_raw()));
                        result
                    }
                    FileCall::Seek { .. }
                    | FileCall::Poll { .. }
                    | FileCall::Epoll { .. }
                    | FileCall::Stat
                    | FileCall::Splice { .. } => 0,
                }
            },
        };
        Ok(Errno::result(result).map(drop))
    }

    pub fn allowed(&self) -> &'static [Errno] {
        match self {
            FileCall::Seek { .. } => &[Errno::EINVAL],
            FileCall::Poll { .. } | FileCall::Stat => &[],
            FileCall::Epoll { .. } => &[Errno::EMFILE],
            FileCall::Read { .. } | FileCall::Write { .. } => &[Errno::EINVAL, Errno::EBADF],
            FileCall::ReadAt { .. } | FileCall::WriteAt { .. } => {
                &[Errno::EINVAL, Errno::EBADF, Errno::ESPIPE]
            }
            FileCall::Truncate { .. } => &[Errno::EINVAL],
            FileCall::Allocate { .. } => &[
                Errno::EINVAL,
                Errno::EBADF,
                Errno::EOPNOTSUPP,
                Errno::ENODEV,
                Errno::EPERM,
                Errno::EFBIG,
            ],
            FileCall::Splice { .. } | FileCall::Sendfile { .. } | FileCall::Copy { .. } => {
                &[Errno::EINVAL, Errno::EBADF, Errno::ESPIPE, Errno::EXDEV]
            }
            FileCall::Lock { .. } => &[Errno::EINVAL, Errno::EAGAIN],
            FileCall::Control { .. } => &[
                Errno::EINVAL,
                Errno::EBADF,
                Errno::EAGAIN,
                Errno::EACCES,
                Errno::EPERM,
                Errno::ENOTDIR,
                Errno::ENOMEM,
            ],
            FileCall::Datasync => &[Errno::EINVAL],
            FileCall::ReadAhead { .. } => &[Errno::EINVAL, Errno::EBADF, Errno::ESPIPE],
        }
    }
}
