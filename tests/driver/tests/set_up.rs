// SPDX-License-Identifier: GPL-2.0

//! Set-up on a machine that has none of the packages which it needs.

mod common;

use std::fs;
use std::os::unix::fs::{
    symlink,
    PermissionsExt, //
};
use std::path::Path;
use std::process::Command;

use common::project;

/// Installs the packages of the host, as `qemu/setup` does.
const INSTALL: &str = "set -euo pipefail
source qemu/lib/common.sh
source qemu/lib/stage.sh
source qemu/lib/host.sh
need_host_packages";

/// Writes down its arguments.
const APT_GET: &str = "#!/bin/sh\nprintf '%s ' \"$@\" >>\"${0%/*}/calls\"\n";

const SUDO: &str = "#!/bin/sh\n[ \"$1\" = --validate ] || exec \"$@\"\n";

/// Makes a folder of the programs of this machine, without those of which a package is to be
/// installed, and with others in place of those that would change the machine.
fn programs(folder: &Path) {
    let others = [("apt-get", APT_GET), ("sudo", SUDO)];
    for (name, text) in others {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for entry in fs::read_dir("/usr/bin").unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if !["mmdebstrap", "bwrap"]
            .iter()
            .any(|left_out| name == *left_out)
        {
            // Fails for the others above, which exist.
            let _ = symlink(entry.path(), folder.join(name));
        }
    }
}

#[test]
fn packages_of_the_host_are_installed() {
    let folder = tempfile::tempdir().unwrap();
    programs(folder.path());
    let output = Command::new("/bin/bash")
        .args(["-c", INSTALL])
        .current_dir(project())
        .env("PATH", folder.path())
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    assert!(calls.starts_with("update install "), "{calls}");
    for package in ["mmdebstrap", "bubblewrap", "debian-archive-keyring"] {
        assert!(calls.contains(package), "{package} in: {calls}");
    }
}
