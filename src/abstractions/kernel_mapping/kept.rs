// SPDX-License-Identifier: GPL-2.0

//! Mappings that are kept for their next user.
//!
//! `vmap()` and `vunmap()` cost some instructions for each page, and drivers map the same buffers
//! again and again. So a mapping without a user stays where it is, until its owner takes it back or
//! is dropped. It is unmapped before that if a newer one needs its slot, if the kept ones exceed
//! their share of the address space, or if the kernel finds no address space.
//!
//! A shrinker would free nothing: the kernel never frees the page tables of such mappings, and
//! apart from them a mapping consists of two small objects. The page tables take one 512th of the
//! mapped memory with 64-bit entries and pages of 4 KiB.
//!
//! Memory for per-CPU variables is the one user of that address space that fails without asking. It
//! needs a hole for the memory of all CPUs, some hundred KiB, at the upper end, and mappings like
//! these fill the space from its lower end. So it finds one as long as all others do.
//!
//! # Locks
//!
//! Each slot has a mutex, since unmapping may sleep. Nothing is allocated under it. A mutex is
//! waited for only by the owner of a mapping, for the time in which somebody else unmaps what is in
//! that slot. All others pass on slots that are locked. So an owner may hold any lock under which
//! it may sleep, and the chain of notifiers may call [`unmap_all`] under any lock under which
//! memory is allocated.

use super::KernelMapping;
use crate::{
    abstractions::{
        static_cell::StaticCell,
        vmap_purge::{
            Purge,
            Purger, //
        }, //
    },
    bindings as c, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    }, //
};

/// The number of slots: more than the buffers that pipelines use in turn, and few enough to be
/// looked at one by one.
const SLOTS: usize = 64;

/// The kept mappings have at most one part in so many of the address space for such mappings. On
/// 32-bit arm that space has 240 MiB by default, so 15 MiB are kept. With 64 bits it is larger than
/// all memory, so only the slots limit their number.
const SHARE: usize = 16;

/// A kept mapping and the number that its owner has.
struct Entry {
    number: u64,
    mapping: KernelMapping,
}

// SAFETY: A loaded module calls `Keeping::start()` before it exports the first dma-buf, and thereby
// before any other function of this file.
static ENTRIES: StaticCell<[Mutex<Option<Entry>>; SLOTS]> = unsafe { StaticCell::uninit() };

/// The number of the latest entry. Entries with consecutive numbers are in consecutive slots.
static LAST: Atomic<u64> = Atomic::new(0);

/// The pages of all entries.
static PAGES: Atomic<usize> = Atomic::new(0);

/// Returns the slot of the entry with this number.
fn slot(number: u64) -> Option<&'static Mutex<Option<Entry>>> {
    // The number of slots is a power of two, so the cast loses nothing that matters.
    ENTRIES.get().get_ref().get(number as usize % SLOTS)
}

/// Replaces an entry, and returns the former one.
fn replace(entry: &mut Option<Entry>, new: Option<Entry>) -> Option<Entry> {
    let pages = |entry: &Option<Entry>| entry.as_ref().map_or(0, |entry| entry.mapping.pages());
    PAGES.fetch_add(pages(&new), Relaxed);
    PAGES.fetch_sub(pages(entry), Relaxed);
    core::mem::replace(entry, new)
}

/// Unmaps the entry of a slot, unless the slot is locked. Returns the number of its pages. May
/// sleep.
fn unmap(slot: &Mutex<Option<Entry>>) -> usize {
    let Some(mut entry) = slot.try_lock() else {
        return 0;
    };
    let old = replace(&mut entry, None);
    let pages = old.as_ref().map_or(0, |old| old.mapping.pages());
    // With the lock held: the owner frees the memory once it finds no entry.
    drop(old);
    pages
}

/// Unmaps all entries, except those that are being changed. Returns the number of their pages.
///
/// May sleep. Allocates nothing and waits for nothing.
pub(crate) fn unmap_all() -> usize {
    if PAGES.load(Relaxed) == 0 {
        return 0;
    }
    ENTRIES.get().get_ref().iter().map(unmap).sum()
}

/// The owner's claim to a mapping that is kept. Dropping it unmaps the memory, which may sleep.
#[must_use = "the memory is unmapped when this is dropped"]
pub(crate) struct Kept {
    number: u64,
}

/// Keeps `mapping`, which has no user at present. Returns `None` if it was unmapped instead.
///
/// May sleep.
///
/// # Examples
///
/// ```
/// use crate::abstractions::kernel_mapping::{kept, KernelMapping};
/// use crate::abstractions::pages::{PageRun, Reclaim, Zone};
/// use crate::decisions::memory::{Caching, Memory};
/// use crate::decisions::segment::Segment;
///
/// struct Runs([PageRun; 2]);
///
/// // SAFETY: The runs own their pages, which are zeroed and need no preparation for cached access.
/// unsafe impl Memory for Runs {
///     type Segments<'a> = core::array::IntoIter<Segment, 2>;
///
///     fn segments(&self) -> Self::Segments<'_> {
///         let Self([first, second]) = self;
///         [first.segment(), second.segment()].into_iter()
///     }
///
///     fn pages(&self) -> usize {
///         2
///     }
///
///     fn caching(&self) -> Caching {
///         Caching::Cached
///     }
/// }
///
/// let run = || PageRun::allocate(0, Zone::Any, Reclaim::Direct).ok_or(ENOMEM);
/// let memory = Runs([run()?, run()?]);
/// // SAFETY: The mapping is dropped before the memory is.
/// let mapping = unsafe { KernelMapping::new(&memory) }?;
/// assert!(!mapping.is_linear());
/// let address = mapping.address();
/// let kept = kept::keep(mapping).ok_or(ENOMEM)?;
/// let mapping = kept.take().ok_or(ENOMEM)?;
/// assert_eq!(mapping.address(), address);
///
/// // The owner finds nothing if the address space was needed.
/// let kept = kept::keep(mapping).ok_or(ENOMEM)?;
/// assert!(kept::unmap_all() >= 2);
/// assert!(kept.take().is_none());
/// ```
pub(crate) fn keep(mapping: KernelMapping) -> Option<Kept> {
    let limit = limit();
    if mapping.pages() > limit {
        return None;
    }
    // Everybody else reads the memory at other addresses.
    mapping.flush();
    let number = LAST.fetch_add(1, Relaxed).wrapping_add(1);
    let mut entry = slot(number)?.try_lock()?;
    let oldest = replace(&mut entry, Some(Entry { number, mapping }));
    // With the lock held, as in `unmap()`.
    drop(oldest);
    drop(entry);
    let kept = Kept { number };
    // From the oldest one on.
    for older in 1..SLOTS as u64 {
        if PAGES.load(Relaxed) <= limit {
            break;
        }
        unmap(slot(number.wrapping_add(older))?);
    }
    Some(kept)
}

/// Returns the number of pages that are kept at most.
fn limit() -> usize {
    // SAFETY: The call has no requirements.
    unsafe { c::vmalloc_pages() / SHARE }
}

impl Kept {
    /// Returns the mapping, unless it was unmapped meanwhile. May sleep.
    pub(crate) fn take(self) -> Option<KernelMapping> {
        let mapping = self.remove();
        // Nothing is left for `drop()`.
        core::mem::forget(self);
        mapping.inspect(KernelMapping::invalidate)
    }

    fn remove(&self) -> Option<KernelMapping> {
        let mut entry = slot(self.number)?.lock();
        if entry.as_ref()?.number != self.number {
            return None;
        }
        replace(&mut entry, None).map(|entry| entry.mapping)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.remove());
    }
}

/// Mappings are kept, and unmapped if the kernel finds no address space for others.
///
/// Dropping this ends the latter.
pub(crate) struct Keeping {
    _purger: Purger<Self>,
}

impl Keeping {
    /// Initialises the slots, and registers with the kernel. May sleep. Fails with `ENOMEM`.
    ///
    /// # Safety
    ///
    /// Must be called once, before any other function of this file.
    pub(crate) unsafe fn start() -> Result<Self> {
        // SAFETY: The caller promises that this is the first and only call.
        unsafe { ENTRIES.init(pin_init::pin_init_array_from_fn(|_| new_mutex!(None))) };
        Ok(Self {
            _purger: Purger::register()?,
        })
    }
}

impl Purge for Keeping {
    fn purge() -> usize {
        unmap_all()
    }
}
