// SPDX-License-Identifier: GPL-2.0

//! What is written beside the JSON: a document with all tables, and the part of the README that is
//! made here.

use crate::report::Report;
use crate::tables;
use anyhow::{
    Context,
    Result, //
};
use std::fs;
use std::path::Path;

/// What the README's own part stands between.
const BEGIN: &str = "<!-- made by `make bench`: begin -->\n";
const END: &str = "<!-- made by `make bench`: end -->\n";

fn origin(report: &Report) -> String {
    let origin = &report.origin;
    format!(
        "commit `{}`, kernel `{}` (Debian's source {})",
        origin.commit, origin.kernel, origin.source
    )
}

/// The document with all tables.
pub fn write(report: &Report, file: &Path) -> Result<()> {
    let mut text = format!(
        "<!-- SPDX-License-Identifier: GPL-2.0 -->\n\
        <!-- Made by `make bench`, which overwrites it. -->\n\
        # What the heaps cost\n\n\
        Measured by `make bench` on {}. [bench.json](bench.json) has all figures. `ratio` is ours divided by in-tree, `aim` what is wanted, `at most` what holds.\n\n\
        ![The same as a picture](bench.svg)\n\n\
        ## Instructions\n\n",
        origin(report)
    );
    text += &tables::for_document(report);
    let reasons: Vec<String> = report
        .lines
        .iter()
        .filter_map(|line| {
            let reason = line.floor.as_ref()?.reason.as_ref()?;
            Some(format!(
                "- {}, {}: {reason}\n",
                line.title,
                tables::size(line.size)
            ))
        })
        .collect();
    if !reasons.is_empty() {
        text += "\n## Why an aim was not reached\n\n";
        text.extend(reasons);
    }
    text += METHOD;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

const METHOD: &str = include_str!("method.md");

/// Puts table and picture into the README.
pub fn update_readme(report: &Report, file: &Path) -> Result<()> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let part = format!(
        "![What the heaps cost](docs/bench.svg)\n\n\
        Ours as a share of the kernel's own heaps, in instructions, on {}:\n\n{}\n",
        origin(report),
        tables::shares(report)
    );
    let text = replace_part(&text, &part).with_context(|| {
        format!(
            "{} has no place for what `make bench` makes",
            file.display()
        )
    })?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn replace_part(text: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{part}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_between_the_marks_is_replaced() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let expected = format!("a\n{BEGIN}new\n{END}b\n");
        assert_eq!(replace_part(&text, "new\n"), Some(expected));
        assert_eq!(replace_part("a\n", "new\n"), None);
    }

    #[test]
    fn the_readme_has_a_place_for_it() {
        let readme = include_str!("../../../README.md");
        assert!(replace_part(readme, "").is_some());
    }
}
