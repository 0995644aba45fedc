// SPDX-License-Identifier: GPL-2.0

//! The pieces of a reserve, which its lock protects.

use crate::{
    abstractions::{
        cache_cleaner::Cleaner,
        cma::Preparation,
        reclaimable::ReclaimableRange, //
    },
    decisions::{
        reserve::{
            best_fit,
            place,
            Marks, //
        },
        segment::Segment, //
    },
    range_cache::ram::{
        is_low,
        release_step, //
    }, //
};
use core::{
    array,
    iter,
    mem, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*, //
};

/// The number of lists of prepared pieces. The list with index `i` has those of `2^i` pages or
/// more, the last one all larger ones too.
const CLASSES: usize = 16;

/// The largest number of pieces of less than 1 MiB in a list. They are what is left of larger ones.
const MAX_SMALL: usize = 32;

/// The largest number of larger pieces in a list.
const MAX_LARGE: usize = 128;

/// The largest number of pieces that are not prepared.
const MAX_RAW: usize = 32;

/// The largest number of pieces of a list that are looked at for a request. The next list has a
/// place for nearly every request of this one's size.
const MAX_LOOKS: usize = 8;

/// The pieces of a reserve.
///
/// No function allocates memory, except [`Pieces::with_room`], or takes more than some tens of
/// microseconds: it zeroes or releases a step of pages, or looks at all pieces once. Pieces are in
/// the reserve or belong to a buffer or the kernel. None is in the hands of a thread while that
/// zeroes it. Those that have no place are, while the thread releases them.
pub(super) struct Pieces {
    /// Prepared pieces by size. The capacity of each list is its limit from the start.
    ready: [KVec<Piece>; CLASSES],
    /// Those that are not prepared. The capacity is [`MAX_RAW`] from the start.
    raw: KVec<Piece>,
    /// Those that are being released, above 4 GiB and below.
    leaving: [Option<Piece>; 2],
    /// The number of pages of all pieces.
    pages: usize,
    /// The sizes of the reserve. With 0 it accepts nothing.
    pub(super) marks: Marks,
    /// Whether pieces are added until the high mark is reached.
    pub(super) is_filling: bool,
    /// Whether nothing is added, since others needed the memory a moment ago.
    pub(super) is_resting: bool,
    /// Whether that was after the thread looked at this the last time.
    pub(super) was_disturbed: bool,
}

/// A piece of the reserve.
struct Piece {
    preparation: Preparation,
    /// Counts the pages as reclaimable memory.
    reclaimable: ReclaimableRange,
}

/// What is to be taken from a reserve.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// The size in pages, not 0.
    pub(super) pages: usize,
    /// The range begins at a multiple of `2^align` pages.
    pub(super) align: u32,
    /// Whether it may be below 4 GiB.
    pub(super) may_be_low: bool,
    /// Whether it may be above that.
    pub(super) may_be_high: bool,
}

/// What was taken.
pub(super) struct Taken {
    /// The range, prepared unless no prepared piece has a place.
    pub(super) range: Preparation,
    /// What was left of the piece and has no place in the reserve.
    pub(super) surplus: [Option<Preparation>; 2],
}

/// What a step of preparation did.
pub(super) enum Step {
    /// Some pages were prepared.
    Prepared,
    /// Others refer to some pages, which have left the reserve, with those that have no place.
    Left([Option<Preparation>; 3]),
    /// There is no place for another piece of this size, so it has left the reserve.
    NoPlace(Preparation),
    /// There is nothing to prepare.
    Nothing,
}

impl Piece {
    fn new(preparation: Preparation) -> Self {
        Self {
            reclaimable: ReclaimableRange::new(&preparation),
            preparation,
        }
    }

    fn segment(&self) -> Segment {
        self.preparation.segment()
    }
}

impl Wanted {
    fn accepts(&self, piece: Segment) -> bool {
        match is_low(piece) {
            true => self.may_be_low,
            false => self.may_be_high,
        }
    }

    /// Returns the index of the piece that a range is best cut from. Of those that may serve it,
    /// some of the last ones are looked at, which were added a moment ago.
    fn find(&self, pieces: &[Piece]) -> Option<usize> {
        let segments = pieces.iter().map(Piece::segment).enumerate().rev();
        let accepted = segments.filter(|(_, segment)| self.accepts(*segment));
        best_fit(accepted.take(MAX_LOOKS), self.pages, self.align)
    }

    /// Returns whether a range can be cut from `piece`.
    fn fits(&self, piece: Segment) -> bool {
        self.accepts(piece) && place(piece, self.pages, self.align).is_some()
    }
}

/// Returns whether two pieces are joined. No piece is on both sides of 4 GiB.
fn are_joinable(one: &Preparation, other: &Preparation) -> bool {
    is_low(one.segment()) == is_low(other.segment()) && (one.adjoins(other) || other.adjoins(one))
}

/// Joins two pieces in the order of their page frames. Returns both if they are not joined.
fn joined(one: Preparation, other: Preparation) -> Result<Preparation, (Preparation, Preparation)> {
    if !are_joinable(&one, &other) {
        return Err((one, other));
    }
    let is_first = one.segment().pfn < other.segment().pfn;
    let (mut first, second) = match is_first {
        true => (one, other),
        false => (other, one),
    };
    match first.join(second) {
        Ok(()) => Ok(first),
        Err(second) if is_first => Err((first, second)),
        Err(second) => Err((second, first)),
    }
}

/// Returns the index of the list for pieces of `pages` pages.
fn class(pages: usize) -> usize {
    (pages.max(1).ilog2() as usize).min(CLASSES - 1)
}

/// Returns the largest number of pieces in the list with index `class`.
fn capacity(class: usize) -> usize {
    match class < 20 - PAGE_SHIFT {
        true => MAX_SMALL,
        false => MAX_LARGE,
    }
}

/// Removes the piece with index `index`. The last one takes its place.
fn swap_remove(pieces: &mut KVec<Piece>, index: usize) -> Option<Piece> {
    let last = pieces.pop()?;
    match pieces.get_mut(index) {
        Some(piece) => Some(mem::replace(piece, last)),
        None => Some(last),
    }
}

impl Pieces {
    /// Creates an empty reserve that accepts nothing, and has no room. Does not allocate.
    pub(super) fn new() -> Self {
        Self {
            ready: array::from_fn(|_| KVec::new()),
            raw: KVec::new(),
            leaving: [None, None],
            pages: 0,
            marks: Marks::new(0),
            is_filling: false,
            is_resting: false,
            was_disturbed: false,
        }
    }

    /// Creates an empty reserve that accepts nothing yet. May sleep. Fails with `ENOMEM`.
    pub(super) fn with_room() -> Result<Self> {
        let mut this = Self::new();
        for (class, list) in this.ready.iter_mut().enumerate() {
            *list = KVec::with_capacity(capacity(class), GFP_KERNEL)?;
        }
        this.raw = KVec::with_capacity(MAX_RAW, GFP_KERNEL)?;
        Ok(this)
    }

    /// Returns whether this can have pieces.
    pub(super) fn has_room(&self) -> bool {
        self.raw.capacity() > 0
    }

    /// Returns the number of pages of all pieces.
    pub(super) fn pages(&self) -> usize {
        self.pages
    }

    /// Takes a range.
    pub(super) fn take(&mut self, wanted: &Wanted) -> Option<Taken> {
        let piece = self
            .take_ready(wanted)
            .or_else(|| {
                let index = wanted.find(&self.raw)?;
                swap_remove(&mut self.raw, index)
            })
            .or_else(|| {
                let fits = |piece: &&mut Option<Piece>| {
                    let piece = piece.as_ref().map(Piece::segment);
                    piece.is_some_and(|piece| wanted.fits(piece))
                };
                self.leaving.iter_mut().find(fits)?.take()
            })?;
        let mut head = piece;
        let segment = head.segment();
        self.pages -= segment.pages;
        let Some(placed) = place(segment, wanted.pages, wanted.align) else {
            // The piece was found by its place.
            return None;
        };
        let mut range = head.preparation.split_off(placed.pfn - segment.pfn);
        let tail = range.split_off(wanted.pages);
        head.reclaimable.shrink_to(head.segment().pages);
        let tail = match tail.segment().pages {
            0 => None,
            _ => self.put_back(Piece::new(tail)),
        };
        let surplus = [self.put_back(head), tail];
        Some(Taken { range, surplus })
    }

    /// Removes the prepared piece that a range is best cut from.
    fn take_ready(&mut self, wanted: &Wanted) -> Option<Piece> {
        for list in self.ready.iter_mut().skip(class(wanted.pages)) {
            if let Some(index) = wanted.find(list) {
                return swap_remove(list, index);
            }
        }
        None
    }

    /// Puts back what is left of a piece. Returns it if there is no place.
    fn put_back(&mut self, rest: Piece) -> Option<Preparation> {
        let pages = rest.segment().pages;
        if pages == 0 {
            return None;
        }
        let list = match self.ready.get_mut(class(pages)) {
            Some(list) if rest.preparation.is_done() => list,
            _ => &mut self.raw,
        };
        match list.push_within_capacity(rest) {
            Ok(()) => {
                self.pages += pages;
                None
            }
            Err(error) => Some(error.0.preparation),
        }
    }

    /// Puts a prepared piece into its list. Returns it if that is full.
    fn put_ready(&mut self, rest: Preparation) -> Result<(), Preparation> {
        match self.put_back(Piece::new(rest)) {
            None => Ok(()),
            Some(rest) => Err(rest),
        }
    }

    /// Puts a piece into the list of those that are not prepared. Returns it if that is full.
    fn put_raw(&mut self, mut rest: Preparation) -> Result<(), Preparation> {
        // Buffers that were cut from a piece one after another are often freed in the same order.
        if let Some(last) = self.raw.pop() {
            self.pages -= last.segment().pages;
            let Piece {
                preparation: last,
                reclaimable,
            } = last;
            drop(reclaimable);
            match joined(rest, last) {
                Ok(whole) => rest = whole,
                Err((apart, last)) => {
                    rest = apart;
                    // There is room for what was just removed.
                    self.pages += last.segment().pages;
                    let _ = self.raw.push_within_capacity(Piece::new(last));
                }
            }
        }
        let joined = rest.segment().pages;
        self.raw
            .push_within_capacity(Piece::new(rest))
            .map_err(|error| error.0.preparation)?;
        self.pages += joined;
        Ok(())
    }

    /// Returns the number of pages of all pieces below 4 GiB.
    pub(super) fn low_pages(&self) -> usize {
        let lists = Iterator::chain(iter::once(&self.raw), &self.ready);
        Iterator::chain(lists.flatten(), self.leaving.iter().flatten())
            .map(Piece::segment)
            .filter(|segment| is_low(*segment))
            .map(|segment| segment.pages)
            .sum()
    }

    /// Adds a range, to be prepared, if it belongs to a reserve of up to `limit` pages. Returns it
    /// otherwise.
    pub(super) fn insert(&mut self, range: Preparation, limit: usize) -> Result<(), Preparation> {
        let pages = self.pages.saturating_add(range.segment().pages);
        if self.marks.high == 0 || self.is_resting || pages > limit {
            return Err(range);
        }
        self.put_raw(range)
    }

    /// Prepares some pages. Those to which others refer leave the reserve.
    pub(super) fn prepare_step(&mut self, cleaner: &Cleaner) -> Step {
        let Some(piece) = self.raw.last_mut() else {
            return Step::Nothing;
        };
        let result = match piece.preparation.is_done() {
            true => Ok(()),
            false => piece.preparation.step(cleaner),
        };
        if result.is_ok() && !piece.preparation.is_done() {
            return Step::Prepared;
        }
        let Some(piece) = self.raw.pop() else {
            return Step::Nothing;
        };
        self.pages -= piece.segment().pages;
        let preparation = piece.preparation;
        if result.is_ok() {
            return match self.merge(preparation) {
                Ok(()) => Step::Prepared,
                Err(refused) => Step::NoPlace(refused),
            };
        }
        let [done, shared, rest] = preparation.split_next_step();
        let done = self.put_back(Piece::new(done));
        Step::Left([done, Some(shared), self.put_back(Piece::new(rest))])
    }

    /// Puts a prepared piece into its list, together with its neighbours.
    fn merge(&mut self, mut piece: Preparation) -> Result<(), Preparation> {
        let mut neighbour = |piece: &Preparation| {
            for list in &mut self.ready {
                let adjoins = |other: &Piece| are_joinable(piece, &other.preparation);
                if let Some(index) = list.iter().position(adjoins) {
                    return swap_remove(list, index);
                }
            }
            None
        };
        // There is one on each side at most.
        let both = [neighbour(&piece), neighbour(&piece)];
        for other in both.into_iter().flatten() {
            self.pages -= other.segment().pages;
            match joined(piece, other.preparation) {
                Ok(whole) => piece = whole,
                Err((apart, other)) => {
                    piece = apart;
                    // There is room for what was just removed.
                    let _ = self.put_ready(other);
                }
            }
        }
        self.put_ready(piece)
    }

    /// Releases some pages, of the smallest pieces first. With `low_only`, only pages below 4 GiB.
    /// Returns them, `None` if there are none.
    pub(super) fn release_step(&mut self, low_only: bool) -> Option<Segment> {
        let first = usize::from(low_only);
        if self.leaving.iter().skip(first).all(Option::is_none) {
            let piece = self.remove(|piece| !low_only || is_low(piece.segment()))?;
            let leaving = self.leaving.get_mut(usize::from(is_low(piece.segment())))?;
            *leaving = Some(piece);
        }
        let leaving = self.leaving.iter_mut().skip(first);
        let leaving = leaving.into_iter().find(|piece| piece.is_some())?;
        let piece = leaving.as_mut()?;
        let released = release_step(&mut piece.preparation);
        piece.reclaimable.shrink_to(piece.segment().pages);
        self.pages -= released.pages;
        if piece.segment().pages == 0 {
            *leaving = None;
        }
        Some(released)
    }

    /// Removes the least valuable piece for which `which` returns true, which is still counted.
    fn remove(&mut self, which: impl Fn(&Piece) -> bool) -> Option<Piece> {
        let lists = Iterator::chain(iter::once(&mut self.raw), &mut self.ready);
        for list in lists {
            if let Some(index) = list.iter().rposition(&which) {
                return swap_remove(list, index);
            }
        }
        None
    }

    /// Ends a release of pages. Returns what is left of the pieces and has no place any more.
    pub(super) fn end_release(&mut self) -> [Option<Preparation>; 2] {
        mem::take(&mut self.leaving).map(|piece| {
            let piece = piece?;
            self.pages -= piece.segment().pages;
            self.put_back(piece)
        })
    }
}
