// SPDX-License-Identifier: GPL-2.0

//! How a reserve gives way: to requests that would fail, to reclaim, before the kernel kills a
//! process, and before memory is saved.

use super::Reserve;
use crate::{
    abstractions::{
        hibernation::Hibernation,
        oom_notifier::LastResort,
        shrinker::Shrink,
        signal, //
    },
    range_cache::{
        ram::RamRanges,
        RangeCache, //
    },
    watermarks, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Full,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// How often a request that fails is tried again.
const MAX_RETRIES: u32 = 3;

/// How often a request looks whether an attempt of the thread has ended, and the time between.
const MAX_WAITS: u32 = 100;
const WAIT: Delta = Delta::from_millis(5);

/// A request that is being served outside of the reserve, until this is dropped.
struct Serving<'a>(&'a Reserve);

impl<'a> Serving<'a> {
    fn begin(reserve: &'a Reserve) -> Self {
        reserve.requests.fetch_add(1, Full);
        Self(reserve)
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Full);
    }
}

impl Reserve {
    /// Serves a request outside of the reserve by `attempt`. If that fails with `ENOMEM`, releases
    /// the reserve, and waits for an attempt of the thread that may have been in the way, and tries
    /// again: a few times, since others may take what is released.
    ///
    /// May sleep. Fails as `attempt` does, and with `EINTR` on a fatal signal.
    fn serve<T>(&self, ram: &RamRanges, attempt: impl Fn() -> Result<T>) -> Result<T> {
        let _serving = Serving::begin(self);
        for _ in 0..MAX_RETRIES {
            // The thread begins no attempt from here on. So what it is going to add, it adds before
            // the end of this one.
            let was_taking = self.is_taking.load(Relaxed);
            let released = self.released.load(Relaxed);
            let result = attempt();
            if !matches!(&result, Err(error) if *error == ENOMEM) {
                return result;
            }
            if was_taking {
                self.wait_until_taken()?;
            }
            self.release_in_batches(ram, usize::MAX, false);
            if !was_taking && self.released.load(Relaxed) == released {
                return result;
            }
        }
        attempt()
    }

    /// Waits until the thread makes no attempt, for half a second at most. Fails with `EINTR` on a
    /// fatal signal.
    fn wait_until_taken(&self) -> Result {
        for _ in 0..MAX_WAITS {
            if !self.is_taking.load(Relaxed) {
                break;
            }
            if signal::fatal_pending() {
                return Err(EINTR);
            }
            fsleep(WAIT);
        }
        Ok(())
    }
}

impl RangeCache {
    /// Serves a request by `attempt`, which is tried again without the reserve before it fails with
    /// `ENOMEM`.
    ///
    /// May sleep. Fails as `attempt` does, and with `EINTR` on a fatal signal.
    pub(crate) fn serve_without_reserve<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        match self.reserve.is_used() {
            true => self.reserve.serve(&self.ram, attempt),
            false => attempt(),
        }
    }

    /// Releases at least `pages` pages of the reserve, or all if there are fewer, for a request
    /// that needs them or is at a limit: with `low_only`, that of memory below 4 GiB. Returns their
    /// number. May sleep.
    pub(crate) fn give_way(&self, pages: usize, low_only: bool) -> usize {
        self.reserve.release_in_batches(&self.ram, pages, low_only)
    }
}

/// The reserve of a cache, as the kernel takes it back.
pub(in crate::range_cache) struct GivingWay(pub(in crate::range_cache) Arc<RangeCache>);

/// Which memory is short.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    /// Memory as a whole.
    Everywhere,
    /// That below 4 GiB alone.
    Below4G,
}

impl GivingWay {
    /// Returns which memory is short, if any is.
    fn shortage(&self) -> Option<Short> {
        if watermarks::is_short() {
            Some(Short::Everywhere)
        } else {
            self.0.ram.low_is_short().then_some(Short::Below4G)
        }
    }
}

#[vtable]
impl Shrink for GivingWay {
    /// Returns 0 as long as there is enough of the page cache, which is reclaimed first: the kernel
    /// asks for a part of everything, also where files alone have filled memory.
    fn count(&self) -> usize {
        let reserve = &self.0.reserve;
        match reserve.pages() {
            0 => 0,
            pages => match self.shortage() {
                Some(Short::Everywhere) => pages,
                Some(Short::Below4G) => reserve.with(|pieces| pieces.low_pages()),
                None => 0,
            },
        }
    }

    /// Releases memory of the kind that is short, as long as it is: the kernel scans in batches, of
    /// which the first may suffice.
    fn scan(&self, pages: usize) -> usize {
        self.shortage().map_or(0, |short| {
            let low_only = short == Short::Below4G;
            self.0.reserve.release(&self.0.ram, pages, low_only)
        })
    }
}

impl Hibernation for GivingWay {
    /// Releases everything: it would be saved.
    fn prepare(&self) -> Result {
        let reserve = &self.0.reserve;
        let _setting = reserve.setting.lock()?;
        reserve.hibernates.store(true, Relaxed);
        reserve.apply(&self.0.ram);
        Ok(())
    }

    fn finished(&self) {
        let reserve = &self.0.reserve;
        reserve.hibernates.store(false, Relaxed);
        reserve.apply(&self.0.ram);
    }
}

impl LastResort for GivingWay {
    /// Releases everything.
    fn free(&self) -> usize {
        self.0.reserve.release(&self.0.ram, usize::MAX, false)
    }
}
