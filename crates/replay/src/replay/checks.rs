//! An outcome against everything that the recording says about it.

use std::path::Path;

use alloy_hardforks::EthereumHardforks;
use ropewalk_block::{BlockOutcome, Computed, Status, validate};

use super::Replay;
use crate::{
    compare::{self, chain_of},
    fixture::{Fixture, FixtureError, HeaderHash, Outline},
    report::replay::{BlockReport, Checklist},
};

impl Replay<'_> {
    /// Compares the outcome, and what was computed besides, with the header's claims and the recorded receipts.
    pub(super) fn check(&self, fixture: &Fixture, truth: &BlockOutcome, computed: &Computed, report: &mut BlockReport) {
        let checks = validate(&fixture.chain.spec, &fixture.block.header, &fixture.claims, truth, computed);
        if let Some(roots) = &computed.transaction_roots {
            report.receipts_root = truth.receipts_root_with_states(roots);
        }
        for mismatch in checks.mismatches() {
            self.progress.say(&format!("mismatch: {}: {mismatch}", fixture.place()));
        }
        let Checklist { oracle, store, .. } = report.checks;
        report.checks = Checklist {
            gas_used: checks.gas_used.status(),
            receipts_root: checks.receipts_root.status(),
            logs_bloom: checks.logs_bloom.status(),
            requests_hash: checks.requests_hash.status(),
            access_list_hash: checks.access_list_hash.status(),
            state_root: checks.state_root.status(),
            blob_gas_used: checks.blob_gas_used.status(),
            header_hash: self.check_header_hash(fixture),
            receipts: self.check_receipts(fixture, truth),
            oracle,
            store,
        };
    }

    pub(super) fn check_header_hash(&self, fixture: &Fixture) -> Status {
        match fixture.header_hash {
            HeaderHash::Ok => Status::Ok,
            HeaderHash::Unknown => Status::Unknown,
            HeaderHash::Mismatch { recorded, computed } => {
                let place = fixture.place().field("hash");
                self.progress
                    .say(&format!("mismatch: {place}: recorded as {recorded}, but the header hashes to {computed}"));
                Status::Mismatch
            }
        }
    }

    fn check_receipts(&self, fixture: &Fixture, truth: &BlockOutcome) -> Status {
        let Some(recorded) = &fixture.receipts else { return Status::Unknown };
        let Some(difference) = compare::recorded_receipts(&truth.receipts, recorded) else { return Status::Ok };
        let place = fixture.place();
        self.progress.say(&format!("mismatch: {place}: execution and receipts.json: {difference}"));
        Status::Mismatch
    }
}

impl BlockReport {
    /// A report of a block of which nothing is known yet.
    pub(super) fn new(fixture: &Fixture, threads: usize) -> Self {
        let header = &fixture.block.header;
        Self {
            number: header.number,
            chain: fixture.chain.name.clone(),
            fork: Some(fixture.chain.spec.fork_name(header)),
            path: fixture.directory.clone(),
            txs: fixture.block.transactions.len(),
            gas_used: header.gas_used,
            senders: Some(fixture.senders),
            threads,
            ms: None,
            sequential_ms: None,
            aborts: 0,
            reexecuted_gas: 0,
            receipts_root: None,
            changes_hash: None,
            checks: Checklist::UNKNOWN,
            verified: false,
            error: None,
        }
    }

    /// A report of a block that contradicts itself; `None` of other errors.
    pub(super) fn of_contradiction(error: &FixtureError, threads: usize) -> Option<Self> {
        let Outline { number, chain, txs, gas_used } = error.outline.as_deref()?.clone();
        Some(Self {
            number,
            chain,
            fork: None,
            path: error.place.path.parent().map(Path::to_owned).unwrap_or_default(),
            txs,
            gas_used,
            senders: None,
            threads,
            ms: None,
            sequential_ms: None,
            aborts: 0,
            reexecuted_gas: 0,
            receipts_root: None,
            changes_hash: None,
            checks: Checklist::UNKNOWN,
            verified: false,
            error: Some(chain_of(error)),
        })
    }

    /// Takes in what execution gave.
    pub(super) fn take_outcome(&mut self, fixture: &Fixture, outcome: &BlockOutcome) {
        // Before Byzantium a receipt holds the state's root after its transaction, which is not computed here.
        let has_root = fixture.chain.spec.is_byzantium_active_at_block(self.number);
        self.gas_used = outcome.gas_used;
        self.receipts_root = has_root.then(|| outcome.receipts_root());
        self.changes_hash = Some(outcome.changes.hash());
    }
}
