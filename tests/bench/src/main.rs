// SPDX-License-Identifier: GPL-2.0

//! Boots machines with the kernel's own heaps and with the module's, runs the same measurements on
//! both, and compares: a table on standard output, JSON, and a picture. Fails where the module
//! costs more than `floors` allows.

mod boots;
mod chart;
mod documents;
mod figures;
mod floors;
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

/// Compare what the kernel's heaps and the module's cost, in instructions of the guest
#[derive(Parser)]
struct Arguments {
    /// Folder for bench.json, bench.md and bench.svg; with `docs`, the project's own, README.md is
    /// brought up to date as well
    #[arg(long, value_name = "DIR", default_value = "docs")]
    output: PathBuf,

    /// The commit that is measured, as it is to be called
    #[arg(long, value_name = "NAME", default_value = "unknown")]
    commit: String,

    /// Measure nothing: judge the bench.json in the output folder once more, and make table and
    /// picture anew
    #[arg(long)]
    again: bool,

    /// How many virtual machines that count instructions run at once
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
        .context("the project has moved since the benchmark was built; build it again")?;
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
        .with_context(|| format!("cannot make {}", output.display()))?;
    report.write(&json)?;
    documents::write(&report, &output.join("bench.md"))?;
    picture::write(&report, &output.join("bench.svg"))?;
    if output == project.join("docs") {
        documents::update_readme(&report, &project.join("README.md"))?;
    }
    print!("{}", tables::for_terminal(&report));
    let missed = report.missed();
    for line in &missed {
        eprintln!("floor missed: {line}");
    }
    println!(
        "{} of {} floors hold; {} has all figures",
        report.judged() - missed.len(),
        report.judged(),
        json.display()
    );
    ensure!(report.judged() > 0, "nothing was judged");
    Ok(match missed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
