// SPDX-License-Identifier: GPL-2.0

//! Access by the CPU while several devices have a buffer mapped.

use super::{
    all,
    Scene, //
};
use crate::maintenance::watch::{
    expect,
    for_cpu,
    for_device,
    maintenance, //
};
use anyhow::{
    ensure,
    Result, //
};
use guest_support::client::Direction;
use guest_support::dma_buf::{
    SYNC_END,
    SYNC_READ,
    SYNC_RW,
    SYNC_START,
    SYNC_WRITE, //
};

/// Each line is maintained once, however many devices have the buffer mapped, and in a direction
/// that does for all of them.
pub(super) fn one_sync(scene: &Scene<'_>) -> Result<()> {
    use Direction::{
        Both,
        FromDevice,
        ToDevice, //
    };
    let view = scene.buffer.map()?;
    // Devices, a sync of the CPU, and the directions in which the devices' lines may be maintained
    // before and after the access.
    type Case<'a> = (&'a [Direction], u64, &'a [Direction], &'a [Direction]);
    let cases: [Case<'_>; 10] = [
        (&[Both; 8], SYNC_RW, &[Both], &[Both]),
        (&[Both; 8], SYNC_READ, &[FromDevice], &[FromDevice]),
        (&[Both; 8], SYNC_WRITE, &[ToDevice], &[ToDevice]),
        // What the one device that writes has written is invalidated. What the CPU may have written
        // is written back, and not discarded.
        (
            &[ToDevice, Both, ToDevice],
            SYNC_RW,
            &[Both],
            &[Both, ToDevice],
        ),
        (
            &[Both, ToDevice, ToDevice],
            SYNC_READ,
            &[FromDevice],
            &[ToDevice],
        ),
        (
            &[ToDevice, FromDevice],
            SYNC_READ,
            &[FromDevice],
            &[ToDevice],
        ),
        (
            &[FromDevice, ToDevice],
            SYNC_READ,
            &[FromDevice],
            &[ToDevice],
        ),
        (&[FromDevice], SYNC_READ, &[FromDevice], &[FromDevice]),
        // Devices that only read are synced in their own direction.
        (&[ToDevice, ToDevice], SYNC_RW, &[ToDevice], &[ToDevice]),
        (&[ToDevice], SYNC_READ, &[ToDevice], &[ToDevice]),
    ];
    for (directions, flags, begun, ended) in cases {
        let mut devices = Vec::new();
        for direction in directions {
            let device = scene.client.attach(scene.buffer)?;
            device.map(*direction)?;
            devices.push(device);
        }
        for (flags, permitted, what, expected) in [
            (SYNC_START | flags, begun, "begin", for_cpu(all())),
            (SYNC_END | flags, ended, "end", for_device(all())),
        ] {
            scene.watch.trace.clear()?;
            scene.buffer.sync(flags)?;
            let events = scene.watch.trace.take()?;
            let what = format!("{what} {flags:#x} with {directions:?}");
            expect(&what, maintenance(&events, scene.segments)?, expected)?;
            for event in events {
                let found = event.number("direction")?;
                let is_permitted = permitted.iter().any(|one| *one as u64 == found);
                ensure!(is_permitted, "{what}: direction {found}");
            }
        }
    }
    drop(view);
    Ok(())
}
