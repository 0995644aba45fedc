// SPDX-License-Identifier: GPL-2.0

//! Checks that every version shown by the project is the one in `Cargo.toml`.

mod common;

use std::{
    env,
    fs,
    path::PathBuf,
    process::Command, //
};

use common::project;

/// The version of the workspace, as cargo reads it from `Cargo.toml`.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(file: &str) -> String {
    fs::read_to_string(project().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Runs `command` in the project's folder and returns its standard output without trailing
/// whitespace.
fn output(command: &mut Command) -> String {
    let output = command.current_dir(project()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim_end().into()
}

/// Returns the version in the `.modinfo` section of `module`, the bytes of a module file.
fn modinfo_version(module: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\0version=";
    let start = module.windows(KEY.len()).position(|bytes| bytes == KEY)? + KEY.len();
    let value = &module[start..];
    Some(&value[..value.iter().position(|byte| *byte == 0)?])
}

#[test]
fn modinfo_is_read_by_key() {
    let module = b"\0srcversion=17\0license=GPL v2\0version=1.2.3\0name=x\0";
    assert_eq!(modinfo_version(module), Some(&b"1.2.3"[..]));
    assert_eq!(modinfo_version(b"\0srcversion=17\0"), None);
}

#[test]
fn newest_heading_of_the_changelog_names_the_version() {
    let changelog = read("CHANGELOG.md");
    let newest = changelog
        .lines()
        .find_map(|line| line.strip_prefix("## "))
        .expect("CHANGELOG.md has no heading");
    assert_eq!(
        newest.split(' ').next(),
        Some(VERSION),
        "newest heading of CHANGELOG.md: {newest}"
    );
}

#[test]
fn every_program_has_the_version_of_the_workspace() {
    let metadata = output(Command::new(env!("CARGO")).args([
        "metadata",
        "--quiet",
        "--offline",
        "--no-deps",
        "--format-version=1",
    ]));
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(!packages.is_empty());
    for package in packages {
        assert_eq!(package["version"], VERSION, "{}", package["name"]);
    }
}

#[test]
fn rkheap_shows_the_version() {
    let shown = output(Command::new(env!("CARGO")).args([
        "run",
        "--quiet",
        "--offline",
        "--package=rkheap",
        "--",
        "--version",
    ]));
    assert_eq!(shown, format!("rkheap {VERSION}"));
}

#[test]
fn kbuild_passes_the_version_to_the_module() {
    let makefile = "include Kbuild\nshow: ; $(info $(CFLAGS_src/exports.o)) @:\n";
    let file = env::temp_dir().join(format!("rk-dma-heap-version-{}.mk", std::process::id()));
    fs::write(&file, makefile).unwrap();
    let flags = output(
        Command::new("make")
            .args(["--silent", "src=.", "obj=build/none", "show", "--file"])
            .arg(&file),
    );
    fs::remove_file(&file).unwrap();
    let define = format!("-DRK_DMA_HEAP_VERSION=\\\"{VERSION}\\\"");
    assert!(flags.split(' ').any(|flag| flag == define), "{flags}");
    assert!(read("src/exports.c").contains("\nMODULE_VERSION(RK_DMA_HEAP_VERSION);\n"));
}

/// Checks the modules in `build/` that are newer than the sources of the version.
#[test]
fn built_modules_state_the_version() {
    let modified = |path: PathBuf| fs::metadata(path).unwrap().modified().unwrap();
    let sources = ["Cargo.toml", "Kbuild", "src/exports.c"];
    let newest = sources.map(|file| modified(project().join(file)));
    let newest = newest.iter().max().unwrap();
    let Ok(outputs) = fs::read_dir(project().join("build")) else {
        println!("no module was built");
        return;
    };
    for folder in outputs {
        let module = folder.unwrap().path().join("rk_dma_heap.ko");
        if !module.exists() {
            continue;
        }
        if modified(module.clone()) < *newest {
            println!("{}: older than its sources", module.display());
            continue;
        }
        let version = modinfo_version(&fs::read(&module).unwrap()).map(<[u8]>::to_vec);
        assert_eq!(
            version.as_deref(),
            Some(VERSION.as_bytes()),
            "{}",
            module.display()
        );
    }
}

#[test]
fn packages_take_the_version() {
    let script = "project=.; die() { exit 1; }; source packages/lib/deb.sh; package_version";
    let version = output(Command::new("bash").args(["-euc", script]));
    let suffix = version.strip_prefix(VERSION);
    assert!(
        suffix.is_some_and(|suffix| suffix.is_empty() || suffix.starts_with("~git")),
        "{version}"
    );
}

/// Checks that the DKMS package takes the common version and ships `Cargo.toml`.
#[test]
fn dkms_takes_the_version_of_the_packages() {
    assert!(read("packages/dkms/dkms.conf").contains("\nPACKAGE_VERSION=\"@VERSION@\"\n"));
    assert!(read("packages/build").contains("< <(find Kbuild Cargo.toml src "));
}
