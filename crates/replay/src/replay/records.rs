//! A block's record: what follows from it is compared with the header, and written beside the block where that is asked
//! for.

use std::sync::Arc;

use alloy_hardforks::EthereumHardforks;
use alloy_primitives::B256;
use ropewalk_block::{AccessList, BlockOutcome, Computed, ExecutionWitness, Record, Status as CheckStatus};
use ropewalk_state::{
    StateError, StateReader, Witness,
    trie::{NodeReader, StateTrie},
};

use super::{Failure, Replay, whole::WholeState};
use crate::{
    arguments::Mode,
    compare,
    fixture::{Fixture, access_list, witness},
    ground::Ground,
    report::replay::BlockReport,
};

impl Replay<'_> {
    /// The list that the block is executed by, where that is how it is to be executed.
    pub(super) fn access_list(&self, fixture: &Fixture) -> Result<Option<Arc<AccessList>>, Failure> {
        if self.arguments.mode != Mode::AccessList {
            return Ok(None);
        }
        access_list::require(&fixture.directory).map(|list| Some(Arc::new(list))).map_err(Failure::Fixture)
    }

    /// The block's record, where something is made of it. A run that records must do what any other does.
    pub(super) fn record(
        &self,
        fixture: &Fixture,
        ground: &Ground,
        truth: &BlockOutcome,
        report: &mut BlockReport,
    ) -> Option<Record> {
        let holds_roots = !fixture.chain.spec.is_byzantium_active_at_block(fixture.number());
        let written = self.arguments.write_access_lists || self.arguments.write_witness;
        let wanted = written || holds_roots || fixture.claims.access_list_hash.is_some();
        if !wanted || self.arguments.mode == Mode::Sequential {
            return None;
        }
        let recorded = self.runner.record(fixture, &ground.reader());
        let outcome = recorded.as_ref().map(|execution| &execution.outcome);
        let difference = compare::results(outcome, Ok(truth));
        if difference.is_some() {
            report.checks.oracle = self.compared(fixture, "the recorded run", difference);
        }
        recorded.ok().and_then(|execution| execution.record)
    }

    /// What the record and the whole state say beyond the outcome. The state after the block comes along where the one
    /// before it is whole.
    ///
    /// # Errors
    /// When a witness lacks a node that a root needs.
    pub(super) fn compute(
        &self,
        fixture: &Fixture,
        ground: &Ground,
        whole: Option<&WholeState>,
        truth: &BlockOutcome,
        record: Option<&Record>,
    ) -> Result<(Computed, Option<WholeState>), StateError> {
        let holds_roots = !fixture.chain.spec.is_byzantium_active_at_block(fixture.number());
        let recorded = record.filter(|_| holds_roots);
        let mut computed = Computed {
            access_list_hash: record
                .filter(|_| fixture.claims.access_list_hash.is_some())
                .map(|record| record.access_list().hash()),
            ..Computed::default()
        };
        if let Some(whole) = whole {
            let mut trie = whole.trie.clone();
            computed.state_root = Some(self.session.in_pool(|| trie.apply(&truth.changes))?);
            computed.transaction_roots =
                recorded.map(|record| transaction_roots(whole.trie.clone(), record)).transpose()?;
            return Ok((computed, Some(whole.clone().after(fixture, trie))));
        }
        if fixture.claims.state_root.is_some() {
            computed.state_root = self.session.in_pool(|| ground.root_after(&truth.changes))?;
        }
        if let (Some(witness), Some(record)) = (ground.witness(), recorded) {
            computed.transaction_roots =
                Some(transaction_roots(StateTrie::new(witness, witness.state_root()), record)?);
        }
        Ok((computed, None))
    }

    /// Writes what was asked for of a verified block.
    pub(super) fn write_records(
        &self,
        fixture: &Fixture,
        ground: &Ground,
        whole: Option<&WholeState>,
        truth: &BlockOutcome,
        record: Option<&Record>,
        report: &mut BlockReport,
    ) -> Result<(), Failure> {
        let Some(record) = record else { return Ok(()) };
        if self.arguments.write_access_lists {
            access_list::write(&fixture.directory, &record.access_list()).map_err(Failure::Write)?;
        }
        if !self.arguments.write_witness {
            return Ok(());
        }
        let failed =
            |error| Failure::Fixture(crate::session::state_error(fixture, ropewalk_block::Position::PreBlock, error));
        let reader = ground.reader();
        match (whole, ground.witness()) {
            (Some(whole), None) => {
                let root = whole.trie.root();
                let made = record.witness(&whole.trie, root, &*reader, &truth.changes).map_err(failed)?;
                if self.stateless_run_agrees(fixture, ground, &made, root, truth, report) {
                    let headers = whole.headers_from(made.oldest_block_hash);
                    witness::write(&fixture.directory, &made, headers).map_err(Failure::Write)?;
                }
            }
            (_, Some(recorded)) => {
                let root = recorded.state_root();
                let made = record.witness(recorded, root, &*reader, &truth.changes).map_err(failed)?;
                if self.stateless_run_agrees(fixture, ground, &made, root, truth, report) {
                    let (nodes, codes) = (made.state.len(), made.codes.len());
                    let place = fixture.place();
                    self.progress.say(&format!(
                        "note: {place}: has a witness already, which is kept; {nodes} nodes and {codes} codes would do"
                    ));
                }
            }
            (None, None) => self.progress.say(&format!(
                "note: {}: no witness is written, its state is not whole; one is where fixture.json names a genesis and \
                 the chain is replayed from block 1 on",
                fixture.place()
            )),
        }
        Ok(())
    }

    /// Executes the block over its witness alone: a witness that does not lead to the same outcome and root is not one.
    fn stateless_run_agrees(
        &self,
        fixture: &Fixture,
        ground: &Ground,
        made: &ExecutionWitness,
        root: B256,
        truth: &BlockOutcome,
        report: &mut BlockReport,
    ) -> bool {
        let hashes: Vec<_> = ground.recorded().iter_block_hashes().collect();
        let witness = Witness::new(root, made.state.iter().cloned(), made.codes.iter().cloned(), hashes);
        let root_after = self.session.in_pool(|| witness.state_root_after(&truth.changes));
        let reader: Arc<dyn StateReader> = Arc::new(witness);
        let run = self.runner.execute(fixture, &reader, 0).value;
        let outcome = run.as_ref().map(|execution| &execution.outcome);
        let difference = compare::results(outcome, Ok(truth));
        let same_root = match (&root_after, fixture.claims.state_root) {
            (Ok(found), Some(claimed)) => *found == claimed,
            (Ok(_), None) => true,
            (Err(_), _) => false,
        };
        if !same_root {
            let place = fixture.place();
            self.progress.say(&format!("mismatch: {place}: the root over the block's witness: {root_after:?}"));
            report.checks.state_root = CheckStatus::Mismatch;
        }
        if difference.is_some() {
            report.checks.oracle = self.compared(fixture, "the run over the block's witness", difference);
            return false;
        }
        same_root
    }
}

/// Root of the state after each transaction, which receipts before Byzantium hold.
fn transaction_roots<R: NodeReader>(mut trie: StateTrie<R>, record: &Record) -> Result<Vec<B256>, StateError> {
    let positions = record.positions.len();
    let mut roots = Vec::with_capacity(positions);
    for position in record.positions.iter().take(positions.saturating_sub(1)) {
        roots.push(trie.apply(&position.changes)?);
    }
    // The first is that after the rules ahead of the transactions, which no receipt holds.
    Ok(roots.split_off(1.min(roots.len())))
}
