// SPDX-License-Identifier: GPL-2.0

//! Runs suites in virtual machines with `qemu/vm`.

use std::fs::File;
use std::io::{
    BufRead,
    BufReader,
    Write, //
};
use std::path::{
    Path,
    PathBuf, //
};
use std::process::{
    Command,
    ExitStatus,
    Stdio, //
};

use anyhow::{
    ensure,
    Context,
    Result, //
};

use crate::count::{
    Count,
    Outcome, //
};
use crate::ktap;
use crate::progress::Progress;
use crate::suites::{
    Guest,
    Report,
    Share, //
};
use crate::Paths;

/// The number of lines of standard error that are printed for a failed suite. The log has them all.
const STDERR_LINES: usize = 40;

/// The exit status of `qemu/vm` if the kernel hung before it started init.
const NOT_BOOTED: i32 = 73;

/// Boots a machine for the suite, runs its command, and writes all output to log files. Boots once
/// more if the kernel hangs before its init: under emulation that happens about once in a thousand
/// boots, before anything of this project runs.
///
/// Fails if the shared programs cannot be built, `qemu/vm` cannot be started, or a log file cannot
/// be written.
pub fn run(
    name: &str,
    guest: &Guest,
    target: &str,
    paths: &Paths,
    progress: &Progress,
) -> Result<Outcome> {
    let kernel_source = paths.target.join("tree/source");
    let log = paths.logs.join(format!("{target}-{name}.log"));
    let errors = log.with_extension("err");
    let timeout = guest.timeout_on(target).to_string();
    let mut command = Command::new(paths.project.join("qemu/vm"));
    command
        .current_dir(&paths.project)
        .args(["--target", target])
        .args(["--timeout", &timeout])
        .args(guest.options);
    match guest.share {
        Share::Nothing => {}
        Share::Empty => {
            let folder = paths.logs.join(format!("{target}-{name}.share"));
            std::fs::create_dir_all(&folder)?;
            command.arg("--share").arg(folder);
        }
        Share::KernelSelftest(selftest) => {
            let programs = build_selftest(selftest, target, paths, &kernel_source)?;
            command.arg("--share").arg(programs);
        }
        Share::Programs { triple } => {
            let programs = build_programs(triple, paths)?;
            command.arg("--share").arg(programs);
        }
    }
    command
        .arg("--console")
        .arg(log.with_extension("console"))
        .arg("--")
        .arg(in_time(guest, &timeout))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&errors)?);
    let mut status = run_once(&mut command, &log, progress)?;
    if status.code() == Some(NOT_BOOTED) {
        eprintln!("{target}/{name}: {}, booting again", describe(status));
        command.stderr(File::create(&errors)?);
        status = run_once(&mut command, &log, progress)?;
    }
    let parsed = match guest.report {
        Report::Ktap => ktap::parse(&kernel_source, &log),
        Report::ExitStatus => Ok(outcome_of_status(status)),
    };
    let mut outcome = parsed.unwrap_or_else(|error| Outcome::failure(format!("{error:#}")));
    // A suite whose machine failed has failed, even if all its tests passed.
    if !status.success() && (outcome.count.failed == 0 || !is_of_command(status)) {
        outcome.fail(format!("qemu/vm: {}", describe(status)));
    }
    if outcome.count.failed > 0 {
        outcome.remarks.extend(last_lines(&errors)?);
        let logs = log.with_extension("*");
        outcome
            .remarks
            .push(format!("complete output: {}", logs.display()));
    }
    Ok(outcome)
}

/// Returns the command, whose tests that hang fail before the machine is killed after `timeout`
/// seconds. A guest with `--icount` has another clock than this machine, and no such limit.
fn in_time(guest: &Guest, timeout: &str) -> String {
    match guest.options.contains(&"--icount") {
        true => guest.command.to_string(),
        false => format!("export MACHINE_SECONDS={timeout}; {}", guest.command),
    }
}

/// Runs `qemu/vm` once, and writes its output to `log`.
fn run_once(command: &mut Command, log: &Path, progress: &Progress) -> Result<ExitStatus> {
    let mut vm = command.spawn().context("cannot run qemu/vm")?;
    let stdout = vm.stdout.take().context("qemu/vm has no output")?;
    let mut log_file = File::create(log)?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        if ktap::is_result(&String::from_utf8_lossy(&line)) {
            progress.count_test();
        }
        log_file.write_all(&line)?;
        log_file.write_all(b"\n")?;
    }
    Ok(vm.wait()?)
}

/// Counts the exit status of a command as one test. The caller counts failures.
fn outcome_of_status(status: ExitStatus) -> Outcome {
    let passed = usize::from(status.success());
    Outcome {
        count: Count {
            passed,
            ..Count::default()
        },
        ..Outcome::default()
    }
}

/// Returns whether the status is that of the command rather than of the machine.
fn is_of_command(status: ExitStatus) -> bool {
    matches!(status.code(), Some(0..=63))
}

/// Describes an exit status of `qemu/vm`.
fn describe(status: ExitStatus) -> String {
    let Some(code) = status.code() else {
        return format!("{status}");
    };
    let words = match code {
        64 => "wrong usage",
        68 => "the machine could not be started",
        69 => "the machine died",
        70 => "the kernel reported a defect",
        71 => "the module could not be loaded",
        72 => "the kernel did not report what was expected",
        NOT_BOOTED => "the kernel hung before it started init",
        124 => "timed out",
        _ => "the command failed",
    };
    format!("{words} (exit status {code})")
}

/// Returns the last [`STDERR_LINES`] lines of a file.
fn last_lines(path: &Path) -> Result<Vec<String>> {
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    Ok(lines[lines.len().saturating_sub(STDERR_LINES)..].to_vec())
}

/// Builds one of the kernel's selftests for the target with its own makefile, and returns the
/// folder of the programs.
///
/// Fails if set-up of the target is incomplete or the selftest does not build.
fn build_selftest(
    name: &str,
    target: &str,
    paths: &Paths,
    kernel_source: &Path,
) -> Result<PathBuf> {
    let arguments_file = paths.target.join("tree/make-arguments");
    let arguments = std::fs::read_to_string(&arguments_file).with_context(|| {
        format!(
            "cannot read {}: run qemu/setup {target}",
            arguments_file.display()
        )
    })?;
    let output = paths.project.join("build/selftests").join(target);
    std::fs::create_dir_all(&output)?;
    let make = Command::new("make")
        .arg("--silent")
        .arg("--directory")
        .arg(kernel_source.join("tools/testing/selftests").join(name))
        .arg(format!("OUTPUT={}", output.display()))
        // The guest has no libraries.
        .arg("LDFLAGS=-static")
        .args(arguments.lines().map(with_own_compiler))
        .output()
        .context("cannot run make")?;
    ensure!(
        make.status.success(),
        "the kernel's selftest {name} does not build:\n{}",
        String::from_utf8_lossy(&make.stderr)
    );
    Ok(output)
}

/// Returns an argument for the kernel's makefiles with the compiler of the build root. The kernel
/// of another suite is built by another one, but its selftests are ordinary programs.
fn with_own_compiler(argument: &str) -> String {
    let version = |compiler: &str| {
        compiler
            .rsplit_once("-gcc-")
            .map(|(name, _)| name.to_owned())
    };
    match argument.strip_prefix("CC=").and_then(version) {
        Some(name) => format!("CC={name}-gcc-14"),
        None => argument.to_owned(),
    }
}

/// Builds the guest programs for another architecture than the target's, and returns their folder.
/// Programs that `qemu/build-guest` has built are not built again.
///
/// Fails if a program does not build.
fn build_programs(triple: &str, paths: &Paths) -> Result<PathBuf> {
    let cargo = Command::new(paths.project.join("qemu/cargo-guest"))
        .current_dir(&paths.project)
        .args([triple, "build", "--release"])
        .output()
        .context("cannot run cargo")?;
    ensure!(
        cargo.status.success(),
        "the guest programs do not build for {triple}:\n{}",
        String::from_utf8_lossy(&cargo.stderr)
    );
    Ok(paths.project.join("target").join(triple).join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn statuses_of_machine_and_command_are_distinguished() {
        assert!(is_of_command(exited(0)) && is_of_command(exited(1)));
        for code in [64, 68, 69, 70, 71, 72, 124] {
            assert!(!is_of_command(exited(code)), "{code}");
        }
        assert!(!is_of_command(ExitStatus::from_raw(9)));
        assert_eq!(
            describe(exited(70)),
            "the kernel reported a defect (exit status 70)"
        );
        assert_eq!(describe(exited(3)), "the command failed (exit status 3)");
    }

    #[test]
    fn selftests_are_built_by_the_compiler_of_the_build_root() {
        assert_eq!(
            with_own_compiler("CC=aarch64-linux-gnu-gcc-16"),
            "CC=aarch64-linux-gnu-gcc-14"
        );
        assert_eq!(with_own_compiler("ARCH=arm64"), "ARCH=arm64");
    }

    #[test]
    fn exit_status_counts_as_one_test() {
        assert_eq!(outcome_of_status(exited(0)).count.passed, 1);
        assert_eq!(outcome_of_status(exited(1)).count, Count::default());
    }
}
