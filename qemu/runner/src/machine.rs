// SPDX-License-Identifier: GPL-2.0

//! The virtual machine: QEMU's command line and the kernel's.

use std::path::Path;
use std::process::Command;

use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};

use crate::arguments::{
    Arguments,
    Iommu, //
};
use crate::target::Target;

/// Arguments for all targets. The machine stops on a panic or an oops instead of rebooting. The log
/// level limits the console to messages that matter for a report or a failure. Parsing the
/// certificates of the kernel's modules takes a tenth of the boot time and is unnecessary: no
/// module is rejected without them.
const KERNEL_ARGUMENTS: &str = "loglevel=6 panic=-1 oops=panic printk.devkmsg=on rdinit=/init \
                                initcall_blacklist=load_system_certificate_list";

/// The address space for memory that is added, more than any machine here has.
const MAX_MEMORY: &str = ",maxmem=64G";

/// The virtual machine of a target.
pub struct Machine<'a> {
    pub target: &'a Target,
    pub arguments: &'a Arguments,
}

impl Machine<'_> {
    pub fn kernel_arguments(&self) -> String {
        let mut words = vec![KERNEL_ARGUMENTS];
        words.extend(self.target.kernel_arguments.iter().map(String::as_str));
        words.push(&self.arguments.append);
        words.join(" ").trim_end().into()
    }

    /// Returns the arguments that determine the device tree: all but kernel and PCI devices. The
    /// tree says which PCI devices are behind an IOMMU, so that is among them.
    ///
    /// Fails if CPUs or memory cannot be divided among the nodes.
    fn hardware(&self) -> Result<Vec<String>> {
        let Arguments {
            cpu,
            smp,
            mem,
            machine,
            icount,
            nodes,
            iommu,
            hot_add,
            ..
        } = self.arguments;
        let mut properties = format!("{},dump-guest-core=off", self.target.machine);
        if let Some(more) = machine {
            properties.push(',');
            properties.push_str(more);
        }
        if *iommu == Some(Iommu::Smmuv3) {
            properties.push_str(",iommu=smmuv3");
        }
        let smp = smp.map_or(self.target.smp.clone(), |smp| smp.to_string());
        let cpu = cpu.as_ref().unwrap_or(&self.target.cpu);
        let memory = mem.as_ref().unwrap_or(&self.target.memory);
        let mut words = words(&[
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]);
        words.extend(["-machine".into(), properties, "-cpu".into(), cpu.clone()]);
        let mut cpus = smp.clone();
        if let Some(nodes) = nodes {
            words.extend(divided(*nodes, &smp, memory)?);
            cpus.push_str(&format!(",sockets={nodes}"));
        }
        let mut memory = memory.clone();
        if hot_add.is_some() {
            memory.push_str(MAX_MEMORY);
        }
        words.extend(["-smp".into(), cpus, "-m".into(), memory]);
        if *icount {
            words.extend(["-icount".into(), "shift=0,sleep=off".into()]);
        }
        if *iommu == Some(Iommu::Virtio) {
            words.extend(["-device".into(), "virtio-iommu-pci".into()]);
        }
        Ok(words)
    }

    /// Returns the command for a QEMU that writes its device tree to `file` and exits.
    ///
    /// Fails as [`Machine::boot`] does.
    pub fn dump_device_tree(&self, file: &Path) -> Result<Command> {
        let mut command = Command::new(&self.target.qemu);
        command.args(self.hardware()?);
        command
            .arg("-machine")
            .arg(format!("dumpdtb={}", escaped(file)));
        Ok(command)
    }

    /// Returns the command that boots the machine; QEMU inherits the file descriptor `initrd`.
    ///
    /// Fails if CPUs or memory cannot be divided among the nodes.
    pub fn boot(&self, kernel: &Path, initrd: i32, device_tree: Option<&Path>) -> Result<Command> {
        let mut command = Command::new(&self.target.qemu);
        command.args(self.hardware()?);
        if let Some(plugin) = &self.arguments.plugin {
            command.arg("-plugin").arg(plugin);
        }
        command.arg("-kernel").arg(kernel);
        command
            .arg("-initrd")
            .arg(format!("/proc/self/fd/{initrd}"));
        command.arg("-append").arg(self.kernel_arguments());
        if let Some(file) = device_tree {
            command.arg("-dtb").arg(file);
        }
        command.args(["-device", "virtio-serial-pci,max_ports=8"]);
        if let Some(size) = &self.arguments.hot_add {
            let backend = format!("memory-backend-ram,id=added,size={size}");
            let device = format!("virtio-mem-pci,memdev=added,requested-size={size}");
            command.args(["-object", &backend, "-device", &device]);
        }
        for device in &self.arguments.device {
            command.arg("-device").arg(device);
        }
        Ok(command)
    }
}

/// Returns the arguments that divide `smp` CPUs and `memory` among nodes.
///
/// Fails if the memory is not a number of GiB, or if a node would have no CPU or no memory.
fn divided(nodes: u16, smp: &str, memory: &str) -> Result<Vec<String>> {
    let nodes = u32::from(nodes);
    let gib = memory.strip_suffix('G').map(str::parse::<u32>);
    let (Ok(cpus), Some(Ok(gib))) = (smp.parse::<u32>(), gib) else {
        bail!("--nodes: give the memory in GiB, as --mem 16G");
    };
    ensure!(
        cpus % nodes == 0 && gib % nodes == 0 && cpus > 0 && gib > 0,
        "--nodes {nodes}: {cpus} CPUs and {gib} GiB cannot be divided equally"
    );
    let (cpus, gib) = (cpus / nodes, gib / nodes);
    Ok((0..nodes)
        .flat_map(|node| {
            let first = node * cpus;
            [
                "-object".into(),
                format!("memory-backend-ram,id=node{node},size={gib}G"),
                "-numa".into(),
                format!(
                    "node,nodeid={node},memdev=node{node},cpus={first}-{}",
                    first + cpus - 1
                ),
            ]
        })
        .collect())
}

/// Adds the kernel's console.
pub fn add_console(command: &mut Command, fd: i32) {
    command.args([
        "-chardev",
        &format!("socket,id=console,fd={fd}"),
        "-serial",
        "chardev:console",
    ]);
}

/// Adds a port that transmits bytes unchanged.
pub fn add_port(command: &mut Command, name: &str, fd: i32) {
    command.args(["-chardev", &format!("socket,id={name},fd={fd}")]);
    command.args([
        "-device",
        &format!("virtserialport,chardev={name},name={name}"),
    ]);
}

/// Adds a port that is a terminal in the guest: /dev/hvc0.
pub fn add_terminal(command: &mut Command, fd: i32) {
    command.args(["-chardev", &format!("socket,id=terminal,fd={fd}")]);
    command.args(["-device", "virtconsole,chardev=terminal,name=terminal"]);
}

/// Adds a folder that the guest can mount by 9p.
pub fn add_share(command: &mut Command, folder: &Path) -> Result<()> {
    let folder = folder
        .canonicalize()
        .ok()
        .filter(|folder| folder.is_dir())
        .with_context(|| format!("--share {}: not a folder", folder.display()))?;
    command.arg("-fsdev").arg(format!(
        "local,id=share,security_model=none,multidevs=remap,path={}",
        escaped(&folder)
    ));
    command.args(["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]);
    Ok(())
}

/// Doubles commas, as QEMU's options require in values.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn command_line(options: &[&str]) -> Vec<String> {
        let own = ["vm", "--project", "/p"];
        let arguments =
            Arguments::try_parse_from(own.iter().chain(options).chain(&["--", "true"])).unwrap();
        let target = Target {
            name: "t".into(),
            triple: "x".into(),
            qemu: "qemu-system-x".into(),
            machine: "virt".into(),
            cpu: "a57".into(),
            smp: "2".into(),
            memory: "1G".into(),
            tree: None,
            boot_modules: vec![],
            kernel_arguments: vec!["a=1".into()],
        };
        let machine = Machine {
            target: &target,
            arguments: &arguments,
        };
        let command = machine.boot(Path::new("/k"), 4, None).unwrap();
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    fn value_of<'a>(line: &'a [String], option: &str) -> &'a str {
        let at = line.iter().position(|word| word == option).unwrap();
        &line[at + 1]
    }

    #[test]
    fn the_target_gives_what_is_not_asked_for() {
        let line = command_line(&[]);
        assert_eq!(
            [
                value_of(&line, "-cpu"),
                value_of(&line, "-smp"),
                value_of(&line, "-m")
            ],
            ["a57", "2", "1G"]
        );
        assert!(!line.contains(&"-icount".into()));
        assert_eq!(
            value_of(&line, "-append"),
            format!("{KERNEL_ARGUMENTS} a=1")
        );
    }

    #[test]
    fn options_win_over_the_target() {
        let line = command_line(&[
            "--cpu",
            "max",
            "--smp",
            "4",
            "--mem",
            "6G",
            "--icount",
            "--append",
            "cma=24M loglevel=8",
        ]);
        assert_eq!(
            [
                value_of(&line, "-cpu"),
                value_of(&line, "-smp"),
                value_of(&line, "-m")
            ],
            ["max", "4", "6G"]
        );
        assert_eq!(value_of(&line, "-icount"), "shift=0,sleep=off");
        assert!(value_of(&line, "-append").ends_with(" a=1 cma=24M loglevel=8"));
    }

    #[test]
    fn devices_are_behind_the_iommu() {
        let line = command_line(&["--iommu", "smmuv3", "--device", "edu", "--device", "edu"]);
        assert!(value_of(&line, "-machine").ends_with(",iommu=smmuv3"));
        assert_eq!(line.iter().filter(|word| *word == "edu").count(), 2);

        // The tree gives its place on the bus, which is that of the first device.
        let line = command_line(&["--iommu", "virtio", "--device", "edu"]);
        assert_eq!(value_of(&line, "-device"), "virtio-iommu-pci");
        assert!(!value_of(&line, "-machine").contains("iommu"));
    }

    #[test]
    fn added_memory_has_a_device() {
        let line = command_line(&["--mem", "1G", "--hot-add", "512M"]);
        assert_eq!(value_of(&line, "-m"), "1G,maxmem=64G");
        assert!(line.contains(&"virtio-mem-pci,memdev=added,requested-size=512M".into()));
        let line = command_line(&["--mem", "1G"]);
        assert!(!line.iter().any(|word| word.contains("maxmem")));
    }

    #[test]
    fn nodes_have_equal_parts() {
        let line = command_line(&["--smp", "8", "--mem", "16G", "--nodes", "2"]);
        assert!(line.contains(&"memory-backend-ram,id=node1,size=8G".into()));
        assert!(line.contains(&"node,nodeid=1,memdev=node1,cpus=4-7".into()));
        assert!(divided(2, "3", "16G").is_err());
        assert!(divided(2, "2", "512M").is_err());
    }

    #[test]
    fn commas_in_paths_survive() {
        assert_eq!(escaped(Path::new("/a,b")), "/a,,b");
    }

    #[test]
    fn a_shared_folder_must_exist() {
        let mut command = Command::new("x");
        assert!(add_share(&mut command, Path::new("/nowhere")).is_err());
        assert!(add_share(&mut command, Path::new("/etc/passwd")).is_err());
        assert!(add_share(&mut command, Path::new("/tmp")).is_ok());
    }
}
