// SPDX-License-Identifier: GPL-2.0

//! Where files are read: the running system, or one that was recorded in a folder.

use std::fs;
use std::io;
use std::path::{
    Path,
    PathBuf, //
};

/// What came of reading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Content(Vec<u8>),
    /// It is not there.
    Absent,
    /// This user may not read it.
    Denied,
}

impl Found {
    /// The content, if there is any.
    pub fn content(self) -> Option<Vec<u8>> {
        match self {
            Found::Content(content) => Some(content),
            Found::Absent | Found::Denied => None,
        }
    }
}

/// A system.
#[derive(Clone, Debug)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// The system whose files lie below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        System { root: root.into() }
    }

    /// Whether it is the one that runs.
    pub fn is_running(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a file lies; `path` begins with `/`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Reads a file. One that goes away meanwhile is absent.
    pub fn read(&self, path: &str) -> Found {
        match fs::read(self.path(path)) {
            Ok(content) => Found::Content(content),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Found::Denied,
            Err(_) => Found::Absent,
        }
    }

    /// Reads a file as text. What is no text is replaced.
    pub fn text(&self, path: &str) -> Option<String> {
        let content = self.read(path).content()?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }

    /// Reads a file that holds one number.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// The names in a folder, sorted; none where there is no such folder.
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

    /// Whether there is such a file.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }
}
