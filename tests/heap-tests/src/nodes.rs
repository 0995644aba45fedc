// SPDX-License-Identifier: GPL-2.0

//! The device node and its sysfs entries, for programs and udev rules.

use crate::Case;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::{
    AllocationData,
    Heap,
    HEAP_DIRECTORY, //
};
use guest_support::mapping::Mapping;
use guest_support::process::Child;
use guest_support::{
    errno_of,
    expect_errno, //
};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::mman::{
    MapFlags,
    ProtFlags, //
};
use nix::sys::stat::{
    major,
    makedev,
    minor,
    mknod,
    Mode,
    SFlag, //
};
use nix::unistd::Whence;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{
    FileTypeExt,
    MetadataExt, //
};
use std::path::{
    Path,
    PathBuf, //
};

pub const CASES: &[Case] = &[
    Case::new("belongs-to-root-alone", belongs_to_root_alone),
    Case::new("other-users-are-refused", other_users_are_refused),
    Case::new("every-access-mode-allocates", every_access_mode_allocates),
    Case::new("path-descriptor-is-refused", path_descriptor_is_refused),
    Case::new("sysfs-device", sysfs_device),
    Case::new("proc-devices", proc_devices),
    Case::new("not-seekable", not_seekable),
    Case::new(
        "not-readable-writable-mappable",
        not_readable_writable_mappable,
    ),
    Case::new("unused-minor-has-no-device", unused_minor_has_no_device),
];

/// Returns the path of a node, which is given by its name or its path.
fn node(heap: &str) -> PathBuf {
    Path::new(HEAP_DIRECTORY).join(heap)
}

/// Returns the folder and the name of a node. The class and the devices have the folder's name.
fn class_and_name(heap: &str) -> Result<(String, String)> {
    let node = node(heap);
    let part = |part: Option<&std::ffi::OsStr>| Some(part?.to_string_lossy().into_owned());
    part(node.parent().and_then(Path::file_name))
        .zip(part(node.file_name()))
        .with_context(|| format!("{} is not a node in a folder", node.display()))
}

fn belongs_to_root_alone(heap: &str) -> Result<()> {
    let metadata = std::fs::symlink_metadata(node(heap))?;
    ensure!(
        metadata.file_type().is_char_device(),
        "not a character device"
    );
    let (owner, mode) = ((metadata.uid(), metadata.gid()), metadata.mode() & 0o7777);
    ensure!(owner == (0, 0), "owned by {owner:?}, expected root");
    ensure!(mode == 0o600, "mode {mode:o}, expected 600");
    Ok(())
}

fn other_users_are_refused(heap: &str) -> Result<()> {
    let heap = heap.to_owned();
    Child::run(move || {
        let nobody = nix::unistd::Uid::from_raw(65534);
        nix::unistd::setuid(nobody)?;
        let opened = File::open(node(&heap)).map_err(|error| errno_of(&error));
        expect_errno("open as an ordinary user", opened, Errno::EACCES)
    })?
    .succeed()
}

fn every_access_mode_allocates(heap: &str) -> Result<()> {
    for flags in [OFlag::O_RDONLY, OFlag::O_WRONLY, OFlag::O_RDWR] {
        let buffer = Heap::open_with(heap, flags)?
            .allocate(1)
            .with_context(|| format!("opened with {flags:?}"))?;
        // The buffer's access mode is the requested one, independent of the heap's.
        buffer.map()?.check_zero()?;
    }
    Ok(())
}

fn path_descriptor_is_refused(heap: &str) -> Result<()> {
    let heap = Heap::open_with(heap, OFlag::O_PATH)?;
    let answer = heap.allocate_with(&AllocationData::read_write(1));
    expect_errno("ioctl on an O_PATH descriptor", answer, Errno::EBADF)
}

fn sysfs_device(heap: &str) -> Result<()> {
    let device = std::fs::symlink_metadata(node(heap))?.rdev();
    let (major, minor) = (major(device as _), minor(device as _));
    let (class_name, heap) = class_and_name(heap)?;
    let entry = Path::new("/sys/class").join(&class_name).join(&heap);
    let read = |name: &str| {
        let path = entry.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };

    let number = read("dev")?;
    ensure!(
        number == format!("{major}:{minor}\n"),
        "sysfs has device {number:?}, the node has {major}:{minor}"
    );
    let uevent = read("uevent")?;
    let expected = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={class_name}/{heap}\n");
    ensure!(
        uevent == expected,
        "uevent is {uevent:?}, expected {expected:?}"
    );

    let path = entry.canonicalize()?;
    let expected = Path::new("/sys/devices/virtual")
        .join(&class_name)
        .join(&heap);
    ensure!(path == expected, "the device is {}", path.display());
    let by_number = Path::new("/sys/dev/char").join(format!("{major}:{minor}"));
    ensure!(
        by_number.canonicalize()? == path,
        "{} links to another device",
        by_number.display()
    );
    let class = entry.join("subsystem").canonicalize()?;
    ensure!(
        class == Path::new("/sys/class").join(&class_name),
        "the class is {}",
        class.display()
    );
    Ok(())
}

fn proc_devices(heap: &str) -> Result<()> {
    let major = major(std::fs::symlink_metadata(node(heap))?.rdev() as _);
    let list = std::fs::read_to_string("/proc/devices")?;
    let characters = list.split("Block devices:").next().unwrap_or_default();
    let expected = format!("{major} {}", class_and_name(heap)?.0);
    ensure!(
        characters.lines().any(|line| line.trim() == expected),
        "/proc/devices has no line {expected:?}"
    );
    Ok(())
}

fn not_seekable(heap: &str) -> Result<()> {
    let file = File::open(node(heap))?;
    for whence in [Whence::SeekSet, Whence::SeekCur, Whence::SeekEnd] {
        let answer = nix::unistd::lseek(&file, 0, whence);
        expect_errno(format!("lseek {whence:?}"), answer, Errno::ESPIPE)?;
    }
    let answer = nix::sys::uio::pread(&file, &mut [0; 8], 0);
    expect_errno("pread", answer, Errno::ESPIPE)
}

fn not_readable_writable_mappable(heap: &str) -> Result<()> {
    let file = File::options().read(true).write(true).open(node(heap))?;
    let answer = nix::unistd::read(&file, &mut [0; 8]);
    expect_errno("read", answer, Errno::EINVAL)?;
    let answer = nix::unistd::write(&file, &[0; 8]);
    expect_errno("write", answer, Errno::EINVAL)?;
    let answer = Mapping::of_fd(
        file.as_fd(),
        0,
        guest_support::page_size(),
        ProtFlags::PROT_READ,
        MapFlags::MAP_SHARED,
    );
    expect_errno("mmap", answer, Errno::ENODEV)
}

fn unused_minor_has_no_device(heap: &str) -> Result<()> {
    let major = major(std::fs::symlink_metadata(node(heap))?.rdev() as _);
    let path = std::env::temp_dir().join(format!("unused-minor-{}", std::process::id()));
    // The core reserves 128 minors and allocates them from 0; no machine has that many heaps.
    mknod(
        &path,
        SFlag::S_IFCHR,
        Mode::S_IRUSR | Mode::S_IWUSR,
        makedev(major, 127),
    )?;
    let answer = File::open(&path).map_err(|error| errno_of(&error));
    std::fs::remove_file(&path)?;
    expect_errno("open of minor 127", answer, Errno::ENXIO)
}
