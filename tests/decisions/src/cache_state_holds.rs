// SPDX-License-Identifier: GPL-2.0

//! The table of cache states against a model of a cache line.
//!
//! The reference maintains the line at each event, for each importer, as the DMA interface does.
//! Both see the same events. Whatever a reader is certain to see with the reference, it must be
//! certain to see with the table: no assumption is made about which sequences are sensible.

use crate::cache_model::{
    Architecture,
    Direction,
    Line,
    BYTES, //
};
use crate::cache_state::{
    CacheAction,
    CacheEvent,
    CacheState, //
};
use crate::sync_direction::{
    SyncDirection,
    SyncFor, //
};
use proptest::prelude::*;
use std::collections::HashSet;

/// How an importer's device accesses the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Access {
    PastCaches,
    Snooping,
    Bounced,
}

const IMPORTERS: [(Access, Direction); 6] = [
    (Access::PastCaches, Direction::Both),
    (Access::PastCaches, Direction::ToDevice),
    (Access::PastCaches, Direction::FromDevice),
    (Access::Snooping, Direction::Both),
    (Access::Bounced, Direction::Both),
    (Access::Bounced, Direction::ToDevice),
];

/// More views than that are not different.
const MAX_VIEWS: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Map(usize),
    Unmap(usize),
    DeviceWrites(usize, usize),
    ViewBegins,
    ViewEnds,
    AccessBegins(Direction),
    AccessEnds(Direction),
    CpuWrites(usize),
}

fn all_events() -> Vec<Event> {
    let mut events = vec![Event::ViewBegins, Event::ViewEnds];
    for (importer, (_, direction)) in IMPORTERS.iter().enumerate() {
        events.extend([Event::Map(importer), Event::Unmap(importer)]);
        if *direction != Direction::ToDevice {
            events.extend((0..BYTES).map(|byte| Event::DeviceWrites(importer, byte)));
        }
    }
    for direction in [Direction::Both, Direction::ToDevice, Direction::FromDevice] {
        events.extend([Event::AccessBegins(direction), Event::AccessEnds(direction)]);
    }
    events.extend((0..BYTES).map(Event::CpuWrites));
    events
}

/// The rules that are tested: the table, and whether an attachment is a view.
#[derive(Clone, Copy)]
struct Rules {
    after: fn(CacheState, CacheEvent) -> (CacheState, CacheAction),
    is_view: fn(Access) -> bool,
    does_for_all: fn(SyncDirection, SyncFor) -> bool,
}

const RULES: Rules = Rules {
    after: CacheState::after,
    is_view: |access| access != Access::PastCaches,
    does_for_all: SyncDirection::does_for_all,
};

impl Rules {
    /// Returns the direction of the one sync that is made for `directions`.
    fn one_of(&self, directions: &[Direction], purpose: SyncFor) -> Option<Direction> {
        let does_for_all = |direction: &&Direction| {
            let direction = match direction {
                Direction::Both => SyncDirection::Both,
                Direction::ToDevice => SyncDirection::ToDevice,
                Direction::FromDevice => SyncDirection::FromDevice,
            };
            (self.does_for_all)(direction, purpose)
        };
        let best = directions.iter().find(does_for_all);
        best.or(directions.first()).copied()
    }
}

/// The world, once with the reference and once with the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct World {
    mapped: [bool; IMPORTERS.len()],
    views: u8,
    /// CPU access began without a view.
    hidden: bool,
    state: CacheState,
    reference: Line,
    line: Line,
}

impl World {
    fn new() -> Self {
        World {
            mapped: [false; IMPORTERS.len()],
            views: 0,
            hidden: false,
            state: CacheState::Written,
            reference: Line::zeroed(),
            line: Line::zeroed(),
        }
    }

    fn both(&mut self, change: impl Fn(Line) -> Line) {
        self.reference = change(self.reference);
        self.line = change(self.line);
    }

    fn step(&mut self, rules: &Rules, event: CacheEvent) -> bool {
        let (state, action) = (rules.after)(self.state, event);
        self.state = state;
        if action == CacheAction::Invalidate {
            self.line = self.line.invalidate();
        }
        action == CacheAction::Maintain
    }

    /// The mapped importers of a sort, with the directions of a sync for CPU access.
    fn synced(&self, access: Access, direction: Direction) -> Vec<Direction> {
        let mapped = (0..IMPORTERS.len()).filter(|importer| self.mapped[*importer]);
        mapped
            .filter(|importer| IMPORTERS[*importer].0 == access)
            .map(|importer| match IMPORTERS[importer].1 {
                Direction::ToDevice => Direction::ToDevice,
                _ => direction,
            })
            .collect()
    }

    /// The world after `event`, or `None` if it cannot happen.
    fn after(mut self, rules: &Rules, architecture: Architecture, event: Event) -> Option<Self> {
        match event {
            Event::Map(importer) => {
                let (access, direction) = IMPORTERS[importer];
                if self.mapped[importer] || self.other_bounced(importer) {
                    return None;
                }
                self.mapped[importer] = true;
                let view = (rules.is_view)(access);
                let event = if view {
                    CacheEvent::MapThroughCaches
                } else {
                    CacheEvent::MapPastCaches
                };
                let maintain = self.step(rules, event) || view;
                match access {
                    Access::PastCaches => {
                        self.reference = self.reference.for_device(architecture, direction);
                        if maintain {
                            // Lines are written back even for a device that only writes.
                            self.line = self.line.for_device(architecture, Direction::ToDevice);
                        }
                    }
                    Access::Snooping => {}
                    Access::Bounced => self.both(Line::copy_in),
                }
            }
            Event::Unmap(importer) => {
                let (access, direction) = IMPORTERS[importer];
                if !self.mapped[importer] {
                    return None;
                }
                self.mapped[importer] = false;
                let view = (rules.is_view)(access);
                match access {
                    Access::PastCaches => {
                        self.reference = self.reference.for_cpu(direction);
                        if view || self.step(rules, CacheEvent::UnmapPastCaches) {
                            self.line = self.line.for_cpu(direction);
                        }
                    }
                    Access::Snooping => {}
                    Access::Bounced => {
                        if direction != Direction::ToDevice {
                            self.both(Line::copy_out);
                        }
                        self.both(Line::drop_bounced);
                    }
                }
                if view {
                    self.step(rules, CacheEvent::UnmapThroughCaches);
                }
            }
            Event::DeviceWrites(importer, byte) => {
                if !self.mapped[importer] {
                    return None;
                }
                match IMPORTERS[importer].0 {
                    Access::PastCaches => self.both(|line| line.write_memory(byte)),
                    Access::Snooping => self.both(|line| line.write(byte)),
                    Access::Bounced => self.both(|line| line.write_bounced(byte)),
                }
            }
            Event::ViewBegins => {
                if self.views == MAX_VIEWS {
                    return None;
                }
                self.views += 1;
                self.step(rules, CacheEvent::ViewBegins);
            }
            Event::ViewEnds => {
                self.views = self.views.checked_sub(1)?;
                self.step(rules, CacheEvent::ViewEnds);
            }
            Event::AccessBegins(direction) => {
                self.hidden |= self.views == 0;
                for direction in self.synced(Access::PastCaches, direction) {
                    self.reference = self.reference.for_cpu(direction);
                }
                let directions = self.synced(Access::PastCaches, direction);
                if self.step(rules, CacheEvent::AccessBegins) {
                    if let Some(direction) = rules.one_of(&directions, SyncFor::Cpu) {
                        self.line = self.line.for_cpu(direction);
                    }
                }
                for direction in self.synced(Access::Bounced, direction) {
                    if direction != Direction::ToDevice {
                        self.both(Line::copy_out);
                    }
                }
            }
            Event::AccessEnds(direction) => {
                for direction in self.synced(Access::Bounced, direction) {
                    if direction != Direction::FromDevice {
                        self.both(Line::copy_in);
                    }
                }
                let directions = self.synced(Access::PastCaches, direction);
                for direction in &directions {
                    self.reference = self.reference.for_device(architecture, *direction);
                }
                if self.step(rules, CacheEvent::AccessEnds) {
                    if let Some(direction) = rules.one_of(&directions, SyncFor::Device) {
                        self.line = self.line.for_device(architecture, direction);
                    }
                }
            }
            Event::CpuWrites(byte) => {
                if self.views == 0 && !self.hidden {
                    return None;
                }
                self.both(|line| line.write(byte));
            }
        }
        Some(self)
    }

    /// Each importer would have a bounce buffer of its own; the model has one.
    fn other_bounced(&self, importer: usize) -> bool {
        let bounced = |importer: usize| IMPORTERS[importer].0 == Access::Bounced;
        bounced(importer) && (0..IMPORTERS.len()).any(|other| self.mapped[other] && bounced(other))
    }

    /// What each reader is certain to see, with the reference and with the rules.
    fn readers(&self) -> Vec<(&'static str, u8, u8)> {
        let mut readers = Vec::new();
        if self.views > 0 || self.hidden {
            readers.push(("CPU", self.reference.seen(), self.line.seen()));
        }
        for (importer, (access, direction)) in IMPORTERS.into_iter().enumerate() {
            if !self.mapped[importer] || direction == Direction::FromDevice {
                continue;
            }
            readers.push(match access {
                Access::PastCaches => ("device", self.reference.memory(), self.line.memory()),
                Access::Snooping => ("snooping", self.reference.seen(), self.line.seen()),
                Access::Bounced => ("bounced", self.reference.bounced(), self.line.bounced()),
            });
        }
        readers
    }

    /// A reader that would be certain to see a byte with the reference, and is not with the rules.
    fn fault(&self) -> Option<&'static str> {
        let readers = self.readers().into_iter();
        let mut faults = readers.filter(|(_, reference, line)| reference & !line != 0);
        faults.next().map(|(reader, ..)| reader)
    }
}

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
/// content. On 32-bit arm the reference loses zeroes.
#[test]
fn zeroes_are_never_lost() {
    let events: Vec<_> = all_events()
        .into_iter()
        .filter(|event| !matches!(event, Event::DeviceWrites(..) | Event::CpuWrites(_)))
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
    for architecture in ARCHITECTURES {
        let fault = explore(&rules, architecture, 6).fault;
        assert!(fault.is_some(), "{what}, {architecture:?}");
    }
}

#[test]
fn each_action_is_needed() {
    use CacheAction::Skip;
    use CacheState::{
        Clean,
        Viewed,
        Written, //
    };
    let mutants: [(&str, Rules); 7] = [
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
                    (Viewed { .. }, CacheEvent::UnmapPastCaches) => (state, Skip),
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
    ];
    for (what, rules) in mutants {
        expect_fault(what, rules);
    }
    expect_fault(
        "any device is synced for all",
        Rules {
            does_for_all: |direction, purpose| !direction.does_for_all(purpose),
            ..RULES
        },
    );
}

fn cache_events() -> impl Strategy<Value = CacheEvent> {
    prop::sample::select(vec![
        CacheEvent::MapPastCaches,
        CacheEvent::UnmapPastCaches,
        CacheEvent::MapThroughCaches,
        CacheEvent::UnmapThroughCaches,
        CacheEvent::ViewBegins,
        CacheEvent::ViewEnds,
        CacheEvent::AccessBegins,
        CacheEvent::AccessEnds,
    ])
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

    #[test]
    fn numbers_and_states_correspond(bits: u32) {
        prop_assert_eq!(CacheState::from_bits(bits).to_bits(), bits);
    }

    #[test]
    fn skipping_needs_that_there_is_no_view(
        events in prop::collection::vec(cache_events(), 0..100),
        start: u32,
    ) {
        // Begins with few views, or with nearly as many as can be counted.
        let start = match start % 3 {
            0 => CacheState::Written,
            1 => CacheState::Viewed { mappings: 65_530, devices: 1 },
            _ => CacheState::Viewed { mappings: 1, devices: 65_530 },
        };
        let (mut state, mut mappings, mut devices) = match start {
            CacheState::Viewed { mappings, devices } => {
                (start, u32::from(mappings), u32::from(devices))
            }
            _ => (start, 0, 0),
        };
        for event in events {
            match event {
                CacheEvent::ViewEnds if mappings == 0 => continue,
                CacheEvent::UnmapThroughCaches if devices == 0 => continue,
                CacheEvent::ViewBegins => mappings += 1,
                CacheEvent::ViewEnds => mappings -= 1,
                CacheEvent::MapThroughCaches => devices += 1,
                CacheEvent::UnmapThroughCaches => devices -= 1,
                _ => {}
            }
            let (after, action) = state.after(event);
            let past_caches =
                matches!(event, CacheEvent::MapPastCaches | CacheEvent::UnmapPastCaches);
            if mappings + devices > 0 && past_caches {
                prop_assert_eq!(action, CacheAction::Maintain);
            }
            match after {
                CacheState::Written | CacheState::Clean => {
                    prop_assert_eq!((mappings, devices), (0, 0));
                }
                CacheState::Viewed { mappings: counted, devices: mapped } => {
                    prop_assert_eq!((mappings, devices), (counted.into(), mapped.into()));
                }
                CacheState::Untracked => {}
            }
            // Nothing ends the uncertainty.
            prop_assert!(state != CacheState::Untracked || after == state);
            prop_assert_eq!(CacheState::from_bits(after.to_bits()), after);
            state = after;
        }
    }

    #[test]
    fn an_untracked_buffer_is_always_maintained(event in cache_events()) {
        let (state, action) = CacheState::Untracked.after(event);
        prop_assert_eq!(state, CacheState::Untracked);
        let counts = matches!(
            event,
            CacheEvent::ViewBegins
                | CacheEvent::ViewEnds
                | CacheEvent::MapThroughCaches
                | CacheEvent::UnmapThroughCaches
        );
        prop_assert_eq!(action == CacheAction::Maintain, !counts);
    }
}
