// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::Parser;
use regex::Regex;

/// Boot a target in QEMU, load the module, run COMMAND in the guest, and exit with its status.
#[derive(Parser, Debug)]
#[command(
    name = "qemu/vm",
    version,
    override_usage = "qemu/vm [OPTIONS] -- COMMAND...\n       qemu/vm [OPTIONS] --shell",
    after_help = "Exit statuses: qemu/README.md"
)]
pub struct Arguments {
    /// Row of qemu/targets to boot
    #[arg(long, value_name = "NAME", default_value = "arm64")]
    pub target: String,

    /// CPU model instead of the target's
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,

    /// Number of CPUs instead of the target's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub smp: Option<u16>,

    /// Memory in QEMU's format (512M, 6G) instead of the target's
    #[arg(long, value_name = "SIZE")]
    pub mem: Option<String>,

    /// Memory in QEMU's format that the guest has in addition once it loads virtio_mem
    #[arg(long, value_name = "SIZE", conflicts_with = "nodes")]
    pub hot_add: Option<String>,

    /// Number of nodes among which CPUs and memory are divided (NUMA)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=8))]
    pub nodes: Option<u16>,

    /// Properties of QEMU's machine in addition to the target's (iommu=smmuv3)
    #[arg(long, value_name = "KEY=VALUE[,...]")]
    pub machine: Option<String>,

    /// Device in QEMU's format, in addition to the target's (edu,dma_mask=0xffffffff); repeatable
    #[arg(long, value_name = "MODEL[,KEY=VALUE]...")]
    pub device: Vec<String>,

    /// IOMMU between the PCI devices and memory
    #[arg(long, value_name = "KIND")]
    pub iommu: Option<Iommu>,

    /// Arguments appended to the kernel's command line
    #[arg(
        long,
        value_name = "KERNEL ARGS",
        allow_hyphen_values = true,
        default_value = ""
    )]
    pub append: String,

    /// Device tree: a file, or the NAME of an overlay dts/NAME.dtso that is applied to QEMU's tree
    #[arg(long, value_name = "FILE|NAME")]
    pub dtb: Option<String>,

    /// One instruction per virtual nanosecond: runs are reproducible, and the guest's clock counts
    /// instructions
    #[arg(long)]
    pub icount: bool,

    /// Plugin for QEMU: a file, followed by its arguments, separated by commas
    #[arg(long, value_name = "FILE[,KEY=VALUE]...")]
    pub plugin: Option<String>,

    /// Do not load the module (/lib/modules/rk_dma_heap.ko exists nevertheless if it is built)
    #[arg(long)]
    pub no_module: bool,

    /// Module parameters
    #[arg(
        long,
        value_name = "KEY=VALUE ...",
        default_value = "",
        conflicts_with = "no_module"
    )]
    pub module_args: String,

    /// Folder to mount at /share in the guest, read-write; a copy on a target without 9p
    #[arg(long, value_name = "DIR")]
    pub share: Option<PathBuf>,

    /// Seconds until the virtual machine is killed, with exit status 124; 0 for no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,

    /// Kernel report that this run must trigger: no failure if it appears, status 72 otherwise
    #[arg(long, value_name = "REGEX")]
    pub expect_report: Option<Regex>,

    /// Kernel report that this run may trigger: never a failure
    #[arg(long, value_name = "REGEX")]
    pub allow_report: Option<Regex>,

    /// Write the kernel's console output to FILE
    #[arg(long, value_name = "FILE")]
    pub console: Option<PathBuf>,

    /// Print the QEMU command line before starting QEMU
    #[arg(long)]
    pub verbose: bool,

    /// Interactive shell on this terminal instead of COMMAND; Ctrl-] kills the virtual machine
    #[arg(long, conflicts_with = "command")]
    pub shell: bool,

    /// The project's top folder
    #[arg(long, hide = true)]
    pub project: PathBuf,

    /// Run by `sh -c` in the guest, its words joined with spaces
    #[arg(last = true, required_unless_present = "shell")]
    pub command: Vec<String>,
}

/// An IOMMU of the machine `virt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Iommu {
    /// Arm's, a part of the machine
    Smmuv3,
    /// A virtio device, whose driver init loads
    Virtio,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
        let own = ["vm", "--project", "/p"];
        Arguments::try_parse_from(own.iter().chain(words))
    }

    #[test]
    fn command_starts_after_the_dashes() {
        let arguments = parse(&[
            "--smp",
            "4",
            "--append",
            "-x cma=24M",
            "--",
            "ls",
            "--target",
            "x",
        ])
        .unwrap();
        assert_eq!(arguments.command, ["ls", "--target", "x"]);
        assert_eq!(arguments.target, "arm64");
        assert_eq!(arguments.smp, Some(4));
        assert_eq!(arguments.append, "-x cma=24M");
    }

    #[test]
    fn a_command_or_a_shell_is_needed_and_not_both() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--shell"]).is_ok());
        assert!(parse(&["--shell", "--", "ls"]).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(parse(&["--smp", "0", "--", "ls"]).is_err());
        assert!(parse(&["--iommu", "vtd", "--", "ls"]).is_err());
        assert!(parse(&["--timeout", "-1", "--", "ls"]).is_err());
        assert!(parse(&["--expect-report", "(", "--", "ls"]).is_err());
        assert!(parse(&["--no-module", "--module-args", "a=1", "--", "ls"]).is_err());
    }
}
