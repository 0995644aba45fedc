// SPDX-License-Identifier: GPL-2.0

//! The kernel's console output, and the reports of errors in it.

use std::sync::LazyLock;

use regex::{
    Regex,
    RegexSet, //
};

/// First lines of reports, matched after the time stamp. Programs write to other streams, without
/// time stamps.
static REPORT_STARTS: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        // oops, panic
        r"^Kernel panic - not syncing",
        r"^Internal error: ",
        r"^Unable to handle kernel ",
        r"^Unhandled fault: ",
        r"^Oops",
        r"^kernel BUG at ",
        r"^8<--- cut here ---",
        r"^-+\[ cut here \]-+",
        r"^rust_kernel: .*panicked at",
        r"^Bad mode in ",
        // WARNING and BUG, also the first words of reports of KASAN, KFENCE, KCSAN and lockdep
        r"^(WARNING|BUG)\b",
        r"^(watchdog|KFENCE|KCSAN|KASAN): BUG",
        r"^UBSAN: ",
        r"^INFO: (possible|suspicious|trying to register non-static key|lockdep)",
        r"^INFO: task .* blocked for more than",
        r"^(rcu: )?INFO: rcu.* (stall|detected)",
        r"^NMI watchdog: ",
        // kmemleak, DMA-API, list, refcount, page and object debugging
        r"^kmemleak: .*(suspected memory leak|Cannot allocate a kmemleak_object)",
        r"^kmemleak: .*Kernel memory leak detector disabled",
        r"DMA-API: .*(warning|error|cacheline|device driver|exceeded|mapping)",
        r"^(list_add|list_del) corruption",
        r"^refcount_t: ",
        r"^ODEBUG: ",
        r"^page dumped because: ",
        r"^percpu_ref: ",
        r"^kobject: .*(not initialized|tried to|something is very wrong)",
        r"^sysfs: cannot create duplicate filename",
        r"^remove_proc_entry: ",
        r"^proc_dir_entry .* already registered",
        r"^usercopy: Kernel memory (exposure|overwrite) attempt",
        r"^stack-protector: ",
        r"^Slab .*(Objects remaining|corrupt)",
        r"^kmem_cache_destroy ",
    ])
    .expect("the patterns are valid")
});

/// Lines that start as a report does, but tell of no defect: memory that was to be taken offline
/// has pages that stay where they are.
static NO_REPORTS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^page dumped because: (unmovable page|migration failure)$")
        .expect("the pattern is valid")
});

static REPORT_ENDS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^---\[ end |^={40,}$").expect("the pattern is valid"));

/// Time stamp, followed by the thread or CPU if the kernel is configured to print it.
static STAMP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?").expect("the pattern is valid")
});

/// Maximum number of lines of a report whose end is not recognized.
const MAX_REPORT_LINES: usize = 120;

/// Lines of a kernel report, from the first one to the end mark.
#[derive(Debug, PartialEq)]
pub struct Report {
    pub lines: Vec<String>,
}

impl Report {
    /// Returns whether a line matches; false without a pattern.
    pub fn matches(&self, pattern: Option<&Regex>) -> bool {
        pattern.is_some_and(|pattern| self.lines.iter().any(|line| pattern.is_match(line)))
    }
}

/// The lines of the console output.
pub struct Log {
    lines: Vec<String>,
}

impl Log {
    pub fn new(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        Self {
            lines: text
                .lines()
                .map(|line| line.trim_end_matches('\r').to_string())
                .collect(),
        }
    }

    /// Returns all reports in order.
    pub fn reports(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        let mut at = 0;
        while at < self.lines.len() {
            if !starts_report(&self.lines[at]) {
                at += 1;
                continue;
            }
            let rest = &self.lines[at..self.lines.len().min(at + MAX_REPORT_LINES)];
            // The line of `=` signs that ends a report may also follow directly on its first line.
            let length = rest
                .iter()
                .skip(3)
                .position(|line| REPORT_ENDS.is_match(message(line)))
                .map_or(rest.len(), |end| end + 4);
            reports.push(Report {
                lines: rest[..length].to_vec(),
            });
            at += length;
        }
        reports
    }

    /// Returns the reports that do not match `allowed`.
    pub fn reports_but(&self, allowed: Option<&Regex>) -> Vec<Report> {
        let mut reports = self.reports();
        reports.retain(|report| !report.matches(allowed));
        reports
    }

    /// Returns the last lines, for a machine that died without a report.
    pub fn tail(&self, lines: usize) -> &[String] {
        &self.lines[self.lines.len().saturating_sub(lines)..]
    }
}

/// Returns the line without its time stamp.
fn message(line: &str) -> &str {
    STAMP.find(line).map_or(line, |stamp| &line[stamp.end()..])
}

fn starts_report(line: &str) -> bool {
    // A line without a time stamp is not from the kernel.
    STAMP.find(line).is_some_and(|stamp| {
        let message = &line[stamp.end()..];
        REPORT_STARTS.is_match(message) && !NO_REPORTS.is_match(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Log {
        Log::new(text.as_bytes())
    }

    #[test]
    fn an_ordinary_boot_is_quiet() {
        let boot = "[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x411fd070]\r\n\
            [    0.000000] random: crng init done\r\n\
            [    0.000000] cma: Reserved 64 MiB at 0x000000007c000000\r\n\
            [    0.100000] rcu: Hierarchical SRCU implementation.\r\n\
            [    0.700000] kmemleak: Kernel memory leak detector initialized \
            (mem pool available: 15868)\r\n\
            [    0.800000] DMA-API: preallocated 65536 debug entries\r\n\
            [    0.800000] DMA-API: debugging enabled by kernel config\r\n\
            [    0.900000] lockdep is fine\r\n\
            [    1.200000] rk_dma_heap: loading out-of-tree module taints kernel.\r\n\
            [    1.250000] page dumped because: unmovable page\r\n\
            [    1.300000] reboot: Power down\r\n";
        assert!(log(boot).reports().is_empty());
    }

    #[test]
    fn every_report_type_is_found() {
        for line in [
            "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000",
            "Internal error: Oops: 0000000096000046 [#1] SMP",
            "Kernel panic - not syncing: Oops: Fatal exception",
            "kernel BUG at mm/slub.c:563!",
            "------------[ cut here ]------------",
            "WARNING: CPU: 1 PID: 77 at kernel/x.c:12 f+0x10/0x20",
            "WARNING: kernel/x.c:12 at f+0x10/0x20, CPU#1: sh/77",
            "WARNING: possible circular locking dependency detected",
            "WARNING: inconsistent lock state",
            "BUG: KASAN: slab-use-after-free in f+0x10/0x20",
            "BUG: KFENCE: out-of-bounds read in f+0x10/0x20",
            "BUG: sleeping function called from invalid context at x.c:1",
            "BUG: scheduling while atomic: sh/77/0x00000002",
            "BUG: Bad page state in process sh  pfn:41234",
            "UBSAN: array-index-out-of-bounds in x.c:1:2",
            "INFO: task sh:77 blocked for more than 120 seconds.",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:77]",
            "INFO: trying to register non-static key.",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "DMA-API: vgem vgem: device driver frees DMA memory with wrong function",
            "list_add corruption. prev->next should be next (a), but was b.",
            "refcount_t: underflow; use-after-free.",
            "rust_kernel: panicked at src/x.rs:1:2:",
            "sysfs: cannot create duplicate filename '/class/dma_heap'",
        ] {
            let text =
                format!("[    1.500000] before\n[    2.000000] {line}\n[    2.000001] after\n");
            let reports = log(&text).reports();
            assert_eq!(reports.len(), 1, "{line}");
            assert!(reports[0].lines[0].contains(line));
            let with_thread = format!("[    2.000000][   T77] {line}\n");
            assert_eq!(log(&with_thread).reports().len(), 1, "{line}");
        }
    }

    #[test]
    fn a_program_can_not_forge_one() {
        assert!(log("WARNING: this was echo >/dev/console\n")
            .reports()
            .is_empty());
    }

    #[test]
    fn what_is_allowed_is_left_out_and_nothing_else() {
        let two = log(
            "[    1.000000] BUG: KASAN: slab-use-after-free in f+0x10/0x20\n\
            [    1.000000] ---[ end trace 0000000000000000 ]---\n\
            [    2.000000] WARNING: CPU: 1 PID: 77 at kernel/x.c:12 f+0x10/0x20\n\
            [    2.000000] ---[ end trace 0000000000000000 ]---\n",
        );
        let count = |allowed: Option<&str>| {
            two.reports_but(allowed.map(|text| Regex::new(text).unwrap()).as_ref())
                .len()
        };
        let all = two.reports().len();
        assert_eq!(count(None), all);
        assert_eq!(count(Some("kernel/y")), all);
        assert_eq!(count(Some("kernel/x")), all - 1);
        assert_eq!(count(Some("kernel/x|KASAN")), 0);
    }

    #[test]
    fn a_report_ends_where_it_says() {
        let text = "[    1.000000] ------------[ cut here ]------------\n\
            [    1.000000] WARNING: x.c:1 at f\n\
            [    1.000000] Call trace:\n\
            [    1.000000]  f+0x10/0x20\n\
            [    1.000000] ---[ end trace 0000000000000000 ]---\n\
            [    2.000000] all is well\n\
            [    3.000000] BUG: KASAN: slab-out-of-bounds in g\n";
        let reports = log(text).reports();
        assert_eq!(
            reports
                .iter()
                .map(|report| report.lines.len())
                .collect::<Vec<_>>(),
            [5, 1]
        );
        assert!(reports[0].matches(Some(&Regex::new("WARNING.* f$").unwrap())));
        assert!(!reports[1].matches(Some(&Regex::new("WARNING").unwrap())));
    }

    #[test]
    fn the_tail_is_no_longer_than_the_log() {
        let log = log("a\nb\nc\n");
        assert_eq!(log.tail(2), ["b", "c"]);
        assert_eq!(log.tail(9).len(), 3);
    }
}
