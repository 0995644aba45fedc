// SPDX-License-Identifier: GPL-2.0

//! An area as a picture: one band a line of addresses, a colour for each owner, the largest gap
//! with a dashed frame.

use crate::commands::map::{
    line_bytes,
    owner,
    owners, //
};
use crate::layout::Held;
use crate::ranges::Known;
use crate::text;
use std::fmt::Write;

const WIDTH: u64 = 960;
/// Where bands begin; addresses stand before them.
const LEFT: u64 = 110;
const TOP: u64 = 78;
const BAND: u64 = 22;
const STEP: u64 = 28;
const LEGEND_STEP: u64 = 20;

/// Told apart by those who see few colours too; later owners share the last one. On the light ones
/// text is black.
const COLOURS: [&str; 9] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7b5ea7", "#8c6d31",
    "#5f6b6d",
];

/// Draws an area.
pub fn draw(heap: &str, area: &str, known: &Known) -> String {
    let layout = &known.layout;
    let owners = owners(&layout.held);
    let bytes = line_bytes(layout.size());
    let bands = layout.size().div_ceil(bytes).max(1);
    let legend = TOP + bands * STEP + 24;
    let height = legend + (owners.len() as u64 + 1) * LEGEND_STEP + 16;
    let total = LEFT + WIDTH + 20;
    let mut svg = String::new();
    line(&mut svg, format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"{height}\" viewBox=\"0 0 {total} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
    ));
    line(
        &mut svg,
        format_args!("<rect width=\"{total}\" height=\"{height}\" fill=\"#ffffff\"/>"),
    );
    let title = format!(
        "{}: area {}, {}",
        text::shown(heap),
        text::shown(area),
        text::size(layout.size())
    );
    line(&mut svg, format_args!("<title>{}</title>", escaped(&title)));
    words(
        &mut svg,
        20,
        30,
        "font-size=\"18\" font-weight=\"bold\"",
        &title,
    );
    let gap = layout.largest.map_or_else(
        || "no gap".to_owned(),
        |gap| format!("largest gap {} at {:#x}", text::size(gap.size()), gap.start),
    );
    let elsewhere = match known.elsewhere {
        0 => String::new(),
        bytes => format!("; {} more lie where is not known", text::size(bytes)),
    };
    words(
        &mut svg,
        20,
        54,
        "fill=\"#444444\"",
        &format!(
            "held {} in {}, free {} in {}, {gap}{elsewhere}",
            text::size(layout.used()),
            text::plural(layout.held.len(), "range"),
            text::size(layout.free()),
            text::plural(layout.gaps.len(), "gap"),
        ),
    );
    let canvas = Canvas {
        start: layout.start,
        end: layout.end,
        bytes,
    };
    for band in 0..bands {
        let start = layout.start.saturating_add(band.saturating_mul(bytes));
        let y = TOP + band * STEP;
        words(
            &mut svg,
            LEFT - 10,
            y + 15,
            "text-anchor=\"end\" font-family=\"monospace\"",
            &format!("{start:#010x}"),
        );
        for part in canvas.parts(start, layout.end.min(start.saturating_add(bytes))) {
            part.rectangle(
                &mut svg,
                "fill=\"#f2f2f2\" stroke=\"#bbbbbb\" stroke-width=\"0.5\"",
                "",
            );
        }
    }
    for held in &layout.held {
        draw_range(&mut svg, &canvas, &owners, held);
    }
    if let Some(gap) = layout.largest {
        let parts = canvas.parts(gap.start, gap.end);
        for part in &parts {
            part.rectangle(
                &mut svg,
                "fill=\"none\" stroke=\"#b00020\" stroke-width=\"1.5\" stroke-dasharray=\"5 3\"",
                "",
            );
        }
        let label = format!("largest gap, {}", text::size(gap.size()));
        write_into(&mut svg, &parts, &label, "#b00020");
    }
    for (index, owner) in owners.iter().enumerate() {
        let y = legend + index as u64 * LEGEND_STEP;
        let ranges = layout
            .held
            .iter()
            .filter(|held| crate::commands::map::owner(held) == *owner);
        let sum = ranges
            .clone()
            .fold(0u64, |sum, held| sum.saturating_add(held.end - held.start));
        line(
            &mut svg,
            format_args!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"14\" height=\"14\" fill=\"{}\"/>",
                colour(&owners, owner)
            ),
        );
        words(
            &mut svg,
            LEFT + 22,
            y + 11,
            "",
            &format!(
                "{owner}: {} in {}",
                text::size(sum),
                text::plural(ranges.count(), "range")
            ),
        );
    }
    words(
        &mut svg,
        LEFT,
        legend + owners.len() as u64 * LEGEND_STEP + 11,
        "fill=\"#444444\"",
        &format!("a line is {}", text::size(bytes.min(layout.size()))),
    );
    svg.push_str("</svg>\n");
    svg
}

fn draw_range(svg: &mut String, canvas: &Canvas, owners: &[String], held: &Held) {
    let owner = owner(held);
    let name = held.name.as_deref().map_or("-".to_owned(), text::shown);
    let parts = canvas.parts(held.start, held.end);
    let told = format!(
        "{name}, {owner}, {}: {:#x} to {:#x}, {}",
        text::shown(&held.heap),
        held.start,
        held.end.saturating_sub(1),
        text::size(held.end.saturating_sub(held.start))
    );
    for part in &parts {
        let style = format!(
            "fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"0.75\"",
            colour(owners, &owner)
        );
        part.rectangle(svg, &style, &told);
    }
    let light = ["#e69f00", "#cc79a7", "#56b4e9"].contains(&colour(owners, &owner));
    write_into(
        svg,
        &parts,
        &name,
        if light { "#000000" } else { "#ffffff" },
    );
}

/// Writes a text into the widest of a range's parts, if it fits there.
fn write_into(svg: &mut String, parts: &[Part], label: &str, colour: &str) {
    let widest = parts
        .iter()
        .rev()
        .max_by(|a, b| a.width.total_cmp(&b.width));
    if let Some(part) = widest {
        // About the width of a letter.
        if label.chars().count() as f64 * 7.5 < part.width {
            let style = format!("fill=\"{colour}\"");
            words(svg, part.x as u64 + 5, part.y + 15, &style, label);
        }
    }
}

fn colour(owners: &[String], owner: &str) -> &'static str {
    let index = owners.iter().position(|known| known == owner);
    let last = COLOURS.len() - 1;
    COLOURS
        .get(index.unwrap_or(last).min(last))
        .unwrap_or(&"#000000")
}

/// What of a range lies on one band.
struct Part {
    x: f64,
    y: u64,
    width: f64,
}

impl Part {
    fn rectangle(&self, svg: &mut String, style: &str, told: &str) {
        let Part { x, y, width } = self;
        let start =
            format!("<rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{BAND}\" {style}");
        match told {
            "" => line(svg, format_args!("{start}/>")),
            told => line(
                svg,
                format_args!("{start}><title>{}</title></rect>", escaped(told)),
            ),
        }
    }
}

/// From addresses to places in the picture.
struct Canvas {
    start: u64,
    end: u64,
    bytes: u64,
}

impl Canvas {
    fn parts(&self, from: u64, to: u64) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut from = from.max(self.start);
        let to = to.min(self.end);
        let scale = WIDTH as f64 / self.bytes as f64;
        while from < to {
            let band = (from - self.start) / self.bytes;
            let band_start = self.start.saturating_add(band.saturating_mul(self.bytes));
            let end = to.min(band_start.saturating_add(self.bytes));
            parts.push(Part {
                x: LEFT as f64 + (from - band_start) as f64 * scale,
                y: TOP + band * STEP,
                width: (end - from) as f64 * scale,
            });
            if end <= from {
                break;
            }
            from = end;
        }
        parts
    }
}

fn words(svg: &mut String, x: u64, y: u64, style: &str, words: &str) {
    line(
        svg,
        format_args!(
            "<text x=\"{x}\" y=\"{y}\" {style}>{}</text>",
            escaped(words)
        ),
    );
}

fn line(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string never fails.
    let _ = writeln!(svg, "{text}");
}

/// Text as it may stand in XML. What is harmful has been taken out before.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use proptest::prelude::*;

    fn known(name: &str, ranges: &[(u64, u64)]) -> Known {
        let held = ranges
            .iter()
            .map(|(start, end)| Held {
                start: *start,
                end: *end,
                name: Some(name.to_owned()),
                ..Held::default()
            })
            .collect();
        Known {
            layout: Layout::new(0x1000_0000, 0x1180_0000, held),
            whole: true,
            ..Known::default()
        }
    }

    #[test]
    fn a_range_is_drawn_on_each_band_that_it_touches() {
        let canvas = Canvas {
            start: 0,
            end: 1000,
            bytes: 100,
        };
        let parts = canvas.parts(150, 310);
        let places: Vec<_> = parts
            .iter()
            .map(|part| (part.y, part.width as u64))
            .collect();
        assert_eq!(
            places,
            [
                (TOP + STEP, WIDTH / 2),
                (TOP + 2 * STEP, WIDTH),
                (TOP + 3 * STEP, WIDTH / 10)
            ]
        );
    }

    proptest! {
        #[test]
        fn names_are_no_markup(name in proptest::collection::vec(any::<char>(), 0..30)) {
            let name: String = name.into_iter().collect();
            let svg = draw(&name, &name, &known(&name, &[(0x1000_0000, 0x1010_0000)]));
            prop_assert!(!svg.chars().any(|c| c != '\n' && text::is_harmful(c)));
            prop_assert_eq!(svg.matches("</svg>").count(), 1);
            // As many elements as with a harmless name.
            let plain = draw("n", "n", &known("n", &[(0x1000_0000, 0x1010_0000)]));
            let texts = svg.matches("<text").count();
            prop_assert!(texts == plain.matches("<text").count() || texts + 1 == plain.matches("<text").count());
            prop_assert_eq!(svg.matches("<rect").count(), plain.matches("<rect").count());
        }

        #[test]
        fn nothing_breaks_it(start: u64, end: u64, a: u64, b: u64) {
            let held = vec![Held { start: a, end: b, ..Held::default() }];
            let layout = Layout::new(start, end, held);
            draw("h", "a", &Known { layout, ..Known::default() });
        }
    }
}
