// SPDX-License-Identifier: GPL-2.0

//! One run of a virtual machine, from start to verdict.

use std::fs::{
    self,
    File, //
};
use std::io::{
    self,
    BufWriter,
    Seek, //
};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{
    Child,
    Command,
    Stdio, //
};
use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{
    Duration,
    Instant, //
};

use anyhow::{
    ensure,
    Context,
    Result, //
};
use command_fds::CommandFdExt;
use nix::sys::memfd::{
    memfd_create,
    MFdFlags, //
};
use nix::sys::signal::{
    kill,
    Signal, //
};
use nix::unistd::Pid;
use wait_timeout::ChildExt;

use crate::arguments::{
    Arguments,
    Iommu, //
};
use crate::console::Log;
use crate::device_tree::DeviceTree;
use crate::initramfs::Initramfs;
use crate::machine::{
    self,
    Machine, //
};
use crate::ports::{
    collect,
    pump_in,
    pump_out,
    Inherited, //
};
use crate::target::{
    Files,
    Target, //
};
use crate::terminal::{
    self,
    RawTerminal, //
};
use crate::verdict::{
    judge,
    Control, //
};

/// Number of console lines that are printed if the machine died.
const LOG_TAIL: usize = 40;

/// Maximum time between two lines on the console until init runs. A boot takes 3 to 20 s, but
/// minutes on a host that is busy.
const BOOT_SILENCE: Duration = Duration::from_secs(90);

/// Runs the machine, prints COMMAND's output, and returns the exit status.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let target = Target::find(&arguments.project, &arguments.target)?;
    let files = Files::of(&target, &arguments.project)?;
    let machine = Machine {
        target: &target,
        arguments,
    };
    let forward_input = !arguments.shell && input_is_data();

    let choice = arguments.dtb.as_ref().or(target.tree.as_ref());
    let device_tree = match choice.filter(|choice| *choice != "none") {
        Some(choice) => Some(DeviceTree::prepare(choice, &arguments.project, &machine)?),
        None => None,
    };
    let mut inherited = Inherited::default();
    let initrd = inherited.add(initramfs_file(&initramfs(
        arguments,
        &target,
        &files,
        forward_input,
    )?)?);
    let mut command = machine.boot(
        &files.kernel,
        initrd,
        device_tree.as_ref().map(DeviceTree::file),
    )?;

    let (console, fd) = inherited.add_stream()?;
    machine::add_console(&mut command, fd);
    let terminal = match arguments.shell {
        true => {
            let (terminal, fd) = inherited.add_stream()?;
            machine::add_terminal(&mut command, fd);
            Some(terminal)
        }
        false => None,
    };
    let mut port = |name| -> Result<UnixStream> {
        let (ours, fd) = inherited.add_stream()?;
        machine::add_port(&mut command, name, fd);
        Ok(ours)
    };
    let (input, output, errors) = (port("stdin")?, port("stdout")?, port("stderr")?);
    // The last port: see init.
    let control = port("control")?;
    if let Some(folder) = arguments.share.as_ref().filter(|_| files.has_9p) {
        machine::add_share(&mut command, folder)?;
    }
    if arguments.verbose {
        eprintln!("vm: {command:?}");
    }

    // Raw mode begins before the guest's first byte and ends after its last one.
    let raw = if arguments.shell {
        Some(RawTerminal::new()?)
    } else {
        None
    };
    let mut child = start(command, inherited)?;
    let boot = Boot::default();
    let console = collect(console, boot.printed.clone());
    let control = collect(control, boot.booted.clone());
    let streams = [
        pump_out(output, io::stdout()),
        pump_out(errors, io::stderr()),
    ];
    if forward_input {
        // This end stays open: QEMU drops data that the guest has not read yet when the peer has
        // closed both directions.
        pump_in(input.try_clone()?);
    }
    let screen = terminal
        .map(|terminal| attach(terminal, &child))
        .transpose()?;

    let timed_out = wait(&mut child, arguments, &boot)?;
    for stream in streams.into_iter().chain(screen) {
        join(stream)?;
    }
    let console = join(console)?;
    let control = Control::parse(&join(control)?);
    drop(raw);

    if let Some(file) = &arguments.console {
        fs::write(file, &console).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(conclude(
        &Log::new(&console),
        &control,
        arguments,
        timed_out,
    ))
}

/// Prints reports and the reason of a failure to standard error, and returns the exit status.
fn conclude(log: &Log, control: &Control, arguments: &Arguments, timed_out: bool) -> u8 {
    let reports = log.reports_but(arguments.allow_report.as_ref());
    let expected = arguments.expect_report.as_ref();
    let verdict = judge(control, &reports, expected, timed_out, arguments.timeout);
    for report in reports.iter().filter(|report| !report.matches(expected)) {
        eprintln!("{}", report.lines.join("\n"));
    }
    if verdict.show_log {
        eprintln!("{}", log.tail(LOG_TAIL).join("\n"));
    }
    if let Some(reason) = verdict.reason {
        eprintln!("vm: {reason}");
    }
    verdict.status
}

/// Builds the guest's root file system, including the settings that init reads from /vm.
fn initramfs(
    arguments: &Arguments,
    target: &Target,
    files: &Files,
    forward_input: bool,
) -> Result<Initramfs> {
    let mut initramfs = Initramfs::default();
    initramfs.copy_file("bin/busybox", &files.busybox, 0o755)?;
    initramfs.add_link("bin/sh", "busybox");
    initramfs.add_folder("usr/sbin");
    initramfs.add_folder("sbin");
    initramfs.copy_file("init", &arguments.project.join("qemu/init"), 0o755)?;
    initramfs.copy_tree("", &files.kernel_modules)?;
    initramfs.copy_programs("usr/bin", &files.guest_programs)?;
    // For programs that look up users.
    initramfs.add_file(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        0o644,
    );
    initramfs.add_file("etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644);

    ensure!(
        arguments.no_module || files.module.is_file(),
        "{} is missing: run 'make TARGET={}', or give --no-module",
        files.module.display(),
        target.name
    );
    initramfs.copy_modules("lib/modules", &files.built_modules)?;
    if let Some(folder) = arguments.share.as_ref().filter(|_| !files.has_9p) {
        initramfs.copy_tree("share", folder)?;
    }
    let mut add_setting =
        |name: &str, content: &str| initramfs.add_file(&format!("vm/{name}"), content, 0o644);
    // Without its driver no PCI device behind it is bound to one, the console's ports included.
    let iommu = (arguments.iommu == Some(Iommu::Virtio)).then_some("virtio-iommu");
    let boot_modules = target.boot_modules.iter().map(String::as_str).chain(iommu);
    add_setting("boot-modules", &boot_modules.collect::<Vec<_>>().join(" "));
    add_setting("command", &arguments.command.join(" "));
    if !arguments.no_module {
        add_setting("load", &arguments.module_args);
    }
    if arguments.share.is_some() && files.has_9p {
        add_setting("share", "");
    }
    if arguments.shell {
        add_setting("shell", &terminal::size_arguments());
    }
    if forward_input {
        add_setting("stdin", "");
    }
    Ok(initramfs)
}

/// Writes the initramfs to a memfd, so that no file remains however the run ends.
fn initramfs_file(initramfs: &Initramfs) -> Result<File> {
    let context = "cannot build the guest's initramfs";
    let mut file = memfd_create("initramfs", MFdFlags::MFD_CLOEXEC)
        .map(File::from)
        .context(context)?;
    initramfs.write(BufWriter::new(&file)).context(context)?;
    file.rewind()?;
    Ok(file)
}

/// Starts QEMU with the inherited files. QEMU is killed when this process ends.
fn start(mut command: Command, inherited: Inherited) -> Result<Child> {
    command
        .fd_mappings(inherited.into_mappings())
        .context("file descriptors collide")?;
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: prctl is async-signal-safe, and nothing else runs between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
}

/// Connects the user's terminal to the guest's. The kill key kills `child`.
fn attach(terminal: UnixStream, child: &Child) -> Result<JoinHandle<()>> {
    let screen = pump_out(terminal.try_clone()?, io::stdout());
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    terminal::pump_keys(terminal, move || {
        let _ = kill(pid, Signal::SIGKILL);
    });
    Ok(screen)
}

/// What is known of a machine that boots.
#[derive(Default)]
struct Boot {
    /// The kernel has printed something since this was last reset.
    printed: Arc<AtomicBool>,
    /// Init runs.
    booted: Arc<AtomicBool>,
}

impl Boot {
    /// Returns whether neither init runs nor the kernel has printed anything since the last call.
    fn hangs(&self) -> bool {
        !self.booted.load(Ordering::Relaxed) && !self.printed.swap(false, Ordering::Relaxed)
    }
}

/// Waits for the machine to end, or kills it after the timeout, or if its kernel prints nothing for
/// [`BOOT_SILENCE`] before it starts init. Returns whether it was killed.
fn wait(child: &mut Child, arguments: &Arguments, boot: &Boot) -> Result<bool> {
    if arguments.timeout == 0 || arguments.shell {
        child.wait()?;
        return Ok(false);
    }
    let end = Instant::now() + Duration::from_secs(arguments.timeout);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if child.wait_timeout(left.min(BOOT_SILENCE))?.is_some() {
            return Ok(false);
        }
        if left <= BOOT_SILENCE || boot.hangs() {
            break;
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(true)
}

fn join<T>(thread: JoinHandle<T>) -> Result<T> {
    thread
        .join()
        .ok()
        .context("a thread that copies a stream has panicked")
}

/// Returns whether standard input is a pipe, a file or a socket, and so meant for COMMAND.
fn input_is_data() -> bool {
    fs::metadata("/proc/self/fd/0").is_ok_and(|metadata| {
        let file_type = metadata.file_type();
        file_type.is_fifo() || file_type.is_file() || file_type.is_socket()
    })
}
