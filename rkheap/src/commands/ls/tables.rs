// SPDX-License-Identifier: GPL-2.0

//! The tables of `rkheap ls`.

use crate::area_use::AreaUse;
use crate::areas::Backing;
use crate::heaps::Heap;
use crate::output::Output;
use crate::table::{
    Align,
    Table, //
};
use crate::text;

/// The width of a terminal, which the table of areas does not exceed.
const WIDTH: usize = 80;

/// The width of the bars, without their brackets.
const BAR_WIDTH: usize = 12;

/// The width of the names of areas, if what is on their right leaves it.
const NAME_WIDTH: usize = 22;

/// Returns one row for each area, with its heaps beneath.
pub fn areas(output: Output, areas: &[AreaUse]) -> Vec<String> {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("USED", Align::Right),
        ("SIZE", Align::Right),
        ("LARGEST GAP", Align::Right),
        ("YOU", Align::Left),
    ]);
    for area in areas {
        table.add_row(vec![
            area.bar(BAR_WIDTH),
            size(area.used),
            size(area.size),
            gap(area.largest_free, area.largest_free_at_most),
            area.access().to_owned(),
        ]);
    }
    let rows = table.lines("");
    let longest = rows
        .iter()
        .map(|row| row.chars().count())
        .max()
        .unwrap_or(0);
    let width = NAME_WIDTH.min(WIDTH.saturating_sub(longest + 2)).max(8);
    let line = |name: &str, row: &String| format!("{name:width$}  {row}");
    let mut rows = rows.iter();
    let heading = rows.next().map(|row| output.bold(&line("AREA", row)));
    let mut lines: Vec<String> = heading.into_iter().collect();
    for (area, row) in areas.iter().zip(rows) {
        lines.push(line(&text::shortened(&area.label(), width), row));
        lines.extend(beneath(area));
    }
    lines
}

/// Returns the lines beneath the row of an area: its heaps, and what a row has no place for.
fn beneath(area: &AreaUse) -> Vec<String> {
    let heaps: Vec<String> = area
        .heaps
        .iter()
        .map(|heap| {
            let name = text::escaped(&heap.heap);
            match heap.used {
                None | Some(0) => name,
                Some(used) => format!("{name} {}", text::size(used)),
            }
        })
        .collect();
    let mut lines = text::wrapped(&heaps, "  ", WIDTH);
    if area.access() == "some" {
        let denied: Vec<String> = area.denied().map(text::escaped).collect();
        lines.push("  not for you:".to_owned());
        lines.extend(text::wrapped(&denied, "    ", WIDTH));
    }
    if area.pooled > 0 {
        lines.push(format!(
            "  kept ready in pools: {}",
            text::size(area.pooled)
        ));
    }
    if let (Some(left), Some(give)) = (area.could_take_ram, area.could_give) {
        let ram = [
            format!("RAM: {} taken", text::size(area.beyond.unwrap_or(0))),
            format!("{} more to take", text::size(left)),
            format!("could give {} altogether", text::size(give)),
        ];
        lines.extend(text::wrapped(&ram, "  ", WIDTH));
    }
    lines
}

/// Returns one row for each heap.
pub fn heaps(output: Output, heaps: &[Heap]) -> Vec<String> {
    // The module states it, if it is loaded.
    let shows_ram = heaps.iter().any(|heap| heap.could_take_ram.is_some());
    let mut columns = vec![
        ("HEAP", Align::Left),
        ("BACKING", Align::Left),
        ("SIZE", Align::Right),
        ("USED", Align::Right),
        ("POOLED", Align::Right),
        ("FREE", Align::Right),
        ("LARGEST FREE", Align::Right),
    ];
    if shows_ram {
        columns.extend([
            ("IN RAM", Align::Right),
            ("LEFT IN RAM", Align::Right),
            ("COULD GIVE", Align::Right),
        ]);
    }
    let mut table = Table::new(&columns);
    for heap in heaps {
        let mut row = vec![
            text::escaped(&heap.heap),
            backing(heap),
            size(heap.size),
            size(heap.used),
            size(heap.pooled),
            size(heap.free),
            gap(heap.largest_free, heap.largest_free_at_most),
        ];
        if shows_ram {
            row.extend([heap.beyond, heap.could_take_ram, heap.could_give].map(size));
        }
        table.add_row(row);
    }
    output.with_heading(table.lines(""))
}

/// Formats a size, if it is known.
fn size(bytes: Option<u64>) -> String {
    bytes.map_or("-".to_owned(), text::size)
}

/// Formats the size of the largest gap.
fn gap(bytes: Option<u64>, at_most: bool) -> String {
    let at_most = if at_most { "<= " } else { "" };
    format!("{at_most}{}", size(bytes))
}

/// Describes the backing of a heap.
fn backing(heap: &Heap) -> String {
    let area = heap.area.as_deref().map(text::escaped).unwrap_or_default();
    match heap.backing {
        Backing::Pages => "RAM".to_owned(),
        Backing::PagesBelow4Gib => "RAM below 4 GiB".to_owned(),
        Backing::Area if heap.default_area => format!("area {area} (default)"),
        Backing::Area => format!("area {area}"),
        Backing::ContiguousRam => "RAM, contiguous".to_owned(),
        Backing::Carveout => format!("carveout {area}"),
        Backing::Unknown => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::area_use::Member;
    use crate::output::ColorChoice;
    use proptest::prelude::*;

    fn member(heap: &str, used: u64, may_use: bool) -> Member {
        Member {
            heap: heap.into(),
            used: Some(used),
            may_use: Some(may_use),
        }
    }

    #[test]
    fn an_area_shows_what_is_not_for_this_user() {
        let area = AreaUse {
            backing: Backing::Area,
            area: Some("an-area-with-a-name-that-is-long".into()),
            size: Some(64 << 20),
            used: Some(16 << 20),
            largest_free: Some(40 << 20),
            largest_free_at_most: true,
            pooled: 4096,
            beyond: Some(1 << 20),
            could_take_ram: Some(2 << 20),
            could_give: Some(50 << 20),
            heaps: vec![member("a", 0, true), member("b", 1 << 20, false)],
            ..AreaUse::default()
        };
        assert_eq!(
            areas(Output::new(false, ColorChoice::Never), &[area]),
            [
                "AREA                                      USED    SIZE  LARGEST GAP  YOU",
                "an-area-with-a-name-t…  [###.........]  16 MiB  64 MiB    <= 40 MiB  some",
                "  a, b 1 MiB",
                "  not for you:",
                "    b",
                "  kept ready in pools: 4 KiB",
                "  RAM: 1 MiB taken, 2 MiB more to take, could give 50 MiB altogether",
            ]
        );
    }

    proptest! {
        // Boards have far less than 1 TiB.
        #[test]
        fn areas_fit_on_a_terminal(
            name in "\\PC{0,70}",
            sizes in proptest::array::uniform6(0u64..1 << 40),
            heaps in proptest::collection::vec(
                ("[a-z@-]{1,40}", 0u64..1 << 40, any::<bool>()),
                1..9,
            ),
        ) {
            let [size, used, largest, pooled, ram, give] = sizes;
            let area = AreaUse {
                backing: Backing::Area,
                area: Some(name),
                default_area: true,
                size: Some(size),
                used: Some(used),
                largest_free: Some(largest),
                largest_free_at_most: true,
                pooled,
                beyond: Some(ram),
                could_take_ram: Some(ram),
                could_give: Some(give),
                heaps: heaps.iter().map(|(heap, used, may)| member(heap, *used, *may)).collect(),
                ..AreaUse::default()
            };
            for line in areas(Output::new(false, ColorChoice::Never), &[area]) {
                prop_assert!(line.chars().count() <= WIDTH, "{}", line);
            }
        }
    }
}
