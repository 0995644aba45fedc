// SPDX-License-Identifier: GPL-2.0

//! Compiles the BPF program, which is the same for all architectures with little endian.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/kernel_iterator/dma_bufs.bpf.c";

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=BPF_CLANG");
    let clang = env::var("BPF_CLANG").unwrap_or_else(|_| "clang-19".to_owned());
    let output = env::var("OUT_DIR").map_err(|error| format!("OUT_DIR: {error}"))?;
    let status = Command::new(&clang)
        .args(["-target", "bpfel", "-g", "-O2", "-Wall"])
        // The object is a part of the program, which does not depend on the folder.
        .arg("-fdebug-compilation-dir=.")
        .args(["-c", SOURCE, "-o"])
        .arg(PathBuf::from(output).join("dma_bufs.bpf.o"))
        .status()
        .map_err(|error| {
            format!("cannot run {clang}, which compiles for BPF: {error}; set BPF_CLANG")
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{clang} failed on {SOURCE}: {status}"))
    }
}
