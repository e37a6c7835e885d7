//! The report of a replay: one row or one JSON object for each block, and a summary.

use std::path::PathBuf;

use alloy_primitives::B256;
use ropewalk_block::Status;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    figure::{Figure, counted, geometric_mean, grouped, milliseconds},
    table::{Side, Table},
};
use crate::{arguments::Mode, fixture::Senders};

/// What is reported of one block. The field names are those of the JSON object.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BlockReport {
    /// The block's number.
    pub number: u64,
    /// Name of its chain.
    pub chain: String,
    /// Its fork, unless the block contradicts itself.
    pub fork: Option<&'static str>,
    /// The fixture's directory.
    pub path: PathBuf,
    /// Number of transactions.
    pub txs: usize,
    /// Gas that execution used; for an invalid block what its header claims.
    pub gas_used: u64,
    /// Where the senders come from, unless the block contradicts itself.
    #[serde(serialize_with = "senders")]
    pub senders: Option<Senders>,
    /// Threads used.
    pub threads: usize,
    /// Milliseconds of the run that was asked for, the middle one of the repetitions.
    pub ms: Option<Figure>,
    /// Milliseconds of the oracle's run, the middle one of several.
    pub sequential_ms: Option<Figure>,
    /// Incarnations whose result was thrown away, summed over repetitions.
    pub aborts: u64,
    /// Gas of results that were thrown away, summed over repetitions.
    pub reexecuted_gas: u64,
    /// Root of the receipts; `None` before Byzantium, where it takes intermediate state roots to know it.
    pub receipts_root: Option<B256>,
    /// Hash of the changes as `ropewalk_state::Changes::hash` defines it.
    pub changes_hash: Option<B256>,
    /// What was compared, and how it went.
    pub checks: Checklist,
    /// No check failed, and the outcome equals the oracle's.
    pub verified: bool,
    /// Why the block is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was compared, and how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checklist {
    /// Gas used, against the header.
    pub gas_used: Status,
    /// Root of the receipts, against the header.
    pub receipts_root: Status,
    /// Bloom of the logs, against the header.
    pub logs_bloom: Status,
    /// Hash of the requests, against the header.
    pub requests_hash: Status,
    /// Hash of the access list, against the header.
    pub access_list_hash: Status,
    /// Root of the state, against the header.
    pub state_root: Status,
    /// The outcome of every run, against the oracle's.
    pub oracle: Status,
    /// Blob gas used, against the header.
    pub blob_gas_used: Status,
    /// The header, against the block's hash.
    pub header_hash: Status,
    /// Receipts one by one, against recorded ones.
    pub receipts: Status,
    /// The outcome over the database against the oracle's, and the database read back against the outcome.
    pub store: Status,
}

impl Checklist {
    /// Nothing compared yet.
    pub(crate) const UNKNOWN: Self = Self {
        gas_used: Status::Unknown,
        receipts_root: Status::Unknown,
        logs_bloom: Status::Unknown,
        requests_hash: Status::Unknown,
        access_list_hash: Status::Unknown,
        state_root: Status::Unknown,
        oracle: Status::Unknown,
        blob_gas_used: Status::Unknown,
        header_hash: Status::Unknown,
        receipts: Status::Unknown,
        store: Status::Unknown,
    };

    /// All checks by name.
    pub(crate) fn entries(&self) -> [(&'static str, Status); 11] {
        [
            ("gas_used", self.gas_used),
            ("receipts_root", self.receipts_root),
            ("logs_bloom", self.logs_bloom),
            ("requests_hash", self.requests_hash),
            ("state_root", self.state_root),
            ("oracle", self.oracle),
            ("blob_gas_used", self.blob_gas_used),
            ("header_hash", self.header_hash),
            ("receipts", self.receipts),
            ("store", self.store),
            ("access_list_hash", self.access_list_hash),
        ]
    }

    /// Whether the outcome equals the oracle's and no check failed. What is unknown does not count against a block.
    pub(crate) fn verified(&self) -> bool {
        self.oracle == Status::Ok && self.entries().iter().all(|(_, status)| *status != Status::Mismatch)
    }
}

impl Serialize for Checklist {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.entries();
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (name, status) in entries {
            map.serialize_entry(name, &status.to_string())?;
        }
        map.end()
    }
}

fn senders<S: Serializer>(senders: &Option<Senders>, serializer: S) -> Result<S::Ok, S::Error> {
    let word = senders.map(|senders| match senders {
        Senders::Recovered => "recovered",
        Senders::Recorded => "recorded",
    });
    word.serialize(serializer)
}

impl BlockReport {
    /// How many times as fast as the oracle the run was.
    pub(crate) fn speedup(&self) -> Option<f64> {
        let (Figure(sequential), Figure(ms)) = (self.sequential_ms?, self.ms?);
        (ms > 0.0).then(|| sequential / ms)
    }

    fn verdict(&self) -> &'static str {
        match (&self.error, self.verified) {
            (Some(_), _) => "INVALID",
            (None, true) => "verified",
            (None, false) => "MISMATCH",
        }
    }
}

/// The last word about a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// Blocks that were read.
    pub blocks: u64,
    /// Of these, blocks of which nothing is wrong.
    pub verified: u64,
    /// The other ones, invalid blocks among them.
    pub mismatched: u64,
    /// Of these, blocks that the oracle rejects or that contradict themselves.
    pub invalid: u64,
    /// Paths and fixtures that could not be used; they are not among `blocks`.
    pub unusable: u64,
    /// Geometric mean of the speed-ups of executed blocks that used gas; `None` of none, and in sequential mode.
    pub speedup_geomean: Option<Figure>,
}

/// The reports of a run.
#[derive(Debug, Clone)]
pub(crate) struct Reports {
    mode: Mode,
    summary: Summary,
    speedups: Vec<f64>,
    table: Option<Table>,
}

#[derive(Serialize)]
struct SummaryLine {
    summary: Summary,
}

impl Reports {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, summary: Summary::default(), speedups: Vec::new(), table: None }
    }

    /// Takes a block's report in.
    pub(crate) fn add(&mut self, report: &BlockReport) {
        self.summary.blocks += 1;
        self.summary.verified += u64::from(report.verified);
        self.summary.mismatched += u64::from(!report.verified);
        self.summary.invalid += u64::from(report.error.is_some());
        self.speedups.extend(report.speedup().filter(|_| report.gas_used > 0 && report.error.is_none()));
        let row = row(report, self.mode);
        self.table.get_or_insert_with(table).push(row);
    }

    /// Counts something that could not be used.
    pub(crate) fn add_unusable(&mut self) {
        self.summary.unusable += 1;
    }

    /// The last word. In sequential mode there is no speed-up to speak of.
    pub(crate) fn summary(&self) -> Summary {
        let speedups = self.speedups.iter().copied().filter(|_| self.mode != Mode::Sequential);
        Summary { speedup_geomean: geometric_mean(speedups).map(Figure), ..self.summary }
    }

    /// Table and summary for people.
    pub(crate) fn text(&self) -> String {
        let summary = self.summary();
        let mut text = self.table.as_ref().map(|table| format!("{table}\n")).unwrap_or_default();
        text.push_str(&format!("{}, {} verified", counted(summary.blocks, "block"), summary.verified));
        let mut also = |count: u64, what: &str| {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        };
        also(summary.mismatched - summary.invalid, "mismatched");
        also(summary.invalid, "invalid");
        also(summary.unusable, "unusable");
        if let Some(Figure(mean)) = summary.speedup_geomean {
            text.push_str(&format!("; speed-up {mean:.2} (geometric mean)"));
        }
        text
    }

    /// The last line of JSON.
    pub(crate) fn summary_line(&self) -> impl Serialize + use<> {
        SummaryLine { summary: self.summary() }
    }
}

fn table() -> Table {
    use Side::{Left, Right};
    Table::new([
        ("block", Left),
        ("fork", Left),
        ("txs", Right),
        ("gas", Right),
        ("gas used", Left),
        ("receipts", Left),
        ("bloom", Left),
        ("requests", Left),
        ("state", Left),
        ("oracle", Left),
        ("seq ms", Right),
        ("par ms", Right),
        ("speed-up", Right),
        ("aborts", Right),
        ("verdict", Left),
    ])
}

fn row(report: &BlockReport, mode: Mode) -> Vec<String> {
    let ms = |figure: Option<Figure>| figure.map_or_else(|| "-".to_owned(), |Figure(ms)| milliseconds(ms));
    let parallel = mode != Mode::Sequential;
    let speedup =
        report.speedup().filter(|_| parallel).map_or_else(|| "-".to_owned(), |speedup| format!("{speedup:.2}"));
    let label = format!("{} {}", report.chain, report.number);
    let fork = report.fork.unwrap_or_default().to_owned();
    let mut row = vec![label, fork, report.txs.to_string(), grouped(report.gas_used)];
    row.extend(report.checks.entries().iter().take(6).map(|(_, status)| status.to_string()));
    row.extend([
        ms(report.sequential_ms),
        ms(report.ms.filter(|_| parallel)),
        speedup,
        grouped(report.aborts),
        report.verdict().to_owned(),
    ]);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> BlockReport {
        BlockReport {
            number: 97,
            chain: "mainnet".to_owned(),
            fork: Some("Frontier"),
            path: PathBuf::from("mainnet/97"),
            txs: 3,
            gas_used: 63_000,
            senders: Some(Senders::Recovered),
            threads: 2,
            ms: Some(Figure(0.5)),
            sequential_ms: Some(Figure(1.0)),
            aborts: 1,
            reexecuted_gas: 21_000,
            receipts_root: None,
            changes_hash: Some(B256::ZERO),
            checks: Checklist { gas_used: Status::Ok, oracle: Status::Ok, ..Checklist::UNKNOWN },
            verified: true,
            error: None,
        }
    }

    #[test]
    fn each_status_stands_under_its_own_heading() {
        let mut table = table();
        let (state_root, oracle) = (Status::Ok, Status::Mismatch);
        table.push(row(
            &BlockReport { checks: Checklist { state_root, oracle, ..Checklist::UNKNOWN }, ..report() },
            Mode::Parallel,
        ));
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        for (heading, status) in [("requests", "unknown"), ("state ", "ok"), ("oracle", "mismatch")] {
            let at = lines[0].find(heading).expect("a heading");
            assert!(lines[2][at..].starts_with(status), "{heading}: {text}");
        }
    }

    #[test]
    fn the_json_object_has_the_documented_fields() {
        let json = serde_json::to_value(report()).expect("it is an object");
        for field in [
            "number",
            "txs",
            "gas_used",
            "threads",
            "ms",
            "sequential_ms",
            "aborts",
            "reexecuted_gas",
            "receipts_root",
            "changes_hash",
            "checks",
        ] {
            assert!(json.get(field).is_some(), "{field} is missing");
        }
        for check in ["gas_used", "receipts_root", "logs_bloom", "requests_hash", "state_root", "oracle"] {
            let status = json["checks"][check].as_str().expect("a word");
            assert!(["ok", "mismatch", "unknown"].contains(&status), "{check}: {status}");
        }
        assert_eq!((json["ms"].as_f64(), json["number"].as_u64()), (Some(0.5), Some(97)));
    }

    #[test]
    fn unknown_checks_do_not_count_against_a_block_and_a_missing_oracle_does() {
        let checks = report().checks;
        assert!(checks.verified());
        assert!(!Checklist::UNKNOWN.verified());
        assert!(!Checklist { state_root: Status::Mismatch, ..checks }.verified());
        assert!(!Checklist { store: Status::Mismatch, ..checks }.verified());
    }

    #[test]
    fn the_summary_counts_every_block_once() {
        let mut reports = Reports::new(Mode::Parallel);
        reports.add(&report());
        reports.add(&BlockReport { verified: false, ..report() });
        reports.add(&BlockReport { verified: false, error: Some("why".to_owned()), ..report() });
        reports.add_unusable();
        let summary = reports.summary();
        assert_eq!((summary.blocks, summary.verified, summary.mismatched), (3, 1, 2));
        assert_eq!((summary.invalid, summary.unusable), (1, 1));
        assert_eq!(summary.speedup_geomean.map(Figure::rounded), Some(2.0));
        let line = serde_json::to_value(reports.summary_line()).expect("an object");
        assert_eq!(line["summary"]["speedup_geomean"].as_f64(), Some(2.0));
        reports.mode = Mode::Sequential;
        assert!(reports.summary().speedup_geomean.is_none());
    }

    #[test]
    fn the_table_has_a_row_for_each_block() {
        let mut reports = Reports::new(Mode::Parallel);
        reports.add(&report());
        let invalid = BlockReport { number: 98, verified: false, ms: None, error: Some("why".to_owned()), ..report() };
        reports.add(&invalid);
        let text = reports.text();
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[2].starts_with("mainnet 97") && rows[2].ends_with("verified"), "{text}");
        assert!(rows[3].ends_with("INVALID"), "{text}");
        assert!(text.ends_with("2 blocks, 1 verified, 1 invalid; speed-up 2.00 (geometric mean)"), "{text}");
    }

    #[test]
    fn a_run_without_blocks_has_no_table() {
        let mut reports = Reports::new(Mode::Parallel);
        reports.add_unusable();
        assert_eq!(reports.text(), "0 blocks, 0 verified, 1 unusable");
    }
}
