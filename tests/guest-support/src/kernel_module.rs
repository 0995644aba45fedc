// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading kernel modules.

use crate::ktap::skip;
use anyhow::{
    bail,
    Context,
    Result, //
};
use nix::kmod::{
    delete_module,
    finit_module,
    DeleteModuleFlags,
    ModuleInitFlags, //
};
use std::ffi::CString;
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Returns whether the running kernel has a module, loaded, built in or in a file.
///
/// Set-up fails if a module that a target's row names is missing, so the answer is no on the
/// kernels only that are built without it.
pub fn exists(name: &str) -> bool {
    if is_loaded(name) {
        return true;
    }
    let Ok(system) = nix::sys::utsname::uname() else {
        return true;
    };
    let folder = Path::new("/lib/modules").join(system.release());
    let file = format!("/{name}.ko");
    let listed = |list| {
        std::fs::read_to_string(folder.join(list)).map(|text| {
            text.lines().any(|line| {
                let path = line.split(':').next().unwrap_or_default();
                path.trim_end_matches(".xz")
                    .trim_end_matches(".zst")
                    .ends_with(&file)
            })
        })
    };
    match (listed("modules.dep"), listed("modules.builtin")) {
        (Ok(in_file), Ok(built_in)) => in_file || built_in,
        (Ok(in_file), Err(_)) => in_file,
        (Err(_), _) => true,
    }
}

/// Returns how many others use a loaded module.
pub fn users(name: &str) -> Result<usize> {
    let file = format!("/sys/module/{name}/refcnt");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    Ok(text.trim().parse()?)
}

/// Loads a module of the running kernel and its dependencies with `modprobe`. A test on a kernel
/// that is built without it is skipped.
pub fn probe(name: &str, parameters: &[&str]) -> Result<()> {
    if !exists(name) {
        return Err(skip(format!("this kernel has no {name}")));
    }
    let output = Command::new("modprobe")
        .arg(name)
        .args(parameters)
        .output()
        .context("cannot run modprobe")?;
    if !output.status.success() {
        bail!(
            "cannot load module {name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Loads a module from a file and returns the result of the system call.
pub fn load(file: &Path, parameters: &str) -> Result<nix::Result<()>> {
    let module = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let parameters = CString::new(parameters)?;
    Ok(finit_module(&module, &parameters, ModuleInitFlags::empty()))
}

/// Loads a module from a file, after it was unloaded if necessary.
pub fn reload(name: &str, file: &Path, parameters: &str) -> Result<()> {
    if is_loaded(name) {
        unload(name).with_context(|| format!("cannot unload {name}"))?;
    }
    load(file, parameters)?
        .with_context(|| format!("cannot load {} with {parameters:?}", file.display()))
}

/// Unloads a module and returns the result of the system call.
pub fn unload(name: &str) -> nix::Result<()> {
    let name = CString::new(name).map_err(|_| nix::errno::Errno::EINVAL)?;
    delete_module(&name, DeleteModuleFlags::O_NONBLOCK)
}

/// A module that was loaded from its file in `/lib/modules`; unloaded on drop.
#[derive(Debug)]
#[must_use]
pub struct Loaded(&'static str);

impl Loaded {
    /// Loads a module. An error of the system call is the cause of the error.
    pub fn new(name: &'static str, parameters: &str) -> Result<Self> {
        let file = Path::new("/lib/modules").join(format!("{name}.ko"));
        load(&file, parameters)?.with_context(|| format!("cannot load {name}"))?;
        Ok(Loaded(name))
    }

    /// Unloads the module.
    pub fn unload(self) -> Result<()> {
        let name = self.0;
        std::mem::forget(self);
        unload(name).with_context(|| format!("cannot unload {name}"))
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = unload(self.0);
    }
}

/// Returns whether a module is loaded.
pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module").join(name).exists()
}

/// A reader of the kernel log.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
}

impl KernelLog {
    /// Opens the kernel log at its end, which skips all earlier messages.
    pub fn from_now_on() -> Result<Self> {
        use std::io::{
            Seek,
            SeekFrom, //
        };
        let mut this = Self::from_boot()?;
        this.file.seek(SeekFrom::End(0))?;
        Ok(this)
    }

    /// Opens the kernel log at its oldest stored message.
    pub fn from_boot() -> Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("cannot open /dev/kmsg")?;
        Ok(KernelLog { file })
    }

    /// Returns the text of all messages since the last call.
    pub fn messages(&mut self) -> Result<Vec<String>> {
        use std::io::Read;
        let mut messages = Vec::new();
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(len) => {
                    // Format: "priority,sequence,time,flags;text", followed by lines with device
                    // properties.
                    let text = String::from_utf8_lossy(&record[..len]);
                    let text = text.split_once(';').map_or("", |(_, text)| text);
                    messages.push(text.lines().next().unwrap_or("").to_owned());
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Ok(messages)
                }
                Err(error) => return Err(error).context("cannot read /dev/kmsg"),
            }
        }
    }
}
