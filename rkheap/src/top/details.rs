// SPDX-License-Identifier: GPL-2.0

//! The buffers behind a row of `top`.

use super::sums::{
    Key,
    Sample, //
};
use crate::buffer::{
    Buffer,
    Holder, //
};
use crate::table::{
    Align,
    Table, //
};
use crate::text;

/// Returns the heading and the rows of the buffers of a group, the largest first.
pub fn lines(sample: &Sample, key: &Key) -> Vec<String> {
    let mut buffers: Vec<&Buffer> = sample.buffers.iter().filter(|b| is_of(b, key)).collect();
    buffers.sort_by_key(|buffer| (std::cmp::Reverse(buffer.size), buffer.inode));
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("HEAP", Align::Left),
        ("SIZE", Align::Right),
        ("AGE", Align::Right),
        ("MADE BY", Align::Left),
        ("HELD BY", Align::Left),
    ]);
    for buffer in buffers {
        let maker = match (&buffer.thread, buffer.pid) {
            (Some(thread), Some(pid)) => format!("{pid}:{}", text::escaped(thread)),
            _ => "-".to_owned(),
        };
        table.add_row(vec![
            text::escaped_or_dash(buffer.name.as_deref().unwrap_or_default()),
            text::escaped_or_dash(&buffer.exporter),
            text::size(buffer.size),
            buffer.age_ms.map_or("-".to_owned(), text::age),
            maker,
            holders(buffer),
        ]);
    }
    table.lines("")
}

/// Returns whether a buffer belongs to a group.
fn is_of(buffer: &Buffer, key: &Key) -> bool {
    match key {
        Key::Name(name) => buffer.exporter == *name,
        Key::Process { pid, .. } => buffer.holders.iter().any(|holder| holder.pid == *pid),
        Key::Kernel | Key::Unknown => Sample::key_without_holders(buffer).as_ref() == Some(key),
    }
}

fn holders(buffer: &Buffer) -> String {
    let holders = buffer.holders.iter().map(Holder::label);
    let devices = buffer.devices.iter();
    let devices = devices.map(|device| format!("device {}", text::escaped(device)));
    holders.chain(devices).collect::<Vec<_>>().join(", ")
}
