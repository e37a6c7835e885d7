//! Where imported blocks end up: one database, which begins with a genesis block.
//!
//! Blocks go through a pipeline: while one is executed, those before it are committed on a thread of their own, each as
//! one atomic batch, so a process that is killed leaves the state of a whole block. What is told of a block is told when
//! it is committed. Without the pipeline each block is waited for.

use std::{collections::VecDeque, path::Path, sync::Arc};

use alloy_consensus::Header;
use alloy_primitives::B256;
use rayon::ThreadPool;
use ropewalk_block::{
    BlockError, BlockExecutor, RecoveredBlock,
    import::{ImportError, OutcomeFault},
    pipeline::{CommitFailure, Pipeline, PipelineError, Tip},
};
use ropewalk_state::{BlockCommit, StateError};
use ropewalk_store::{Store, StoreOptions};

use super::{
    error::{FilePlace, HistoryError, RefusedBlock},
    genesis::GenesisBlock,
    receipts::{self, ReceiptDifference},
    source::SourceBlock,
    summary::ImportedBlock,
};
use crate::{
    arguments::{ImportArguments, Switch},
    report::Progress,
};

/// The database of an import.
#[derive(Debug)]
pub(super) struct Database {
    pipeline: Pipeline<Store>,
    is_pipelined: bool,
    /// Blocks that were pushed and of which nothing was told, in order.
    pending: VecDeque<Pushed>,
}

/// A block on its way into the database.
#[derive(Debug)]
struct Pushed {
    place: FilePlace,
    block: ImportedBlock,
}

impl Pushed {
    /// The block as it is told of now.
    fn told(self) -> ImportedBlock {
        let ms = self.block.started.elapsed().as_secs_f64() * 1e3;
        ImportedBlock { ms, ..self.block }
    }
}

impl Database {
    /// Opens the database, or begins one with `genesis`. Roots are computed on `pool`.
    ///
    /// # Errors
    /// When the database cannot be used or holds another chain.
    pub(super) fn open(
        arguments: &ImportArguments,
        genesis: &GenesisBlock,
        pool: &Arc<ThreadPool>,
    ) -> Result<Self, HistoryError> {
        let options = StoreOptions { durability: arguments.durability.0, ..StoreOptions::default() };
        let path = arguments.db.as_path();
        let mut store = Store::open(path, &options)?;
        if let Some(lost) = store.lost_blocks() {
            Progress::new(0).say(&format!(
                "note: {}: blocks {} to {} ({}) were committed here and are lost; they are imported again",
                path.display(),
                lost.first,
                lost.last,
                lost.hash,
            ));
        }
        if store.head().is_none() {
            let &GenesisBlock { hash, header: Header { state_root, parent_hash, .. }, .. } = genesis;
            let changes = genesis.changes();
            let block = BlockCommit { number: 0, hash, parent_hash, state_root, changes: &changes };
            pool.install(|| store.commit_block(&block))?;
        }
        let tip = tip(&store, path, genesis)?;
        let options = arguments.pipeline_options();
        let pipeline = Pipeline::new(store, tip, Arc::clone(pool), options).map_err(HistoryError::CommitThread)?;
        Ok(Self { pipeline, is_pipelined: arguments.pipeline == Switch::On, pending: VecDeque::new() })
    }

    /// The block that the next one must extend.
    pub(super) fn tip(&self) -> Tip {
        self.pipeline.tip()
    }

    /// Hash of the block `number`, if the database holds it or is about to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn hash_of(&self, number: u64) -> Result<Option<B256>, HistoryError> {
        if let Some(pushed) = self.pending.iter().find(|pushed| pushed.block.number == number) {
            return Ok(Some(pushed.block.hash));
        }
        Ok(self.pipeline.snapshot().block(number)?.map(|meta| meta.hash))
    }

    /// Executes a block and hands it over to be committed, if its outcome is the one that its header claims.
    ///
    /// # Errors
    /// When the block is wrong, or one before it turned out to be, or the database failed.
    pub(super) fn execute(
        &mut self,
        executor: &BlockExecutor,
        source: &SourceBlock,
        block: &RecoveredBlock,
        imported: ImportedBlock,
    ) -> Result<(), HistoryError> {
        if let Err(error) = self.pipeline.execute(executor, block) {
            return Err(self.ended(source, error));
        }
        self.pending.push_back(Pushed { place: source.place.clone(), block: imported });
        if !self.is_pipelined {
            self.pipeline.drain().map_err(|failure| failed(&self.pending, failure))?;
        }
        Ok(())
    }

    /// The next block that is committed and of which nothing was told.
    pub(super) fn next_committed(&mut self) -> Option<ImportedBlock> {
        let committed = self.pipeline.committed();
        let pushed = self.pending.pop_front_if(|pushed| pushed.block.number <= committed)?;
        Some(pushed.told())
    }

    /// Waits until everything is committed and on the disk. Blocks of which nothing was told come with it.
    ///
    /// # Errors
    /// When a block could not be committed, or the database cannot be written.
    pub(super) fn finish(self) -> (Vec<ImportedBlock>, Result<(), HistoryError>) {
        let Self { pipeline, mut pending, .. } = self;
        let (mut store, committed) = pipeline.finish();
        let ended = committed.map_err(|failure| failed(&pending, failure));
        let head = store.head().map_or(0, |head| head.number);
        pending.retain(|pushed| pushed.block.number <= head);
        // A block that is wrong does not make those before it less worth keeping.
        let synced = store.sync().map_err(HistoryError::from);
        (pending.into_iter().map(Pushed::told).collect(), ended.and(synced))
    }

    /// What ended the import.
    fn ended(&self, source: &SourceBlock, error: PipelineError) -> HistoryError {
        match error {
            PipelineError::Commit(failure) => failed(&self.pending, failure),
            PipelineError::NotExtending { parent_hash, .. } => {
                refused(source, None, ImportError::UnknownParent { hash: parent_hash })
            }
            PipelineError::Refused { source: fault, outcome, .. } => match *fault {
                ImportError::Execution(BlockError::Cancelled { .. }) => HistoryError::Interrupted,
                fault @ ImportError::Outcome(OutcomeFault::ReceiptsRoot { .. }) => {
                    let both = source.receipts.as_ref().zip(outcome);
                    let receipt = both.and_then(|(archive, ours)| receipts::first_difference(&ours.receipts, archive));
                    refused(source, receipt, fault)
                }
                fault => refused(source, None, fault),
            },
        }
    }
}

/// The database's last block, which must belong to the chain of `genesis`.
fn tip(store: &Store, path: &Path, genesis: &GenesisBlock) -> Result<Tip, HistoryError> {
    let not_from_genesis = || HistoryError::NotFromGenesis { path: path.to_owned() };
    let head = store.head().ok_or_else(not_from_genesis)?;
    let state_root = head.state_root.ok_or_else(not_from_genesis)?;
    let first = store.reader().block(0)?.ok_or_else(not_from_genesis)?;
    if first.hash != genesis.hash {
        let (expected, found) = (genesis.hash, first.hash);
        return Err(HistoryError::AnotherChain { path: path.to_owned(), number: 0, expected, found });
    }
    Ok(Tip { number: head.number, hash: head.hash, state_root })
}

/// A block that could not be committed: invalid where its root is wrong, and an error of the database otherwise.
fn failed(pending: &VecDeque<Pushed>, failure: CommitFailure) -> HistoryError {
    let CommitFailure { number, hash, source } = &failure;
    let StateError::WrongStateRoot { expected, found, .. } = *source else { return failure.into() };
    let Some(pushed) = pending.iter().find(|pushed| pushed.block.number == *number) else { return failure.into() };
    let place = FilePlace { block: None, ..pushed.place.clone() };
    let fault = OutcomeFault::StateRoot { expected, found }.into();
    Box::new(RefusedBlock { place, number: *number, hash: *hash, receipt: None, fault }).into()
}

/// A block that is readable and breaks a rule.
pub(super) fn refused(source: &SourceBlock, receipt: Option<ReceiptDifference>, fault: ImportError) -> HistoryError {
    let place = FilePlace { block: None, ..source.place.clone() };
    let (number, hash) = (source.decoded.block.header.number, source.decoded.hash);
    Box::new(RefusedBlock { place, number, hash, receipt, fault }).into()
}
