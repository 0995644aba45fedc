// SPDX-License-Identifier: GPL-2.0

//! The guest's root file system: a cpio archive that is built for each run, so that it is never
//! stale. This takes milliseconds.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{
    ensure,
    Context,
    Result, //
};
use cpio::newc::{
    trailer,
    Builder,
    ModeFileType, //
};

enum Content {
    Folder,
    File { bytes: Vec<u8>, mode: u32 },
    Link(String),
}

/// Files by their path in the guest, without the leading slash. The order of the names puts folders
/// before their content.
#[derive(Default)]
pub struct Initramfs {
    entries: BTreeMap<String, Content>,
}

impl Initramfs {
    pub fn add_file(&mut self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) {
        self.add_parents(path);
        self.entries.insert(
            path.into(),
            Content::File {
                bytes: bytes.into(),
                mode,
            },
        );
    }

    pub fn add_link(&mut self, path: &str, to: &str) {
        self.add_parents(path);
        self.entries.insert(path.into(), Content::Link(to.into()));
    }

    pub fn add_folder(&mut self, path: &str) {
        self.add_parents(path);
        self.entries.insert(path.into(), Content::Folder);
    }

    fn add_parents(&mut self, path: &str) {
        for (slash, _) in path.match_indices('/') {
            self.entries
                .entry(path[..slash].into())
                .or_insert(Content::Folder);
        }
    }

    pub fn copy_file(&mut self, path: &str, from: &Path, mode: u32) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.add_file(path, bytes, mode);
        Ok(())
    }

    /// Copies the content of the folder `from` into the guest's folder `path`; an empty `path` is
    /// the root.
    pub fn copy_tree(&mut self, path: &str, from: &Path) -> Result<()> {
        let context = || format!("cannot read {}", from.display());
        for entry in fs::read_dir(from).with_context(context)? {
            let entry = entry.with_context(context)?;
            let name = entry.file_name();
            let inside = [path, &name.to_string_lossy()].join("/");
            let inside = inside.trim_start_matches('/');
            if entry.file_type()?.is_dir() {
                self.copy_tree(inside, &entry.path())?;
            } else {
                let mode = 0o644 | (entry.metadata()?.permissions().mode() & 0o111);
                self.copy_file(inside, &entry.path(), mode)?;
            }
        }
        Ok(())
    }

    /// Copies the programs directly in `from`; a folder that does not exist has none.
    pub fn copy_programs(&mut self, path: &str, from: &Path) -> Result<()> {
        let Ok(folder) = fs::read_dir(from) else {
            return Ok(());
        };
        for entry in folder {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Cargo's libraries are executable as well, but have a suffix.
            if metadata.is_file()
                && metadata.permissions().mode() & 0o111 != 0
                && !name.contains('.')
            {
                self.copy_file(&format!("{path}/{name}"), &entry.path(), 0o755)?;
            }
        }
        Ok(())
    }

    /// Copies the kernel modules in `from` and its subfolders into the folder `path`, without debug
    /// information, which is most of their size: a guest may have less than 100 MiB of memory.
    pub fn copy_modules(&mut self, path: &str, from: &Path) -> Result<()> {
        let Ok(folder) = fs::read_dir(from) else {
            return Ok(());
        };
        for entry in folder {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                self.copy_modules(path, &entry.path())?;
            } else if name.ends_with(".ko") {
                let place = format!("{path}/{name}");
                ensure!(
                    !self.entries.contains_key(&place),
                    "two kernel modules of the name {name}: remove {} or the other one",
                    entry.path().display()
                );
                self.add_file(&place, without_debug_information(&entry.path())?, 0o644);
            }
        }
        Ok(())
    }

    /// Writes the archive.
    pub fn write<W: Write>(&self, mut output: W) -> Result<()> {
        for (inode, (path, content)) in (1..).zip(&self.entries) {
            let builder = Builder::new(path).ino(inode).nlink(1);
            let (builder, bytes) = match content {
                Content::Folder => (
                    builder
                        .mode(0o755)
                        .set_mode_file_type(ModeFileType::Directory),
                    &[][..],
                ),
                Content::File { bytes, mode } => (
                    builder
                        .mode(*mode)
                        .set_mode_file_type(ModeFileType::Regular),
                    bytes.as_slice(),
                ),
                Content::Link(to) => (
                    builder
                        .mode(0o777)
                        .set_mode_file_type(ModeFileType::Symlink),
                    to.as_bytes(),
                ),
            };
            let mut writer = builder.write(
                output,
                u32::try_from(bytes.len()).context("file over 4 GiB")?,
            );
            writer.write_all(bytes)?;
            output = writer.finish()?;
        }
        trailer(output)?.flush()?;
        Ok(())
    }
}

fn without_debug_information(module: &Path) -> Result<Vec<u8>> {
    let output = Command::new("llvm-strip-19")
        .args(["--strip-debug", "-o", "-"])
        .arg(module)
        .output()
        .context("cannot run llvm-strip-19")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {}",
        module.display(),
        errors.trim()
    );
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{
        Cursor,
        Read, //
    };

    #[test]
    fn two_modules_of_a_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("client")).unwrap();
        fs::write(folder.path().join("client/driver.ko"), "").unwrap();
        let mut initramfs = Initramfs::default();
        initramfs.add_file("lib/modules/driver.ko", "", 0o644);
        let error = initramfs.copy_modules("lib/modules", folder.path());
        let message = error.unwrap_err().to_string();
        assert!(message.contains("client/driver.ko"), "{message}");
    }

    #[test]
    fn reads_back_with_folders_first() {
        let mut initramfs = Initramfs::default();
        initramfs.add_file("vm/command", "echo", 0o644);
        initramfs.add_file("init", "#!/bin/sh\n", 0o755);
        initramfs.add_link("bin/sh", "busybox");
        let mut bytes = Vec::new();
        initramfs.write(&mut bytes).unwrap();

        let mut input = Cursor::new(bytes);
        let mut found = Vec::new();
        loop {
            let mut reader = cpio::newc::Reader::new(input).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut content = String::new();
            reader.read_to_string(&mut content).unwrap();
            found.push((
                reader.entry().name().to_string(),
                reader.entry().mode(),
                content,
            ));
            input = reader.finish().unwrap();
        }
        let expected = [
            ("bin", 0o040755, ""),
            ("bin/sh", 0o120777, "busybox"),
            ("init", 0o100755, "#!/bin/sh\n"),
            ("vm", 0o040755, ""),
            ("vm/command", 0o100644, "echo"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, mode, content)| (name.into(), mode, content.into()))
        );
    }

    #[test]
    fn takes_programs_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("heap-demo", 0o755),
            ("libx.so", 0o755),
            ("heap-demo.d", 0o644),
            ("notes", 0o644),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut initramfs = Initramfs::default();
        initramfs.copy_programs("usr/bin", folder.path()).unwrap();
        assert_eq!(
            initramfs.entries.keys().collect::<Vec<_>>(),
            ["usr", "usr/bin", "usr/bin/heap-demo"]
        );
        initramfs
            .copy_programs("usr/bin", Path::new("/nowhere"))
            .unwrap();
    }

    #[test]
    fn takes_modules_from_all_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("client")).unwrap();
        for name in ["heap.o", "client/heap.mod"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let program = std::env::current_exe().unwrap();
        for name in ["heap.ko", "client/client.ko"] {
            fs::copy(&program, folder.path().join(name)).unwrap();
        }
        // The kernel's build creates such a link to the sources.
        std::os::unix::fs::symlink("/", folder.path().join("source")).unwrap();
        let mut initramfs = Initramfs::default();
        initramfs
            .copy_modules("lib/modules", folder.path())
            .unwrap();
        assert_eq!(
            initramfs.entries.keys().collect::<Vec<_>>(),
            [
                "lib",
                "lib/modules",
                "lib/modules/client.ko",
                "lib/modules/heap.ko"
            ]
        );
        let Content::File { bytes, .. } = &initramfs.entries["lib/modules/heap.ko"] else {
            panic!("a module is a file");
        };
        assert!(bytes.starts_with(b"\x7fELF"));
        assert!((bytes.len() as u64) < program.metadata().unwrap().len());

        fs::write(folder.path().join("broken.ko"), "not a module").unwrap();
        assert!(initramfs
            .copy_modules("lib/modules", folder.path())
            .is_err());
    }
}
