// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap top` on a terminal. The tests read its screen.

use crate::program::PROGRAM;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use guest_support::retry::eventually;
use nix::errno::Errno;
use nix::poll::{
    poll,
    PollFd,
    PollFlags,
    PollTimeout, //
};
use nix::pty::{
    openpty,
    Winsize, //
};
use nix::sys::signal::{
    kill,
    Signal, //
};
use nix::sys::termios::{
    tcgetattr,
    Termios, //
};
use nix::unistd::{
    read,
    write,
    Pid, //
};
use std::cell::RefCell;
use std::os::fd::{
    AsFd,
    OwnedFd, //
};
use std::process::{
    Child,
    Command,
    ExitStatus,
    Stdio, //
};
use std::time::Duration;

/// Maximum time until the screen shows an expected text.
const SCREEN_TIMEOUT: Duration = Duration::from_secs(15);

pub fn add(tests: &mut Tests) {
    tests.add("top/what-grows-comes-first", what_grows_comes_first);
    tests.add("top/keys", keys);
    tests.add("top/widths", widths);
    tests.add("top/ends-and-restores", ends_and_restores);
    tests.add("top/odd-names", odd_names);
    tests.add("top/no-color", no_color);
}

/// A terminal on which the program runs.
#[must_use]
pub struct Terminal {
    master: OwnedFd,
    slave: OwnedFd,
    screen: RefCell<vt100::Parser>,
    raw: RefCell<Vec<u8>>,
    before: Termios,
    program: Child,
}

impl Terminal {
    pub fn start(columns: u16, rows: u16) -> Result<Self> {
        Self::start_with(columns, rows, &[], "")
    }

    fn start_with(columns: u16, rows: u16, options: &[&str], no_color: &str) -> Result<Self> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).context("cannot open a terminal")?;
        let before = tcgetattr(&pty.slave)?;
        let stdio = || -> Result<Stdio> { Ok(Stdio::from(pty.slave.try_clone()?)) };
        // A session of its own with this controlling terminal.
        let program = Command::new("setsid")
            .args(["-c", PROGRAM, "top", "--interval", "0.2"])
            .args(options)
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color)
            .stdin(stdio()?)
            .stdout(stdio()?)
            .stderr(stdio()?)
            .spawn()?;
        Ok(Terminal {
            master: pty.master,
            slave: pty.slave,
            screen: RefCell::new(vt100::Parser::new(rows, columns, 0)),
            raw: RefCell::new(Vec::new()),
            before,
            program,
        })
    }

    /// Reads the output to the terminal.
    fn read_output(&self) -> Result<()> {
        let mut bytes = [0; 4096];
        loop {
            let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ready, PollTimeout::from(20u8))? == 0 {
                return Ok(());
            }
            match read(&self.master, &mut bytes) {
                Ok(0) | Err(Errno::EIO) => return Ok(()),
                Ok(count) => {
                    let bytes = &bytes[..count];
                    self.raw.borrow_mut().extend_from_slice(bytes);
                    self.screen.borrow_mut().process(bytes);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until the text of the screen is as expected. `what` describes this state.
    pub fn wait(&self, what: &str, is_expected: impl Fn(&str) -> bool) -> Result<String> {
        let mut text = String::new();
        eventually(SCREEN_TIMEOUT, || {
            self.read_output()?;
            text = self.screen.borrow().screen().contents();
            ensure!(is_expected(&text), "{what}; the screen is\n{text}");
            Ok(())
        })?;
        Ok(text)
    }

    pub fn press(&self, keys: &str) -> Result<()> {
        ensure!(write(&self.master, keys.as_bytes())? == keys.len());
        Ok(())
    }

    fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let status = Command::new("stty")
            .args(["cols", &columns.to_string(), "rows", &rows.to_string()])
            .stdin(Stdio::from(self.slave.try_clone()?))
            .status()?;
        ensure!(status.success());
        self.screen.borrow_mut().set_size(rows, columns);
        Ok(())
    }

    /// Waits for the end of the program, and checks that the terminal is restored.
    pub fn end(mut self) -> Result<ExitStatus> {
        let mut ended = None;
        eventually(SCREEN_TIMEOUT, || {
            self.read_output()?;
            ended = self.program.try_wait()?;
            ensure!(ended.is_some(), "the program does not end");
            Ok(())
        })?;
        self.read_output()?;
        let screen = self.screen.borrow();
        let screen = screen.screen();
        ensure!(
            !screen.alternate_screen(),
            "the alternate screen is still active"
        );
        ensure!(!screen.hide_cursor(), "the cursor is still hidden");
        let after = tcgetattr(&self.slave)?;
        ensure!(after == self.before, "{after:?}, before {:?}", self.before);
        ended.context("no status")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

pub fn own_row() -> Result<String> {
    let name = std::fs::read_to_string("/proc/self/comm")?;
    Ok(format!("{} ({})", name.trim_end(), std::process::id()))
}

/// The first row of the table.
pub fn first_row(screen: &str) -> &str {
    let mut lines = screen.lines().skip_while(|line| !line.ends_with("GROWN"));
    lines.nth(1).unwrap_or_default()
}

fn what_grows_comes_first() -> Result<()> {
    // A larger one that does not grow.
    let mut other = Command::new(PROGRAM)
        .args(["alloc", "system", "6M"])
        .stdout(Stdio::null())
        .spawn()?;
    let heap = Heap::open("system")?;
    let _held = heap.allocate(1 << 20)?;
    let body = || -> Result<()> {
        let terminal = Terminal::start(80, 24)?;
        let own = own_row()?;
        terminal.wait("the larger one first", |text| {
            first_row(text).starts_with("rkheap (") && text.contains(&own)
        })?;
        let _more = heap.allocate(2 << 20)?;
        let screen = terminal.wait("what grows first", |text| {
            let row = first_row(text);
            row.starts_with(&own) && row.contains("+2 MiB") && row.contains(" 3 MiB")
        })?;
        diagnose(&screen);
        terminal.press("r")?;
        terminal.wait("growth from now on", |text| {
            first_row(text).starts_with("rkheap (") && !text.contains("+2 MiB")
        })?;
        terminal.press("q")?;
        ensure!(terminal.end()?.success());
        Ok(())
    };
    let result = body();
    other.kill()?;
    other.wait()?;
    result
}

fn keys() -> Result<()> {
    let heap = Heap::open("cma")?;
    let _held = heap.allocate(1 << 20)?;
    let terminal = Terminal::start(80, 24)?;
    terminal.wait("processes at first", |text| {
        text.contains("by process, sorted by growth") && text.contains("PROCESS")
    })?;
    terminal.press("h")?;
    terminal.wait("heaps", |text| {
        text.contains("by heap")
            && text.contains("system-dma32")
            && first_row(text).starts_with("cma ")
    })?;
    terminal.press("e")?;
    terminal.wait("exporters", |text| {
        text.contains("by exporter") && text.contains("EXPORTER") && !text.contains("system-dma32")
    })?;
    terminal.press("s")?;
    terminal.wait("sorted by size", |text| text.contains("sorted by size"))?;
    terminal.press("g")?;
    terminal.wait("sorted by growth", |text| text.contains("sorted by growth"))?;
    terminal.press(" ")?;
    let stopped = terminal.wait("stopped", |text| text.contains("stopped"))?;
    let _more = heap.allocate(1 << 20)?;
    std::thread::sleep(Duration::from_millis(700));
    terminal.wait("still stopped", |text| text == stopped)?;
    terminal.press(" ")?;
    terminal.wait("going on", |text| text.contains("+1 MiB"))?;
    terminal.press("p")?;
    terminal.wait("processes again", |text| text.contains("by process"))?;
    terminal.press("q")?;
    ensure!(terminal.end()?.success());
    Ok(())
}

fn widths() -> Result<()> {
    let _held = Heap::open("system")?.allocate(1 << 20)?;
    let terminal = Terminal::start(100, 30)?;
    let wide = terminal.wait("the wide screen", |text| {
        text.contains("BUFFERS") && text.contains("q end")
    })?;
    terminal.resize(40, 12)?;
    let narrow = terminal.wait("the narrow screen", |text| {
        text.contains("SIZE") && !text.contains("BUFFERS") && text.contains("h p e  g s  r")
    })?;
    for (name, screen, width) in [("wide", wide, 100), ("narrow", narrow, 40)] {
        diagnose(&format!("{name}:\n{screen}"));
        ensure!(
            screen.lines().all(|line| line.chars().count() <= width),
            "{screen}"
        );
        ensure!(
            screen.contains("1 MiB") && screen.contains(&own_row()?),
            "{screen}"
        );
    }
    terminal.press("\x1b")?;
    ensure!(terminal.end()?.success());
    Ok(())
}

fn ends_and_restores() -> Result<()> {
    for way in ["q", "\x03"] {
        let terminal = Terminal::start(80, 24)?;
        terminal.wait("a screen", |text| text.contains("rkheap:"))?;
        ensure!(terminal.screen.borrow().screen().alternate_screen());
        ensure!(
            tcgetattr(&terminal.slave)? != terminal.before,
            "no raw mode"
        );
        terminal.press(way)?;
        let status = terminal.end().with_context(|| format!("{way:?}"))?;
        ensure!(status.success(), "{way:?}: {status}");
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = Terminal::start(80, 24)?;
        terminal.wait("a screen", |text| text.contains("rkheap:"))?;
        kill(Pid::from_raw(i32::try_from(terminal.program.id())?), signal)?;
        let status = terminal.end().with_context(|| signal.to_string())?;
        ensure!(status.success(), "{signal}: {status}");
    }
    Ok(())
}

fn odd_names() -> Result<()> {
    guest_support::process::rename_thread("\x1b[7mx\x1b[2J")?;
    let _held = Heap::open("system")?.allocate(1 << 20)?;
    let terminal = Terminal::start(80, 24)?;
    terminal.wait("the name, harmless", |text| text.contains("\\u{1b}[7mx"))?;
    terminal.press("q")?;
    ensure!(terminal.end()?.success());
    Ok(())
}

fn no_color() -> Result<()> {
    let heap = Heap::open("system")?;
    for (option, no_color, colored) in [
        ("auto", "", true),
        ("never", "", false),
        ("auto", "1", false),
    ] {
        let terminal = Terminal::start_with(80, 24, &["--color", option], no_color)?;
        terminal.wait("a screen", |text| text.contains("rkheap:"))?;
        let _more = heap.allocate(1 << 20)?;
        terminal.wait("growth", |text| text.contains("+1 MiB"))?;
        // The escape sequence of a palette color.
        let raw = String::from_utf8_lossy(&terminal.raw.borrow()).into_owned();
        let red = raw.contains("\x1b[38;5;1");
        ensure!(red == colored, "{option}, NO_COLOR={no_color}: {raw:?}");
        terminal.press("q")?;
        ensure!(terminal.end()?.success());
    }
    Ok(())
}
