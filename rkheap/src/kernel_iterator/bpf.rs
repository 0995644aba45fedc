// SPDX-License-Identifier: GPL-2.0

//! The calls of `bpf(2)` that an iterator needs.

use aya_obj::generated::{
    bpf_attach_type,
    bpf_attr,
    bpf_cmd,
    bpf_insn,
    bpf_prog_type, //
};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};

/// Loads a program for the iterator whose function has the number `target` in the kernel's type
/// information.
///
/// # Errors
///
/// That of `bpf(2)`: `EPERM` without the capability, `EACCES` or `EINVAL` if the kernel refuses the
/// program.
pub fn load_iterator(
    instructions: &[bpf_insn],
    license: &CStr,
    target: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = zeroed();
    // SAFETY: All members of the union are integers, for which zeros are valid.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
    load.expected_attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
    load.attach_btf_id = target;
    load.insns = instructions.as_ptr() as u64;
    load.insn_cnt = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    load.license = license.as_ptr() as u64;
    // SAFETY: The instructions and the license live until the call returns, and their length is
    // the one stated.
    unsafe { call(bpf_cmd::BPF_PROG_LOAD, &attributes) }
}

/// Attaches a program to its iterator.
///
/// # Errors
///
/// That of `bpf(2)`.
pub fn create_link(program: &OwnedFd) -> io::Result<OwnedFd> {
    let mut attributes = zeroed();
    attributes.link_create.__bindgen_anon_1.prog_fd = number(program);
    attributes.link_create.attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
    // SAFETY: The attributes have no pointers.
    unsafe { call(bpf_cmd::BPF_LINK_CREATE, &attributes) }
}

/// Opens the file from which the output of an iterator is read. It holds the link and the program.
///
/// # Errors
///
/// That of `bpf(2)`.
pub fn create_iterator(link: &OwnedFd) -> io::Result<File> {
    let mut attributes = zeroed();
    attributes.iter_create.link_fd = number(link);
    // SAFETY: The attributes have no pointers.
    unsafe { call(bpf_cmd::BPF_ITER_CREATE, &attributes) }.map(File::from)
}

/// A descriptor as the attributes have it.
fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().unsigned_abs()
}

fn zeroed() -> bpf_attr {
    // SAFETY: All members of the union consist of integers, for which zeros are valid.
    unsafe { std::mem::zeroed() }
}

/// Makes a call that returns a new descriptor.
///
/// # Safety
///
/// All pointers in the attributes must be valid for what `command` reads and writes through them.
unsafe fn call(command: bpf_cmd, attributes: &bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: The kernel reads as many bytes as are given. For the rest, see this function's
    // contract.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_ref(attributes),
            size_of::<bpf_attr>(),
        )
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(clippy::useless_conversion)] // The same type where it has 32 bits.
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: The call has returned this new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
