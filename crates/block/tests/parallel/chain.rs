//! Blocks that follow each other, each with the outcome that the oracle gives it on what the ones before it left.

use std::sync::Arc;

use alloy_hardforks::EthereumHardforks;
use alloy_primitives::B256;
use ropewalk_block::{BlockOutcome, ExecutorOptions, RecoveredBlock, pipeline::ExecutedBlock};
use ropewalk_state::{MemoryState, StateWriter};

use crate::{
    case::{BLIND, Case},
    transaction::Tx,
    world::{NUMBER, World},
};

/// Hash of the block before the first.
pub(crate) const BEFORE: B256 = B256::repeat_byte(0x77);

/// A chain of blocks whose headers claim what is true.
#[derive(Debug)]
pub(crate) struct Chain {
    /// How the blocks are to be executed; the world is the one before the first.
    pub(crate) case: Case,
    pub(crate) links: Vec<Link>,
}

/// A block of a chain.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) block: RecoveredBlock,
    pub(crate) outcome: BlockOutcome,
    /// The state after the block.
    pub(crate) after: MemoryState,
}

impl Link {
    pub(crate) fn number(&self) -> u64 {
        self.block.header.number
    }

    /// The block as a pipeline takes it.
    pub(crate) fn executed(&self) -> ExecutedBlock {
        let (header, changes) = (&self.block.header, Arc::new(self.outcome.changes.clone()));
        let (number, parent_hash, state_root) = (header.number, header.parent_hash, header.state_root);
        ExecutedBlock { number, hash: self.block.hash, parent_hash, state_root, changes }
    }
}

impl Chain {
    /// One block for each list of transactions, on the world of `case` and in its manner.
    pub(crate) fn new(case: &Case, lists: &[Vec<Tx>]) -> Self {
        let world = case.world.clone().block_hash(NUMBER - 1, BEFORE);
        let case = Case { world, ..case.clone() };
        let (mut state, mut parent) = (case.world.state.clone(), BEFORE);
        let mut links = Vec::new();
        for (number, transactions) in (NUMBER..).zip(lists) {
            let mut header = case.header.clone();
            (header.number, header.parent_hash, header.timestamp) = (number, parent, header.timestamp + number);
            let next = Case {
                header,
                world: World { state: state.clone() },
                transactions: transactions.clone(),
                ..case.clone()
            };
            let mut block = next.block();
            let outcome = next.oracle(&block, &state).expect("the oracle holds the block valid");
            let header = &mut block.header;
            header.gas_used = outcome.gas_used;
            header.receipts_root = next.receipts_root(&outcome);
            header.logs_bloom = outcome.logs_bloom();
            header.blob_gas_used = header.blob_gas_used.map(|_| outcome.blob_gas_used);
            header.requests_hash = Some(outcome.requests_hash());
            let mut after = state.clone();
            after.apply(&outcome.changes);
            header.state_root = after.state_root();
            block.hash = header.hash_slow();
            let link = Link { block, outcome, after };
            state.commit_block(&commit(&link)).expect("it follows");
            parent = link.block.hash;
            links.push(Link { after: state.clone(), ..link });
        }
        Self { case, links }
    }

    /// The state before the block with this index.
    pub(crate) fn before(&self, index: usize) -> &MemoryState {
        index.checked_sub(1).map_or(&self.case.world.state, |before| &self.links[before].after)
    }
}

fn commit(link: &Link) -> ropewalk_state::BlockCommit<'_> {
    let header = &link.block.header;
    ropewalk_state::BlockCommit {
        number: header.number,
        hash: link.block.hash,
        parent_hash: header.parent_hash,
        state_root: header.state_root,
        changes: &link.outcome.changes,
    }
}

impl Case {
    /// The root of the receipts of the case's own block, with the state after each transaction before Byzantium.
    fn receipts_root(&self, outcome: &BlockOutcome) -> B256 {
        if self.chain.is_byzantium_active_at_block(self.header.number) {
            return outcome.receipts_root();
        }
        let options = ExecutorOptions { record: true, ..self.options(BLIND) };
        let execution =
            self.executor_with(BLIND, options).execute(&self.block(), self.reader()).expect("a valid block");
        let record = execution.record.expect("it was asked for");
        let mut state = self.world.state.clone();
        let root_after = |position: &ropewalk_block::PositionRecord| {
            state.apply(&position.changes);
            state.state_root()
        };
        let roots: Vec<_> = record.positions.iter().map(root_after).collect();
        outcome.receipts_root_with_states(&roots[1..roots.len() - 1]).expect("a root for each receipt")
    }
}
