// SPDX-License-Identifier: GPL-2.0

//! The load parameters, checked once.

use crate::{module_parameters as raw, version::parameter};
use kernel::prelude::*;

/// The load parameters, all valid.
pub(crate) struct Parameters {
    max_percent: u8,
}

impl Parameters {
    /// Reads and checks what the module was loaded with.
    ///
    /// Fails with `EINVAL` and a line in the log that names the parameter.
    pub(crate) fn read() -> Result<Self> {
        let max_percent: u8 = parameter(raw::max_percent.value());
        if !(1..=100).contains(&max_percent) {
            pr_err!("max_percent={}: must be 1 to 100 (percent of RAM that one buffer may take)\n", max_percent);
            return Err(EINVAL);
        }
        Ok(Self { max_percent })
    }

    /// The part of `pages` pages that one buffer may take, in pages.
    pub(crate) fn share_of(&self, pages: usize) -> usize {
        let percent = usize::from(self.max_percent);
        // In two steps, so that no number of pages can wrap.
        pages / 100 * percent + pages % 100 * percent / 100
    }
}
