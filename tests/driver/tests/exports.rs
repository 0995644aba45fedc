// SPDX-License-Identifier: GPL-2.0

//! Checks that the module leaves out the functions that a kernel exports itself, which would refuse
//! to load it.

mod common;

use std::{
    fs,
    path::Path,
    process::Command, //
};

use common::project;

/// A makefile that prints the options with which Kbuild compiles `src/exports.c`.
const MAKEFILE: &str = "\
src := $(PROJECT)
obj := build
include $(src)/Kbuild
print:
\t@echo '$(filter -DRK_KERNEL_HAS_%,$(CFLAGS_src/exports.o))'
FORCE:
.PHONY: print
.DEFAULT_GOAL := print
";

/// The headers that `src/exports.c` includes. The functions are not declared in them here.
const HEADERS: [&str; 4] = ["dma-heap.h", "export.h", "module.h", "rk-dma-heap.h"];

/// Runs `command` and returns its output.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the names that a module exports which is built for a kernel with these exports, in a
/// folder of its own.
fn exports(folder: &Path, symvers: &str) -> Vec<String> {
    let _ = fs::remove_dir_all(folder);
    let headers = folder.join("include/linux");
    fs::create_dir_all(&headers).unwrap();
    for header in HEADERS {
        fs::write(headers.join(header), "").unwrap();
    }
    fs::write(folder.join("Module.symvers"), symvers).unwrap();
    fs::write(folder.join("Makefile"), MAKEFILE).unwrap();
    let options = output(
        Command::new("make")
            .args(["--silent", "-C"])
            .arg(folder)
            .arg(format!("PROJECT={}", project().display()))
            .arg(format!("objtree={}", folder.display())),
    );
    let text = output(
        Command::new("cc")
            .args(["-E", "-P", "-nostdinc"])
            .args(options.split_whitespace())
            .arg("-I")
            .arg(folder.join("include"))
            .arg(project().join("src/exports.c")),
    );
    fs::remove_dir_all(folder).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("EXPORT_SYMBOL_GPL(")?.strip_suffix(");"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn names_of_the_kernel_are_left_out() {
    let folder = std::env::temp_dir().join(format!("rk_dma_heap-{}", std::process::id()));
    let line = |name| format!("0x12345678\t{name}\tvmlinux\tEXPORT_SYMBOL_GPL\tDMA_BUF_HEAP\n");
    let others = [line("dma_heap_add"), line("my_dma_heap_find")].concat();
    let all = exports(&folder, &others);
    let android: Vec<_> = all
        .iter()
        .filter(|name| name.starts_with("dma_heap_"))
        .collect();
    assert_eq!(android.len(), 7, "{all:?}");
    assert!(all.len() > 20, "{all:?}");
    for name in android {
        let left = exports(&folder, &[&others, &*line(name)].concat());
        let expected: Vec<_> = all.iter().filter(|other| *other != name).cloned().collect();
        assert_eq!(left, expected, "the kernel has {name}");
    }
}
