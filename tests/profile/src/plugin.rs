// SPDX-License-Identifier: GPL-2.0

//! A QEMU plugin that counts the instructions executed at each address between two markers in the
//! guest.
//!
//! A marker is an instruction without effect that no compiler emits: a move of a register to
//! itself. After each end marker the plugin writes the counts to the file of the argument
//! `out=FILE`: one line per address with the address in hexadecimal and its count.
//!
//! With the argument `trace=FILE` it also writes the address of each instruction that is executed
//! between markers, in their order, to that file: one in hexadecimal per line, and an empty line
//! after each end marker.

use anyhow::{
    anyhow,
    bail,
    Context,
    Result, //
};
use qemu_plugin::{
    install::{
        Args,
        Info,
        Value, //
    },
    plugin::{
        HasCallbacks,
        Plugin,
        Register,
        PLUGIN, //
    },
    PluginId,
    TranslationBlock, //
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool,
    AtomicU64,
    Ordering::Relaxed, //
};
use std::sync::{
    Arc,
    Mutex,
    OnceLock, //
};

/// `mov x27, x27` and `mov x28, x28`.
const BEGIN: [u8; 4] = 0xaa1b_03fb_u32.to_le_bytes();
const END: [u8; 4] = 0xaa1c_03fc_u32.to_le_bytes();

static COUNTING: AtomicBool = AtomicBool::new(false);

/// The number of executions of the instruction at each address.
static COUNTS: Mutex<BTreeMap<u64, Arc<AtomicU64>>> = Mutex::new(BTreeMap::new());

/// The output file.
static OUT: OnceLock<PathBuf> = OnceLock::new();

/// The file for the instructions in their order, if it is wanted, and these instructions.
static TRACE: OnceLock<(PathBuf, Mutex<Vec<u64>>)> = OnceLock::new();

/// Stands for an end marker in [`TRACE`].
const NO_ADDRESS: u64 = 0;

struct Counter;

impl Register for Counter {
    fn register(&mut self, _: PluginId, arguments: &Args, _: &Info) -> Result<()> {
        let Some(Value::String(out)) = arguments.parsed.get("out") else {
            bail!("missing argument of the plugin: add out=FILE");
        };
        if let Some(Value::String(trace)) = arguments.parsed.get("trace") {
            let _ = TRACE.set((trace.into(), Mutex::default()));
        }
        OUT.set(out.into())
            .ok()
            .context("the plugin is loaded twice: pass it to QEMU once")
    }
}

impl HasCallbacks for Counter {
    fn on_translation_block_translate(
        &mut self,
        _: PluginId,
        block: TranslationBlock,
    ) -> Result<()> {
        let mut counts = COUNTS.lock().map_err(|_| anyhow!("a callback failed"))?;
        for instruction in block.instructions() {
            let data = instruction.data();
            if data == BEGIN {
                instruction.register_execute_callback(|_| COUNTING.store(true, Relaxed));
            } else if data == END {
                instruction.register_execute_callback(|_| {
                    COUNTING.store(false, Relaxed);
                    trace(NO_ADDRESS);
                    write_counts().expect("the output file is writable");
                    write_trace().expect("the output file is writable");
                });
            } else {
                let address = instruction.vaddr();
                let count = counts.entry(address).or_default().clone();
                instruction.register_execute_callback(move |_| {
                    if COUNTING.load(Relaxed) {
                        count.fetch_add(1, Relaxed);
                        trace(address);
                    }
                });
            }
        }
        Ok(())
    }
}

/// Writes the counts so far to the output file. Called at each end marker, because QEMU does not
/// report when the machine ends.
fn write_counts() -> Result<()> {
    let mut text = String::new();
    let counts = COUNTS.lock().map_err(|_| anyhow!("a callback failed"))?;
    for (address, count) in counts.iter() {
        match count.load(Relaxed) {
            0 => {}
            count => writeln!(text, "{address:x} {count}")?,
        }
    }
    let out = OUT.get().context("no output file")?;
    std::fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))
}

/// Adds an instruction to the trace, if one is wanted.
fn trace(address: u64) {
    if let Some((_, addresses)) = TRACE.get() {
        addresses.lock().expect("no callback failed").push(address);
    }
}

/// Writes the trace so far to its file, if one is wanted.
fn write_trace() -> Result<()> {
    let Some((file, addresses)) = TRACE.get() else {
        return Ok(());
    };
    let addresses = addresses.lock().map_err(|_| anyhow!("a callback failed"))?;
    let mut text = String::new();
    for address in addresses.iter() {
        match *address {
            NO_ADDRESS => writeln!(text)?,
            address => writeln!(text, "{address:x}")?,
        }
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

impl Plugin for Counter {}

#[ctor::ctor]
fn install() {
    // Fails only if the plugin is loaded twice.
    let _ = PLUGIN.set(Mutex::new(Box::new(Counter)));
}
