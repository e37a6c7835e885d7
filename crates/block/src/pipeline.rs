//! A chain of blocks through execution, root and write, the next one executed while those before it are committed.
//!
//! ```text
//! caller's thread     execute n + 1 ──► check ──► push ─┐        push waits while the backlog is full
//!                        ▲                              │
//!                     state: snapshot + changes of      ▼
//!                     blocks that are not in it      backlog, in order
//!                        ▲                              │
//! committer's thread     └── snapshot of n ◄── commit ◄─┘        root and write of n
//! ```
//!
//! Block n + 1 is executed on the newest snapshot of the store with the changes of the blocks above it on top, which is
//! the state that block n leaves whether or not it is written yet. So the outcome is the same as without the pipeline
//! (I3), and the store takes the same blocks in the same order.
//!
//! - At most [`backlog`](PipelineOptions::backlog) blocks are executed and not committed: memory is bounded by them.
//! - A block that cannot be committed, because its state root is wrong or the store fails, ends the pipeline: nothing
//!   after it is committed, whatever was executed meanwhile. The store is at the last good block.
//! - The store belongs to the committer until [`Pipeline::finish`] gives it back. Dropping a pipeline ends it after the
//!   block that is being committed.
//!
//! Nobody spins: who has nothing to do waits on a condition variable.

mod backlog;
mod committer;

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use rayon::ThreadPool;
use ropewalk_state::{
    Changes, Overlay, StateError, StateReader, StateStore,
    trie::{NodeReader, StateTrie},
};

use self::{backlog::Shared, committer::commit_all};
use crate::{
    BlockError, BlockExecutor, BlockOutcome, Computed, Execution, Position, Record, RecoveredBlock,
    import::{ImportError, check_outcome},
};

/// How a pipeline runs. None of this changes what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineOptions {
    /// Most blocks that are executed and not yet committed.
    pub backlog: NonZeroUsize,
}

impl Default for PipelineOptions {
    /// Four blocks.
    fn default() -> Self {
        Self { backlog: NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN) }
    }
}

/// A block that was executed and whose outcome is what its header claims, as far as the outcome alone tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutedBlock {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// Hash of the block it extends.
    pub parent_hash: B256,
    /// State root that its header claims; the store checks it.
    pub state_root: B256,
    /// What it changed.
    pub changes: Arc<Changes>,
}

/// A block that the next one can extend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Root of the state after it.
    pub state_root: B256,
}

/// A block that ended a pipeline: it could not be committed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("block {number} ({hash}) cannot be committed")]
pub struct CommitFailure {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// Why: [`StateError::WrongStateRoot`] where the block is invalid, anything else where the store failed.
    pub source: StateError,
}

/// Why a block did not go into a pipeline.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The block breaks a rule, or its state could not be read. The pipeline goes on without it.
    #[error("block {number} ({hash}) is refused")]
    Refused {
        /// The block's number.
        number: u64,
        /// The block's hash.
        hash: B256,
        /// The rule, or what could not be read.
        source: Box<ImportError>,
        /// What execution gave, where that is not what the header claims.
        outcome: Option<Box<BlockOutcome>>,
    },
    /// The block does not follow the one before. The pipeline goes on without it.
    #[error("block {number} with parent {parent_hash} does not extend block {} ({})", .tip.number, .tip.hash)]
    NotExtending {
        /// The block's number.
        number: u64,
        /// The block's parent.
        parent_hash: B256,
        /// The block that the next one must extend.
        tip: Tip,
    },
    /// An earlier block could not be committed. The pipeline has ended.
    #[error(transparent)]
    Commit(#[from] CommitFailure),
}

/// What a pipeline has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PipelineStats {
    /// Blocks that were pushed.
    pub pushed: u64,
    /// Most blocks that were in the backlog at once.
    pub deepest: usize,
    /// How long pushes waited for room in the backlog.
    pub waited: Duration,
}

/// Commits blocks while later ones are executed.
pub struct Pipeline<S: StateStore> {
    shared: Arc<Shared<S::Snapshot>>,
    committer: Option<JoinHandle<S>>,
    options: PipelineOptions,
    tip: Tip,
    /// Blocks that may not be in the newest snapshot yet, oldest first.
    layers: VecDeque<ExecutedBlock>,
    stats: PipelineStats,
}

impl<S: StateStore + Send + 'static> Pipeline<S> {
    /// A pipeline into `store`, whose last block is `tip`. Roots are computed on `pool`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(store: S, tip: Tip, pool: Arc<ThreadPool>, options: PipelineOptions) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(tip.number, store.snapshot()));
        let of_committer = Arc::clone(&shared);
        let committer = thread::Builder::new()
            .name("ropewalk-commit".to_owned())
            .spawn(move || commit_all(store, &pool, &of_committer))?;
        let (layers, stats) = (VecDeque::new(), PipelineStats::default());
        Ok(Self { shared, committer: Some(committer), options, tip, layers, stats })
    }

    /// The block that the next one must extend.
    pub fn tip(&self) -> Tip {
        self.tip
    }

    /// Number of the last block that was committed.
    pub fn committed(&self) -> u64 {
        self.shared.committed()
    }

    /// The state after the block that was committed last.
    pub fn snapshot(&self) -> Arc<S::Snapshot> {
        self.shared.snapshot().1
    }

    /// What happened so far.
    pub fn stats(&self) -> PipelineStats {
        self.stats
    }

    /// The state after [`tip`](Self::tip), for the next block to be executed on.
    pub fn state(&mut self) -> Arc<dyn StateReader> {
        let (committed, snapshot) = self.shared.snapshot();
        while self.layers.front().is_some_and(|layer| layer.number <= committed) {
            self.layers.pop_front();
        }
        if self.layers.is_empty() {
            return snapshot;
        }
        let mut overlay = Overlay::new(snapshot);
        for layer in &self.layers {
            overlay.push(Arc::clone(&layer.changes));
            overlay.insert_block_hash(layer.number, layer.hash);
        }
        Arc::new(overlay)
    }

    /// Hands a block over to be committed. It waits while the backlog is full.
    ///
    /// # Errors
    /// When the block does not extend the tip, or an earlier block could not be committed.
    pub fn push(&mut self, block: ExecutedBlock) -> Result<(), PipelineError> {
        let extends = self.tip.number.checked_add(1) == Some(block.number) && self.tip.hash == block.parent_hash;
        if !extends {
            let ExecutedBlock { number, parent_hash, .. } = block;
            return Err(PipelineError::NotExtending { number, parent_hash, tip: self.tip });
        }
        let began = Instant::now();
        let depth = self.shared.push(block.clone(), self.options.backlog.get())?;
        self.stats.waited += began.elapsed();
        self.stats.deepest = self.stats.deepest.max(depth);
        self.stats.pushed += 1;
        self.tip = Tip { number: block.number, hash: block.hash, state_root: block.state_root };
        self.layers.push_back(block);
        Ok(())
    }

    /// Waits until every block that was pushed is committed, and hands out the state after the last.
    ///
    /// # Errors
    /// When a block could not be committed.
    pub fn drain(&mut self) -> Result<Arc<S::Snapshot>, CommitFailure> {
        let snapshot = self.shared.drained()?;
        self.layers.clear();
        Ok(snapshot)
    }

    /// Waits until every block that was pushed is committed, and gives the store back: at the last block, or at the one
    /// before the failure.
    ///
    /// # Panics
    /// When the committer's thread panicked outside the store, which would be an error of this module.
    pub fn finish(mut self) -> (S, Result<(), CommitFailure>) {
        let drained = self.drain().map(drop);
        self.shared.close();
        let committer = self.committer.take().expect("it is taken here or when the pipeline is dropped");
        (committer.join().expect("panics of the store are failures of its block"), drained)
    }
}

impl<S> Pipeline<S>
where
    S: StateStore + Send + 'static,
    S::Snapshot: NodeReader,
{
    /// Executes a block on [`state`](Self::state), checks its outcome against its header, and pushes it. Whatever its
    /// header claims is checked here, except for the state root, which the store checks.
    ///
    /// The changes go with the block: those of the execution that is handed out are empty.
    ///
    /// # Errors
    /// When the block is invalid or cannot be executed, or an earlier block could not be committed.
    pub fn execute(&mut self, executor: &BlockExecutor, block: &RecoveredBlock) -> Result<Execution, PipelineError> {
        let (number, hash) = (block.header.number, block.hash);
        let refused =
            |source: ImportError| PipelineError::Refused { number, hash, source: Box::new(source), outcome: None };
        let mut execution = executor.execute_to_check(block, self.state()).map_err(|error| refused(error.into()))?;
        let computed = self.computed(executor, block, execution.record.as_ref()).map_err(|error| match error {
            Ending::Committed(failure) => failure.into(),
            Ending::State(source) => refused(BlockError::State { position: Position::PostBlock, source }.into()),
        })?;
        if let Err(fault) = check_outcome(executor.chain(), &block.header, &execution.outcome, &computed) {
            let (source, outcome) = (Box::new(fault.into()), Some(Box::new(execution.outcome)));
            return Err(PipelineError::Refused { number, hash, source, outcome });
        }
        let changes = Arc::new(std::mem::take(&mut execution.outcome.changes));
        let (parent_hash, state_root) = (block.header.parent_hash, block.header.state_root);
        self.push(ExecutedBlock { number, hash, parent_hash, state_root, changes })?;
        Ok(execution)
    }

    /// What the block's header claims besides the outcome.
    fn computed(
        &mut self,
        executor: &BlockExecutor,
        block: &RecoveredBlock,
        record: Option<&Record>,
    ) -> Result<Computed, Ending> {
        let Some(record) = record else { return Ok(Computed::default()) };
        let mut computed = Computed::default();
        if executor.has_state_receipts(&block.header) {
            computed.transaction_roots = Some(self.transaction_roots(record)?);
        }
        if executor.has_access_list(&block.header) {
            computed.access_list_hash = Some(record.access_list().hash());
        }
        Ok(computed)
    }

    /// The root after each transaction, which receipts before Byzantium hold. They are computed from the trie nodes of
    /// the block before, so that one must be committed first.
    fn transaction_roots(&mut self, record: &Record) -> Result<Vec<B256>, Ending> {
        let transactions = record.positions.len().saturating_sub(2);
        let mut roots = Vec::with_capacity(transactions);
        if transactions == 0 {
            return Ok(roots);
        }
        let mut trie = StateTrie::new(self.drain()?, self.tip.state_root);
        for (position, done) in record.positions[..=transactions].iter().enumerate() {
            let root = trie.apply(&done.changes)?;
            if position > 0 {
                roots.push(root);
            }
        }
        Ok(roots)
    }
}

/// Why roots could not be computed.
enum Ending {
    Committed(CommitFailure),
    State(StateError),
}

impl From<CommitFailure> for Ending {
    fn from(failure: CommitFailure) -> Self {
        Self::Committed(failure)
    }
}

impl From<StateError> for Ending {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl<S: StateStore> Drop for Pipeline<S> {
    fn drop(&mut self) {
        self.shared.abort();
        if let Some(committer) = self.committer.take() {
            // What it could say was a failure of a block, and nobody asks any more.
            let _ = committer.join();
        }
    }
}

impl<S: StateStore> std::fmt::Debug for Pipeline<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { options, tip, stats, .. } = self;
        f.debug_struct("Pipeline")
            .field("options", options)
            .field("tip", tip)
            .field("stats", stats)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
