//! What an import has to say: progress, a line of JSON per block, and what was done in the end.

use std::{
    io,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use ropewalk_block::pipeline::Tip;
use serde::Serialize;

use super::{error::HistoryError, source::ByteCount};
use crate::{
    compare::chain_of,
    report::{Figure, Progress, counted, print, print_json},
    status::Status,
};

/// How often the progress bar is brought up to date.
const REFRESH: Duration = Duration::from_millis(100);

/// A block that was imported, as its line of JSON.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ImportedBlock {
    pub(super) number: u64,
    pub(super) hash: B256,
    /// Number of transactions.
    pub(super) txs: usize,
    pub(super) gas_used: u64,
    pub(super) state_root: B256,
    /// When its execution began.
    #[serde(skip)]
    pub(super) started: Instant,
    /// From then until its commit was seen, in milliseconds.
    #[serde(serialize_with = "six_digits")]
    pub(super) ms: f64,
}

/// Counts of one import.
#[derive(Debug)]
pub(super) struct Summary {
    json: bool,
    progress: Progress,
    read: ByteCount,
    started: Instant,
    refreshed: Instant,
    blocks: u64,
    known: u64,
    txs: u64,
    gas: u64,
    head: Option<(u64, B256, B256)>,
}

#[derive(Serialize)]
struct SummaryLine {
    summary: Totals,
}

#[derive(Serialize)]
struct Totals {
    /// Blocks that were executed and committed.
    blocks: u64,
    /// Blocks of the files that the database held before.
    known: u64,
    txs: u64,
    gas_used: u64,
    seconds: Figure,
    blocks_per_second: Figure,
    /// Whether every block of the files is in the database.
    complete: bool,
    head: Option<HeadLine>,
}

#[derive(Serialize)]
struct HeadLine {
    number: u64,
    hash: B256,
    state_root: B256,
}

#[derive(Serialize)]
struct ErrorLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<B256>,
    error: String,
}

impl Summary {
    pub(super) fn new(json: bool) -> Self {
        let now = Instant::now();
        Self {
            json,
            progress: Progress::of_bytes(0),
            read: ByteCount::default(),
            started: now,
            refreshed: now,
            blocks: 0,
            known: 0,
            txs: 0,
            gas: 0,
            head: None,
        }
    }

    /// Begins at a head, with files of so many bytes.
    pub(super) fn begin(&mut self, head: Tip, size_bytes: u64, read: ByteCount) {
        self.progress = Progress::of_bytes(size_bytes);
        self.read = read;
        self.head = Some((head.number, head.hash, head.state_root));
        self.started = Instant::now();
    }

    /// Counts an imported block.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub(super) fn add(&mut self, block: &ImportedBlock) -> io::Result<()> {
        self.blocks += 1;
        self.txs += block.txs as u64;
        self.gas = self.gas.saturating_add(block.gas_used);
        self.head = Some((block.number, block.hash, block.state_root));
        if self.json {
            self.progress.aside(|| print_json(block))?;
        }
        self.show(block.number);
        Ok(())
    }

    /// Counts a block that the database held already.
    pub(super) fn pass_over(&mut self, number: u64) {
        self.known += 1;
        self.show(number);
    }

    /// Says what was done, and which status that makes.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub(super) fn finish(&self, ended: Option<&HistoryError>) -> io::Result<Status> {
        self.progress.finish();
        let status = ended.map_or(Status::Verified, HistoryError::status);
        if let Some(error) = ended.filter(|_| status != Status::Interrupted) {
            let word = if status == Status::Mismatch { "invalid" } else { "error" };
            self.progress.say(&format!("{word}: {}", chain_of(error)));
            if self.json {
                let (number, hash) = error.block().map_or((None, None), |(number, hash)| (Some(number), hash));
                print_json(&ErrorLine { number, hash, error: chain_of(error) })?;
            }
        }
        match self.json {
            true => print_json(&SummaryLine { summary: self.totals(ended.is_none()) })?,
            false => print(&self.text(ended.is_none()))?,
        }
        Ok(status)
    }

    fn totals(&self, complete: bool) -> Totals {
        let seconds = self.started.elapsed().as_secs_f64();
        Totals {
            blocks: self.blocks,
            known: self.known,
            txs: self.txs,
            gas_used: self.gas,
            seconds: Figure(seconds),
            blocks_per_second: Figure(self.blocks as f64 / seconds.max(1e-9)),
            complete,
            head: self.head.map(|(number, hash, state_root)| HeadLine { number, hash, state_root }),
        }
    }

    fn text(&self, complete: bool) -> String {
        let Some((number, hash, _)) = self.head else { return "nothing imported".to_owned() };
        if self.blocks == 0 && complete {
            return format!("nothing left to import: the database is at block {number} ({hash})");
        }
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        format!(
            "{} imported with {} in {seconds:.1} s ({:.0} blocks/s, {:.1} Mgas/s), {} held already; the database is at block {number} ({hash})",
            counted(self.blocks, "block"),
            counted(self.txs, "transaction"),
            self.blocks as f64 / seconds,
            self.gas as f64 / 1e6 / seconds,
            self.known,
        )
    }

    fn show(&mut self, number: u64) {
        if self.refreshed.elapsed() < REFRESH {
            return;
        }
        self.refreshed = Instant::now();
        let rate = self.blocks as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        self.progress.reach(self.read.bytes(), format!("block {number}, {rate:.0} blocks/s"));
    }
}

fn six_digits<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Figure(*value).serialize(serializer)
}
