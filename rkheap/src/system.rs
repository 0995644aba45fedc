// SPDX-License-Identifier: GPL-2.0

//! Access to the files of a system: the running one, or one that is recorded in a folder.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{
    access,
    AccessFlags, //
};
use std::fs::{
    self,
    OpenOptions, //
};
use std::io::{
    self,
    Read,
    Write, //
};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{
    Path,
    PathBuf, //
};

/// The result of reading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadResult {
    Content(Vec<u8>),
    /// The file does not exist or cannot be read.
    Absent,
    /// This user has no permission to read the file.
    Denied,
}

impl ReadResult {
    /// Returns the content, if the file was read.
    pub fn content(self) -> Option<Vec<u8>> {
        match self {
            ReadResult::Content(content) => Some(content),
            ReadResult::Absent | ReadResult::Denied => None,
        }
    }
}

/// A system, identified by its root folder.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// Creates the system with the root folder `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        System { root: root.into() }
    }

    /// Returns whether this is the running system.
    pub fn is_running(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Returns the path of a file below the root folder. `path` starts with `/`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Reads a file. A file that is removed in the meantime is absent.
    pub fn read(&self, path: &str) -> ReadResult {
        match fs::read(self.path(path)) {
            Ok(content) => ReadResult::Content(content),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => ReadResult::Denied,
            Err(_) => ReadResult::Absent,
        }
    }

    /// Reads a file as text. Replaces invalid UTF-8.
    pub fn text(&self, path: &str) -> Option<String> {
        let content = self.read(path).content()?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    /// Reads a file that holds one number.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// Returns the names in a folder, sorted. Returns no names if the folder does not exist.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Returns the paths of all files in a folder, sorted by name.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let names = self.names(folder).into_iter();
        names.map(|name| format!("{folder}/{name}")).collect()
    }

    /// Returns the command line of the kernel.
    pub fn command_line(&self) -> String {
        self.text("/proc/cmdline").unwrap_or_default()
    }

    /// Reads the kernel log from its beginning. Returns an empty text if this user may not read it.
    pub fn kernel_log(&self) -> String {
        let mut log = Vec::new();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(self.path("/dev/kmsg"));
        let Ok(mut file) = opened else {
            return String::new();
        };
        // A read returns one record of the device, or any part of a regular file.
        let mut record = vec![0; 8192];
        loop {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(read) => {
                    // Writing to a `Vec` never fails.
                    let _ = log.write_all(record.get(..read).unwrap_or_default());
                }
                // The next record was overwritten in the meantime. Continue with the one after it.
                Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Returns whether this user may read and write a file. Rights are not recorded: on a system
    /// that does not run, everybody may.
    pub fn may_read_and_write(&self, path: &str) -> bool {
        self.may(path, AccessFlags::R_OK | AccessFlags::W_OK)
    }

    /// Returns whether this user may read a file, which is sufficient for allocations from a heap.
    pub fn may_read(&self, path: &str) -> bool {
        self.may(path, AccessFlags::R_OK)
    }

    fn may(&self, path: &str, flags: AccessFlags) -> bool {
        !self.is_running() || access(&self.path(path), flags).is_ok()
    }

    /// Returns whether a file exists.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}
