// SPDX-License-Identifier: GPL-2.0

//! Tests of `rkheap leak --stacks`.

use crate::leak::{
    growing,
    kill_holders,
    until_listed, //
};
use crate::program::{
    list,
    rkheap,
    run,
    text,
    ProgramOutput, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::ktap::{
    diagnose,
    Tests, //
};
use serde_json::Value;

/// Starts programs that keep three buffers of two heaps.
fn leaking_command() -> String {
    let listed = until_listed(3);
    format!(
        "rkheap alloc system 1M --count 2 --name lost --hold 30 >/dev/null 2>&1 & \
         rkheap alloc cma 1M --name lost --hold 30 >/dev/null 2>&1 & {listed}"
    )
}

/// Whether the kernel finds more than the innermost function. On 32-bit Arm it needs tables for
/// that, which Rust code does not have.
const FINDS_CALLERS: bool = !cfg!(target_arch = "arm");

/// Functions that led to each buffer.
const FUNCTIONS: &[&str] = if FINDS_CALLERS {
    &["dma_buf_export", "rk_dma_heap::", "sys_ioctl"]
} else {
    &["rk_dma_heap::"]
};

/// The first line of a printed stack, or the beginning of it.
const EXPORT: &str = if FINDS_CALLERS {
    "  dma_buf_export\n"
} else {
    "  <rk_dma_heap::"
};

/// A part of the stack of a buffer of `cma`.
const OF_CMA: &str = if FINDS_CALLERS {
    "::CmaHeap as "
} else {
    "::HeapRange"
};

pub fn add(tests: &mut Tests) {
    tests.add("leak/stacks/of-each-buffer", of_each_buffer);
    tests.add("leak/stacks/as-text", as_text);
    tests.add("leak/stacks/of-programs-that-run", of_programs_that_run);
}

/// Ends the programs that keep buffers. One that keeps several may have ended already.
fn end_holders(buffers: &[Value]) {
    for buffer in buffers {
        let _ = kill_holders(buffer);
    }
}

/// Returns the functions of the kernel that led to a buffer.
fn kernel_stack(left: &Value) -> Result<Vec<&str>> {
    let stack = left
        .get("stack")
        .with_context(|| format!("no stack: {left}"))?;
    let functions = list(stack, "kernel")?.iter();
    Ok(functions.filter_map(Value::as_str).collect())
}

/// Returns the rows of the table.
fn rows(output: &ProgramOutput) -> Vec<&str> {
    let lines = output.stdout.lines();
    lines.filter(|line| line.contains(" fd)")).collect()
}

/// Checks that there is nothing that could be an address of the kernel.
fn has_no_address(output: &str) -> Result<()> {
    let words = output.split(|c: char| !c.is_ascii_alphanumeric());
    for word in words {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        let is_address = digits.len() >= 8 && digits.chars().all(|c| c.is_ascii_hexdigit());
        ensure!(!is_address, "{word} in {output}");
    }
    Ok(())
}

/// Checks that no recording is left.
fn nothing_records() -> Result<()> {
    for entry in std::fs::read_dir("/sys/kernel/tracing/instances")? {
        let name = entry?.file_name();
        ensure!(
            !name.to_string_lossy().starts_with("rkheap-"),
            "{name:?} is left"
        );
    }
    Ok(())
}

fn of_each_buffer() -> Result<()> {
    let output = run([
        "--json",
        "leak",
        "--stacks",
        "--",
        "sh",
        "-c",
        &leaking_command(),
    ])?;
    let report = output.expect(1)?.json()?;
    let left = list(&report, "left")?;
    end_holders(left);
    ensure!(left.len() == 3, "{report}");
    let mut of_system = Vec::new();
    for left in left {
        let functions = kernel_stack(left)?;
        for part in FUNCTIONS {
            ensure!(
                functions.iter().any(|name| name.contains(part)),
                "{part}: {left}"
            );
        }
        if text(left, "exporter")? == "system" {
            of_system.push(functions);
        } else {
            // Another heap allocates in other functions.
            ensure!(!of_system.contains(&functions), "{left}");
        }
    }
    ensure!(
        of_system.len() == 2 && of_system[0] == of_system[1],
        "{of_system:?}"
    );
    nothing_records()
}

fn as_text() -> Result<()> {
    let output = run(["leak", "--stacks", "--", "sh", "-c", &leaking_command()])?;
    output.expect(1)?;
    end_holders(list(&rkheap("snapshot")?.json()?, "buffers")?);
    diagnose(&output.stdout);
    let rows = rows(&output);
    ensure!(rows.len() == 2, "{rows:?}");
    for line in ["stack 1, the", "stack 2, the", EXPORT] {
        ensure!(
            output.stdout.contains(&format!("\n{line}")),
            "{line}: {output:?}"
        );
    }
    ensure!(output.stdout.contains(OF_CMA), "{output:?}");
    has_no_address(&output.stdout)?;
    // Nor is there one without the option, and no column for stacks.
    let output = run(["leak", "--", "true"])?;
    ensure!(!output.stdout.contains("STACK"), "{output:?}");
    Ok(())
}

// Only what was allocated while it watched.
fn of_programs_that_run() -> Result<()> {
    let child = growing()?;
    let line = format!(
        "leak --watch --stacks --pid {} --interval 0.5 --count 3",
        child.pid()
    );
    let output = rkheap(&line)?;
    output.expect(0)?;
    ensure!(rows(&output).len() == 1, "{output:?}");
    ensure!(output.stdout.contains(&format!("\n{EXPORT}")), "{output:?}");
    nothing_records()
}
