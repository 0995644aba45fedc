// SPDX-License-Identifier: GPL-2.0

//! A call: one of all kinds, made from the generator alone.

use crate::buffers::BufferCall;
use crate::children::ChildCall;
use crate::descriptors::DescriptorCall;
use crate::heaps::HeapCall;
use crate::mappings::MappingCall;
use crate::nodes::NodeCall;
use crate::outside::OutsideCall;
use crate::process::Process;
use crate::random::Random;
use crate::system::SystemCall;
use anyhow::{
    ensure,
    Result, //
};
use nix::errno::Errno;
use strum::VariantNames;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Failed(Errno),
    /// There was nothing to make it on.
    Skipped,
}

impl<T> From<nix::Result<T>> for Answer {
    fn from(result: nix::Result<T>) -> Self {
        match result {
            Ok(_) => Answer::Done,
            Err(errno) => Answer::Failed(errno),
        }
    }
}

/// A call of some kind.
pub trait Perform {
    /// Makes it. What comes back is the kernel's answer; an error is a defect that was found, or a
    /// program that cannot go on.
    fn perform(&self, process: &mut Process) -> Result<Answer>;

    /// The errors that the kernel may answer.
    fn allowed(&self) -> &'static [Errno];
}

#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Heap(HeapCall),
    Buffer(BufferCall),
    Mapping(MappingCall),
    Outside(OutsideCall),
    Descriptor(DescriptorCall),
    Node(NodeCall),
    Child(ChildCall),
    System(SystemCall),
}

/// The names of all kinds of calls: group and kind.
pub fn kinds() -> Vec<(&'static str, &'static str)> {
    let groups: [(&str, &[&str]); 8] = [
        ("heap", HeapCall::VARIANTS),
        ("buffer", BufferCall::VARIANTS),
        ("mapping", MappingCall::VARIANTS),
        ("outside", OutsideCall::VARIANTS),
        ("descriptor", DescriptorCall::VARIANTS),
        ("node", NodeCall::VARIANTS),
        ("child", ChildCall::VARIANTS),
        ("system", SystemCall::VARIANTS),
    ];
    groups
        .into_iter()
        .flat_map(|(group, kinds)| kinds.iter().map(move |kind| (group, *kind)))
        .collect()
}

impl Call {
    /// The generator's next call.
    pub fn generate(random: &mut Random) -> Call {
        match random.below(1000) {
            0..300 => Call::Heap(HeapCall::generate(random)),
            300..530 => Call::Buffer(BufferCall::generate(random)),
            530..760 => Call::Mapping(MappingCall::generate(random)),
            760..780 => Call::Outside(OutsideCall::generate(random)),
            780..870 => Call::Descriptor(DescriptorCall::generate(random)),
            870..980 => Call::Node(NodeCall::generate(random)),
            980..990 => Call::Child(ChildCall::generate(random)),
            _ => Call::System(SystemCall::generate(random)),
        }
    }

    fn inner(&self) -> &dyn Perform {
        match self {
            Call::Heap(call) => call,
            Call::Buffer(call) => call,
            Call::Mapping(call) => call,
            Call::Outside(call) => call,
            Call::Descriptor(call) => call,
            Call::Node(call) => call,
            Call::Child(call) => call,
            Call::System(call) => call,
        }
    }

    /// The names of its group and kind.
    pub fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Call::Heap(call) => ("heap", call.into()),
            Call::Buffer(call) => ("buffer", call.into()),
            Call::Mapping(call) => ("mapping", call.into()),
            Call::Outside(call) => ("outside", call.into()),
            Call::Descriptor(call) => ("descriptor", call.into()),
            Call::Node(call) => ("node", call.into()),
            Call::Child(call) => ("child", call.into()),
            Call::System(call) => ("system", call.into()),
        }
    }
}

/// Makes a call and judges the answer.
pub fn make(call: &Call, process: &mut Process) -> Result<Answer> {
    let answer = call.inner().perform(process)?;
    if let Answer::Failed(errno) = answer {
        ensure!(
            call.inner().allowed().contains(&errno),
            "failed with {errno:?}, which is none of {:?}",
            call.inner().allowed()
        );
    }
    Ok(answer)
}

/// The error number at the bottom of an error.
pub fn errno_in(error: &anyhow::Error) -> Option<Errno> {
    error.chain().find_map(|cause| {
        cause.downcast_ref::<Errno>().copied().or_else(|| {
            let io = cause.downcast_ref::<std::io::Error>()?;
            io.raw_os_error().map(Errno::from_raw)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(seed: u64, process: u64) -> Vec<Call> {
        let mut random = Random::new(seed, process);
        (0..10_000).map(|_| Call::generate(&mut random)).collect()
    }

    #[test]
    fn a_seed_stands_for_the_calls() {
        assert_eq!(calls(1, 0), calls(1, 0));
        assert_ne!(calls(1, 0), calls(1, 1));
        assert_ne!(calls(1, 0), calls(2, 0));
    }

    #[test]
    fn every_kind_comes_up() {
        let made: std::collections::HashSet<_> = calls(1, 0).iter().map(Call::kind).collect();
        for kind in kinds() {
            assert!(made.contains(&kind), "{kind:?} never comes up");
        }
        assert_eq!(made.len(), kinds().len());
    }
}
