// SPDX-License-Identifier: GPL-2.0

//! Calls of kernel functions that are not exported: none is made through a pointer.
//!
//! On x86 a kprobe lies behind the `endbr64` at the entry of a function, so a call through a
//! pointer to its address ends in an exception on CPUs with IBT, which QEMU does not emulate.
//! Probes on the functions show the instruction by which the module has called each of them.

use crate::module::Module;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::heap::Heap;
use guest_support::ktap::Tests;
use guest_support::retry::eventually;
use guest_support::vgem::Vgem;
use std::fs;
use std::time::Duration;

pub fn add(tests: &mut Tests) {
    if cfg!(target_arch = "x86_64") {
        tests.add("module/calls/direct", direct);
    }
}

/// All found functions but two: `lru_add_drain_all` is called only if pages of an area are pinned,
/// `__module_address` only for a driver's heap. `src/found_functions.c` defines all calls with one
/// macro.
const FUNCTIONS: [&str; 6] = [
    "__memcg_kmem_charge_page",
    "__memcg_kmem_uncharge_page",
    "cma_get_base",
    "cma_get_size",
    "dma_buf_iter_begin",
    "dma_buf_iter_next",
];

const TRACING: &str = "/sys/kernel/tracing";

/// The probes: at the entry of a function they record where its caller continues, and the opcode
/// and the operand of the five bytes before that.
struct Probes;

impl Probes {
    fn new() -> Result<Self> {
        let mut lines = String::new();
        for function in FUNCTIONS {
            lines += &format!(
                "p:rk_calls/{function} {function} caller=$stack0:symbol entry=%ip:x64 \
                 return=$stack0:x64 opcode=-5($stack0):x8 operand=-4($stack0):s32\n"
            );
        }
        fs::write(format!("{TRACING}/kprobe_events"), lines).context("no kprobe events")?;
        fs::write(format!("{TRACING}/events/rk_calls/enable"), "1")?;
        Ok(Probes)
    }

    /// Returns the recorded calls by the module.
    fn calls(&self) -> Result<Vec<Call>> {
        let trace = fs::read_to_string(format!("{TRACING}/trace"))?;
        trace
            .lines()
            .filter(|line| line.contains("[rk_dma_heap]"))
            .map(|line| Call::parse(line).with_context(|| line.to_owned()))
            .collect()
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        let _ = fs::write(format!("{TRACING}/events/rk_calls/enable"), "0");
        let _ = fs::write(format!("{TRACING}/kprobe_events"), "");
        let _ = fs::write(format!("{TRACING}/trace"), "");
    }
}

/// A call of a function by the module.
#[derive(Debug)]
struct Call {
    function: &'static str,
    opcode: u64,
    /// Where a direct call jumps to, in bytes from the probe, which the function tracer reports one
    /// byte behind its call.
    distance: i64,
}

impl Call {
    fn parse(line: &str) -> Option<Call> {
        let field = |name: &str| {
            let start = line.find(&format!(" {name}="))? + name.len() + 2;
            line.get(start..)?.split(' ').next()
        };
        let address = |name| u64::from_str_radix(field(name)?.strip_prefix("0x")?, 16).ok();
        let operand: i64 = field("operand")?.parse().ok()?;
        let target = address("return")?.wrapping_add_signed(operand);
        Some(Call {
            function: FUNCTIONS
                .iter()
                .find(|name| line.contains(&format!(" {name}: (")))?,
            opcode: address("opcode")?,
            distance: target.wrapping_sub(address("entry")?) as i64,
        })
    }
}

fn direct() -> Result<()> {
    const CALL: u64 = 0xe8;
    let _existing = Vgem::open()?.allocate(4096)?;
    let probes = Probes::new()?;
    std::mem::forget(Module::load_with("mem_accounting=1")?);
    let system = Heap::open("system-dma32")?;
    let mut calls = Vec::new();
    // An allocation is charged by the module once its pages come from the pool.
    eventually(Duration::from_secs(10), || {
        drop(system.allocate(1 << 20)?);
        calls = probes.calls()?;
        for function in FUNCTIONS {
            let called = calls.iter().any(|call| call.function == function);
            ensure!(called, "the module has not called {function}: {calls:?}");
        }
        Ok(())
    })?;
    for call in calls {
        ensure!(
            call.opcode == CALL && (-5..=0).contains(&call.distance),
            "not called directly: {call:x?}"
        );
    }
    Ok(())
}
