// SPDX-License-Identifier: GPL-2.0

//! The table of cache states against a model of a cache line: no sequence of events shows an old
//! byte, and each rule of the table is needed.

use crate::cache_model::Architecture;
use crate::cache_state::{
    CacheAction,
    CacheEvent,
    CacheState, //
};
use crate::cache_world::{
    all_events,
    Access,
    Event,
    Rules,
    World,
    RULES, //
};
use proptest::prelude::*;
use std::collections::HashSet;

/// What [`explore`] found.
#[derive(Default)]
struct Explored {
    worlds: usize,
    /// The certain reads of each reader.
    certain: [usize; 4],
    fault: Option<String>,
}

/// Visits every world that up to `depth` events lead to. Each is visited once, whatever sequence
/// led to it.
fn explore(rules: &Rules, architecture: Architecture, depth: usize) -> Explored {
    let events = all_events();
    let start = World::new();
    let mut known = HashSet::from([start]);
    let mut last = vec![start];
    let mut explored = Explored::default();
    for step in 1..=depth {
        let mut next = Vec::new();
        for world in last {
            for event in &events {
                let Some(after) = world.after(rules, architecture, *event) else {
                    continue;
                };
                if !known.insert(after) {
                    continue;
                }
                for (reader, reference, _) in after.readers() {
                    let names = ["CPU", "device", "snooping", "bounced"];
                    if let Some(index) = names.iter().position(|name| *name == reader) {
                        explored.certain[index] += usize::from(reference != 0);
                    }
                }
                if let Some(reader) = after.fault() {
                    explored.fault = Some(format!(
                        "{reader} reads an old byte after {step} events, the last one {event:?}: \
                         {world:?}"
                    ));
                    return explored;
                }
                next.push(after);
            }
        }
        last = next;
    }
    explored.worlds = known.len();
    explored
}

const ARCHITECTURES: [Architecture; 2] = [Architecture::Arm64, Architecture::Arm];

#[test]
fn no_sequence_of_eight_events_shows_an_old_byte() {
    for architecture in ARCHITECTURES {
        let explored = explore(&RULES, architecture, 8);
        assert_eq!(explored.fault, None, "{architecture:?}");
        // Each reader is one that the reference serves.
        assert!(explored.worlds > 50_000, "{}", explored.worlds);
        assert!(explored.certain.iter().all(|reads| *reads > 10_000));
    }
}

/// Before anything is written, every reader sees the zeroes of the memory, and not its former
/// content.
#[test]
fn zeroes_are_never_lost() {
    let events: Vec<_> = all_events()
        .into_iter()
        .filter(|event| {
            !matches!(
                event,
                Event::DeviceWrites(..) | Event::CpuWrites(_) | Event::OwnWrites(_)
            )
        })
        .collect();
    for architecture in ARCHITECTURES {
        let mut known = HashSet::from([World::new()]);
        let mut open = vec![World::new()];
        while let Some(world) = open.pop() {
            for (reader, _, line) in world.readers() {
                assert_eq!(line, 3, "{architecture:?}, {reader}: {world:?}");
            }
            let after = events
                .iter()
                .filter_map(|event| world.after(&RULES, architecture, *event));
            open.extend(after.filter(|after| known.insert(*after)));
        }
        assert!(known.len() > 500, "{}", known.len());
    }
}

/// Changes one rule, and expects that a reader notices.
fn expect_fault(what: &str, rules: Rules) {
    expect_fault_on(&ARCHITECTURES, what, rules);
}

fn expect_fault_on(architectures: &[Architecture], what: &str, rules: Rules) {
    for architecture in architectures.iter().copied() {
        let fault = explore(&rules, architecture, 6).fault;
        assert!(fault.is_some(), "{what}, {architecture:?}");
    }
}

#[test]
fn each_action_is_needed() {
    use CacheAction::{
        Invalidate,
        Maintain,
        Skip, //
    };
    use CacheState::{
        Clean,
        Viewed,
        Written, //
    };
    let mutants: [(&str, Rules); 11] = [
        (
            "the zeroes of a new buffer are not written back",
            Rules {
                after: |state, event| match (state, event) {
                    (Written, CacheEvent::MapPastCaches) => (Clean, Skip),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
        (
            "the first mapping of the CPU invalidates nothing",
            Rules {
                after: |state, event| match (state, event) {
                    (Clean, CacheEvent::ViewBegins) => (state.after(event).0, Skip),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
        (
            "the first device through the caches invalidates nothing",
            Rules {
                after: |state, event| match (state, event) {
                    (Clean, CacheEvent::MapThroughCaches) => (state.after(event).0, Skip),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
        (
            "an unmap is skipped while the CPU has a mapping",
            Rules {
                after: |state, event| match (state, event) {
                    (Viewed(_), CacheEvent::UnmapPastCaches) => (state, Skip),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
        (
            "nothing is written back after the last mapping of the CPU",
            Rules {
                after: |state, event| match state.after(event) {
                    (Written, action) => (Clean, action),
                    after => after,
                },
                ..RULES
            },
        ),
        (
            "a snooping device is no view",
            Rules {
                is_view: |access| access == Access::Bounced,
                ..RULES
            },
        ),
        (
            "access without a mapping invalidates nothing",
            Rules {
                after: |state, event| match (state, event) {
                    (Clean, CacheEvent::AccessBegins) => (state.after(event).0, Skip),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
        (
            "no line is dirty after CPU access that began while there was a mapping",
            Rules {
                after: |state, event| match (state, event) {
                    (Clean, CacheEvent::AccessEnds) => (Clean, Skip),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
        (
            "nothing is invalidated before hibernation",
            Rules {
                after: |state, event| match (state, event) {
                    (Clean, CacheEvent::TrackingEnds) => (state.after(event).0, Skip),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
        (
            "nothing is written back before hibernation",
            Rules {
                after: |state, event| match (state, event) {
                    (Clean, CacheEvent::TrackingEnds) => (state.after(event).0, Invalidate),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
        (
            "no line is stale after such an access",
            Rules {
                after: |state, event| match (state, event) {
                    (Clean, CacheEvent::AccessEnds) => (Written, Maintain),
                    _ => state.after(event),
                },
                ..RULES
            },
        ),
    ];
    for (what, rules) in mutants {
        expect_fault(what, rules);
    }
    let arm = [Architecture::Arm];
    expect_fault_on(
        &arm,
        "a device with bounce buffers for other lines discards",
        Rules {
            needs_write_back: |access, direction, users| {
                access == Access::PastCaches && (RULES.needs_write_back)(access, direction, users)
            },
            ..RULES
        },
    );
    expect_fault_on(
        &arm,
        "a further user of an attachment discards",
        Rules {
            needs_write_back: |access, direction, users| {
                users == 0 && (RULES.needs_write_back)(access, direction, users)
            },
            ..RULES
        },
    );
    expect_fault(
        "any device is synced for all",
        Rules {
            does_for_all: |direction, purpose| !direction.does_for_all(purpose),
            ..RULES
        },
    );
}

proptest! {
    #[test]
    fn long_sequences_show_no_old_byte(
        events in prop::collection::vec(prop::sample::select(all_events()), 0..200),
        arm: bool,
    ) {
        let architecture = ARCHITECTURES[usize::from(arm)];
        let mut world = World::new();
        for event in events {
            world = world.after(&RULES, architecture, event).unwrap_or(world);
            prop_assert_eq!(world.fault(), None, "{:?}: {:?}", event, world);
        }
    }
}
