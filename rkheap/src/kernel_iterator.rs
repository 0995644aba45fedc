// SPDX-License-Identifier: GPL-2.0

//! The kernel's BPF iterator over all dma-bufs (`kernel/bpf/dmabuf_iter.c`), since Linux 6.16. It
//! needs the type information of the kernel in `/sys/kernel/btf/vmlinux`, and `CAP_BPF` and
//! `CAP_PERFMON`.

mod bpf;

use crate::system::ReadResult;
use aya_obj::btf::{
    Btf,
    BtfKind, //
};
use aya_obj::Object;
use std::fs::File;
use std::io::{
    self,
    Read, //
};

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
pub fn read() -> ReadResult {
    match open().and_then(read_all) {
        Ok(records) => ReadResult::Content(records),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => ReadResult::Denied,
        Err(_) => ReadResult::Absent,
    }
}

fn read_all(mut iterator: File) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    iterator.read_to_end(&mut records)?;
    Ok(records)
}

/// Loads the program for the running kernel, and opens the iterator. Nothing of it stays after the
/// file is closed.
fn open() -> io::Result<File> {
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
    bpf::create_iterator(&bpf::create_link(&program)?)
}
