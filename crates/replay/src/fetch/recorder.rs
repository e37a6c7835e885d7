//! One block from a node to a fixture in its place.

use std::{fs, io, path::Path};

use alloy_primitives::{B256, U64};
use ropewalk_block::{BlockError, CancelToken, Computed, oracle, validate};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    CHECK_THREADS, FetchOptions, Fetched,
    error::FetchError,
    node::Node,
    prestate::{Known, Traced},
    remote::Remote,
};
use crate::{
    arguments::ScheduleArgument,
    compare::{self, chain_of},
    fixture::{Fixture, HeaderHash, write_json, write_prestate},
    generate::Recording,
    run::Runner,
    session::{Opened, Session},
};

/// Uncles that a block can have.
const MOST_UNCLES: usize = 2;

/// Fetches blocks of one node.
#[derive(Debug)]
pub(super) struct Recorder<'n> {
    node: &'n Node,
    options: &'n FetchOptions,
    manifest: Value,
    session: Session,
    runners: [Runner; 2],
}

/// What is needed of a block to ask for the rest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    hash: B256,
    parent_hash: B256,
    #[serde(default)]
    uncles: Vec<B256>,
}

impl<'n> Recorder<'n> {
    /// # Errors
    /// When threads cannot be started.
    pub(super) fn new(
        node: &'n Node,
        options: &'n FetchOptions,
        manifest: Value,
        interrupt: CancelToken,
    ) -> Result<Self, FetchError> {
        let unable = |error| FetchError::Setup(io::Error::other(error));
        let runner = |schedule| Runner::new(CHECK_THREADS, schedule, Some(0), interrupt.clone()).map_err(unable);
        let runners = [runner(ScheduleArgument::Normal)?, runner(ScheduleArgument::Adversarial { seed: 0 })?];
        Ok(Self { node, options, manifest, session: Session::new(interrupt).map_err(unable)?, runners })
    }

    /// Fetches one block, unless it is there. Remarks say what the fixture does without.
    pub(super) fn block(&mut self, number: u64) -> Result<(Fetched, Vec<String>), FetchError> {
        let out = &self.options.out;
        let place = out.join(number.to_string());
        if place.exists() {
            return Ok((Fetched::Present, Vec::new()));
        }
        let io = |source| FetchError::Io { path: out.clone(), source };
        let passing = tempfile::Builder::new().prefix(".fetch-").tempdir_in(out).map_err(io)?;
        let (directory, mut remarks) = (passing.path(), Vec::new());
        let head = self.write_block(directory, number, &mut remarks)?;
        match self.options.witness {
            true => self.write_witness(directory, number)?,
            false => self.write_state(directory, number, &head, &mut remarks)?,
        }
        if self.node.block_hash(number)? != Some(head.hash) {
            return Err(FetchError::Replaced { number });
        }
        self.check(directory, number)?;
        fs::rename(directory, &place).map_err(|source| FetchError::Io { path: place, source })?;
        // There is nothing left to remove under the passing name.
        let _ = passing.keep();
        Ok((Fetched::New, remarks))
    }

    fn write_block(&self, directory: &Path, number: u64, remarks: &mut Vec<String>) -> Result<Head, FetchError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let block = self.node.call(METHOD, &json!([U64::from(number), true]))?;
        let malformed = |source| FetchError::Malformed { method: METHOD, source };
        let head: Option<Head> = serde_json::from_str(block.get()).map_err(malformed)?;
        let head = head.ok_or(FetchError::NoBlock { number })?;
        write_json(directory, "fixture.json", &self.manifest)?;
        write_json(directory, "block.json", &block)?;
        if !head.uncles.is_empty() {
            let uncle = |at| {
                let parameters = json!([U64::from(number), U64::from(at)]);
                self.node.call("eth_getUncleByBlockNumberAndIndex", &parameters)
            };
            let uncles: Vec<Box<RawValue>> =
                (0..head.uncles.len().min(MOST_UNCLES)).map(uncle).collect::<Result<_, _>>()?;
            write_json(directory, "uncles.json", &uncles)?;
        }
        match self.node.call("eth_getBlockReceipts", &json!([U64::from(number)])) {
            Ok(receipts) => drop(write_json(directory, "receipts.json", &receipts)?),
            Err(FetchError::MissingMethod { method, .. }) => {
                remarks.push(format!("the node lacks {method}; receipts are checked by their root alone"));
            }
            Err(error) => return Err(error),
        }
        Ok(head)
    }

    fn write_witness(&self, directory: &Path, number: u64) -> Result<(), FetchError> {
        let witness = self.node.call("debug_executionWitness", &json!([U64::from(number)]));
        let witness = witness.map_err(|error| match error {
            FetchError::MissingMethod { method, .. } => {
                FetchError::MissingMethod { method, needed: "for --witness; without that option a prestate will do" }
            }
            error => error,
        })?;
        write_json(directory, "witness.json", &witness)?;
        Ok(())
    }

    /// Executes the block over the node's state, and writes down all that was read.
    fn write_state(
        &mut self,
        directory: &Path,
        number: u64,
        head: &Head,
        remarks: &mut Vec<String>,
    ) -> Result<(), FetchError> {
        let mut known = Known::default();
        let parent = number - 1;
        known.block_hashes.insert(parent, head.parent_hash);
        let parameters = json!([U64::from(number), { "tracer": "prestateTracer" }]);
        match self.node.ask::<Vec<Traced>>("debug_traceBlockByNumber", &parameters) {
            Ok(traced) => known.merge(traced),
            Err(FetchError::MissingMethod { method, .. }) => {
                remarks.push(format!("the node lacks {method}; the state was asked for one by one"));
            }
            Err(error) => return Err(error),
        }
        // With no state at all: the block and its chain are wanted, read and checked as any fixture's.
        let placeholder = directory.join(write_json(directory, "prestate.json", &json!({}))?);
        let fixture: Fixture = self.session.read(directory).map_err(|error| unusable(number, error))?;
        fs::remove_file(&placeholder).map_err(|source| FetchError::Io { path: placeholder, source })?;

        let remote = Remote::new(self.node, parent, known);
        let recording = Recording::new(&remote);
        match oracle::execute(&fixture.chain.spec, &fixture.block, &recording) {
            Ok(_) => {}
            Err(BlockError::State { source, .. }) => return Err(FetchError::State { number, source }),
            Err(error) => return Err(FetchError::NotVerified { number, reason: chain_of(&error) }),
        }
        recording.read_codes().map_err(|source| FetchError::State { number, source })?;
        let mut reads = recording.finish();
        reads.block_hashes.insert(parent, head.parent_hash);
        write_prestate(directory, &reads)?;
        Ok(())
    }

    /// Reads the fixture back and replays it.
    fn check(&mut self, directory: &Path, number: u64) -> Result<(), FetchError> {
        let wrong = |reason: String| Err(FetchError::NotVerified { number, reason });
        let Opened { fixture, ground, truth } =
            self.session.open(directory).map_err(|error| unusable(number, error))?;
        let outcome = match &truth {
            Ok(outcome) => outcome,
            Err(error) => return wrong(chain_of(error)),
        };
        if let HeaderHash::Mismatch { recorded, computed } = fixture.header_hash {
            return wrong(format!("its hash is given as {recorded}, its header hashes to {computed}"));
        }
        let root = match fixture.claims.state_root {
            Some(_) => self.session.in_pool(|| ground.root_after(&outcome.changes)),
            None => Ok(None),
        };
        let root = root.map_err(|source| FetchError::State { number, source })?;
        let computed = Computed { state_root: root, ..Computed::default() };
        let checks = validate(&fixture.chain.spec, &fixture.block.header, &fixture.claims, outcome, &computed);
        if let Some(mismatch) = checks.mismatches().first() {
            return wrong(mismatch.to_string());
        }
        if let Some(receipts) = &fixture.receipts
            && let Some(difference) = compare::recorded_receipts(&outcome.receipts, receipts)
        {
            return wrong(format!("the node's receipts: {difference}"));
        }
        let reader = ground.reader();
        for runner in &self.runners {
            let ours = runner.execute(&fixture, &reader, 0).value;
            if let Err(BlockError::Cancelled { .. }) = ours {
                return Err(FetchError::Interrupted);
            }
            let ours = ours.as_ref().map(|execution| &execution.outcome);
            if let Some(difference) = compare::results(ours, Ok(outcome)) {
                return wrong(format!("the parallel run and the oracle: {difference}"));
            }
        }
        Ok(())
    }
}

fn unusable(number: u64, error: crate::fixture::FixtureError) -> FetchError {
    FetchError::Fixture { number, source: Box::new(error) }
}
