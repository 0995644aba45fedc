// SPDX-License-Identifier: GPL-2.0

//! The SVG drawing of an area: one band per line of addresses, one color per owner, and a dashed
//! frame around the largest gap.

use crate::layout::HeldRange;
use crate::legend::{
    self,
    bytes_per_line,
    largest_gap_size,
    owner,
    owners,
    summary, //
};
use crate::ranges::AreaMap;
use crate::text;
use std::fmt::Write;

/// Width of a band.
const BAND_WIDTH: u64 = 960;
/// Height of a band.
const BAND_HEIGHT: u64 = 22;
/// Distance from one band to the next.
const BAND_STEP: u64 = 28;
/// Left edge of the bands. Addresses are to the left of it.
const LEFT: u64 = 110;
/// Upper edge of the first band.
const TOP: u64 = 78;
/// Approximate width of a character.
const CHARACTER_WIDTH: f64 = 7.5;
/// Distance from one line of the legend to the next.
const LEGEND_STEP: u64 = 20;

/// The colors of owners, suitable for color-blind readers. All further owners share the last color.
const PALETTE: [&str; 9] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7b5ea7", "#8c6d31",
    "#5f6b6d",
];

/// The colors of [`PALETTE`] that require black text.
const LIGHT_COLORS: [&str; 3] = ["#e69f00", "#cc79a7", "#56b4e9"];

/// Draws an area and returns the SVG document.
pub fn draw(heap: &str, area: &str, map: &AreaMap) -> String {
    let layout = &map.layout;
    let owners = owners(&layout.held);
    let bytes = bytes_per_line(layout.size());
    let bands = layout.size().div_ceil(bytes).max(1);
    let legend_top = TOP + bands * BAND_STEP + 24;
    let height = legend_top + (owners.len() as u64 + 1) * LEGEND_STEP + 16;
    let total = LEFT + BAND_WIDTH + 20;
    let mut svg = String::new();
    push_line(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"{height}\" \
         viewBox=\"0 0 {total} {height}\" font-family=\"sans-serif\" font-size=\"12\">"
        ),
    );
    push_line(
        &mut svg,
        format_args!("<rect width=\"{total}\" height=\"{height}\" fill=\"#ffffff\"/>"),
    );
    let title = format!(
        "{}: area {}, {}",
        text::escaped(heap),
        text::escaped(area),
        text::size(layout.size())
    );
    push_line(
        &mut svg,
        format_args!("<title>{}</title>", xml_escaped(&title)),
    );
    Label {
        x: 20,
        y: 30,
        style: "font-size=\"18\" font-weight=\"bold\"",
    }
    .draw(&mut svg, &title);
    Label {
        x: 20,
        y: 54,
        style: "fill=\"#444444\"",
    }
    .draw(&mut svg, &summary(map));
    let canvas = Canvas {
        start: layout.start,
        end: layout.end,
        bytes_per_line: bytes,
    };
    for band in 0..bands {
        let start = layout.start.saturating_add(band.saturating_mul(bytes));
        let y = TOP + band * BAND_STEP;
        Label {
            x: LEFT - 10,
            y: y + 15,
            style: "text-anchor=\"end\" font-family=\"monospace\"",
        }
        .draw(&mut svg, &format!("{start:#010x}"));
        for segment in canvas.segments(start, layout.end.min(start.saturating_add(bytes))) {
            segment.draw(
                &mut svg,
                "fill=\"#f2f2f2\" stroke=\"#bbbbbb\" stroke-width=\"0.5\"",
                "",
            );
        }
    }
    for held in &layout.held {
        draw_range(&mut svg, &canvas, &owners, held);
    }
    if let Some(gap) = layout.largest_gap {
        let segments = canvas.segments(gap.start, gap.end);
        for segment in &segments {
            segment.draw(
                &mut svg,
                "fill=\"none\" stroke=\"#b00020\" stroke-width=\"1.5\" stroke-dasharray=\"5 3\"",
                "",
            );
        }
        let label = format!("largest gap, {}", largest_gap_size(map, gap));
        draw_label(&mut svg, &segments, &label, "#b00020");
    }
    for (index, owner) in owners.iter().enumerate() {
        let y = legend_top + index as u64 * LEGEND_STEP;
        let ranges = layout
            .held
            .iter()
            .filter(|held| legend::owner(held) == *owner);
        let sum = ranges
            .clone()
            .fold(0u64, |sum, held| sum.saturating_add(held.end - held.start));
        push_line(
            &mut svg,
            format_args!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"14\" height=\"14\" fill=\"{}\"/>",
                color_of(&owners, owner)
            ),
        );
        Label {
            x: LEFT + 22,
            y: y + 11,
            style: "",
        }
        .draw(
            &mut svg,
            &format!(
                "{owner}: {} in {}",
                text::size(sum),
                text::plural(ranges.count(), "range")
            ),
        );
    }
    Label {
        x: LEFT,
        y: legend_top + owners.len() as u64 * LEGEND_STEP + 11,
        style: "fill=\"#444444\"",
    }
    .draw(
        &mut svg,
        &format!("a line is {}", text::size(bytes.min(layout.size()))),
    );
    svg.push_str("</svg>\n");
    svg
}

/// Draws a held range with its name and a tooltip.
fn draw_range(svg: &mut String, canvas: &Canvas, owners: &[String], held: &HeldRange) {
    let owner = owner(held);
    let name = held.name.as_deref().map_or("-".to_owned(), text::escaped);
    let segments = canvas.segments(held.start, held.end);
    let tooltip = format!(
        "{name}, {owner}, {}: {:#x} to {:#x}, {}",
        text::escaped(&held.heap),
        held.start,
        held.end.saturating_sub(1),
        text::size(held.end.saturating_sub(held.start))
    );
    for segment in &segments {
        let style = format!(
            "fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"0.75\"",
            color_of(owners, &owner)
        );
        segment.draw(svg, &style, &tooltip);
    }
    let light = LIGHT_COLORS.contains(&color_of(owners, &owner));
    draw_label(
        svg,
        &segments,
        &name,
        if light { "#000000" } else { "#ffffff" },
    );
}

/// Writes `label` into the widest segment, if it fits.
fn draw_label(svg: &mut String, segments: &[Segment], label: &str, color: &str) {
    let widest = segments
        .iter()
        .rev()
        .max_by(|a, b| a.width.total_cmp(&b.width));
    if let Some(segment) = widest {
        if label.chars().count() as f64 * CHARACTER_WIDTH < segment.width {
            Label {
                x: segment.x as u64 + 5,
                y: segment.y + 15,
                style: &format!("fill=\"{color}\""),
            }
            .draw(svg, label);
        }
    }
}

/// Returns the color of an owner.
fn color_of(owners: &[String], owner: &str) -> &'static str {
    let index = owners.iter().position(|known| known == owner);
    let last = PALETTE.len() - 1;
    PALETTE
        .get(index.unwrap_or(last).min(last))
        .unwrap_or(&"#000000")
}

/// The part of a range that is on one band.
struct Segment {
    x: f64,
    y: u64,
    width: f64,
}

impl Segment {
    /// Draws a rectangle. An empty `tooltip` adds no tooltip.
    fn draw(&self, svg: &mut String, style: &str, tooltip: &str) {
        let Segment { x, y, width } = self;
        let start = format!(
            "<rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{BAND_HEIGHT}\" {style}"
        );
        match tooltip {
            "" => push_line(svg, format_args!("{start}/>")),
            tooltip => push_line(
                svg,
                format_args!("{start}><title>{}</title></rect>", xml_escaped(tooltip)),
            ),
        }
    }
}

/// Converts addresses to coordinates of the drawing.
struct Canvas {
    start: u64,
    end: u64,
    bytes_per_line: u64,
}

impl Canvas {
    /// Returns the segments of the range from `from` to `to`.
    fn segments(&self, from: u64, to: u64) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut from = from.max(self.start);
        let to = to.min(self.end);
        let scale = BAND_WIDTH as f64 / self.bytes_per_line as f64;
        while from < to {
            let band = (from - self.start) / self.bytes_per_line;
            let band_start = self
                .start
                .saturating_add(band.saturating_mul(self.bytes_per_line));
            let end = to.min(band_start.saturating_add(self.bytes_per_line));
            segments.push(Segment {
                x: LEFT as f64 + (from - band_start) as f64 * scale,
                y: TOP + band * BAND_STEP,
                width: (end - from) as f64 * scale,
            });
            if end <= from {
                break;
            }
            from = end;
        }
        segments
    }
}

/// The position and the style attributes of a text.
struct Label<'a> {
    x: u64,
    y: u64,
    style: &'a str,
}

impl Label<'_> {
    fn draw(&self, svg: &mut String, text: &str) {
        let Label { x, y, style } = self;
        push_line(
            svg,
            format_args!(
                "<text x=\"{x}\" y=\"{y}\" {style}>{}</text>",
                xml_escaped(text)
            ),
        );
    }
}

/// Appends a line to the document.
fn push_line(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` never fails.
    let _ = writeln!(svg, "{text}");
}

/// Escapes text for XML. The text must already be printable.
pub fn xml_escaped(text: &str) -> String {
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

    fn known(name: &str, ranges: &[(u64, u64)]) -> AreaMap {
        let held = ranges
            .iter()
            .map(|(start, end)| HeldRange {
                start: *start,
                end: *end,
                name: Some(name.to_owned()),
                ..HeldRange::default()
            })
            .collect();
        AreaMap {
            layout: Layout::new(0x1000_0000, 0x1180_0000, held),
            whole: true,
            ..AreaMap::default()
        }
    }

    #[test]
    fn a_range_is_drawn_on_each_band_that_it_touches() {
        let canvas = Canvas {
            start: 0,
            end: 1000,
            bytes_per_line: 100,
        };
        let segments = canvas.segments(150, 310);
        let bands: Vec<_> = segments
            .iter()
            .map(|segment| (segment.y, segment.width as u64))
            .collect();
        assert_eq!(
            bands,
            [
                (TOP + BAND_STEP, BAND_WIDTH / 2),
                (TOP + 2 * BAND_STEP, BAND_WIDTH),
                (TOP + 3 * BAND_STEP, BAND_WIDTH / 10)
            ]
        );
    }

    proptest! {
        #[test]
        fn names_are_not_markup(name in proptest::collection::vec(any::<char>(), 0..30)) {
            let name: String = name.into_iter().collect();
            let svg = draw(&name, &name, &known(&name, &[(0x1000_0000, 0x1010_0000)]));
            prop_assert!(!svg.chars().any(|c| c != '\n' && text::is_unprintable(c)));
            prop_assert_eq!(svg.matches("</svg>").count(), 1);
            // The number of elements is the same as for a plain name.
            let plain = draw("n", "n", &known("n", &[(0x1000_0000, 0x1010_0000)]));
            // A long name has no label.
            let (texts, expected) = (svg.matches("<text").count(), plain.matches("<text").count());
            prop_assert!(texts == expected || texts + 1 == expected);
            prop_assert_eq!(svg.matches("<rect").count(), plain.matches("<rect").count());
        }

        #[test]
        fn any_input_is_accepted(start: u64, end: u64, a: u64, b: u64) {
            let held = vec![HeldRange { start: a, end: b, ..HeldRange::default() }];
            let layout = Layout::new(start, end, held);
            draw("h", "a", &AreaMap { layout, ..AreaMap::default() });
        }
    }
}
