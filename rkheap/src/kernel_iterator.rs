// SPDX-License-Identifier: GPL-2.0

//! The kernel's BPF iterator over all dma-bufs (`kernel/bpf/dmabuf_iter.c`), since Linux 6.16. It
//! needs the type information of the kernel in `/sys/kernel/btf/vmlinux`, and is for root.

mod bpf;

use aya_obj::btf::{
    Btf,
    BtfKind, //
};
use aya_obj::Object;
use nix::unistd::geteuid;
use std::io::{
    self,
    ErrorKind,
    Read, //
};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// The type information of the running kernel.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// What the program is attached to.
const TARGET: &str = "bpf_iter_dmabuf";

/// An object file, aligned as its headers are.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);

static OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/dma_bufs.bpf.o")));

/// Reads the records of all dma-bufs, which [`crate::parse::records`] parses.
///
/// # Errors
///
/// `PermissionDenied` unless the user is root. Any other error says why the kernel's iterator
/// cannot be used.
pub fn read() -> io::Result<Vec<u8>> {
    if !geteuid().is_root() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    // The program is loaded once for all readings.
    static LINK: OnceLock<io::Result<OwnedFd>> = OnceLock::new();
    let link = match LINK.get_or_init(attach) {
        Ok(link) => link,
        Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
    };
    let mut records = Vec::new();
    bpf::create_iterator(link)?.read_to_end(&mut records)?;
    Ok(records)
}

/// Loads the program for the running kernel, and attaches it to its iterator. Nothing of it stays
/// when this process ends.
fn attach() -> io::Result<OwnedFd> {
    let mut object = Object::parse(&OBJECT.0).map_err(io::Error::other)?;
    let types = std::fs::read(KERNEL_TYPES)?;
    let kernel = Btf::parse(&types, object.endianness).map_err(io::Error::other)?;
    let target = kernel
        .id_by_type_name_kind(TARGET, BtfKind::Func)
        .map_err(io::Error::other)?;
    object.relocate_btf(&kernel).map_err(io::Error::other)?;
    let program = object
        .programs
        .values()
        .next()
        .and_then(|program| object.functions.get(&program.function_key()))
        .ok_or_else(|| io::Error::other("the object file has no program"))?;
    let program = bpf::load_iterator(&program.instructions, &object.license, target)?;
    bpf::create_link(&program)
}
