// SPDX-License-Identifier: GPL-2.0

//! The limit for memory outside of the areas.

use super::{
    allocate,
    limit_beyond,
    of_areas,
    HEAP,
    MIB, //
};
use anyhow::{
    ensure,
    Context,
    Result, //
};
use guest_support::expect_errno;
use guest_support::heap::Heap;
use guest_support::ktap::diagnose;
use nix::errno::Errno;

// Together, the heaps take no more than the limit. What is freed can be allocated again.
pub fn limit() -> Result<()> {
    let (areas, limit) = (of_areas()?, limit_beyond()?);
    let heaps: Vec<_> = ["cma", HEAP]
        .map(Heap::open)
        .into_iter()
        .collect::<Result<_>>()?;
    for _ in 0..2 {
        let mut held = Vec::new();
        let mut rest = heaps.iter().cycle();
        let refused = loop {
            let heap = rest.next().context("no heap")?;
            match allocate(heap, 4 * MIB) {
                Ok(buffer) => held.push(buffer),
                Err(errno) => break errno,
            }
        };
        expect_errno("beyond the limit", Err::<(), _>(refused), Errno::ENOMEM)?;
        let got = held.len() * 4 * MIB;
        diagnose(&format!(
            "{} MiB of {} MiB",
            got / MIB,
            (areas + limit) / MIB
        ));
        ensure!(
            got <= areas + limit,
            "{got} bytes, limit {limit}, areas {areas}"
        );
        ensure!(
            got + 4 * MIB > limit,
            "{got} bytes, limit {limit}, areas {areas}"
        );
    }
    Ok(())
}
