// SPDX-License-Identifier: GPL-2.0

//! The device tree of the kernel: a file, or an overlay of the project applied to QEMU's own tree.

use std::path::{
    Path,
    PathBuf, //
};
use std::process::{
    Command,
    Stdio, //
};

use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};

use tempfile::TempDir;

use crate::machine::Machine;

/// A device tree file.
pub struct DeviceTree {
    file: PathBuf,
    /// Folder of a generated file; removed when this is dropped.
    _scratch: Option<TempDir>,
}

impl DeviceTree {
    /// Prepares `choice`: a file, or the NAME of `dts/NAME.dtso`. An overlay of that name in
    /// `dts/TARGET/` takes its place.
    pub fn prepare(choice: &str, project: &Path, machine: &Machine) -> Result<Self> {
        let file = Path::new(choice);
        if file.is_file() {
            return Ok(Self {
                file: file.to_path_buf(),
                _scratch: None,
            });
        }
        let (folder, name) = (project.join("dts"), format!("{choice}.dtso"));
        let of_target = folder.join(machine.target.row()).join(&name);
        let source = match of_target.is_file() {
            true => of_target,
            false => folder.join(name),
        };
        if !source.is_file() {
            bail!(
                "--dtb {choice}: neither a file nor an overlay in dts/: use a file or one of: {}",
                overlays(project)
            );
        }
        let scratch = tempfile::tempdir().context("cannot create a temporary folder")?;
        let [base, overlay, result] =
            ["base.dtb", "overlay.dtbo", "result.dtb"].map(|name| scratch.path().join(name));
        run(&mut machine.dump_device_tree(&base)?).context("cannot get QEMU's own device tree")?;
        run(Command::new("dtc")
            .args(["-q", "-@", "-O", "dtb", "-o"])
            .args([&overlay, &source]))
        .with_context(|| format!("cannot compile {}", source.display()))?;
        run(Command::new("fdtoverlay")
            .arg("-i")
            .arg(&base)
            .arg("-o")
            .arg(&result)
            .arg(&overlay))
        .with_context(|| format!("cannot apply {} to QEMU's device tree", source.display()))?;
        Ok(Self {
            file: result,
            _scratch: Some(scratch),
        })
    }

    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// Returns the names of the overlays in `dts/`.
fn overlays(project: &Path) -> String {
    let mut names: Vec<String> = project
        .join("dts")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .strip_suffix(".dtso")
                .map(String::from)
        })
        .collect();
    names.sort();
    if names.is_empty() {
        "none".into()
    } else {
        names.join(" ")
    }
}

/// Runs the command; fails with its standard error if it fails.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use crate::target::Target;
    use clap::Parser;

    /// Runs QEMU, dtc and fdtoverlay with an overlay that is created here.
    #[test]
    fn overlays_go_onto_qemus_tree() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .unwrap();
        let arguments =
            Arguments::try_parse_from(["vm", "--project", "/p", "--mem", "256M", "--", "true"])
                .unwrap();
        let target = Target::find(project, "arm64").unwrap();
        let machine = Machine {
            target: &target,
            arguments: &arguments,
        };

        let own = tempfile::tempdir().unwrap();
        std::fs::create_dir(own.path().join("dts")).unwrap();
        let source = "/dts-v1/;\n/plugin/;\n&{/} { proof-of-overlay = \"here\"; };\n";
        std::fs::write(own.path().join("dts/proof.dtso"), source).unwrap();
        let made = DeviceTree::prepare("proof", own.path(), &machine).unwrap();
        let tree = std::fs::read(made.file()).unwrap();
        assert!(tree.windows(16).any(|bytes| bytes == b"proof-of-overlay"));
        assert!(tree.windows(10).any(|bytes| bytes == b"arm,pl011\0"));

        let error = DeviceTree::prepare("missing", own.path(), &machine)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("one of: proof"), "{error}");
        std::fs::write(own.path().join("dts/broken.dtso"), "nonsense").unwrap();
        assert!(DeviceTree::prepare("broken", own.path(), &machine).is_err());

        let as_is =
            DeviceTree::prepare(made.file().to_str().unwrap(), own.path(), &machine).unwrap();
        assert_eq!(as_is.file(), made.file());
    }
}
