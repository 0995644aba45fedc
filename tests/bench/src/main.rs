// SPDX-License-Identifier: GPL-2.0

//! Compares the cost of the in-tree heaps with the cost of the module's heaps.
//!
//! The program boots virtual machines with each implementation and runs the same measurements in
//! them. It prints a table and writes JSON, Markdown and SVG files. It fails if the module costs
//! more than `limits` allows.

mod boots;
mod chart;
mod documents;
mod figures;
mod limits;
mod picture;
mod report;
mod rows;
mod tables;

use anyhow::{
    ensure,
    Context,
    Result, //
};
use clap::Parser;
use report::{
    Origin,
    Report, //
};
use std::path::{
    Path,
    PathBuf, //
};
use std::process::ExitCode;

/// Compare the cost of the in-tree heaps and the module's heaps in guest instructions
#[derive(Parser)]
struct Arguments {
    /// Directory for bench.json, bench.md and bench.svg; for `docs`, README.md is updated as well
    #[arg(long, value_name = "DIR", default_value = "docs")]
    output: PathBuf,

    /// Name of the measured commit in the report
    #[arg(long, value_name = "NAME", default_value = "unknown")]
    commit: String,

    /// Skip the measurement: check the figures of the existing bench.json again and regenerate the
    /// table and the charts
    #[arg(long)]
    again: bool,

    /// Number of instruction-counting virtual machines that run in parallel
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
}

fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .context("the project directory was moved after the build: rebuild the benchmark")?;
    let output = project.join(&arguments.output);
    let json = output.join("bench.json");
    let (origin, figures) = match arguments.again {
        true => {
            let earlier = Report::read(&json)?;
            (earlier.origin, earlier.figures)
        }
        false => {
            let figures = boots::measure(&project, arguments.jobs)?;
            let origin = Origin::of(&project, arguments.commit)?;
            (origin, figures)
        }
    };
    let report = Report::new(origin, figures)?;
    std::fs::create_dir_all(&output)
        .with_context(|| format!("cannot create {}", output.display()))?;
    report.write(&json)?;
    documents::write(&report, &output.join("bench.md"))?;
    picture::write(&report, &output.join("bench.svg"))?;
    if output == project.join("docs") {
        documents::update_readme(&report, &project.join("README.md"))?;
    }
    print!("{}", tables::for_terminal(&report));
    let exceeded = report.exceeded();
    for line in &exceeded {
        eprintln!("limit exceeded: {line}");
    }
    println!(
        "{} of {} limits hold; {} contains all figures",
        report.limit_count() - exceeded.len(),
        report.limit_count(),
        json.display()
    );
    ensure!(report.limit_count() > 0, "no limit was checked");
    Ok(match exceeded.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
