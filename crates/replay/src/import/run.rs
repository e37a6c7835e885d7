//! One import: block after block, from the head of the database on.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Instant,
};

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::U256;
use rayon::{ThreadPool, ThreadPoolBuilder};
use ropewalk_block::{
    BlockError, BlockExecutor, CancelToken, ChainSpec, CodeCache, Engine, ExecutorOptions, RecoveredBlock,
    import::{ImportError, OutcomeFault},
};

use super::{
    ancestry::Ancestry,
    database::Database,
    error::{FileFault, FilePlace, HistoryError, RefusedBlock},
    genesis::GenesisBlock,
    prepare::{READY_BLOCKS, ReadyBlock, prepare_all},
    receipts::{self, ReceiptDifference},
    source::{Source, SourceBlock, SourceFile},
    summary::{ImportedBlock, Summary},
};
use crate::{arguments::ImportArguments, session::NoThreads};

/// An import that can begin: the files are there, the database is open.
pub(super) struct Run<'a> {
    chain: Arc<ChainSpec>,
    source: Option<Source>,
    database: Database,
    database_path: &'a Path,
    ancestry: Ancestry,
    pool: Arc<ThreadPool>,
    executors: Executors,
    interrupt: &'a CancelToken,
}

/// The engine, with a record of each position where a header can only be checked by one, and without.
struct Executors {
    plain: BlockExecutor,
    recording: BlockExecutor,
}

impl<'a> Run<'a> {
    /// Opens files and database.
    ///
    /// # Errors
    /// When one of them cannot be used, or they do not belong together.
    pub(super) fn new(arguments: &'a ImportArguments, interrupt: &'a CancelToken) -> Result<Self, HistoryError> {
        let threads = arguments.threads.count();
        let no_threads = |source| NoThreads { threads: threads.get(), source };
        let named = |index| format!("ropewalk-import-{index}");
        let pool =
            ThreadPoolBuilder::new().num_threads(threads.get()).thread_name(named).build().map_err(no_threads)?;
        let engine = Engine::new(threads).map_err(no_threads)?;
        let genesis = pool.install(|| GenesisBlock::read(&arguments.genesis))?;
        let archives = arguments.era1.iter().cloned().map(SourceFile::Era1);
        let source = Source::new(archives.chain(arguments.chain.iter().cloned().map(SourceFile::Chain)))?;
        let database = Database::open(&arguments.db, &genesis)?;
        let chain = Arc::clone(&genesis.chain);
        Ok(Self {
            executors: Executors::new(&chain, &engine, interrupt),
            ancestry: Ancestry::new(&genesis),
            database_path: &arguments.db,
            source: Some(source),
            chain,
            database,
            pool: Arc::new(pool),
            interrupt,
        })
    }

    /// Imports all blocks, or says why it ended before.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub(super) fn blocks(mut self, summary: &mut Summary) -> io::Result<Result<(), HistoryError>> {
        let Some(source) = self.source.take() else { return Ok(Ok(())) };
        summary.begin(self.database.head(), source.size_bytes(), source.read_bytes());
        let (send, ready) = sync_channel(READY_BLOCKS);
        let (chain, pool) = (Arc::clone(&self.chain), Arc::clone(&self.pool));
        let known = self.database.head().number;
        let ended = thread::scope(|scope| {
            scope.spawn(move || prepare_all(source, &chain, known, &pool, &send));
            self.take(ready, summary)
        })?;
        // A block that is wrong does not make those before it less worth keeping.
        let synced = self.database.sync();
        Ok(ended.and(synced))
    }

    /// Takes blocks until there are no more. The receiver goes with it, so that nobody prepares blocks in vain.
    #[expect(clippy::needless_pass_by_value, reason = "dropping it ends the thread that prepares blocks")]
    fn take(
        &mut self,
        ready: Receiver<Result<ReadyBlock, HistoryError>>,
        summary: &mut Summary,
    ) -> io::Result<Result<(), HistoryError>> {
        for block in &ready {
            if self.interrupt.is_cancelled() {
                return Ok(Err(HistoryError::Interrupted));
            }
            match block.and_then(|block| self.block(block)) {
                Ok(Some(imported)) => summary.add(&imported)?,
                Ok(None) => summary.pass_over(self.ancestry.number()),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Imports one block; `None` where the database holds it already.
    fn block(&mut self, ready: ReadyBlock) -> Result<Option<ImportedBlock>, HistoryError> {
        let started = Instant::now();
        let ReadyBlock { source, recovered } = ready;
        let number = source.decoded.block.header.number;
        let head = self.database.head().number;
        if number <= head {
            self.check_known(&source)?;
        }
        let expected = self.ancestry.number() + 1;
        if number <= head && number != expected {
            // A block that was passed before, or the first one of a file from the middle of the chain.
            if number > expected {
                self.ancestry.begin_with(&source.decoded, source.total_difficulty);
            }
            return Ok(None);
        }
        if number != expected {
            return Err(source.place.fault(match number == head + 1 {
                true => FileFault::MissingAncestors { number, first_missing: head },
                false => FileFault::Order { expected, found: number },
            }));
        }
        self.ancestry.reaches_back_for(&source.decoded).map_err(|fault| source.place.fault(fault))?;
        let block = self.checked(&source, recovered).map_err(|fault| refused(&source, None, fault))?;
        let total_difficulty = self.total_difficulty(&source)?;
        if let Some(block) = &block {
            self.execute(&source, block)?;
        }
        self.ancestry.push(&source.decoded, total_difficulty);
        let Header { number, state_root, gas_used, .. } = source.decoded.block.header;
        let (hash, txs) = (source.decoded.hash, source.decoded.block.body.transactions.len());
        let ms = started.elapsed().as_secs_f64() * 1e3;
        Ok(block.is_some().then_some(ImportedBlock { number, hash, txs, gas_used, state_root, ms }))
    }

    /// A block up to the head must be the one that the database holds.
    fn check_known(&self, source: &SourceBlock) -> Result<(), HistoryError> {
        let (number, expected) = (source.decoded.block.header.number, source.decoded.hash);
        match self.database.hash_of(number)? {
            Some(found) if found == expected => Ok(()),
            Some(found) => {
                Err(HistoryError::AnotherChain { path: self.database_path.to_owned(), number, expected, found })
            }
            None => Err(HistoryError::NotFromGenesis { path: self.database_path.to_owned() }),
        }
    }

    /// Everything that is checked before the block is executed, in the order of the costs.
    fn checked(
        &self,
        source: &SourceBlock,
        recovered: Option<Result<RecoveredBlock, ImportError>>,
    ) -> Result<Option<RecoveredBlock>, ImportError> {
        self.ancestry.check(&self.chain, &source.decoded)?;
        recovered.transpose()
    }

    /// The block's total difficulty, where it is known. An archive must say the same.
    fn total_difficulty(&self, source: &SourceBlock) -> Result<Option<U256>, HistoryError> {
        let sum = self.ancestry.total_difficulty_with(source.decoded.block.header.difficulty);
        match (sum, source.total_difficulty) {
            (Some(expected), Some(found)) if expected != found => {
                Err(source.place.fault(FileFault::TotalDifficulty { expected, found }))
            }
            (sum, found) => Ok(sum.or(found)),
        }
    }

    /// Executes a block and commits it, if its outcome is the one that its header claims.
    fn execute(&mut self, source: &SourceBlock, block: &RecoveredBlock) -> Result<(), HistoryError> {
        let parent = self.database.state();
        let execution = match self.executors.of(&self.chain, &block.header).execute(block, parent) {
            Ok(execution) => execution,
            Err(BlockError::Cancelled { .. }) => return Err(HistoryError::Interrupted),
            Err(error) => return Err(refused(source, None, error.into())),
        };
        let (outcome, record) = (&execution.outcome, execution.record.as_ref());
        let Self { pool, database, chain, .. } = self;
        match pool.install(|| database.commit(chain, block, outcome, record))? {
            Ok(()) => Ok(()),
            Err(fault) => {
                let archive = source.receipts.as_ref().filter(|_| matches!(fault, OutcomeFault::ReceiptsRoot { .. }));
                let receipt = archive.and_then(|archive| receipts::first_difference(&outcome.receipts, archive));
                Err(refused(source, receipt, fault.into()))
            }
        }
    }
}

fn refused(source: &SourceBlock, receipt: Option<ReceiptDifference>, fault: ImportError) -> HistoryError {
    let place = FilePlace { block: None, ..source.place.clone() };
    let (number, hash) = (source.decoded.block.header.number, source.decoded.hash);
    Box::new(RefusedBlock { place, number, hash, receipt, fault }).into()
}

impl Executors {
    fn new(chain: &Arc<ChainSpec>, engine: &Engine, interrupt: &CancelToken) -> Self {
        let codes = Arc::new(CodeCache::default());
        let executor = |record| {
            let options = ExecutorOptions {
                codes: Arc::clone(&codes),
                cancel: Some(interrupt.clone()),
                record,
                ..ExecutorOptions::default()
            };
            BlockExecutor::new(Arc::clone(chain), engine.clone(), options)
        };
        Self { plain: executor(false), recording: executor(true) }
    }

    /// Receipts before Byzantium hold the state root after each transaction, headers from Amsterdam on the hash of the
    /// access list: both need to know what each transaction did.
    fn of(&self, chain: &ChainSpec, header: &Header) -> &BlockExecutor {
        let early = !chain.is_byzantium_active_at_block(header.number);
        match early || chain.is_amsterdam_active_at_timestamp(header.timestamp) {
            true => &self.recording,
            false => &self.plain,
        }
    }
}
