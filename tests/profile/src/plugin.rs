// SPDX-License-Identifier: GPL-2.0

//! Counts, inside QEMU, how many instructions the guest executes at each address, between two marks
//! that it makes.
//!
//! A mark is an instruction that does nothing and that no compiler emits: a move of a register to
//! itself. The argument `out=FILE` says where the counts go after each second mark: a line for each
//! address, in hexadecimal, and its count.

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

/// How often the instruction at each address was executed.
static COUNTS: Mutex<BTreeMap<u64, Arc<AtomicU64>>> = Mutex::new(BTreeMap::new());

/// Where the counts go.
static OUT: OnceLock<PathBuf> = OnceLock::new();

struct Counter;

impl Register for Counter {
    fn register(&mut self, _: PluginId, arguments: &Args, _: &Info) -> Result<()> {
        let Some(Value::String(out)) = arguments.parsed.get("out") else {
            bail!("the plugin needs out=FILE");
        };
        OUT.set(out.into())
            .ok()
            .context("the plugin is there twice")
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
                    tell().expect("the counts have a place to go");
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

/// Writes what was counted until now. QEMU does not say when the machine ends.
fn tell() -> Result<()> {
    let mut text = String::new();
    let counts = COUNTS.lock().map_err(|_| anyhow!("a callback failed"))?;
    for (address, count) in counts.iter() {
        match count.load(Relaxed) {
            0 => {}
            count => writeln!(text, "{address:x} {count}")?,
        }
    }
    let out = OUT.get().context("no file for the counts")?;
    std::fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))
}

impl Plugin for Counter {}

#[ctor::ctor]
fn install() {
    // Only a plugin that is loaded twice finds another one there.
    let _ = PLUGIN.set(Mutex::new(Box::new(Counter)));
}
