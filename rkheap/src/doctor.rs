// SPDX-License-Identifier: GPL-2.0

//! What keeps programs from getting their buffers on a machine, and what mends it.
//!
//! Each check reads files and returns findings. A finding of what is wrong has one cure: a command,
//! or what to write where.

mod installed;
mod kernel;
mod memory;
mod modprobe;
mod nodes;
mod stacks;

use crate::arguments::Stack;
use crate::system::System;
use serde::Serialize;

/// The name of the module in the kernel.
const MODULE: &str = "rk_dma_heap";

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// It works, and somebody may want to know.
    Note,
    Wrong,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub state: State,
    /// What was looked at, in one word.
    pub subject: &'static str,
    /// What was found.
    pub found: String,
    /// What mends it.
    pub cure: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        Finding {
            state: State::Ok,
            subject,
            found: found.into(),
            cure: None,
        }
    }

    fn note(subject: &'static str, found: impl Into<String>, cure: Option<String>) -> Self {
        Finding {
            state: State::Note,
            subject,
            found: found.into(),
            cure,
        }
    }

    fn wrong(subject: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Finding {
            state: State::Wrong,
            subject,
            found: found.into(),
            cure: Some(cure.into()),
        }
    }
}

/// Looks at everything that heaps depend on, and at what `stack` asks for.
pub fn examine(system: &System, stack: Option<Stack>) -> Vec<Finding> {
    let mut findings = kernel::examine(system);
    findings.extend(nodes::examine(system));
    findings.extend(memory::examine(system));
    findings.extend(
        stack
            .into_iter()
            .flat_map(|stack| stacks::examine(system, stack)),
    );
    findings
}
