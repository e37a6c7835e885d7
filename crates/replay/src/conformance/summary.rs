//! What a run of the suites has to say: progress, failures as they come, a table by fork, lines of JSON.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::verdict::Verdict;
use crate::{
    report::{Side, Table, counted, print, print_json},
    status::Status,
};

/// Where a test stands.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The file, with the archive that it is in.
    pub(super) file: Arc<str>,
    /// The test's key in the file.
    pub(super) test: String,
}

/// Results so far. Lanes add to it side by side.
#[derive(Debug)]
pub(super) struct Summary {
    json: bool,
    bar: ProgressBar,
    results: Mutex<Results>,
    /// Whoever reads standard output has had enough.
    is_closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Results {
    forks: BTreeMap<String, Counts>,
    /// Why tests were skipped, with their number.
    reasons: BTreeMap<String, u64>,
    failures: Vec<String>,
    oracle_fails: Vec<String>,
    remarks: u64,
    packed: Option<Packed>,
    status: Status,
    /// What went wrong with standard output.
    output: Option<io::Error>,
}

/// Tests of one fork by what became of them.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
    oracle_fails: u64,
}

/// Tests joined into blocks.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Packed {
    tests: u64,
    blocks: u64,
    /// Tests that were not joined with another one, and not run.
    not_packed: u64,
}

/// One test on a line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    file: &'a str,
    test: &'a str,
    fork: &'a str,
    threads: &'a [usize],
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_at: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    remarks: &'a [String],
}

impl Summary {
    /// A summary of nothing, and a progress bar over so many bytes.
    pub(super) fn new(json: bool, size_bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(size_bytes), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} read  {msg}  {elapsed}");
        // A template that does not parse would lose the bar's looks and nothing else.
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { json, bar, results: Mutex::default(), is_closed: AtomicBool::new(false) }
    }

    /// Moves the bar to so many bytes.
    pub(super) fn advance(&self, read_bytes: u64) {
        self.bar.set_position(read_bytes);
    }

    /// Something that was given cannot be used.
    pub(super) fn refuse(&self, error: &str) {
        self.say(&format!("error: {error}"));
        self.results().status.add(Status::Input);
    }

    /// The user ended the run.
    pub(super) fn interrupt(&self) {
        self.results().status.add(Status::Interrupted);
    }

    /// A test of a form that is not run.
    pub(super) fn skip_form(&self, form: &str) {
        *self.results().reasons.entry(format!("{form}s are not run")).or_default() += 1;
    }

    /// Whether nobody reads standard output any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Counts tests that were joined into a block.
    pub(super) fn add_pack(&self, tests: u64) {
        let mut results = self.results();
        let packed = results.packed.get_or_insert_default();
        packed.tests += tests;
        packed.blocks += 1;
    }

    /// Counts tests that were to be joined and could not be.
    pub(super) fn add_not_packed(&self, tests: u64) {
        self.results().packed.get_or_insert_default().not_packed += tests;
    }

    /// Adds what became of a test.
    pub(super) fn add(&self, found: &Found, fork: &str, threads: &[usize], verdict: Verdict, remarks: &[String]) {
        let mut line = Line {
            file: &found.file,
            test: &found.test,
            fork,
            threads,
            status: "passed",
            failed_at: None,
            reason: None,
            remarks,
        };
        let mut results = self.results();
        let counts = results.forks.entry(fork.to_owned()).or_default();
        match verdict {
            Verdict::Passed => counts.passed += 1,
            Verdict::Failed { threads, failure } => {
                counts.failed += 1;
                (line.status, line.failed_at) = ("failed", threads);
                let at =
                    threads.map_or_else(String::new, |threads| format!(" ({})", counted(threads as u64, "thread")));
                let text = format!("{}: {}{at}: {failure}", found.file, found.test);
                line.reason = Some(failure.to_string());
                self.say(&format!("failed: {text}"));
                results.failures.push(text);
                results.status.add(Status::Mismatch);
            }
            Verdict::OracleFails { failure } => {
                counts.oracle_fails += 1;
                line.status = "oracle_fails";
                line.reason = Some(failure.to_string());
                results.oracle_fails.push(format!("{}: {}", found.test, failure.rule()));
            }
            Verdict::Skipped { reason } => {
                counts.skipped += 1;
                line.status = "skipped";
                *results.reasons.entry(reason.clone()).or_default() += 1;
                line.reason = Some(reason);
            }
            Verdict::Interrupted => return,
        }
        results.remarks += remarks.len() as u64;
        for remark in remarks {
            self.say(&format!("note: {}: {}: {remark}", found.file, found.test));
        }
        self.show(&mut results, &line);
    }

    fn show(&self, results: &mut Results, line: &Line<'_>) {
        let total: Counts = results.forks.values().copied().sum();
        self.bar.set_message(format!("{} passed, {} failed", total.passed, total.failed));
        if !self.json || results.output.is_some() {
            return;
        }
        if let Err(error) = self.bar.suspend(|| print_json(line)) {
            results.output = Some(error);
            self.is_closed.store(true, Ordering::Relaxed);
        }
    }

    /// Says everything in the end.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub(super) fn finish(self) -> io::Result<Status> {
        self.bar.finish_and_clear();
        let results = self.results.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = results.output {
            return Err(error);
        }
        match self.json {
            true => print_json(&SummaryLine { summary: Forks { forks: &results.forks, packed: results.packed } })?,
            false => print(&results.text())?,
        }
        Ok(results.status)
    }

    /// Writes a line to standard error above the bar. A closed standard error is nothing to fail for.
    fn say(&self, line: &str) {
        self.bar.suspend(|| {
            let _ = io::Write::write_all(&mut io::stderr(), format!("{line}\n").as_bytes());
        });
    }

    /// Counts are whole at every moment, so a lane that panicked while it held them has done no harm.
    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Results {
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.failures.is_empty() {
            text.push_str("failed\n");
            self.failures.iter().for_each(|failure| text.push_str(&format!("  {failure}\n")));
            text.push('\n');
        }
        if !self.oracle_fails.is_empty() {
            text.push_str("failed by the oracle in the same way: the EVM in use has other rules than the test\n");
            let mut lines = self.oracle_fails.clone();
            lines.sort();
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
            text.push('\n');
        }
        text.push_str(&self.table().to_string());
        let total: Counts = self.forks.values().copied().sum();
        text.push_str(&format!("\n{} passed, {} failed", counted(total.passed, "test"), total.failed));
        if total.oracle_fails > 0 {
            text.push_str(&format!(", {} failed by the oracle too", total.oracle_fails));
        }
        text.push_str(&format!(", {} skipped", total.skipped));
        for (reason, number) in &self.reasons {
            text.push_str(&format!("\nskipped {}: {reason}", counted(*number, "test")));
        }
        if let Some(Packed { tests, blocks, not_packed }) = self.packed {
            let (tests, blocks) = (counted(tests, "test"), counted(blocks, "block"));
            text.push_str(&format!("\n{tests} packed into {blocks}, {not_packed} not packed"));
        }
        if self.remarks > 0 {
            text.push_str(&format!(
                "\n{} differ from the oracle where the test is right",
                counted(self.remarks, "block")
            ));
        }
        text
    }

    fn table(&self) -> Table {
        let columns = ["passed", "failed", "skipped", "oracle fails"].map(|name| (name, Side::Right));
        let mut table = Table::new([("fork", Side::Left)].into_iter().chain(columns));
        for (fork, Counts { passed, failed, skipped, oracle_fails }) in &self.forks {
            let counts = [passed, failed, skipped, oracle_fails].map(|count| count.to_string());
            table.push([fork.clone()].into_iter().chain(counts));
        }
        table
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, counts| Self {
            passed: sum.passed + counts.passed,
            failed: sum.failed + counts.failed,
            skipped: sum.skipped + counts.skipped,
            oracle_fails: sum.oracle_fails + counts.oracle_fails,
        })
    }
}

#[derive(Debug, Serialize)]
struct SummaryLine<'a> {
    summary: Forks<'a>,
}

#[derive(Debug, Serialize)]
struct Forks<'a> {
    forks: &'a BTreeMap<String, Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packed: Option<Packed>,
}
