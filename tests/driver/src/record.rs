// SPDX-License-Identifier: GPL-2.0

//! What ran on which kernel: a file with the last run of each suite on each target, and the page
//! that is made of it.

use crate::count::Count;
use anyhow::{
    ensure,
    Context,
    Result, //
};
use serde::{
    Deserialize,
    Serialize, //
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The last run of a suite on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What `uname -r` prints.
    pub kernel: String,
    /// The version of the kernel's package, or of its source.
    pub version: String,
    /// The day, in UTC.
    pub date: String,
    /// The commit of the project; with `-dirty` if files differed from it.
    pub commit: String,
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// How long it took, in seconds. Older records do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// The last runs, by target and suite.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(BTreeMap<String, BTreeMap<String, Run>>);

/// What the runs of a test driver have in common.
pub struct Origin {
    date: String,
    commit: String,
}

impl Origin {
    /// Runs of a commit that end now.
    pub fn now(commit: String) -> Result<Self> {
        let output = Command::new("date").args(["-u", "+%F"]).output();
        let output = output.context("cannot run date")?;
        ensure!(output.status.success(), "date: {}", output.status);
        Ok(Origin {
            date: String::from_utf8(output.stdout)?.trim().to_owned(),
            commit,
        })
    }

    /// Returns the run of a suite on the target whose set-up is in `target`.
    pub fn run(&self, target: &Path, count: Count, elapsed: Duration) -> Result<Run> {
        let read = |name: &str| -> Result<String> {
            let path = target.join("kernel").join(name);
            let text = fs::read_to_string(&path);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            Ok(text.trim().to_owned())
        };
        Ok(Run {
            kernel: read("release")?,
            version: read("version")?,
            date: self.date.clone(),
            commit: self.commit.clone(),
            passed: count.passed,
            failed: count.failed,
            skipped: count.skipped,
            seconds: Some(elapsed.as_secs()),
        })
    }
}

impl Record {
    /// Reads a file. One that does not exist is empty.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path)?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    pub fn add(&mut self, target: &str, suite: &str, run: Run) {
        let suites = self.0.entry(target.to_owned()).or_default();
        suites.insert(suite.to_owned(), run);
    }

    /// Removes the runs of suites that do not exist any more: nothing would replace them.
    pub fn keep(&mut self, exists: impl Fn(&str, &str) -> bool) {
        for (target, suites) in &mut self.0 {
            suites.retain(|suite, _| exists(target, suite));
        }
        self.0.retain(|_, suites| !suites.is_empty());
    }

    /// Returns a line for each run on `targets`, and for each target and suite of `needed`, sorted:
    /// target, suite, commit (`-` without a run) and result, separated by tabs.
    pub fn lines(&self, targets: &[String], needed: &[(&str, &str)]) -> Vec<String> {
        let mut lines: Vec<_> = needed
            .iter()
            .filter(|(target, suite)| !self.has(target, suite))
            .map(|(target, suite)| format!("{target}\t{suite}\t-\tnot recorded"))
            .collect();
        for (target, suites) in &self.0 {
            if !targets.contains(target) {
                continue;
            }
            for (suite, run) in suites {
                let result = match (run.passed, run.failed) {
                    (0, 0) => "nothing passed".to_owned(),
                    (_, 0) => "passed".to_owned(),
                    (_, failed) => format!("{failed} failed"),
                };
                lines.push(format!("{target}\t{suite}\t{}\t{result}", run.commit));
            }
        }
        lines.sort();
        lines
    }

    fn has(&self, target: &str, suite: &str) -> bool {
        self.0
            .get(target)
            .is_some_and(|suites| suites.contains_key(suite))
    }

    /// Writes the file, and the page beside it.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        let page = path.with_extension("md");
        for (path, text) in [(path, json), (&page, self.page())] {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Returns the page.
    pub fn page(&self) -> String {
        let mut page = String::from(
            "<!-- SPDX-License-Identifier: GPL-2.0 -->\n\
             <!-- Made by `make compatibility` of compatibility.json, not by hand. -->\n\
             # What ran on which kernel\n\n\
             `make compatibility` generates this page. Each row is a kernel, with the last run of \
             each suite that was recorded on it.\n\n\
             | target | kernel | version | suites | passed | failed | skipped | runs |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for (target, suites) in &self.0 {
            // A target may have had several kernels.
            let mut kernels: BTreeMap<_, Vec<&Run>> = BTreeMap::new();
            for run in suites.values() {
                let key = (&run.kernel, &run.version);
                kernels.entry(key).or_default().push(run);
            }
            for ((kernel, version), runs) in kernels {
                let sum = |number: fn(&Run) -> usize| runs.iter().map(|run| number(run)).sum();
                let [passed, failed, skipped]: [usize; 3] = [
                    sum(|run| run.passed),
                    sum(|run| run.failed),
                    sum(|run| run.skipped),
                ];
                let count = runs.len();
                let days = days(&runs);
                let _ = writeln!(
                    page,
                    "| `{target}` | {kernel} | {version} | {count} | {passed} | {failed} | \
                     {skipped} | {days} |"
                );
            }
        }
        page += "\n## Suites\n\n\
                 *passed* is the number of tests that passed, of all tests of the suite; those \
                 that were skipped count among all. *minutes* is the time of the suite in QEMU \
                 without KVM, on two cores, while other suites ran.\n";
        for (target, suites) in &self.0 {
            let _ = writeln!(page, "\n### {target}\n");
            let _ = writeln!(page, "| suite | kernel | passed | minutes | day | commit |");
            let _ = writeln!(page, "| --- | --- | --- | --- | --- | --- |");
            for (suite, run) in suites {
                let all = run.passed + run.failed + run.skipped;
                let minutes = run.seconds.map_or_else(
                    || "-".to_owned(),
                    |seconds| format!("{:.1}", seconds as f64 / 60.0),
                );
                let _ = writeln!(
                    page,
                    "| {suite} | {} | {} of {all} | {minutes} | {} | {} |",
                    run.kernel, run.passed, run.date, run.commit
                );
            }
        }
        page
    }
}

/// Returns the first and the last day of some runs.
fn days(runs: &[&Run]) -> String {
    let dates = || runs.iter().map(|run| run.date.as_str());
    match (dates().min(), dates().max()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(first), _) => first.to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kernel: &str, date: &str, passed: usize) -> Run {
        Run {
            kernel: kernel.to_owned(),
            version: "7.3.4-1".to_owned(),
            date: date.to_owned(),
            commit: "c0ffee".to_owned(),
            passed,
            failed: 0,
            skipped: 1,
            seconds: (passed == 6).then_some(90),
        }
    }

    #[test]
    fn a_suite_replaces_its_last_run_and_a_kernel_has_a_row() {
        let mut record = Record::default();
        record.add("arm64", "pools", run("7.2", "2026-01-01", 5));
        record.add("arm64", "heaps", run("7.3", "2026-01-02", 7));
        record.add("arm64", "pools", run("7.3", "2026-01-03", 6));
        let page = record.page();
        let row = "| `arm64` | 7.3 | 7.3.4-1 | 2 | 13 | 0 | 2 | 2026-01-02 to 2026-01-03 |";
        assert!(page.contains(row), "{page}");
        assert!(!page.contains("7.2"), "{page}");
        assert!(
            page.contains("| pools | 7.3 | 6 of 7 | 1.5 | 2026-01-03 | c0ffee |"),
            "{page}"
        );
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("compatibility.json");
        let mut record = Record::read(&path).unwrap();
        record.add("arm64", "pools", run("7.3", "2026-01-03", 6));
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record);
        assert!(folder.path().join("compatibility.md").exists());
        fs::write(&path, "{").unwrap();
        assert!(Record::read(&path).is_err());
    }

    #[test]
    fn the_page_of_the_project_is_made_of_its_record() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let json = docs.join("compatibility.json");
        let page = fs::read_to_string(docs.join("compatibility.md")).unwrap();
        let record = Record::read(&json).unwrap();
        assert!(
            record.page() == page,
            "docs/compatibility.md is not what `make compatibility` makes of compatibility.json"
        );
        // Nobody has edited the file either, as far as its form can tell.
        let text = serde_json::to_string_pretty(&record).unwrap() + "\n";
        assert!(fs::read_to_string(&json).unwrap() == text);
        assert!(!record.0.is_empty());
    }

    #[test]
    fn runs_of_suites_that_are_gone_are_removed() {
        let mut record = Record::default();
        record.add("arm64", "pools", run("7.3", "2026-01-03", 6));
        record.add("arm64", "gone", run("7.3", "2026-01-03", 6));
        record.add("gone", "pools", run("7.3", "2026-01-03", 6));
        record.keep(|target, suite| (target, suite) == ("arm64", "pools"));
        let mut expected = Record::default();
        expected.add("arm64", "pools", run("7.3", "2026-01-03", 6));
        assert_eq!(record, expected);
    }

    #[test]
    fn a_line_says_what_is_recorded_and_what_is_not() {
        let mut record = Record::default();
        record.add("arm64", "heaps", run("7.3", "2026-01-03", 6));
        record.add("arm64", "pools", run("7.3", "2026-01-03", 0));
        record.add("armhf", "pools", run("7.3", "2026-01-03", 6));
        let mut failed = run("7.3", "2026-01-03", 6);
        failed.failed = 2;
        record.add("arm64", "demo", failed);
        let needed = [("arm64", "heaps"), ("arm64", "reserve"), ("amd64", "pools")];
        let lines = record.lines(&["arm64".to_owned(), "amd64".to_owned()], &needed);
        let expected = [
            "amd64\tpools\t-\tnot recorded",
            "arm64\tdemo\tc0ffee\t2 failed",
            "arm64\theaps\tc0ffee\tpassed",
            "arm64\tpools\tc0ffee\tnothing passed",
            "arm64\treserve\t-\tnot recorded",
        ];
        assert_eq!(lines, expected);
    }
}
