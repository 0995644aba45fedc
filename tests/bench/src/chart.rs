// SPDX-License-Identifier: GPL-2.0

//! A chart with logarithmic axes, as SVG.

use svg::node::element::{
    Circle,
    Group,
    Line as Segment,
    Polyline,
    Rectangle,
    Text, //
};

/// The line style of a series.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    pub colour: &'static str,
    /// Lengths of dashes and gaps; empty for a solid line.
    pub dashes: &'static str,
    pub width: u32,
}

/// One line of a chart.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub pen: Pen,
    /// Coordinates; all are positive.
    pub points: Vec<(f64, f64)>,
}

/// A chart with several series.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    /// Positions and labels on the horizontal axis.
    pub ticks: Vec<(f64, String)>,
    pub series: Vec<Series>,
}

/// The plot area of a chart, without the title, the legend and the axis labels.
#[derive(Clone, Copy, Debug)]
pub struct PlotArea {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

const TEXT_COLOUR: &str = "#222222";
const GRID_COLOUR: &str = "#dddddd";
const LABEL_SIZE: f64 = 11.0;
/// Distance between two lines of the legend.
const LEGEND_SPACING: f64 = 15.0;

/// A logarithmic scale; both ends are decimal exponents.
#[derive(Clone, Copy, Debug)]
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// Creates a scale that covers all numbers and starts and ends at a power of ten.
    fn of_decades(numbers: impl Iterator<Item = f64>) -> Self {
        let (mut from, mut to) = (f64::INFINITY, 0.0_f64);
        for number in numbers.filter(|number| *number > 0.0) {
            from = from.min(number);
            to = to.max(number);
        }
        if to == 0.0 {
            (from, to) = (1.0, 10.0);
        }
        let from = from.log10().floor();
        Scale {
            from,
            to: to.log10().ceil().max(from + 1.0),
        }
    }

    /// Creates a scale from the smallest to the largest number.
    fn of_range(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        Scale {
            from: numbers.clone().fold(f64::INFINITY, f64::min).log10(),
            to: numbers.fold(0.0, f64::max).log10(),
        }
    }

    /// Returns the position of a number on the scale, from 0 to 1.
    fn position(self, number: f64) -> f64 {
        (number.log10() - self.from) / (self.to - self.from)
    }
}

fn text(content: &str, x: f64, y: f64, anchor: &str) -> Text {
    Text::new(content)
        .set("x", rounded(x))
        .set("y", rounded(y))
        .set("text-anchor", anchor)
        .set("fill", TEXT_COLOUR)
}

/// Rounds to tenths of a pixel, which keeps the file readable.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn segment(from: (f64, f64), to: (f64, f64)) -> Segment {
    Segment::new()
        .set("x1", rounded(from.0))
        .set("y1", rounded(from.1))
        .set("x2", rounded(to.0))
        .set("y2", rounded(to.1))
}

/// Formats a power of ten.
fn decade(exponent: i32) -> String {
    match exponent {
        ..0 => format!("1e{exponent}"),
        0..3 => format!("{}", 10_u32.pow(exponent as u32)),
        3..6 => format!("{}k", 10_u32.pow(exponent as u32 - 3)),
        _ => format!("{}M", 10_f64.powi(exponent - 6)),
    }
}

impl Chart {
    pub fn draw(&self, area: PlotArea) -> Group {
        let horizontal = Scale::of_range(self.ticks.iter().map(|(at, _)| *at));
        let points = self.series.iter().flat_map(|series| &series.points);
        let vertical = Scale::of_decades(points.map(|(_, y)| *y));
        let x = |number: f64| area.left + horizontal.position(number) * area.width;
        let y = |number: f64| area.top + (1.0 - vertical.position(number)) * area.height;
        let bottom = area.top + area.height;

        let title =
            text(&self.title, area.left, area.top - 14.0, "start").set("font-weight", "bold");
        let mut group = Group::new().add(title);
        for exponent in vertical.from as i32..=vertical.to as i32 {
            let at = y(10_f64.powi(exponent));
            let line =
                segment((area.left, at), (area.left + area.width, at)).set("stroke", GRID_COLOUR);
            let label = text(&decade(exponent), area.left - 6.0, at + 4.0, "end")
                .set("font-size", LABEL_SIZE);
            group = group.add(line).add(label);
        }
        for (number, label) in &self.ticks {
            let at = x(*number);
            let line = segment((at, area.top), (at, bottom)).set("stroke", GRID_COLOUR);
            let label = text(label, at, bottom + 16.0, "middle").set("font-size", LABEL_SIZE);
            group = group.add(line).add(label);
        }
        for series in &self.series {
            group = group.add(series.draw(x, y));
        }
        for (number, series) in self.series.iter().enumerate() {
            let at = bottom + 36.0 + LEGEND_SPACING * number as f64;
            group = group.add(series.legend(area.left, at));
        }
        group
    }
}

impl Series {
    fn draw(&self, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> Group {
        let points: Vec<(f64, f64)> = self
            .points
            .iter()
            .map(|point| (rounded(x(point.0)), rounded(y(point.1))))
            .collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        let line = Polyline::new()
            .set("points", path.join(" "))
            .set("fill", "none")
            .set("stroke", self.pen.colour)
            .set("stroke-width", self.pen.width)
            .set("stroke-dasharray", self.pen.dashes);
        points.iter().fold(Group::new().add(line), |group, (x, y)| {
            let dot = Circle::new().set("cx", *x).set("cy", *y).set("r", 3);
            group.add(dot.set("fill", self.pen.colour))
        })
    }

    fn legend(&self, left: f64, at: f64) -> Group {
        let sample = segment((left, at - 4.0), (left + 28.0, at - 4.0))
            .set("stroke", self.pen.colour)
            .set("stroke-width", self.pen.width)
            .set("stroke-dasharray", self.pen.dashes);
        let name = text(&self.name, left + 34.0, at, "start").set("font-size", LABEL_SIZE);
        Group::new().add(sample).add(name)
    }
}

/// Creates a white background, which keeps the charts readable on dark pages.
pub fn background(width: f64, height: f64) -> Rectangle {
    Rectangle::new()
        .set("width", width)
        .set("height", height)
        .set("fill", "#ffffff")
}

/// Creates a heading above all charts.
pub fn heading(content: &str, x: f64, y: f64, size: f64) -> Text {
    text(content, x, y, "start").set("font-size", size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_cover_their_numbers() {
        let scale = Scale::of_decades([2400.0, 310_000.0, 0.0].into_iter());
        assert_eq!((scale.from, scale.to), (3.0, 6.0));
        assert!(scale.position(1e3).abs() < 1e-9);
        assert!((scale.position(1e6) - 1.0).abs() < 1e-9);
        let one = Scale::of_decades([1000.0].into_iter());
        assert_eq!((one.from, one.to), (3.0, 4.0));
        let none = Scale::of_decades(std::iter::empty());
        assert!(none.to > none.from);
    }

    #[test]
    fn decades_are_formatted() {
        let all = [0, 2, 3, 5, 6, 7].map(decade);
        assert_eq!(all, ["1", "100", "1k", "100k", "1M", "10M"]);
    }
}
