// SPDX-License-Identifier: GPL-2.0

//! Files that fill memory: movable pages that are in the way.

use super::MIB;
use anyhow::{
    ensure,
    Result, //
};
use guest_support::memory;
use std::fs::File;
use std::io::{
    Read,
    Write, //
};
use std::path::PathBuf;

/// Files of 1 MiB that fill memory, and are removed on drop.
pub struct Files {
    folder: PathBuf,
    pub count: usize,
}

impl Files {
    fn content(number: usize) -> Vec<u8> {
        let mut content = vec![(number * 17 + 1) as u8; MIB];
        content[..8].copy_from_slice(&(number as u64).to_ne_bytes());
        content
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// Writes files until `left` bytes are free.
    pub fn fill(left: usize) -> Result<Self> {
        let mut this = Files {
            folder: PathBuf::from("/tmp/beyond"),
            count: 0,
        };
        std::fs::create_dir_all(&this.folder)?;
        while memory::meminfo("MemFree")? > left {
            let mut file = File::create(this.path(this.count))?;
            file.write_all(&Self::content(this.count))?;
            this.count += 1;
        }
        Ok(this)
    }

    /// Removes every second file, so that what is free is in pieces.
    pub fn thin_out(&self) -> Result<()> {
        for number in (1..self.count).step_by(2) {
            std::fs::remove_file(self.path(number))?;
        }
        Ok(())
    }

    /// Checks the files that are left.
    pub fn check(&self) -> Result<()> {
        for number in (0..self.count).step_by(2) {
            let mut found = Vec::new();
            File::open(self.path(number))?.read_to_end(&mut found)?;
            ensure!(found == Self::content(number), "file {number} has changed");
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
