// SPDX-License-Identifier: GPL-2.0

//! Pages that cannot be moved, because a file system in user space never answers.

use super::{
    allocate,
    fill_area,
    limit_beyond,
    FRAME,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use fuser::{
    Config,
    Errno,
    FileAttr,
    FileHandle,
    FileType,
    Filesystem,
    Generation,
    INodeNo,
    KernelConfig,
    LockOwner,
    OpenFlags,
    ReplyAttr,
    ReplyData,
    ReplyEntry,
    Request,
    Session, //
};
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use guest_support::mapping::Mapping;
use guest_support::memory;
use guest_support::page_size;
use guest_support::process::{
    Child,
    Verdict,
    CHILD_TIMEOUT, //
};
use guest_support::retry::eventually;
use nix::mount::{
    umount2,
    MntFlags, //
};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{
    Mutex,
    PoisonError, //
};
use std::time::{
    Duration,
    Instant,
    UNIX_EPOCH, //
};

/// How long the kernel may keep what the file system says about its only file.
const VALID: Duration = Duration::from_secs(3600);

const FILE: INodeNo = INodeNo(2);

/// A file system with one file. Who reads it waits for ever, and its pages stay locked.
struct Silent {
    size: u64,
    /// What nobody answers. Dropping one would answer it with an error.
    unanswered: Mutex<Vec<ReplyData>>,
}

impl Silent {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let (kind, perm, size) = match inode {
            FILE => (FileType::RegularFile, 0o444, self.size),
            _ => (FileType::Directory, 0o555, 0),
        };
        FileAttr {
            ino: inode,
            size,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Silent {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // The kernel sends further reads only up to this number.
        let refused = |_| io::Error::from(io::ErrorKind::InvalidInput);
        config.set_max_background(u16::MAX).map_err(refused)?;
        config.set_congestion_threshold(u16::MAX).map_err(refused)?;
        Ok(())
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.entry(&VALID, &self.attributes(FILE), Generation(0));
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        reply.attr(&VALID, &self.attributes(inode));
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        _offset: u64,
        _size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if inode != FILE {
            return reply.error(Errno::EISDIR);
        }
        let mut unanswered = self
            .unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unanswered.push(reply);
    }
}

/// A mounted [`Silent`]. Its process is killed when this is dropped, which ends all reads.
struct Mounted {
    server: Option<Child>,
    folder: PathBuf,
}

impl Mounted {
    fn new(size: usize) -> Result<Self> {
        let folder = PathBuf::from("/tmp/silent");
        std::fs::create_dir_all(&folder)?;
        let mount_point = folder.clone();
        let server = Child::run(move || {
            let silent = Silent {
                size: size as u64,
                unanswered: Mutex::default(),
            };
            let session = Session::new(silent, &mount_point, &Config::default())?;
            Ok(session.run()?)
        })?;
        let this = Mounted {
            server: Some(server),
            folder,
        };
        eventually(CHILD_TIMEOUT, || {
            let found = std::fs::metadata(this.file()).context("the file system is not mounted")?;
            ensure!(found.len() == size as u64, "{} bytes", found.len());
            Ok(())
        })?;
        Ok(this)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("file")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.server.take());
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Lets the kernel read a part of the file in advance: its pages are locked from then on.
fn read_in_advance(file: &File, offset: usize, size: usize) -> Result<()> {
    // SAFETY: The call has integer arguments.
    let answer = unsafe {
        libc::posix_fadvise(
            file.as_raw_fd(),
            offset as libc::off_t,
            size as libc::off_t,
            libc::POSIX_FADV_WILLNEED,
        )
    };
    ensure!(answer == 0, "posix_fadvise fails with {answer}");
    Ok(())
}

// Pages are being read all over memory, and never are. Requests succeed elsewhere or fail soon,
// and none waits for one that waits for such a page. With the file system, what it held is gone.
pub fn silent_file_system() -> Result<()> {
    const STEP: usize = MIB;
    const LOCKED: usize = MIB / 16;
    let total = memory::total()?;
    // The kernel itself waits for pages that are being read in an area.
    let _area = fill_area()?;
    let mounted = Mounted::new(total / STEP * LOCKED)?;
    let file = File::open(mounted.file())?;
    let mapping = Mapping::anonymous(total)?;
    mapping.in_single_pages()?;
    let cached = memory::meminfo("Cached")?;
    let mut steps = 0;
    while memory::meminfo("MemFree")? > total / 12 {
        for offset in (steps * STEP..(steps + 1) * STEP).step_by(page_size()) {
            mapping.write(offset, 1);
        }
        read_in_advance(&file, steps * LOCKED, LOCKED)?;
        steps += 1;
    }
    let locked = memory::meminfo("Cached")?.saturating_sub(cached);
    ensure!(
        locked >= steps * LOCKED / 2,
        "only {locked} bytes are being read"
    );
    drop(mapping);

    let limit = limit_beyond()?;
    let start = Instant::now();
    let mut requests: Vec<Child> = (0..2)
        .map(|_| {
            Child::run(move || {
                let heap = Heap::open("cma")?;
                let mut held = Vec::new();
                while let Ok(buffer) = allocate(&heap, FRAME) {
                    held.push(buffer);
                }
                // What can hardly be there.
                let _ = allocate(&heap, limit / FRAME / 2 * FRAME);
                Ok(())
            })
        })
        .collect::<Result<_>>()?;
    for request in &mut requests {
        let verdict = request.wait(Duration::from_secs(60))?;
        let verdict = verdict.context("a request waits for the file system")?;
        ensure!(verdict == Verdict::Passed, "{verdict:?}");
    }
    diagnose(&format!(
        "{} MiB are being read, {:?} for all requests",
        locked / MIB,
        start.elapsed()
    ));
    drop(file);
    drop(mounted);
    let heap = Heap::open("cma")?;
    let size = limit / 4 * 3 / page_size() * page_size();
    drop(allocate(&heap, size).context("the file system is gone, and memory is still missing")?);
    Ok(())
}
