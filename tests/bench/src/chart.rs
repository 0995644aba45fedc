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

/// How a series is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Pen {
    pub colour: &'static str,
    /// Lengths of dashes and gaps; empty for a line without gaps.
    pub dashes: &'static str,
    pub width: u32,
}

/// A line of the chart.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub pen: Pen,
    /// All above zero.
    pub points: Vec<(f64, f64)>,
}

/// One chart.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    /// What is written at the horizontal axis, and where.
    pub ticks: Vec<(f64, String)>,
    pub series: Vec<Series>,
}

/// Where a chart lies in the picture, without its title, its legend and the numbers at its axes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

const INK: &str = "#222222";
const GRID: &str = "#dddddd";
const SMALL: f64 = 11.0;
/// Between two lines of the legend.
const LEADING: f64 = 15.0;

/// A range of numbers, logarithmically.
#[derive(Clone, Copy, Debug)]
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// Covers all numbers, and begins and ends with a power of ten.
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

    /// Covers all numbers, and no more.
    fn of_range(numbers: impl Iterator<Item = f64> + Clone) -> Self {
        Scale {
            from: numbers.clone().fold(f64::INFINITY, f64::min).log10(),
            to: numbers.fold(0.0, f64::max).log10(),
        }
    }

    /// Where a number lies, from 0 to 1.
    fn part(self, number: f64) -> f64 {
        (number.log10() - self.from) / (self.to - self.from)
    }
}

fn text(content: &str, x: f64, y: f64, anchor: &str) -> Text {
    Text::new(content)
        .set("x", rounded(x))
        .set("y", rounded(y))
        .set("text-anchor", anchor)
        .set("fill", INK)
}

/// Tenths of a pixel are enough, and the file stays readable.
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

/// A power of ten as people write it.
fn decade(exponent: i32) -> String {
    match exponent {
        ..0 => format!("1e{exponent}"),
        0..3 => format!("{}", 10_u32.pow(exponent as u32)),
        3..6 => format!("{}k", 10_u32.pow(exponent as u32 - 3)),
        _ => format!("{}M", 10_f64.powi(exponent - 6)),
    }
}

impl Chart {
    pub fn draw(&self, place: Place) -> Group {
        let horizontal = Scale::of_range(self.ticks.iter().map(|(at, _)| *at));
        let points = self.series.iter().flat_map(|series| &series.points);
        let vertical = Scale::of_decades(points.map(|(_, y)| *y));
        let x = |number: f64| place.left + horizontal.part(number) * place.width;
        let y = |number: f64| place.top + (1.0 - vertical.part(number)) * place.height;
        let bottom = place.top + place.height;

        let title =
            text(&self.title, place.left, place.top - 14.0, "start").set("font-weight", "bold");
        let mut group = Group::new().add(title);
        for exponent in vertical.from as i32..=vertical.to as i32 {
            let at = y(10_f64.powi(exponent));
            let line =
                segment((place.left, at), (place.left + place.width, at)).set("stroke", GRID);
            let label =
                text(&decade(exponent), place.left - 6.0, at + 4.0, "end").set("font-size", SMALL);
            group = group.add(line).add(label);
        }
        for (number, label) in &self.ticks {
            let at = x(*number);
            let line = segment((at, place.top), (at, bottom)).set("stroke", GRID);
            let label = text(label, at, bottom + 16.0, "middle").set("font-size", SMALL);
            group = group.add(line).add(label);
        }
        for series in &self.series {
            group = group.add(series.draw(x, y));
        }
        for (number, series) in self.series.iter().enumerate() {
            let at = bottom + 36.0 + LEADING * number as f64;
            group = group.add(series.legend(place.left, at));
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
        let name = text(&self.name, left + 34.0, at, "start").set("font-size", SMALL);
        Group::new().add(sample).add(name)
    }
}

/// What lies under all charts, so that the picture can be read on any page.
pub fn paper(width: f64, height: f64) -> Rectangle {
    Rectangle::new()
        .set("width", width)
        .set("height", height)
        .set("fill", "#ffffff")
}

/// A heading of the whole picture.
pub fn heading(content: &str, x: f64, y: f64, size: f64) -> Text {
    text(content, x, y, "start").set("font-size", size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_cover_what_they_are_for() {
        let scale = Scale::of_decades([2400.0, 310_000.0, 0.0].into_iter());
        assert_eq!((scale.from, scale.to), (3.0, 6.0));
        assert!((scale.part(1e3) - 0.0).abs() < 1e-9 && (scale.part(1e6) - 1.0).abs() < 1e-9);
        let one = Scale::of_decades([1000.0].into_iter());
        assert_eq!((one.from, one.to), (3.0, 4.0));
        let none = Scale::of_decades(std::iter::empty());
        assert!(none.to > none.from);
    }

    #[test]
    fn decades_are_readable() {
        let all = [0, 2, 3, 5, 6, 7].map(decade);
        assert_eq!(all, ["1", "100", "1k", "100k", "1M", "10M"]);
    }
}
