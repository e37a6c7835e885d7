//! One recovered block in, one outcome out: transactions speculatively, everything else in order.
//!
//! ```text
//! position 0        pre-block rules on committed state
//! positions 1..n    the engine: workers speculate, the hook sees results in block order
//! position n + 1    post-block rules on committed state, with all receipts
//! then              what multi-version memory has committed becomes the changes
//! ```
//!
//! The outcome depends on nothing but the block and the state before it: not on thread count, schedule or options of
//! execution (I3). Options that change what is asked for say so.

mod committed;
mod extract;
mod footprint;
mod foresight;
mod hook;
mod scout;
mod shortcuts;
mod transcript;

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;
use ropewalk_engine::{
    CancelToken, CellId, Dependencies, DependencyRecorder, Engine, Frontier, Inline, Memory, NoProbe,
    Position as EnginePosition, Probe, RunError, RunOptions, Schedule, Stats,
};
use ropewalk_evm::{
    CallConflicts, CallSlots, CallTimes, CodeCache, EvmFactory, EvmKey, EvmProgram, EvmSettings, Transaction,
    TransactionInspector,
};
use ropewalk_state::{Changes, StateError, StateReader};

pub(crate) use self::scout::Scout;
use self::{
    committed::Committed,
    extract::committed_changes,
    hook::{BlockGas, Receipts},
    transcript::Transcript,
};
pub use self::{
    footprint::{Footprint, Footprints},
    foresight::Foresight,
    shortcuts::Shortcuts,
};
use crate::{
    AccessList, BlockError, BlockOutcome, BlockTransaction, BrokenInvariant, ChainSpec, InvalidBlock,
    InvalidTransactions, Position, Record, RecoveredBlock, RequestContracts,
    access_list::{self, Ends, Followers, Judge, Known, KnownList, Verifier},
    positions,
    slow_reads::{SlowReads, TimedBase, prefetch},
};

/// What an executor is asked for, and how it goes about it.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// What an invalid transaction means for the block. Changes what is asked for.
    pub invalid: InvalidTransactions,
    /// Whether the contracts that collect requests must be there. Changes what is asked for.
    pub request_contracts: RequestContracts,
    /// Whether the execution comes with a [`Record`] of every position. Changes what is asked for.
    pub record: bool,
    /// Whether the execution comes with what each transaction truly depends on. Changes what is asked for.
    pub dependencies: bool,
    /// Whether the execution comes with the [`Footprints`] of its transactions. Changes what is asked for.
    pub footprints: bool,
    /// Whether the execution comes with the [`Locations`] that probes and dependencies name by number. Changes what is asked
    /// for.
    pub locations: bool,
    /// Custom precompiles and inspectors. Precompiles change what is asked for.
    pub evm: EvmSettings,
    /// Analysed code, kept from block to block and shared between executors.
    pub codes: Arc<CodeCache>,
    /// How long calls take, learned from earlier blocks and shared between executors.
    pub times: Arc<CallTimes>,
    /// Which calls get in each other's way, learned from earlier blocks and shared between executors.
    pub conflicts: Arc<CallConflicts>,
    /// Where calls look, learned from earlier blocks and shared between executors: where the state is slow, it is read ahead.
    pub slots: Arc<CallSlots>,
    /// How slow the state is, known from earlier blocks and shared between executors of the same state. It decides how
    /// many workers there are, and nothing about the outcome.
    pub reads: Arc<SlowReads>,
    /// What makes executions faster and nothing else.
    pub shortcuts: Shortcuts,
    /// How the lowest uncommitted transaction is run.
    pub frontier: Frontier,
    /// In which order work is taken up.
    pub schedule: Schedule,
    /// Blocks whose transactions declare less gas than this run on the calling thread alone; `None` leaves the choice
    /// to the work that the transactions promise.
    pub inline_below_gas: Option<u64>,
    /// Gas that speculation may take, as a multiple of what the block's transactions declare.
    pub speculation_multiple: u32,
    /// Ends an execution early, at the next transaction.
    pub cancel: Option<CancelToken>,
}

impl Default for ExecutorOptions {
    fn default() -> Self {
        let RunOptions { frontier, schedule, speculation_multiple, cancel, .. } = RunOptions::default();
        Self {
            invalid: InvalidTransactions::default(),
            request_contracts: RequestContracts::default(),
            record: false,
            dependencies: false,
            footprints: false,
            locations: false,
            evm: EvmSettings::default(),
            codes: Arc::default(),
            times: Arc::default(),
            conflicts: Arc::default(),
            slots: Arc::default(),
            shortcuts: Shortcuts::default(),
            reads: Arc::default(),
            frontier,
            schedule,
            inline_below_gas: None,
            speculation_multiple,
            cancel,
        }
    }
}

/// Executes blocks of one chain in parallel.
#[derive(Debug)]
pub struct BlockExecutor {
    chain: Arc<ChainSpec>,
    engine: Engine,
    options: ExecutorOptions,
}

/// What executing a block gave, and what it cost.
#[derive(Debug)]
pub struct Execution {
    /// The outcome; equal for equal blocks and states.
    pub outcome: BlockOutcome,
    /// Counts of this execution; they depend on thread count and schedule.
    pub stats: Stats,
    /// The inspectors of the kept transactions, in block order, where inspectors were asked for.
    pub inspectors: Vec<Box<dyn TransactionInspector>>,
    /// What happened at each position, where it was asked for.
    pub record: Option<Record>,
    /// What each transaction truly depends on, where that was asked for.
    pub dependencies: Option<Dependencies>,
    /// What each transaction observed and wrote, where that was asked for.
    pub footprints: Option<Footprints>,
    /// What the numbers of locations mean that a probe heard and that dependencies hold, where that was asked for.
    pub locations: Option<Locations>,
}

/// What the numbers of an execution's locations stand for.
#[derive(Debug, Clone)]
pub struct Locations(Vec<EvmKey>);

impl Locations {
    /// The account or the slot that a number stands for.
    ///
    /// # Panics
    /// May panic for a number that comes from another execution.
    pub fn key(&self, cell: CellId) -> EvmKey {
        self.0[cell.at()]
    }
}

/// Accounts and slots that transactions are expected to touch: three accounts each, and what the gas they declare may
/// pay for. The multi-version memory grows beyond that, at some cost.
fn expected_keys(transactions: &[BlockTransaction]) -> usize {
    let gas = transactions.iter().map(|transaction| transaction.env.gas_limit).fold(0, u64::saturating_add);
    let paid_for = usize::try_from(gas / GAS_PER_KEY).unwrap_or(usize::MAX).min(MOST_EXPECTED_KEYS);
    16 + 3 * transactions.len() + paid_for.min(MOST_KEYS_EACH * transactions.len())
}

/// Transactions of a block from which on it is learned how long they take.
const LEAST_LEARNED: usize = 8;

/// Gas that transactions declare for each key that they touch, roughly.
const GAS_PER_KEY: u64 = 8_000;
/// Keys that a transaction is expected to touch, whatever it may pay for: a small block takes less time than clearing room for
/// all that its gas is good for.
const MOST_KEYS_EACH: usize = 480;
/// A block that promises more may still bring less: memory is not taken on a promise.
const MOST_EXPECTED_KEYS: usize = 1 << 16;

impl BlockExecutor {
    /// An executor for blocks of `chain` on the engine's threads.
    pub fn new(chain: Arc<ChainSpec>, engine: Engine, options: ExecutorOptions) -> Self {
        Self { chain, engine, options }
    }

    /// The chain whose rules hold.
    pub fn chain(&self) -> &ChainSpec {
        &self.chain
    }

    /// Executes `block` on top of `parent`, the state that its parent block left. Nothing is checked against the
    /// header; that is [`validate`](crate::validate)'s work.
    ///
    /// # Errors
    /// When the block is invalid, the state cannot be read or execution is cancelled. The error is the one that running
    /// the block in order would give.
    ///
    /// # Panics
    /// When an invariant of the engine is broken, or an inspector or precompile of the embedder panics on committed
    /// state in a pre-block or post-block call.
    pub fn execute(&self, block: &RecoveredBlock, parent: Arc<dyn StateReader>) -> Result<Execution, BlockError> {
        self.execute_probed(block, parent, &NoProbe)
    }

    /// As [`execute`](Self::execute), with a [`Record`] where the block's header can only be checked by one: receipts
    /// before Byzantium hold the state root after each transaction, headers from Amsterdam on the hash of the access
    /// list.
    ///
    /// # Errors
    /// As `execute`.
    ///
    /// # Panics
    /// As `execute`.
    pub fn execute_to_check(
        &self,
        block: &RecoveredBlock,
        parent: Arc<dyn StateReader>,
    ) -> Result<Execution, BlockError> {
        let record = self.has_state_receipts(&block.header) || self.has_access_list(&block.header);
        self.run(block, parent, None, record, &NoProbe)
    }

    /// Whether the receipts of a block with this header hold state roots.
    pub(crate) fn has_state_receipts(&self, header: &Header) -> bool {
        !self.chain.is_byzantium_active_at_block(header.number)
    }

    /// Whether this header holds the hash of an access list.
    pub(crate) fn has_access_list(&self, header: &Header) -> bool {
        self.chain.is_amsterdam_active_at_timestamp(header.timestamp)
    }

    /// As [`execute`](Self::execute), with a probe that hears of every step of the engine.
    ///
    /// # Errors
    /// As `execute`.
    ///
    /// # Panics
    /// As `execute`, and when the probe panics.
    pub fn execute_probed(
        &self,
        block: &RecoveredBlock,
        parent: Arc<dyn StateReader>,
        probe: &impl Probe,
    ) -> Result<Execution, BlockError> {
        self.run(block, parent, None, false, probe)
    }

    /// Executes `block` by its access list: multi-version memory lies over what the list says, so that nothing waits
    /// and nothing runs twice, and every position is compared with the list by whoever ran it.
    ///
    /// Invalid transactions are rejected, whatever the options say: the positions of a list are those of the block.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and [`InvalidBlock::AccessList`] at the first position that is not what the list
    /// says of it. Order, size and hash of the list are checked before anything is executed, entries that nothing looks
    /// at are found at the end.
    ///
    /// # Panics
    /// As `execute`.
    pub fn execute_by_access_list(
        &self,
        block: &RecoveredBlock,
        parent: Arc<dyn StateReader>,
        list: &Arc<AccessList>,
    ) -> Result<Execution, BlockError> {
        self.execute_by_access_list_probed(block, parent, list, &NoProbe)
    }

    /// As [`execute_by_access_list`](Self::execute_by_access_list), with a probe that hears of every step of the engine.
    ///
    /// # Errors
    /// As `execute_by_access_list`.
    ///
    /// # Panics
    /// As `execute`, and when the probe panics.
    pub fn execute_by_access_list_probed(
        &self,
        block: &RecoveredBlock,
        parent: Arc<dyn StateReader>,
        list: &Arc<AccessList>,
        probe: &impl Probe,
    ) -> Result<Execution, BlockError> {
        list.check_form(&self.chain, block).map_err(InvalidBlock::from)?;
        self.run(block, parent, Some(list), false, probe)
    }

    fn run(
        &self,
        block: &RecoveredBlock,
        parent: Arc<dyn StateReader>,
        list: Option<&Arc<AccessList>>,
        record: bool,
        probe: &impl Probe,
    ) -> Result<Execution, BlockError> {
        let chain = self.chain.for_block(&block.header);
        let env = chain.evm_env(&block.header);
        let spec = env.cfg_env.spec;
        let (reads, times) = (&self.options.reads, self.times(block));
        if let Some(list) = list {
            reads.sound(&*parent, list.accounts.iter().map(|account| account.address));
        }
        let (are_slow, waiting) = (reads.are_slow(), reads.engine(&self.engine));
        // By a list nobody waits: what is slow to read is read ahead.
        let engine = if list.is_some() { &self.engine } else { waiting };
        let read_ns = if are_slow { reads.typical_ns() } else { 0 };
        let foresight = self.foresight(block, list.is_some());
        let prepared = |(index, transaction): (usize, &BlockTransaction)| {
            let prepared = Transaction::new(Arc::clone(&transaction.env), spec);
            let prepared = match foresight.as_ref().and_then(|foresight| foresight.follows(index)) {
                Some((lower, at)) => prepared.following(lower, at),
                None => prepared,
            };
            let prepared = match times.and_then(|times| times.expected_ns(&transaction.env)) {
                Some(ns) => prepared.taking(ns),
                None => prepared,
            };
            prepared.reading(read_ns)
        };
        let transactions: Vec<_> = block.transactions.iter().enumerate().map(prepared).collect();
        let invalid = if list.is_some() { InvalidTransactions::Reject } else { self.options.invalid };
        let records = record || self.options.record || self.options.dependencies || self.options.footprints;
        let options = self.run_options(list.is_some(), records);
        // Whoever is to help gets up while this thread prepares, unless there is much to wait for first.
        let workers = match are_slow {
            true => engine.workers_for::<EvmProgram>(&transactions, &options),
            false => engine.rouse::<EvmProgram>(&transactions, &options),
        };
        let slots =
            (are_slow && list.is_none() && self.options.shortcuts.learned_slots).then_some(&*self.options.slots);
        let base = TimedBase::new(Arc::clone(&parent), Arc::clone(reads), slots.is_some());
        let before_block = Arc::clone(&parent);
        let keys = expected_keys(&block.transactions);
        let memory = Memory::<EvmProgram>::new(base, keys);
        // Where reads are slow, several threads read ahead.
        let memory = if workers == 1 && !are_slow { memory.for_one_thread() } else { memory };
        let known = list.map(|list| Arc::new(KnownList::new(list, transactions.len())));
        let memory = Arc::new(match &known {
            Some(known) => memory.over(Known(Arc::clone(known))),
            None => memory,
        });
        match &known {
            Some(known) if are_slow => {
                access_list::read_ahead(&memory, known.accounts(), &*parent, reads, waiting);
            }
            None if are_slow => prefetch(&memory, (&chain, block), &*parent, reads, waiting),
            _ => {}
        }
        let (count, record) = (transactions.len(), record || self.options.record);
        let judge = known.as_ref().map(|known| Judge::new(Verifier::new(Arc::clone(known)), count, record));
        let judge = judge.as_ref();
        let mut transcript = Transcript::new(judge, record);
        let gas = BlockGas::of(&env);
        let mut factory = EvmFactory::new(env, parent, Arc::clone(&self.options.codes), self.settings(block));
        match &transcript {
            None => {}
            Some(_) if known.is_some() && !record => factory = factory.noting_places(),
            Some(_) => factory = factory.noting_accesses(),
        }

        // Its EVM is given up here, so that the engine's worker on this thread takes it over.
        let mut before = Committed::new(&memory, &factory, EnginePosition(0), Position::PreBlock, transcript.as_mut());
        positions::pre_block(&chain, block, &mut before)?;
        drop(before);
        transcript.as_mut().map_or(Ok(()), Transcript::end_position)?;

        // Where many reads in one batch take as long as one by one, guesses are not worth it.
        let scout = slots.filter(|_| reads.batches_are_quick());
        let scout =
            scout.map(|slots| Scout::new(slots, &memory, &*before_block, &transactions, options.cancel.as_ref()));
        scout.iter().for_each(|scout| scout.read_known(waiting));
        let explored = scout.as_ref().filter(|_| self.options.evm.is_plain());
        // Where there is nothing left to wait for, more threads than cores are in each other's way.
        let engine = match explored.is_some_and(|scout| scout.explore(&factory, &memory, waiting)) {
            true => &self.engine,
            false => engine,
        };
        let mut hook = Receipts::new(&chain, block, gas, invalid, transcript);
        hook.dependencies = self.options.dependencies.then(DependencyRecorder::default);
        hook.footprints = self.options.footprints.then(|| Footprints::of(&transactions));
        let ran = engine.run_probed(
            &memory,
            &transactions,
            &Followers { factory: &factory, judge, scout: scout.as_ref(), workers },
            &mut hook,
            &options,
            probe,
        );
        let finished = ran.map_err(engine_error)?;
        foresight.iter().for_each(|foresight| foresight.learn(&finished.conflicts, |cell| *memory.key(cell)));
        let Receipts { receipts, skipped, inspectors, gas, mut transcript, dependencies, footprints, .. } =
            hook.finish()?;

        let last = EnginePosition(transactions.len() as u32 + 1);
        let mut after = Committed::new(&memory, &factory, last, Position::PostBlock, transcript.as_mut());
        let requests = positions::post_block(&chain, block, &receipts, self.options.request_contracts, &mut after)?;
        drop(after);
        transcript.as_mut().map_or(Ok(()), Transcript::end_position)?;
        let record = transcript.map_or(Ok(None), Transcript::finish)?;
        let locations = self.options.locations.then(|| Locations(memory.keys()));
        // Views hold it as long as they live, and all of them are gone.
        let memory = Arc::into_inner(memory).expect("nobody else works on a block that is over");
        let changes = match &known {
            Some(known) => {
                let ends = judge.map_or(Vec::new(), Judge::take_ends);
                kept(known, &ends, memory, &*before_block, &self.engine)?
            }
            None => committed_changes(memory, &self.engine, &*before_block)?,
        };
        let stats = finished.stats;
        record_metrics(&stats);
        let (gas_used, blob_gas_used) = (gas.block_gas_used(), gas.blob);
        Ok(Execution {
            outcome: BlockOutcome { receipts, requests, gas_used, blob_gas_used, changes, skipped },
            stats,
            inspectors,
            record,
            dependencies: dependencies.map(DependencyRecorder::finish),
            footprints,
            locations,
        })
    }

    /// How long calls take, where a block is worth asking and learning: a few transactions are over before.
    fn times(&self, block: &RecoveredBlock) -> Option<&Arc<CallTimes>> {
        let learns = self.options.shortcuts.learned_times && block.transactions.len() >= LEAST_LEARNED;
        learns.then_some(&self.options.times)
    }

    /// What is known about conflicts, where anybody speculates without a list.
    fn foresight<'b>(&'b self, block: &'b RecoveredBlock, has_list: bool) -> Option<Foresight<'b>> {
        let speculates = self.engine.threads() > 1 && !has_list && self.options.schedule == Schedule::Normal;
        let looks = speculates && self.options.shortcuts.learned_conflicts && block.transactions.len() > 1;
        looks.then(|| Foresight::of(&self.options.conflicts, &block.transactions))
    }

    fn settings(&self, block: &RecoveredBlock) -> EvmSettings {
        let (times, shortcuts) = (self.times(block).map(Arc::clone), self.options.shortcuts);
        EvmSettings { times, shortcuts: shortcuts.of_workers(), ..self.options.evm.clone() }
    }

    fn run_options(&self, known_writes: bool, record: bool) -> RunOptions {
        RunOptions {
            known_writes,
            record,
            frontier: self.options.frontier,
            schedule: self.options.schedule,
            inline: self.options.inline_below_gas.map_or(Inline::Automatic, Inline::Below),
            speculation_multiple: self.options.speculation_multiple,
            cancel: self.options.cancel.clone(),
            shortcuts: self.options.shortcuts.of_run(),
            ..RunOptions::default()
        }
    }
}

/// The changes of a block that does what its list says.
fn kept(
    known: &KnownList,
    ends: &[Ends],
    memory: Memory<EvmProgram>,
    before: &dyn StateReader,
    engine: &Engine,
) -> Result<Changes, BlockError> {
    let changes = access_list::changes(known, ends, &memory, before, engine);
    memory.give_up(engine);
    changes.map_err(|source| BlockError::State { position: Position::PostBlock, source })
}

/// An engine's error in the words of blocks.
fn engine_error(error: RunError<StateError>) -> BlockError {
    match error {
        RunError::Fault { index, source } => BlockError::State { position: Position::Transaction(index.at()), source },
        RunError::Panicked { index, message } => {
            BrokenInvariant::Panic { position: Position::Transaction(index.at()), message }.into()
        }
        RunError::Cancelled { index } => BlockError::Cancelled { before: index.at() },
    }
}

/// Tells the `metrics` facade what a block cost.
fn record_metrics(stats: &Stats) {
    metrics::counter!("ropewalk_blocks_total").increment(1);
    metrics::counter!("ropewalk_transactions_total").increment(stats.committed.into());
    metrics::counter!("ropewalk_speculations_total").increment(stats.speculations.into());
    metrics::counter!("ropewalk_aborts_total").increment(stats.aborts.into());
    metrics::counter!("ropewalk_wasted_gas_total").increment(stats.wasted_cost);
    metrics::counter!("ropewalk_gas_total").increment(stats.committed_cost);
}
