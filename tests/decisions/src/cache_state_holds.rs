// SPDX-License-Identifier: GPL-2.0

//! The table of cache states against a model of a cache line.
//!
//! The reference maintains the line at each event, for each importer, as the DMA interface does. It
//! writes the line back whenever the buffer is mapped for a device, which is the promise of this
//! module on 32-bit arm too. Both see the same events. Whatever a reader is certain to see with the
//! reference, it must be certain to see with the table: no assumption is made about which sequences
//! are sensible, except for an importer with a mapping of its own ([`Own`]).

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
    /// The device has bounce buffers, but none for this line.
    Unbounced,
}

const IMPORTERS: [(Access, Direction); 7] = [
    (Access::PastCaches, Direction::Both),
    (Access::PastCaches, Direction::ToDevice),
    (Access::PastCaches, Direction::FromDevice),
    (Access::Snooping, Direction::Both),
    (Access::Bounced, Direction::Both),
    (Access::Bounced, Direction::ToDevice),
    (Access::Unbounced, Direction::FromDevice),
];

/// More users of an attachment than that are not different.
const MAX_USERS: u8 = 2;

/// More views than that are not different.
const MAX_VIEWS: u8 = 2;

/// The access of an importer with a mapping of its own, which no one is told of. It began while
/// somebody else had a mapping.
///
/// Between its begin and its end, such an importer reads and writes. What a device writes meanwhile
/// it sees after another begin only. Others see what it writes after its end only, and nobody maps
/// the buffer until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Own {
    Outside,
    Inside,
    HasWritten,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Event {
    Map(usize),
    Unmap(usize),
    DeviceWrites(usize, usize),
    ViewBegins,
    ViewEnds,
    AccessBegins(Direction),
    AccessEnds(Direction),
    OwnAccessBegins,
    OwnWrites(usize),
    OwnAccessEnds,
    Hibernation,
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
    events.extend([Event::OwnAccessBegins, Event::OwnAccessEnds]);
    events.push(Event::Hibernation);
    events.extend((0..BYTES).map(Event::OwnWrites));
    events.extend((0..BYTES).map(Event::CpuWrites));
    events
}

fn sync_direction(direction: Direction) -> SyncDirection {
    match direction {
        Direction::Both => SyncDirection::Both,
        Direction::ToDevice => SyncDirection::ToDevice,
        Direction::FromDevice => SyncDirection::FromDevice,
    }
}

/// The rules that are tested: the table, whether an attachment is a view, and whether the line is
/// written back by itself for an attachment with so many users.
#[derive(Clone, Copy)]
struct Rules {
    after: fn(CacheState, CacheEvent) -> (CacheState, CacheAction),
    is_view: fn(Access) -> bool,
    needs_write_back: fn(Access, Direction, u8) -> bool,
    does_for_all: fn(SyncDirection, SyncFor) -> bool,
}

const RULES: Rules = Rules {
    after: CacheState::after,
    is_view: |access| access != Access::PastCaches,
    needs_write_back: |access, direction, _| {
        sync_direction(direction).needs_write_back(access == Access::Snooping)
    },
    does_for_all: SyncDirection::does_for_all,
};

impl Rules {
    /// Returns the direction of the one sync that is made for `directions`.
    fn one_of(&self, directions: &[Direction], purpose: SyncFor) -> Option<Direction> {
        let does_for_all =
            |direction: &&Direction| (self.does_for_all)(sync_direction(**direction), purpose);
        let best = directions.iter().find(does_for_all);
        best.or(directions.first()).copied()
    }
}

/// The world, once with the reference and once with the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct World {
    /// The number of users of each importer's attachment.
    users: [u8; IMPORTERS.len()],
    /// Whether there has been an importer.
    is_attached: bool,
    views: u8,
    /// CPU access began without a view, or the CPU reads all memory.
    hidden: bool,
    own: Own,
    state: CacheState,
    reference: Line,
    line: Line,
}

impl World {
    fn new() -> Self {
        World {
            users: [0; IMPORTERS.len()],
            is_attached: false,
            views: 0,
            hidden: false,
            own: Own::Outside,
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
        if action == CacheAction::Flush {
            // The direction of a device that reads.
            self.line = self.line.for_device(Architecture::Arm64, Direction::Both);
        }
        if matches!(action, CacheAction::Invalidate | CacheAction::Flush) {
            self.line = self.line.invalidate();
        }
        action == CacheAction::Maintain
    }

    /// The mapped importers of a sort, with the directions of a sync for CPU access.
    fn synced(&self, access: Access, direction: Direction) -> Vec<Direction> {
        let mapped = (0..IMPORTERS.len()).filter(|importer| self.users[*importer] > 0);
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
                let access = IMPORTERS[importer].0;
                let users = self.users[importer];
                if users == MAX_USERS || self.other_bounced(importer) || self.own_has_written() {
                    return None;
                }
                self.users[importer] += 1;
                self.is_attached = true;
                let view = (rules.is_view)(access);
                let maintain = match (view, users) {
                    (false, _) => self.step(rules, CacheEvent::MapPastCaches),
                    (true, 0) => self.step(rules, CacheEvent::MapThroughCaches) || view,
                    (true, _) => true,
                };
                match access {
                    Access::PastCaches | Access::Unbounced => {
                        self.reference =
                            self.reference.for_device(architecture, Direction::ToDevice);
                        if maintain {
                            self.hand_over(rules, architecture, importer, users);
                        }
                    }
                    Access::Snooping => {}
                    Access::Bounced => self.both(Line::copy_in),
                }
            }
            Event::Unmap(importer) => {
                let (access, direction) = IMPORTERS[importer];
                self.users[importer] = self.users[importer].checked_sub(1)?;
                let is_last = self.users[importer] == 0;
                let view = (rules.is_view)(access);
                match access {
                    Access::PastCaches | Access::Unbounced => {
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
                        if is_last {
                            self.both(Line::drop_bounced);
                        }
                    }
                }
                if view && is_last {
                    self.step(rules, CacheEvent::UnmapThroughCaches);
                }
            }
            Event::DeviceWrites(importer, byte) => {
                if self.users[importer] == 0 {
                    return None;
                }
                if self.own == Own::Inside {
                    self.own = Own::Outside;
                }
                match IMPORTERS[importer].0 {
                    Access::PastCaches | Access::Unbounced => {
                        self.both(|line| line.write_memory(byte));
                    }
                    Access::Snooping => self.both(|line| line.write(byte)),
                    Access::Bounced => self.both(|line| line.write_bounced(byte)),
                }
            }
            Event::ViewBegins => {
                if self.views == MAX_VIEWS || self.own_has_written() {
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
                if self.own_has_written() {
                    return None;
                }
                self.begin_access(rules, direction);
            }
            Event::AccessEnds(direction) => self.end_access(rules, architecture, direction),
            Event::OwnAccessBegins => {
                if self.own != Own::Outside {
                    return None;
                }
                self.is_attached = true;
                if self.views > 0 {
                    self.own = Own::Inside;
                }
                self.begin_access(rules, Direction::Both);
            }
            Event::OwnWrites(byte) => {
                if self.own == Own::Outside {
                    return None;
                }
                self.own = Own::HasWritten;
                self.both(|line| line.write(byte));
            }
            Event::OwnAccessEnds => {
                if self.own == Own::Outside {
                    return None;
                }
                self.own = Own::Outside;
                self.end_access(rules, architecture, Direction::Both);
            }
            Event::Hibernation => {
                self.hidden = true;
                self.step(rules, CacheEvent::TrackingEnds);
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

    fn own_has_written(&self) -> bool {
        self.own == Own::HasWritten
    }

    /// The maintenance with the rules before a device accesses the line itself.
    fn hand_over(&mut self, rules: &Rules, architecture: Architecture, importer: usize, users: u8) {
        let (access, direction) = IMPORTERS[importer];
        if (rules.needs_write_back)(access, direction, users) {
            self.line = self.line.for_device(architecture, Direction::ToDevice);
            if access == Access::PastCaches {
                return;
            }
        }
        self.line = self.line.for_device(architecture, direction);
    }

    fn begin_access(&mut self, rules: &Rules, direction: Direction) {
        // Without an importer nobody has a mapping that is not known.
        self.hidden |= self.views == 0 && self.is_attached;
        for access in [Access::PastCaches, Access::Unbounced] {
            for direction in self.synced(access, direction) {
                self.reference = self.reference.for_cpu(direction);
            }
        }
        let directions = self.synced(Access::PastCaches, direction);
        if self.is_attached && self.step(rules, CacheEvent::AccessBegins) {
            if let Some(direction) = rules.one_of(&directions, SyncFor::Cpu) {
                self.line = self.line.for_cpu(direction);
            }
        }
        for direction in self.synced(Access::Unbounced, direction) {
            self.line = self.line.for_cpu(direction);
        }
        for direction in self.synced(Access::Bounced, direction) {
            if direction != Direction::ToDevice {
                self.both(Line::copy_out);
            }
        }
    }

    fn end_access(&mut self, rules: &Rules, architecture: Architecture, direction: Direction) {
        for direction in self.synced(Access::Bounced, direction) {
            if direction != Direction::FromDevice {
                self.both(Line::copy_in);
            }
        }
        for direction in self.synced(Access::Unbounced, direction) {
            self.both(|line| line.for_device(architecture, direction));
        }
        let directions = self.synced(Access::PastCaches, direction);
        for direction in &directions {
            self.reference = self.reference.for_device(architecture, *direction);
        }
        if self.is_attached && self.step(rules, CacheEvent::AccessEnds) {
            if let Some(direction) = rules.one_of(&directions, SyncFor::Device) {
                self.line = self.line.for_device(architecture, direction);
            }
        }
    }

    /// Each importer would have a bounce buffer of its own; the model has one.
    fn other_bounced(&self, importer: usize) -> bool {
        let bounced = |importer: usize| IMPORTERS[importer].0 == Access::Bounced;
        bounced(importer)
            && (0..IMPORTERS.len()).any(|other| self.users[other] > 0 && bounced(other))
    }

    /// What each reader is certain to see, with the reference and with the rules.
    fn readers(&self) -> Vec<(&'static str, u8, u8)> {
        let mut readers = Vec::new();
        if self.views > 0 || self.hidden || self.own != Own::Outside {
            readers.push(("CPU", self.reference.seen(), self.line.seen()));
        }
        for (importer, (access, direction)) in IMPORTERS.into_iter().enumerate() {
            let reads = direction != Direction::FromDevice && !self.own_has_written();
            if self.users[importer] == 0 || !reads {
                continue;
            }
            readers.push(match access {
                Access::PastCaches | Access::Unbounced => {
                    ("device", self.reference.memory(), self.line.memory())
                }
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
        CacheEvent::TrackingEnds,
    ])
}

/// Numbers of states that are not numbers of views, and the next ones.
const SPECIAL: [u32; 9] = [
    0,
    1,
    1 << 16,
    (1 << 16) + 1,
    (u32::MAX << 16) - 1,
    u32::MAX << 16,
    (u32::MAX << 16) + 1,
    u32::MAX - 1,
    u32::MAX,
];

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
    fn numbers_and_states_correspond(
        bits in prop_oneof![any::<u32>(), prop::sample::select(SPECIAL.to_vec())],
    ) {
        prop_assert_eq!(CacheState::from_bits(bits).to_bits(), bits);
    }

    #[test]
    fn access_is_usual_while_the_cpu_may_have_a_mapping(
        bits in prop_oneof![any::<u32>(), prop::sample::select(SPECIAL.to_vec())],
    ) {
        let state = CacheState::from_bits(bits);
        let after = state.after(CacheEvent::AccessBegins);
        let is_usual = CacheState::may_have_mapping(bits);
        prop_assert_eq!(is_usual, after == (state, CacheAction::Maintain));
    }

    #[test]
    fn skipping_needs_that_there_is_no_view(
        events in prop::collection::vec(cache_events(), 0..100),
        start: u32,
    ) {
        // Begins with few views, or with nearly as many as can be counted.
        let start = match start % 3 {
            0 => CacheState::Written,
            1 => CacheState::from_bits(65_530 | (1 << 16)),
            _ => CacheState::from_bits(1 | (65_530 << 16)),
        };
        let counts = |state: CacheState| (state.to_bits() & 0xffff, state.to_bits() >> 16);
        let (mut mappings, mut devices) = counts(start);
        let mut state = start;
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
                CacheState::Viewed(_) => prop_assert_eq!((mappings, devices), counts(after)),
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
                | CacheEvent::TrackingEnds
        );
        prop_assert_eq!(action == CacheAction::Maintain, !counts);
    }
}
