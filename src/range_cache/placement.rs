// SPDX-License-Identifier: GPL-2.0

//! The alignment of a new range, chosen by the present use of the area's pages.

use super::RangeRequest;
use crate::{
    abstractions::{
        area_pages::AreaPages,
        cma::{
            Area,
            Range, //
        },
        user_mapping::HUGE_ORDER, //
    },
    decisions::area_survey::Survey, //
};
use core::ops::RangeInclusive;

/// Returns the order to which the DMA interface aligns a range of `pages` pages.
pub(crate) fn kernel_order(pages: usize) -> u32 {
    let order = pages
        .checked_next_power_of_two()
        .map_or(usize::BITS, usize::trailing_zeros);
    order.min(Area::MAX_ALIGN_ORDER)
}

impl RangeRequest {
    /// Allocates a range that is not cached. If the pages of the area are not known, first fit may
    /// make any number of attempts.
    ///
    /// May sleep. Returns `None` as [`Area::allocate`] does.
    pub(super) fn allocate_new(&self) -> Option<Range> {
        let align = match self.area_pages {
            Some(area) if self.first_fit => self.packed_order(area),
            Some(area) => self.aligned_order(area),
            None => self.align,
        };
        let range = self.area.allocate(self.pages, align);
        if range.is_none() && align > self.align && !self.first_fit {
            return self.area.allocate(self.pages, self.align);
        }
        range
    }

    /// Returns the order for the lowest position. It is 0 unless pinned pages make that expensive:
    /// `cma_alloc()` makes at most twice as many attempts as for an aligned range.
    fn packed_order(&self, area: AreaPages) -> u32 {
        let aligned = kernel_order(self.pages);
        let highest = self.huge_order().map_or(aligned, |huge| aligned.max(huge));
        let choose = || match self.survey(area, self.align..=highest) {
            Some(survey) => survey.packed_order(aligned),
            None => self.align,
        };
        if highest == self.align || choose() == self.align {
            return self.align;
        }
        // A page may have looked pinned because it was in a batch.
        area.drain_batches();
        choose()
    }

    /// Returns the order of a huge page if huge entries can map the range and the alignment does
    /// not reduce the number of ranges of this size that fit.
    fn aligned_order(&self, area: AreaPages) -> u32 {
        let Some(huge) = self.huge_order().filter(|huge| *huge > self.align) else {
            return self.align;
        };
        self.survey(area, self.align..=huge)
            .map_or(self.align, |survey| survey.aligned_order())
    }

    /// Returns the order of a huge page if huge entries can map a part of the range.
    fn huge_order(&self) -> Option<u32> {
        let fits = HUGE_ORDER != 0 && self.pages >> HUGE_ORDER > 0;
        fits.then_some(HUGE_ORDER)
    }

    /// Surveys the area. For first fit, returns `None` if the lowest position is free.
    fn survey(&self, area: AreaPages, orders: RangeInclusive<u32>) -> Option<Survey> {
        let mut survey = Survey::new(area.first(), self.pages, orders);
        for (usage, pages) in area.uses(self.pages) {
            survey.add(usage, pages);
            if self.first_fit && survey.is_first_free() {
                return None;
            }
        }
        Some(survey.finish())
    }
}
