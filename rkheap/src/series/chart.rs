// SPDX-License-Identifier: GPL-2.0

//! The drawing of sums over time.

use super::Point;
use crate::text;
use anyhow::{
    anyhow,
    ensure,
    Result, //
};
use plotters::prelude::*;
use std::collections::BTreeMap;

/// The number of lines. What else there is forms one more.
const MAX_LINES: usize = 8;

const SIZE: (u32, u32) = (960, 480);

/// A line: MiB at seconds since the start.
type Line = Vec<(f64, f64)>;

/// Draws the sums of `points` as an SVG file.
pub fn draw(points: &[Point]) -> Result<String> {
    ensure!(!points.is_empty(), "there is nothing to draw");
    let lines = lines(points);
    let all = || lines.iter().flat_map(|(_, line)| line);
    let end = all().map(|(time, _)| *time).fold(1.0, f64::max);
    let top = all().map(|(_, mib)| *mib).fold(1.0, f64::max) * 1.05;
    let mut svg = String::new();
    let drawn = || -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(35)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end, 0.0..top)?;
        chart
            .configure_mesh()
            .x_desc("seconds")
            .y_desc("MiB")
            .light_line_style(WHITE)
            .draw()?;
        for (index, (name, line)) in lines.iter().enumerate() {
            let color = Palette99::pick(index).mix(1.0);
            chart
                .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)))?
                .label(name.as_str())
                .legend(move |(x, y)| {
                    Rectangle::new([(x, y - 4), (x + 12, y + 4)], color.filled())
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()?;
        Ok(())
    };
    drawn_or_failed(drawn)?;
    Ok(svg)
}

/// The errors of drawing may not be sent between threads, so their texts are kept.
fn drawn_or_failed(draw: impl FnOnce() -> Result<(), Box<dyn std::error::Error>>) -> Result<()> {
    draw().map_err(|error| anyhow!("cannot draw: {error}"))
}

/// Returns the largest sums as lines with their names. A sum that is not in a file at one time is
/// 0 then.
fn lines(points: &[Point]) -> Vec<(String, Line)> {
    let start = points.iter().map(|point| point.time_ms).min().unwrap_or(0);
    let mut times: Vec<u64> = points.iter().map(|point| point.time_ms).collect();
    times.sort_unstable();
    times.dedup();
    let mut sums: BTreeMap<(&str, Option<u32>), BTreeMap<u64, u64>> = BTreeMap::new();
    for point in points {
        let sum = sums.entry((&point.name, point.pid)).or_default();
        sum.insert(point.time_ms, point.bytes);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.retain(|(_, bytes)| bytes.values().any(|bytes| *bytes > 0));
    sums.sort_by_key(|(_, bytes)| std::cmp::Reverse(bytes.values().max().copied()));
    let rest = sums.split_off(sums.len().min(MAX_LINES));
    let line = |bytes: &dyn Fn(u64) -> u64| -> Line {
        times
            .iter()
            .map(|time| {
                let seconds = (time - start) as f64 / 1000.0;
                (seconds, bytes(*time) as f64 / f64::from(1u32 << 20))
            })
            .collect()
    };
    let mut lines: Vec<(String, Line)> = sums
        .iter()
        .map(|((name, pid), bytes)| {
            let pid = pid.map_or(String::new(), |pid| format!(" ({pid})"));
            let at = |time| bytes.get(&time).copied().unwrap_or(0);
            (format!("{}{pid}", text::truncated(name, 40)), line(&at))
        })
        .collect();
    if !rest.is_empty() {
        let at = |time| {
            let sums = rest.iter().filter_map(|(_, bytes)| bytes.get(&time));
            sums.fold(0u64, |sum, bytes| sum.saturating_add(*bytes))
        };
        lines.push((format!("{} others", rest.len()), line(&at)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(time_ms: u64, name: &str, mib: u64) -> Point {
        Point {
            time_ms,
            name: name.into(),
            pid: None,
            buffers: 1,
            bytes: mib << 20,
        }
    }

    #[test]
    fn lines_have_a_value_at_each_time() {
        let points = [
            point(1000, "a", 1),
            point(1000, "b", 4),
            point(1500, "b", 2),
            point(1500, "unused", 0),
        ];
        assert_eq!(
            lines(&points),
            [
                ("b".to_owned(), vec![(0.0, 4.0), (0.5, 2.0)]),
                ("a".to_owned(), vec![(0.0, 1.0), (0.5, 0.0)]),
            ]
        );
    }

    #[test]
    fn the_smallest_share_a_line() {
        let points: Vec<Point> = (1..12).map(|n| point(0, &n.to_string(), n)).collect();
        let lines = lines(&points);
        assert_eq!(lines.len(), 9);
        assert_eq!(lines[8], ("3 others".to_owned(), vec![(0.0, 6.0)]));
    }

    #[test]
    fn names_are_escaped_in_the_drawing() {
        let svg = draw(&[point(0, "<&\u{1b}\"", 1), point(9, "<&\u{1b}\"", 2)]).unwrap();
        assert!(svg.contains("&lt;&amp;\\u{1b}"), "{svg}");
        assert!(!svg.contains('\u{1b}'));
        assert!(draw(&[]).is_err());
    }
}
