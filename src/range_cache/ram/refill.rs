// SPDX-License-Identifier: GPL-2.0

//! Ranges of RAM for a reserve, which are taken only where nobody misses them.
//!
//! A range of several page blocks is taken block by block, so little is isolated at a time. No
//! memory is reclaimed for it, other than clean pages of files in its place, and no lock of this
//! module is held that a request waits for.

use super::{
    is_low,
    Charges,
    RamRanges, //
};
use crate::{
    abstractions::cma::{
        Ram,
        RamUse,
        Range,
        Wanted, //
    },
    decisions::{
        reserve::piece_sizes,
        segment::Segment, //
    },
    watermarks, //
};
use kernel::prelude::*;

impl RamRanges {
    /// Returns the number of pages that are taken at a time.
    pub(in crate::range_cache) fn step_pages() -> usize {
        Ram::block_pages()
    }

    /// Returns the number of pages that a reserve may still take.
    pub(in crate::range_cache) fn left_for_reserve(&self) -> usize {
        self.all.left()
    }

    /// Finds page frames from `from` on for a piece of the largest size that there is, for a
    /// reserve that lacks `missing` pages. Below 4 GiB first.
    ///
    /// May sleep, for long. Fails with `EINTR` on a fatal signal.
    pub(in crate::range_cache) fn find_piece(
        &self,
        missing: usize,
        from: usize,
    ) -> Result<Option<Segment>> {
        for pages in piece_sizes(missing, Ram::block_pages()) {
            for accepted in [RamUse::Free, RamUse::Movable] {
                for (start, end) in [(0, Ram::END_OF_4G), (Ram::END_OF_4G, usize::MAX)] {
                    if start == 0 && self.low.left() < pages {
                        continue;
                    }
                    let wanted = Wanted {
                        pages,
                        end,
                        accepted,
                    };
                    for zone in self.ram.zones() {
                        let from = from.max(start);
                        if zone.spare_pages(false) < pages {
                            continue;
                        }
                        if let Some(found) = self.ram.find(&zone, from, &wanted)? {
                            return Ok(Some(found.segment()));
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes the page frames of `part`, whole blocks that [`RamRanges::find_piece`] found.
    ///
    /// May sleep. Fails with `ENOMEM` if memory is short or the limit is reached, and with `EBUSY`
    /// if the pages cannot be had.
    pub(in crate::range_cache) fn take_part(&self, part: Segment) -> Result<(Charges<'_>, Range)> {
        let charges = self.charge_for_reserve(part)?;
        let wanted = Wanted {
            pages: part.pages,
            end: part.pfn.saturating_add(part.pages),
            accepted: RamUse::Movable,
        };
        for zone in self.ram.zones() {
            let Some(candidate) = self.ram.find(&zone, part.pfn, &wanted)? else {
                continue;
            };
            let spare = zone.spare_pages(false) / watermarks::MARGIN;
            if spare < part.pages || !watermarks::are_spare(part.pages, zone.is_highmem()) {
                return Err(ENOMEM);
            }
            return candidate.allocate_gently().map(|range| (charges, range));
        }
        Err(EBUSY)
    }

    /// Takes `pages` pages, less than a block, from free memory. May sleep. Fails with `ENOMEM` if
    /// memory is short or the limit is reached.
    pub(in crate::range_cache) fn take_small(&self, pages: usize) -> Result<(Charges<'_>, Range)> {
        if !watermarks::are_spare(pages, false) {
            return Err(ENOMEM);
        }
        let range = self.ram.allocate_small_gently(pages, false).ok_or(ENOMEM)?;
        let charges = self.charge_for_reserve(range.segment())?;
        Ok((charges, range))
    }

    /// Counts the pages of a range for a reserve, which keeps to both limits.
    fn charge_for_reserve(&self, range: Segment) -> Result<Charges<'_>> {
        Ok(Charges {
            all: self.all.charge(range.pages)?,
            low: match is_low(range) {
                true => Some(self.low.charge(range.pages)?),
                false => None,
            },
        })
    }
}
