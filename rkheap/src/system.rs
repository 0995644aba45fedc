// SPDX-License-Identifier: GPL-2.0

//! Access to the files of a system: the running one, or one that is recorded in a folder.

use nix::unistd::{
    access,
    AccessFlags, //
};
use std::fs;
use std::io;
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

    /// Returns whether this user may read a file.
    pub fn may_read(&self, path: &str) -> bool {
        access(&self.path(path), AccessFlags::R_OK).is_ok()
    }

    /// Returns whether a file exists.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}
