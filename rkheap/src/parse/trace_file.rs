// SPDX-License-Identifier: GPL-2.0

//! `trace` of a tracing instance that records the event `dma_buf_export` with its call stacks.
//!
//! Lines of several CPUs alternate, so a stack belongs to the last event of its CPU.

use serde::Serialize;
use std::collections::HashMap;

/// The functions that led to an allocation, the innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stack {
    /// Functions of the kernel, without addresses.
    pub kernel: Vec<String>,
    /// Places in the program and its libraries, as offsets in their mappings.
    pub program: Vec<String>,
}

const EVENT: &str = ": dma_buf_export: ";
const KERNEL_STACK: &str = ": <stack trace>";
const USER_STACK: &str = ": <user stack trace>";

/// Returns the stack of each dma-buf by its inode number.
pub fn parse(text: &str) -> HashMap<u64, Stack> {
    let mut stacks: HashMap<u64, Stack> = HashMap::new();
    // The last dma-buf of each CPU.
    let mut last: HashMap<String, u64> = HashMap::new();
    // The stack whose lines come next, and whether it is that of the program.
    let mut current: Option<(u64, bool)> = None;
    for line in text.lines() {
        if let Some(frame) = line.trim_start().strip_prefix("=> ") {
            let Some((inode, is_program)) = current else {
                continue;
            };
            let stack = stacks.entry(inode).or_default();
            if is_program {
                stack.program.extend(place(frame));
            } else {
                stack.kernel.push(function(frame));
            }
            continue;
        }
        current = None;
        // A process can choose its name, which is in front of all that, but a name is shorter.
        if let Some((head, fields)) = line.split_once(EVENT) {
            let inode = fields.rsplit_once("ino=").map(|(_, number)| number.trim());
            let inode: Option<u64> = inode.and_then(|number| number.parse().ok());
            if let (Some(cpu), Some(inode)) = (cpu(head), inode) {
                // Numbers of released dma-bufs may come again.
                stacks.insert(inode, Stack::default());
                last.insert(cpu.to_owned(), inode);
            }
            continue;
        }
        for (mark, is_program) in [(KERNEL_STACK, false), (USER_STACK, true)] {
            if let Some(head) = line.trim_end().strip_suffix(mark) {
                let inode = cpu(head).and_then(|cpu| last.get(cpu));
                current = inode.map(|inode| (*inode, is_program));
            }
        }
    }
    stacks
}

/// Returns `[000]` of `heap-demo-131     [000] .....    12.345678`.
fn cpu(head: &str) -> Option<&str> {
    let cpu = head.split_whitespace().rev().nth(2)?;
    (cpu.starts_with('[') && cpu.ends_with(']')).then_some(cpu)
}

/// Returns the name of a function of the kernel, or `?`. An address never passes for a name.
fn function(frame: &str) -> String {
    let mut words = frame.split_whitespace();
    let name = words.next().unwrap_or_default();
    let name = name.split_once('+').map_or(name, |(name, _)| name);
    let starts_as_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_name = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_.$".contains(c));
    let is_number = name.len() >= 8 && name.chars().all(|c| c.is_ascii_hexdigit());
    if !starts_as_name || !is_name || is_number {
        return "?".to_owned();
    }
    // Functions in Rust. Without the hash of their crate.
    let name = format!("{:#}", rustc_demangle::demangle(name));
    let is_module = |word: &&str| {
        let module = word
            .strip_prefix('[')
            .and_then(|word| word.strip_suffix(']'));
        module.is_some_and(|module| {
            module
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    match words.next().filter(is_module) {
        Some(module) => format!("{name} {module}"),
        None => name,
    }
}

/// Returns `/usr/bin/program[+0x1234]`, if the kernel could name the file.
fn place(frame: &str) -> Option<String> {
    let (path, offset) = frame.trim_end().rsplit_once("[+0x")?;
    let digits = offset.strip_suffix(']')?;
    let is_offset = digits.chars().all(|c| c.is_ascii_hexdigit());
    (path.starts_with('/') && is_offset).then(|| frame.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "\
# tracer: nop
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
           a [9] x-131     [000] .....    12.345678: dma_buf_export: exp_name=system size=4096 ino=5
             other-132     [001] ...1.    12.345679: dma_buf_export: exp_name=cma size=8192 ino=6
           a [9] x-131     [000] .....    12.345680: <stack trace>
 => dma_buf_export
 => _RNvNtCs1a2b3c4d_11rk_dma_heap6export6export [rk_dma_heap]
 => 0xffff800080012345
 => ffff800080012345
 => invoke_syscall+0x48/0x110
           a [9] x-131     [000] .....    12.345681: <user stack trace>
 => /usr/bin/x y[+0x1f]
 =>  <0000aaaabbbbcccc>
             other-132     [001] ...1.    12.345690: <stack trace>
 => dma_heap_ioctl
";

    #[test]
    fn stacks_belong_to_the_event_of_their_cpu() {
        let stacks = parse(TRACE);
        assert_eq!(stacks.len(), 2);
        assert_eq!(
            stacks[&5],
            Stack {
                kernel: [
                    "dma_buf_export",
                    "rk_dma_heap::export::export [rk_dma_heap]",
                    "?",
                    "?",
                    "invoke_syscall",
                ]
                .map(str::to_owned)
                .to_vec(),
                program: vec!["/usr/bin/x y[+0x1f]".to_owned()],
            }
        );
        assert_eq!(stacks[&6].kernel, ["dma_heap_ioctl"]);
    }

    #[test]
    fn a_number_that_comes_again_has_the_newer_stack() {
        let older = TRACE.replace("dma_buf_export\n", "older\n");
        let newer = TRACE.replace("dma_heap_ioctl", "newer");
        assert_eq!(parse(&format!("{older}{newer}"))[&6].kernel, ["newer"]);
    }

    proptest! {
        #[test]
        fn no_address_is_a_name(address in (1u64 << 28)..) {
            for text in [
                format!("{address:x}"),
                format!("{address:#x}"),
                format!("{address:016x}"),
                format!("<{address:016x}>"),
                format!("0x{address:016X}/0x10"),
            ] {
                prop_assert_eq!(function(&text), "?");
            }
            prop_assert_eq!(place(&format!(" <{address:016x}>")), None);
        }

        #[test]
        fn any_input_is_accepted(
            lines in "(.-1 \\[000\\] . 1.0: (dma_buf_export: ino=[0-9]|<stack trace>)\n\
                      | => .{0,9}\n|\\PC*\n){0,9}"
        ) {
            parse(&lines);
        }
    }
}
