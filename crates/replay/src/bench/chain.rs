//! `ropewalk bench --db`: a chain of blocks from execution to the disk.
//!
//! Four ways are measured, each in a database of its own that begins with the genesis: in order (the oracle, the root, the
//! write, one after the other) with roots on one thread and on all, the engine without the pipeline, and with it. Senders are recovered and code is
//! analysed before; everything else is in the time: reads from RocksDB, execution, the outcome against the header, the
//! state root, the batch, and the wait for the disk as far as durability asks for it. That all ways do the same is seen
//! from every header's claims, the state root among them.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use rayon::{ThreadPool, ThreadPoolBuilder};
use ropewalk_block::{
    BlockExecutor, CancelToken, CodeCache, Computed, Engine, ExecutorOptions, InvalidTransactions, RecoveredBlock,
    import::{ImportError, check_outcome},
    oracle::Oracle,
    pipeline::{CommitFailure, ExecutedBlock, Pipeline, PipelineError, PipelineOptions, Tip},
};
use ropewalk_state::BlockCommit;
use ropewalk_store::{Probe, Step, Store, StoreError, StoreOptions, StoreReader};

use super::{PairedRatio, Spread};
use crate::{
    arguments::BenchArguments,
    compare::chain_of,
    import::{GenesisBlock, HistoryError, read_chain},
    report::{
        Progress,
        chain::{ChainReport, WayReport},
        print, print_json,
    },
    run::milliseconds,
    session::NoThreads,
    status::Status,
};

/// Where chain and databases are.
pub(super) struct Place<'a> {
    pub(super) db: &'a Path,
    pub(super) genesis: &'a Path,
    pub(super) chain: &'a Path,
}

/// How a chain is executed and committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    InOrder { parallel_roots: bool },
    Engine { pipelined: bool },
}

const WAYS: [Way; 4] = [
    Way::InOrder { parallel_roots: false },
    Way::InOrder { parallel_roots: true },
    Way::Engine { pipelined: false },
    Way::Engine { pipelined: true },
];

/// What one run of one way took, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    total: f64,
    execute: f64,
    root: f64,
    write: f64,
}

/// Why a chain cannot be measured.
#[derive(Debug, thiserror::Error)]
enum ChainBenchError {
    #[error(transparent)]
    History(Box<HistoryError>),
    #[error(transparent)]
    Threads(#[from] NoThreads),
    #[error(transparent)]
    Store(Box<StoreError>),
    #[error(transparent)]
    Pipeline(Box<PipelineError>),
    #[error("block {number} is refused by the oracle")]
    Oracle { number: u64, source: Box<ImportError> },
    #[error("cannot use {path}")]
    Directory { path: String, source: io::Error },
    #[error("the chain has no block")]
    Empty,
    #[error("interrupted")]
    Interrupted,
}

impl From<HistoryError> for ChainBenchError {
    fn from(error: HistoryError) -> Self {
        Self::History(Box::new(error))
    }
}

impl From<StoreError> for ChainBenchError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<PipelineError> for ChainBenchError {
    fn from(error: PipelineError) -> Self {
        Self::Pipeline(Box::new(error))
    }
}

impl From<CommitFailure> for ChainBenchError {
    fn from(failure: CommitFailure) -> Self {
        PipelineError::from(failure).into()
    }
}

/// Everything that is ready before the time begins.
struct Bench<'a> {
    place: &'a Place<'a>,
    arguments: &'a BenchArguments,
    interrupt: &'a CancelToken,
    genesis: GenesisBlock,
    blocks: Vec<RecoveredBlock>,
    executor: BlockExecutor,
    pool: Arc<ThreadPool>,
    one_thread: ThreadPool,
    threads: usize,
}

/// Measures a chain.
///
/// # Errors
/// When standard output is closed or full.
pub(super) fn bench(place: &Place<'_>, arguments: &BenchArguments, interrupt: &CancelToken) -> io::Result<Status> {
    match measure(place, arguments, interrupt) {
        Ok(report) => {
            match arguments.json {
                true => print_json(&report)?,
                false => print(&report.text())?,
            }
            Ok(Status::Verified)
        }
        Err(ChainBenchError::Interrupted) => Ok(Status::Interrupted),
        Err(error) => {
            Progress::new(0).say(&format!("error: {}", chain_of(&error)));
            let refused = match &error {
                ChainBenchError::Pipeline(error) => matches!(**error, PipelineError::Refused { .. }),
                error => matches!(error, ChainBenchError::Oracle { .. }),
            };
            Ok(if refused { Status::Mismatch } else { Status::Input })
        }
    }
}

fn measure(
    place: &Place<'_>,
    arguments: &BenchArguments,
    interrupt: &CancelToken,
) -> Result<ChainReport, ChainBenchError> {
    let bench = Bench::prepare(place, arguments, interrupt)?;
    let rounds = arguments.runs.get();
    let progress = Progress::new(((rounds + 1) * WAYS.len()) as u64);
    let mut runs = vec![Vec::with_capacity(rounds); WAYS.len()];
    // The first round warms caches and counts for nothing.
    for round in 0..=rounds {
        for at in 0..WAYS.len() {
            let way = if round % 2 == 0 { at } else { WAYS.len() - 1 - at };
            progress.reach((round * WAYS.len() + at) as u64, format!("round {round} of {rounds}"));
            let run = bench.run(WAYS[way])?;
            if round > 0 {
                runs[way].push(run);
            }
        }
    }
    progress.finish();
    Ok(bench.report(&runs))
}

impl<'a> Bench<'a> {
    fn prepare(
        place: &'a Place<'a>,
        arguments: &'a BenchArguments,
        interrupt: &'a CancelToken,
    ) -> Result<Self, ChainBenchError> {
        let threads = arguments.threads.last().map_or(std::num::NonZeroUsize::MIN, |threads| threads.count());
        let no_threads = |source| NoThreads { threads: threads.get(), source };
        let pool = ThreadPoolBuilder::new().num_threads(threads.get()).build().map_err(no_threads)?;
        let one_thread = ThreadPoolBuilder::new().num_threads(1).build().map_err(no_threads)?;
        let engine = Engine::new(threads).map_err(no_threads)?;
        let (genesis, blocks) = pool.install(|| read_chain(place.genesis, place.chain))?;
        if blocks.is_empty() {
            return Err(ChainBenchError::Empty);
        }
        fs::create_dir_all(place.db).map_err(|source| directory(place.db, source))?;
        let options = ExecutorOptions {
            codes: Arc::new(CodeCache::default()),
            cancel: Some(interrupt.clone()),
            inline_below_gas: arguments.inline_below,
            ..ExecutorOptions::default()
        };
        let executor = BlockExecutor::new(Arc::clone(&genesis.chain), engine, options);
        let (pool, threads) = (Arc::new(pool), threads.get());
        Ok(Self { place, arguments, interrupt, genesis, blocks, executor, pool, one_thread, threads })
    }

    /// One run from genesis to the last block, in a new database that is removed afterwards.
    fn run(&self, way: Way) -> Result<Run, ChainBenchError> {
        if self.interrupt.is_cancelled() {
            return Err(ChainBenchError::Interrupted);
        }
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(self.place.db);
        let folder = folder.map_err(|source| directory(self.place.db, source))?;
        let parts = Arc::new(Parts::default());
        let options = StoreOptions { durability: self.arguments.durability.0, ..StoreOptions::default() };
        let mut store = Store::open_probed(folder.path(), &options, Arc::clone(&parts) as Arc<dyn Probe>)?;
        let tip = self.begin(&mut store)?;
        parts.reset();
        let mut run = match way {
            Way::InOrder { parallel_roots } => self.in_order(store, parallel_roots)?,
            Way::Engine { pipelined } => self.engine(store, tip, pipelined)?,
        };
        (run.root, run.write) = parts.milliseconds();
        Ok(run)
    }

    /// Commits the genesis.
    fn begin(&self, store: &mut Store) -> Result<Tip, ChainBenchError> {
        let (hash, state_root) = (self.genesis.hash, self.genesis.header.state_root);
        let changes = self.genesis.changes();
        let block = BlockCommit { number: 0, hash, parent_hash: B256::ZERO, state_root, changes: &changes };
        self.pool.install(|| store.commit_block(&block))?;
        store.sync()?;
        Ok(Tip { number: 0, hash, state_root })
    }

    fn in_order(&self, mut store: Store, parallel_roots: bool) -> Result<Run, ChainBenchError> {
        let chain = self.executor.chain();
        let pool = if parallel_roots { &self.pool } else { &self.one_thread };
        let mut run = Run::default();
        for block in &self.blocks {
            let header = &block.header;
            let (number, state_root) = (header.number, header.state_root);
            let refused = |error: ImportError| ChainBenchError::Oracle { number, source: Box::new(error) };
            let reader: StoreReader = store.reader();
            let oracle = Oracle::prepare(chain, block, &reader, InvalidTransactions::Reject);
            let oracle = oracle.map_err(|error| refused(error.into()))?;
            let ready = oracle.start();
            let began = Instant::now();
            let outcome =
                ready.execute().and_then(|finished| finished.outcome()).map_err(|error| refused(error.into()))?;
            run.execute += milliseconds(began.elapsed());
            check_outcome(chain, header, &outcome, &Computed::default()).map_err(|fault| refused(fault.into()))?;
            let (hash, parent_hash, changes) = (block.hash, header.parent_hash, &outcome.changes);
            let commit = BlockCommit { number, hash, parent_hash, state_root, changes };
            pool.install(|| store.commit_block(&commit))?;
            run.total += milliseconds(began.elapsed());
        }
        let began = Instant::now();
        store.sync()?;
        run.total += milliseconds(began.elapsed());
        Ok(run)
    }

    fn engine(&self, store: Store, tip: Tip, pipelined: bool) -> Result<Run, ChainBenchError> {
        let options = PipelineOptions { backlog: self.arguments.backlog };
        let pipeline = Pipeline::new(store, tip, Arc::clone(&self.pool), options);
        let mut pipeline = pipeline.map_err(|source| directory(self.place.db, source))?;
        let mut run = Run::default();
        let began = Instant::now();
        for block in &self.blocks {
            let (state, executing) = (pipeline.state()?, Instant::now());
            let refused = |source: ImportError| PipelineError::Refused {
                number: block.header.number,
                hash: block.hash,
                source: Box::new(source),
                outcome: None,
            };
            let execution = self.executor.execute(block, state).map_err(|error| refused(error.into()))?;
            run.execute += milliseconds(executing.elapsed());
            let (header, outcome) = (&block.header, execution.outcome);
            check_outcome(self.executor.chain(), header, &outcome, &Computed::default())
                .map_err(|fault| refused(fault.into()))?;
            pipeline.push(ExecutedBlock {
                number: header.number,
                hash: block.hash,
                parent_hash: header.parent_hash,
                state_root: header.state_root,
                changes: Arc::new(outcome.changes),
            })?;
            if !pipelined {
                pipeline.drain()?;
            }
        }
        let (mut store, ended) = pipeline.finish();
        ended?;
        store.sync()?;
        run.total = milliseconds(began.elapsed());
        Ok(run)
    }

    fn report(&self, runs: &[Vec<Run>]) -> ChainReport {
        let totals: Vec<Vec<f64>> = runs.iter().map(|runs| runs.iter().map(|run| run.total).collect()).collect();
        let median =
            |runs: &[Run], part: fn(&Run) -> f64| Spread::of(&runs.iter().map(part).collect::<Vec<_>>()).median;
        let ways = WAYS.iter().zip(runs).zip(&totals).map(|((way, runs), total)| WayReport {
            name: match way {
                Way::InOrder { parallel_roots: false } => "in order",
                Way::InOrder { parallel_roots: true } => "in order, parallel roots",
                Way::Engine { pipelined: false } => "engine",
                Way::Engine { pipelined: true } => "engine, pipeline",
            },
            total: Spread::of(total),
            speedup: PairedRatio::of(&totals[0], total),
            execute: median(runs, |run| run.execute),
            root: median(runs, |run| run.root),
            write: median(runs, |run| run.write),
        });
        ChainReport {
            blocks: self.blocks.len(),
            txs: self.blocks.iter().map(|block| block.transactions.len()).sum(),
            gas_used: self.blocks.iter().map(|block| block.header.gas_used).sum(),
            threads: self.threads,
            runs: self.arguments.runs.get(),
            ways: ways.collect(),
        }
    }
}

fn directory(path: &Path, source: io::Error) -> ChainBenchError {
    ChainBenchError::Directory { path: path.display().to_string(), source }
}

/// What root and write take, from the store's steps.
#[derive(Default)]
struct Parts(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    last: Option<Instant>,
    root: Duration,
    write: Duration,
}

impl Parts {
    fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Taken::default();
    }

    fn milliseconds(&self) -> (f64, f64) {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (milliseconds(taken.root), milliseconds(taken.write))
    }
}

impl Probe for Parts {
    fn reached(&self, step: Step) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since = taken.last.map_or(Duration::ZERO, |last| now - last);
        match step {
            Step::RootComputed => taken.root += since,
            Step::BatchReady | Step::BatchWritten => taken.write += since,
            _ => {}
        }
        taken.last = Some(now);
    }
}
