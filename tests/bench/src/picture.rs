// SPDX-License-Identifier: GPL-2.0

//! The SVG file with six charts of the costs.

use crate::boots::Boot;
use crate::chart::{
    background,
    heading,
    Chart,
    Pen,
    PlotArea,
    Series, //
};
use crate::report::Report;
use crate::rows::{
    KIB,
    MIB, //
};
use crate::tables::grouped;
use anyhow::{
    Context,
    Result, //
};
use std::path::Path;
use svg::Document;

const WIDTH: f64 = 1080.0;
const HEIGHT: f64 = 840.0;
const COLUMNS: usize = 3;

/// Wide, so that it stays visible below the lines of the module.
const IN_TREE: Pen = Pen {
    colour: "#a3a3a3",
    dashes: "",
    width: 6,
};
const OURS: Pen = Pen {
    colour: "#0b62c4",
    dashes: "",
    width: 2,
};
/// The module with empty pools or without recently freed memory.
const OURS_COLD: Pen = Pen {
    colour: "#0b62c4",
    dashes: "2 4",
    width: 2,
};
/// The module's lowest cost.
const OURS_BEST: Pen = Pen {
    colour: "#c2410c",
    dashes: "7 4",
    width: 2,
};

/// A series of a chart: its label, line style, machine and figure.
struct SeriesSource(&'static str, Pen, Boot, &'static str);

pub fn write(report: &Report, file: &Path) -> Result<()> {
    svg::save(file, &draw(report)).with_context(|| format!("cannot write {}", file.display()))
}

fn charts(report: &Report) -> Vec<Chart> {
    let system = "allocate-warm/system";
    let sizes = |title, sources: &[SeriesSource]| {
        let label = |size: usize| match size {
            _ if size >= MIB => format!("{}M", size / MIB),
            _ => format!("{}K", size / KIB),
        };
        let ticks = report.figures.all(Boot::InTree, system);
        chart(
            report,
            title,
            sources,
            ticks
                .into_iter()
                .map(|(size, _)| (size, label(size)))
                .collect(),
        )
    };
    let growth = |title, sources: &[SeriesSource]| {
        let ticks = report.figures.all(Boot::OursLarge, "growth-allocate");
        chart(
            report,
            title,
            sources,
            ticks
                .into_iter()
                .map(|(count, _)| (count, grouped(count as f64)))
                .collect(),
        )
    };
    vec![
        sizes(
            "allocate: system",
            &[
                SeriesSource("in-tree", IN_TREE, Boot::InTree, system),
                SeriesSource(
                    "ours, pool cold",
                    OURS_COLD,
                    Boot::Ours,
                    "allocate-cold/system",
                ),
                SeriesSource("ours, pool warm", OURS, Boot::Ours, system),
                SeriesSource(
                    "the same, nothing tracked",
                    OURS_BEST,
                    Boot::Untracked,
                    system,
                ),
            ],
        ),
        sizes(
            "close: system",
            &[
                SeriesSource("in-tree", IN_TREE, Boot::InTree, "close/system"),
                SeriesSource("ours", OURS, Boot::Ours, "close/system"),
                SeriesSource(
                    "the same, nothing tracked",
                    OURS_BEST,
                    Boot::Untracked,
                    "close/system",
                ),
            ],
        ),
        sizes(
            "map, write, unmap: system",
            &[
                SeriesSource("in-tree", IN_TREE, Boot::InTree, "map/system"),
                SeriesSource("ours", OURS, Boot::Ours, "map/system"),
                SeriesSource(
                    "ours, aligned to 2 MiB",
                    OURS_BEST,
                    Boot::Ours,
                    "map-aligned/system",
                ),
            ],
        ),
        sizes(
            "allocate: contiguous memory",
            &[
                SeriesSource("in-tree", IN_TREE, Boot::InTree, "allocate-warm/cma"),
                SeriesSource(
                    "ours: cma, cold",
                    OURS_COLD,
                    Boot::Ours,
                    "allocate-cold/cma",
                ),
                SeriesSource(
                    "ours: cma, just freed",
                    OURS,
                    Boot::Ours,
                    "allocate-warm/cma",
                ),
                SeriesSource(
                    "ours: rk-dma-heap-cma, just freed",
                    OURS_BEST,
                    Boot::Ours,
                    "allocate-warm/rk-dma-heap-cma",
                ),
            ],
        ),
        sizes(
            "map, write, unmap: cma",
            &[
                SeriesSource("in-tree", IN_TREE, Boot::InTree, "map/cma"),
                SeriesSource("ours", OURS, Boot::Ours, "map/cma"),
                SeriesSource(
                    "ours, aligned to 2 MiB",
                    OURS_BEST,
                    Boot::Ours,
                    "map-aligned/cma",
                ),
            ],
        ),
        growth(
            "4 KiB buffers, by number of live buffers",
            &[
                SeriesSource(
                    "allocate, in-tree",
                    IN_TREE,
                    Boot::InTreeLarge,
                    "growth-allocate",
                ),
                SeriesSource("allocate, ours", OURS, Boot::OursLarge, "growth-allocate"),
                SeriesSource("close, ours", OURS_COLD, Boot::OursLarge, "growth-close"),
                SeriesSource(
                    "a line of /proc/rk_dmabuf/dev",
                    OURS_BEST,
                    Boot::OursLarge,
                    "growth-line",
                ),
            ],
        ),
    ]
}

fn chart(
    report: &Report,
    title: &str,
    sources: &[SeriesSource],
    ticks: Vec<(usize, String)>,
) -> Chart {
    let series = sources
        .iter()
        .map(|SeriesSource(name, pen, boot, figure)| Series {
            name: (*name).to_owned(),
            pen: *pen,
            points: report
                .figures
                .all(*boot, figure)
                .into_iter()
                .filter(|(_, value)| *value > 0.0)
                .map(|(at, value)| (at as f64, value))
                .collect(),
        });
    Chart {
        title: title.to_owned(),
        ticks: ticks
            .into_iter()
            .map(|(at, label)| (at as f64, label))
            .collect(),
        series: series.collect(),
    }
}

fn draw(report: &Report) -> Document {
    let origin = &report.origin;
    let about = format!(
        "Instructions by size, both axes logarithmic. Commit {}, kernel {} (source {}), \
        arm64 on QEMU.",
        origin.commit, origin.kernel, origin.source
    );
    let mut document = Document::new()
        .set("viewBox", (0.0, 0.0, WIDTH, HEIGHT))
        .set("width", WIDTH)
        .set("height", HEIGHT)
        .set("font-family", "sans-serif")
        .set("font-size", 13)
        .add(background(WIDTH, HEIGHT))
        .add(heading("Cost of the heaps", 24.0, 34.0, 20.0))
        .add(heading(&about, 24.0, 56.0, 12.0));
    let column = WIDTH / COLUMNS as f64;
    for (number, chart) in charts(report).iter().enumerate() {
        let area = PlotArea {
            left: 62.0 + column * (number % COLUMNS) as f64,
            top: 110.0 + 375.0 * (number / COLUMNS) as f64,
            width: column - 92.0,
            height: 220.0,
        };
        document = document.add(chart.draw(area));
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::uniform_report;

    #[test]
    fn every_series_has_points() {
        for chart in charts(&uniform_report(900.0)) {
            assert!(!chart.ticks.is_empty(), "{}", chart.title);
            for series in &chart.series {
                assert!(
                    !series.points.is_empty(),
                    "{}: {}",
                    chart.title,
                    series.name
                );
            }
        }
    }

    #[test]
    fn picture_names_the_versions_and_has_valid_coordinates() {
        let picture = draw(&uniform_report(900.0)).to_string();
        assert!(picture.contains("c0ffee") && picture.contains("1.2.3-bench"));
        assert!(picture.contains("<polyline"));
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }
}
