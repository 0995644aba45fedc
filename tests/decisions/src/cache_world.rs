// SPDX-License-Identifier: GPL-2.0

//! A buffer's line in the caches with the CPU and the devices that access it, to compare the table
//! of cache states with a reference.
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

/// How an importer's device accesses the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    PastCaches,
    Snooping,
    Bounced,
    /// The device has bounce buffers, but none for this line.
    Unbounced,
}

pub const IMPORTERS: [(Access, Direction); 7] = [
    (Access::PastCaches, Direction::Both),
    (Access::PastCaches, Direction::ToDevice),
    (Access::PastCaches, Direction::FromDevice),
    (Access::Snooping, Direction::Both),
    (Access::Bounced, Direction::Both),
    (Access::Bounced, Direction::ToDevice),
    (Access::Unbounced, Direction::FromDevice),
];

/// More users of an attachment than that are not different.
pub const MAX_USERS: u8 = 2;

/// More views than that are not different.
pub const MAX_VIEWS: u8 = 2;

/// The access of an importer with a mapping of its own, which no one is told of. It began while
/// somebody else had a mapping.
///
/// Between its begin and its end, such an importer reads and writes. What a device writes meanwhile
/// it sees after another begin only. Others see what it writes after its end only, and nobody maps
/// the buffer until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Own {
    Outside,
    Inside,
    HasWritten,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
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

pub fn all_events() -> Vec<Event> {
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

pub fn sync_direction(direction: Direction) -> SyncDirection {
    match direction {
        Direction::Both => SyncDirection::Both,
        Direction::ToDevice => SyncDirection::ToDevice,
        Direction::FromDevice => SyncDirection::FromDevice,
    }
}

/// The rules that are tested: the table, whether an attachment is a view, and whether the line is
/// written back by itself for an attachment with so many users.
#[derive(Clone, Copy)]
pub struct Rules {
    pub after: fn(CacheState, CacheEvent) -> (CacheState, CacheAction),
    pub is_view: fn(Access) -> bool,
    pub needs_write_back: fn(Access, Direction, u8) -> bool,
    pub does_for_all: fn(SyncDirection, SyncFor) -> bool,
}

pub const RULES: Rules = Rules {
    after: CacheState::after,
    is_view: |access| access != Access::PastCaches,
    needs_write_back: |access, direction, _| {
        sync_direction(direction).needs_write_back(access == Access::Snooping)
    },
    does_for_all: SyncDirection::does_for_all,
};

impl Rules {
    /// Returns the direction of the one sync that is made for `directions`.
    pub fn one_of(&self, directions: &[Direction], purpose: SyncFor) -> Option<Direction> {
        let does_for_all =
            |direction: &&Direction| (self.does_for_all)(sync_direction(**direction), purpose);
        let best = directions.iter().find(does_for_all);
        best.or(directions.first()).copied()
    }
}

/// The world, once with the reference and once with the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
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
    pub fn new() -> Self {
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

    pub fn both(&mut self, change: impl Fn(Line) -> Line) {
        self.reference = change(self.reference);
        self.line = change(self.line);
    }

    pub fn step(&mut self, rules: &Rules, event: CacheEvent) -> bool {
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
    pub fn synced(&self, access: Access, direction: Direction) -> Vec<Direction> {
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
    pub fn after(
        mut self,
        rules: &Rules,
        architecture: Architecture,
        event: Event,
    ) -> Option<Self> {
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

    pub fn own_has_written(&self) -> bool {
        self.own == Own::HasWritten
    }

    /// The maintenance with the rules before a device accesses the line itself.
    pub fn hand_over(
        &mut self,
        rules: &Rules,
        architecture: Architecture,
        importer: usize,
        users: u8,
    ) {
        let (access, direction) = IMPORTERS[importer];
        if (rules.needs_write_back)(access, direction, users) {
            self.line = self.line.for_device(architecture, Direction::ToDevice);
            if access == Access::PastCaches {
                return;
            }
        }
        self.line = self.line.for_device(architecture, direction);
    }

    pub fn begin_access(&mut self, rules: &Rules, direction: Direction) {
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

    pub fn end_access(&mut self, rules: &Rules, architecture: Architecture, direction: Direction) {
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
    pub fn other_bounced(&self, importer: usize) -> bool {
        let bounced = |importer: usize| IMPORTERS[importer].0 == Access::Bounced;
        bounced(importer)
            && (0..IMPORTERS.len()).any(|other| self.users[other] > 0 && bounced(other))
    }

    /// What each reader is certain to see, with the reference and with the rules.
    pub fn readers(&self) -> Vec<(&'static str, u8, u8)> {
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
    pub fn fault(&self) -> Option<&'static str> {
        let readers = self.readers().into_iter();
        let mut faults = readers.filter(|(_, reference, line)| reference & !line != 0);
        faults.next().map(|(reader, ..)| reader)
    }
}
