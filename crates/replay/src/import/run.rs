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
use alloy_primitives::U256;
use rayon::{ThreadPool, ThreadPoolBuilder};
use ropewalk_block::{
    BlockExecutor, CancelToken, ChainSpec, CodeCache, Engine, ExecutorOptions, RecoveredBlock, import::ImportError,
};

use super::{
    ancestry::Ancestry,
    database::{Database, refused},
    error::{FileFault, HistoryError},
    genesis::GenesisBlock,
    prepare::{READY_BLOCKS, ReadyBlock, prepare_all},
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
    executor: BlockExecutor,
    interrupt: &'a CancelToken,
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
        let pool = Arc::new(pool);
        let database = Database::open(arguments, &genesis, &pool)?;
        let chain = Arc::clone(&genesis.chain);
        let options = ExecutorOptions {
            codes: Arc::new(CodeCache::default()),
            cancel: Some(interrupt.clone()),
            ..ExecutorOptions::default()
        };
        Ok(Self {
            executor: BlockExecutor::new(Arc::clone(&chain), engine, options),
            ancestry: Ancestry::new(&genesis),
            database_path: &arguments.db,
            source: Some(source),
            chain,
            database,
            pool,
            interrupt,
        })
    }

    /// Imports all blocks, or says why it ended before.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub(super) fn blocks(mut self, summary: &mut Summary) -> io::Result<Result<(), HistoryError>> {
        let Some(source) = self.source.take() else { return Ok(Ok(())) };
        let tip = self.database.tip();
        summary.begin(tip, source.size_bytes(), source.read_bytes());
        let (send, ready) = sync_channel(READY_BLOCKS);
        let (chain, pool) = (Arc::clone(&self.chain), Arc::clone(&self.pool));
        let ended = thread::scope(|scope| {
            scope.spawn(move || prepare_all(source, &chain, tip.number, &pool, &send));
            self.take(ready, summary)
        })?;
        let (rest, committed) = self.database.finish();
        rest.iter().try_for_each(|block| summary.add(block))?;
        // A block that could not be committed comes before the one that the import ended with.
        Ok(committed.and(ended))
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
                Ok(Taken::Executed) => {}
                Ok(Taken::Known) => summary.pass_over(self.ancestry.number()),
                Err(error) => return Ok(Err(error)),
            }
            while let Some(imported) = self.database.next_committed() {
                summary.add(&imported)?;
            }
        }
        Ok(Ok(()))
    }

    /// Executes one block and hands it over to be committed, unless the database holds it already.
    fn block(&mut self, ready: ReadyBlock) -> Result<Taken, HistoryError> {
        let started = Instant::now();
        let ReadyBlock { source, recovered } = ready;
        let number = source.decoded.block.header.number;
        let head = self.database.tip().number;
        if number <= head {
            self.check_known(&source)?;
        }
        let expected = self.ancestry.number() + 1;
        if number <= head && number != expected {
            // A block that was passed before, or the first one of a file from the middle of the chain.
            if number > expected {
                self.ancestry.begin_with(&source.decoded, source.total_difficulty);
            }
            return Ok(Taken::Known);
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
            let Header { number, state_root, gas_used, .. } = block.header;
            let (hash, txs) = (source.decoded.hash, block.transactions.len());
            let imported = ImportedBlock { number, hash, txs, gas_used, state_root, started, ms: 0.0 };
            self.database.execute(&self.executor, &source, block, imported)?;
        }
        self.ancestry.push(&source.decoded, total_difficulty);
        Ok(if block.is_some() { Taken::Executed } else { Taken::Known })
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
}

/// What was done with a block.
enum Taken {
    /// It was executed, and is on its way into the database.
    Executed,
    /// The database held it before.
    Known,
}
