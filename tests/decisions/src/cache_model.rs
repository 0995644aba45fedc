// SPDX-License-Identifier: GPL-2.0

//! A cache line of a buffer, with everything that may happen to it.
//!
//! The line has two bytes, so a write of one of them does not hide what happens to the other one.
//! Of each copy of a byte only this matters: whether it is what was written last. Caches load and
//! evict lines at any time. So a [`Line`] is the set of all states in which the line can be, and a
//! value is certain if all of them have it.

/// The direction of a mapping or of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Both,
    ToDevice,
    FromDevice,
}

/// What the DMA interface does to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    Arm64,
    Arm,
}

pub const BYTES: usize = 2;

/// The bits of the bytes that are what was written last.
type Bytes = u8;

const ALL: Bytes = (1 << BYTES) - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cached {
    No,
    Clean(Bytes),
    Dirty(Bytes),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    cached: Cached,
    memory: Bytes,
    bounced: Bytes,
}

impl State {
    fn number(self) -> usize {
        let cached = match self.cached {
            Cached::No => 0,
            Cached::Clean(bytes) => 1 + usize::from(bytes),
            Cached::Dirty(bytes) => 5 + usize::from(bytes),
        };
        cached * 16 + usize::from(self.memory) * 4 + usize::from(self.bounced)
    }

    fn of_number(number: usize) -> Self {
        let cached = match (number / 16) as u8 {
            0 => Cached::No,
            clean @ 1..5 => Cached::Clean(clean - 1),
            dirty => Cached::Dirty(dirty - 5),
        };
        State {
            cached,
            memory: (number / 4 % 4) as u8,
            bounced: (number % 4) as u8,
        }
    }

    /// What is read through the caches.
    fn seen(self) -> Bytes {
        match self.cached {
            Cached::No => self.memory,
            Cached::Clean(bytes) | Cached::Dirty(bytes) => bytes,
        }
    }

    /// Every other copy of a byte that is being written is old now.
    fn outdate(self, byte: usize) -> Self {
        let keep = !(1 << byte);
        let cached = match self.cached {
            Cached::No => Cached::No,
            Cached::Clean(bytes) => Cached::Clean(bytes & keep),
            Cached::Dirty(bytes) => Cached::Dirty(bytes & keep),
        };
        State {
            cached,
            memory: self.memory & keep,
            bounced: self.bounced & keep,
        }
    }

    fn written_back(self) -> Self {
        match self.cached {
            Cached::Dirty(bytes) => State {
                cached: Cached::Clean(bytes),
                memory: bytes,
                ..self
            },
            _ => self,
        }
    }

    fn discarded(self) -> Self {
        State {
            cached: Cached::No,
            ..self
        }
    }
}

/// The states in which the line can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Line([u64; 3]);

impl Line {
    /// The line of new memory: the zeroes are in the caches.
    pub fn zeroed() -> Self {
        let mut line = Line([0; 3]);
        line.add(State {
            cached: Cached::Dirty(ALL),
            memory: 0,
            bounced: 0,
        });
        line.changed(|state| [state, state])
    }

    fn add(&mut self, state: State) {
        let number = state.number();
        self.0[number / 64] |= 1 << (number % 64);
    }

    fn states(self) -> impl Iterator<Item = State> {
        (0..144)
            .filter(move |number| (self.0[number / 64] >> (number % 64)) & 1 != 0)
            .map(State::of_number)
    }

    /// Changes each state to one of two, and lets the caches load and evict.
    fn changed(self, change: impl Fn(State) -> [State; 2]) -> Self {
        let mut line = Line([0; 3]);
        for state in self.states().flat_map(change) {
            let absent = state.written_back().discarded();
            let loaded = State {
                cached: Cached::Clean(absent.memory),
                ..absent
            };
            for state in [state, absent, loaded] {
                line.add(state);
            }
            if let Cached::Clean(_) = state.cached {
                line.add(state.discarded());
            }
        }
        line
    }

    fn always(self, change: impl Fn(State) -> State) -> Self {
        self.changed(|state| [change(state); 2])
    }

    /// A write through the caches.
    pub fn write(self, byte: usize) -> Self {
        self.always(|state| {
            let state = state.outdate(byte);
            State {
                cached: Cached::Dirty(state.seen() | (1 << byte)),
                ..state
            }
        })
    }

    /// A write past the caches.
    pub fn write_memory(self, byte: usize) -> Self {
        self.always(|state| {
            let state = state.outdate(byte);
            State {
                memory: state.memory | (1 << byte),
                ..state
            }
        })
    }

    /// A write to the bounce buffer.
    pub fn write_bounced(self, byte: usize) -> Self {
        self.always(|state| {
            let state = state.outdate(byte);
            State {
                bounced: state.bounced | (1 << byte),
                ..state
            }
        })
    }

    /// The copy to the bounce buffer.
    pub fn copy_in(self) -> Self {
        self.always(|state| State {
            bounced: state.seen(),
            ..state
        })
    }

    /// The copy from the bounce buffer.
    pub fn copy_out(self) -> Self {
        self.always(|state| State {
            cached: Cached::Dirty(state.bounced),
            ..state
        })
    }

    /// The bounce buffer is freed.
    pub fn drop_bounced(self) -> Self {
        self.always(|state| State {
            bounced: 0,
            ..state
        })
    }

    /// The maintenance before a device accesses the memory.
    ///
    /// For a device that only writes, 32-bit arm discards lines. No one may rely on that: the DMA
    /// interface promises the CPU nothing here.
    pub fn for_device(self, architecture: Architecture, direction: Direction) -> Self {
        match (architecture, direction) {
            (Architecture::Arm, Direction::FromDevice) => {
                self.changed(|state| [state.discarded(), state.written_back()])
            }
            _ => self.always(State::written_back),
        }
    }

    /// The maintenance after a device has accessed the memory.
    pub fn for_cpu(self, direction: Direction) -> Self {
        match direction {
            Direction::ToDevice => self,
            _ => self.invalidate(),
        }
    }

    /// A dirty line is discarded, or written back first, which CPUs may do.
    pub fn invalidate(self) -> Self {
        self.changed(|state| [state.discarded(), state.written_back().discarded()])
    }

    /// What is certain to be read through the caches.
    pub fn seen(self) -> Bytes {
        self.states().fold(ALL, |bytes, state| bytes & state.seen())
    }

    /// What is certain to be read past the caches.
    pub fn memory(self) -> Bytes {
        self.states().fold(ALL, |bytes, state| bytes & state.memory)
    }

    /// What is certain to be read in the bounce buffer.
    pub fn bounced(self) -> Bytes {
        self.states()
            .fold(ALL, |bytes, state| bytes & state.bounced)
    }
}
