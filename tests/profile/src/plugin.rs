// SPDX-License-Identifier: GPL-2.0

//! A QEMU plugin that counts the instructions executed at each address between two markers in the
//! guest.
//!
//! A marker is an instruction without effect that no compiler emits: a move of a register to
//! itself. After each end marker the plugin writes the counts to the file of the argument
//! `out=FILE`: one line per address with the address in hexadecimal and its count.

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

struct Counter;

impl Register for Counter {
    fn register(&mut self, _: PluginId, arguments: &Args, _: &Info) -> Result<()> {
        let Some(Value::String(out)) = arguments.parsed.get("out") else {
            bail!("missing argument of the plugin: add out=FILE");
        };
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
                    write_counts().expect("the output file is writable");
                });
            } else {
                let count = counts.entry(instruction.vaddr()).or_default().clone();
                instruction.register_execute_callback(move |_| {
                    if COUNTING.load(Relaxed) {
                        count.fetch_add(1, Relaxed);
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

impl Plugin for Counter {}

#[ctor::ctor]
fn install() {
    // Fails only if the plugin is loaded twice.
    let _ = PLUGIN.set(Mutex::new(Box::new(Counter)));
}
