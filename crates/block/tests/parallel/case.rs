//! One block, executed by the oracle and by the parallel executor in every way there is.

use std::{
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
};

use alloy_consensus::{Header, ReceiptEnvelope, TxReceipt};
use alloy_eips::eip4895::{Withdrawal, Withdrawals};
use alloy_primitives::{Address, U256};
use ropewalk_block::{
    BlockError, BlockExecutor, BlockOutcome, CallTimes, ChainSpec, CodeCache, Engine, EvmSettings, Execution,
    ExecutorOptions, Frontier, InvalidBlock, InvalidTransactions, RecoveredBlock, Schedule, Shortcuts, Stats,
    TransactionFault, first_difference, oracle::Oracle,
};
use ropewalk_state::{Account, StateReader};

use crate::{
    lists,
    transaction::{Tx, recovered},
    world::{Fork, World},
};

/// One engine for each number of threads, kept over all tests.
static ENGINES: LazyLock<[Engine; 4]> =
    LazyLock::new(|| [1, 2, 4, 8].map(|threads| engine(threads).expect("the system gives threads")));

/// One cache for all blocks of all tests: what one block leaves there must not matter to the next.
static CODES: LazyLock<Arc<CodeCache>> = LazyLock::new(Arc::default);

/// What calls of all tests took: nothing that is learned may matter to a result.
static TIMES: LazyLock<Arc<CallTimes>> = LazyLock::new(Arc::default);

fn engine(threads: usize) -> Option<Engine> {
    Engine::new(NonZeroUsize::new(threads)?).ok()
}

/// A way to execute a block. No way may lead elsewhere than the others (I3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) threads: usize,
    pub(crate) frontier: Frontier,
    pub(crate) schedule: Schedule,
}

/// All transactions run once blind, the highest first, on one thread: counts are the same every time.
pub(crate) const BLIND: Way =
    Way { threads: 1, frontier: Frontier::Never, schedule: Schedule::Adversarial { seed: 0 } };

impl Way {
    /// The ways that every block goes: each number of threads in order, in order without frontier runs, and backwards.
    pub(crate) fn all(seeds: std::ops::Range<u64>) -> impl Iterator<Item = Self> {
        let schedules = [(Frontier::Eager, Schedule::Normal), (Frontier::Never, Schedule::Normal)];
        let backwards = seeds.map(|seed| (Frontier::Never, Schedule::Adversarial { seed }));
        let schedules: Vec<_> = schedules.into_iter().chain(backwards).collect();
        [1, 2, 4, 8].into_iter().flat_map(move |threads| {
            schedules.clone().into_iter().map(move |(frontier, schedule)| Self { threads, frontier, schedule })
        })
    }

    fn engine(self) -> Engine {
        ENGINES.iter().find(|engine| engine.threads() == self.threads).expect("an engine of each size").clone()
    }
}

/// How a block's outcome stands to what the oracle says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ours is the oracle's.
    Same,
    /// The rules and the oracle differ.
    Other,
}

/// One block on top of a world.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) chain: Arc<ChainSpec>,
    pub(crate) header: Header,
    pub(crate) world: World,
    pub(crate) transactions: Vec<Tx>,
    pub(crate) invalid: InvalidTransactions,
    pub(crate) withdrawals: Option<Vec<(Address, u64)>>,
    pub(crate) evm: EvmSettings,
}

/// What came out of a block in all ways, and what it took when it was run blind.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) outcome: BlockOutcome,
    /// Counts of the run in which every transaction ran once without having seen the others.
    pub(crate) blind: Stats,
    case: Case,
}

/// Executes a block of a fork in every way, compares each outcome with the oracle's field by field, and hands the
/// outcome back.
#[track_caller]
pub(crate) fn check(fork: Fork, world: &World, transactions: &[Tx]) -> Checked {
    Case::new(fork, world, transactions).check()
}

/// As [`check`], for a block that is invalid: the reason and the transaction must be the oracle's.
#[track_caller]
pub(crate) fn check_invalid(fork: Fork, world: &World, transactions: &[Tx]) -> (usize, TransactionFault) {
    Case::new(fork, world, transactions).check_invalid()
}

impl Case {
    pub(crate) fn new(fork: Fork, world: &World, transactions: &[Tx]) -> Self {
        Self {
            chain: fork.chain(),
            header: fork.header(),
            world: world.clone(),
            transactions: transactions.to_vec(),
            invalid: InvalidTransactions::Reject,
            withdrawals: (fork >= Fork::Shanghai).then(Vec::new),
            evm: EvmSettings::default(),
        }
    }

    /// With the fees going to this account.
    pub(crate) fn beneficiary(mut self, beneficiary: Address) -> Self {
        self.header.beneficiary = beneficiary;
        self
    }

    /// With this much gas for the whole block.
    pub(crate) fn gas_limit(mut self, gas_limit: u64) -> Self {
        self.header.gas_limit = gas_limit;
        self
    }

    /// As a builder has it: invalid transactions are skipped.
    pub(crate) fn skipping(mut self) -> Self {
        self.invalid = InvalidTransactions::Skip;
        self
    }

    /// With withdrawals, in gwei (EIP-4895).
    pub(crate) fn withdrawals(mut self, withdrawals: &[(Address, u64)]) -> Self {
        self.withdrawals = Some(withdrawals.to_vec());
        self
    }

    pub(crate) fn block(&self) -> RecoveredBlock {
        let withdrawal = |(address, amount): &(Address, u64)| Withdrawal {
            address: *address,
            amount: *amount,
            ..Withdrawal::default()
        };
        let withdrawals = self.withdrawals.as_ref().map(|given| given.iter().map(withdrawal).collect());
        RecoveredBlock {
            header: self.header.clone(),
            hash: self.header.hash_slow(),
            transactions: recovered(&self.world, &self.transactions),
            ommers: Vec::new(),
            withdrawals: withdrawals.map(Withdrawals::new),
        }
    }

    /// The oracle's outcome.
    pub(crate) fn oracle(&self, block: &RecoveredBlock, reader: &dyn StateReader) -> Result<BlockOutcome, BlockError> {
        Oracle::new(&self.chain, block, reader, self.invalid)?.start().execute()?.outcome()
    }

    /// What an executor is asked for.
    pub(crate) fn options(&self, way: Way) -> ExecutorOptions {
        ExecutorOptions {
            invalid: self.invalid,
            evm: self.evm.clone(),
            codes: Arc::clone(&CODES),
            times: Arc::clone(&TIMES),
            // Half of the ways do without everything that is there for speed alone.
            shortcuts: if matches!(way.threads, 1 | 4) { Shortcuts::NONE } else { Shortcuts::ALL },
            frontier: way.frontier,
            schedule: way.schedule,
            inline_below_gas: Some(0),
            ..ExecutorOptions::default()
        }
    }

    /// An executor that goes this way.
    pub(crate) fn executor(&self, way: Way) -> BlockExecutor {
        self.executor_with(way, self.options(way))
    }

    /// An executor with options of its own.
    pub(crate) fn executor_with(&self, way: Way, options: ExecutorOptions) -> BlockExecutor {
        BlockExecutor::new(Arc::clone(&self.chain), way.engine(), options)
    }

    /// The parallel executor's outcome.
    pub(crate) fn execute(
        &self,
        way: Way,
        block: &RecoveredBlock,
        reader: Arc<dyn StateReader>,
    ) -> Result<Execution, BlockError> {
        self.executor(way).execute(block, reader)
    }

    /// Executes the block in every way; each must do what the oracle does.
    #[track_caller]
    pub(crate) fn check(&self) -> Checked {
        let block = self.block();
        let theirs = self.oracle(&block, &self.world.state);
        let theirs = theirs.unwrap_or_else(|error| panic!("the oracle holds the block invalid: {error:?}"));
        self.compare_all(&block, theirs, Verdict::Same)
    }

    /// Executes the block in every way; each must do the same, whatever the oracle does: where rules and oracle differ
    /// the test says itself what must come out.
    #[track_caller]
    pub(crate) fn check_without_oracle(&self) -> Checked {
        let block = self.block();
        let first = self.execute(BLIND, &block, self.reader());
        let first = first.unwrap_or_else(|error| panic!("{BLIND:?}: {error:?}"));
        self.compare_all(&block, first.outcome, Verdict::Other)
    }

    #[track_caller]
    fn compare_all(&self, block: &RecoveredBlock, theirs: BlockOutcome, oracle: Verdict) -> Checked {
        for way in Way::all(0..3) {
            let ours = self.execute(way, block, self.reader());
            let ours = ours.unwrap_or_else(|error| panic!("{way:?}: {error:?}")).outcome;
            if let Some(difference) = first_difference(&ours, &theirs) {
                panic!("{way:?}: {difference:#?}");
            }
            assert_eq!(ours, theirs, "{way:?}: no difference is found between outcomes that are not equal");
        }
        if let Some(wrong) = lists::wrong(self, block, &theirs, oracle) {
            panic!("{wrong}");
        }
        let blind = self.execute(BLIND, block, self.reader()).expect("a valid block").stats;
        Checked { outcome: theirs, blind, case: self.clone() }
    }

    /// Executes the block in every way; each must find it invalid for the oracle's reason.
    #[track_caller]
    pub(crate) fn check_invalid(&self) -> (usize, TransactionFault) {
        let block = self.block();
        let theirs = self.oracle(&block, &self.world.state).expect_err("the oracle holds the block valid");
        for way in Way::all(0..3) {
            let ours = self.execute(way, &block, self.reader()).expect_err("an invalid block");
            assert!(ours.agrees_with(&theirs), "{way:?}: {ours:?}, not {theirs:?}");
        }
        match theirs {
            BlockError::Invalid(InvalidBlock::Transaction { index, fault }) => (index, fault),
            other => panic!("no transaction is to blame: {other:?}"),
        }
    }

    pub(crate) fn reader(&self) -> Arc<dyn StateReader> {
        Arc::new(self.world.state.clone())
    }
}

impl Checked {
    fn receipt(&self, index: usize) -> &ReceiptEnvelope {
        &self.outcome.receipts[index]
    }

    /// Which transactions succeeded.
    pub(crate) fn successes(&self) -> Vec<bool> {
        self.outcome.receipts.iter().map(TxReceipt::status).collect()
    }

    /// The gas that one transaction used.
    pub(crate) fn gas_used(&self, index: usize) -> u64 {
        let before = index.checked_sub(1).map_or(0, |before| self.receipt(before).cumulative_gas_used());
        self.receipt(index).cumulative_gas_used() - before
    }

    /// The words that one transaction logged, or the topics of logs without data.
    pub(crate) fn logged(&self, index: usize) -> Vec<U256> {
        let word = |log: &alloy_primitives::Log| match log.data.topics() {
            [topic, ..] => U256::from_be_bytes(topic.0),
            [] => U256::from_be_slice(&log.data.data),
        };
        self.receipt(index).logs().iter().map(word).collect()
    }

    /// An account after the block.
    pub(crate) fn account(&self, address: Address) -> Option<Account> {
        match self.outcome.changes.account(&address) {
            Some(change) => change.after,
            None => self.case.world.state.account(&address).expect("a state that is there"),
        }
    }

    /// A balance after the block, in wei; zero where there is no account.
    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.account(address).unwrap_or_default().balance
    }

    /// A slot after the block.
    pub(crate) fn slot(&self, address: Address, slot: u64) -> U256 {
        let slot = U256::from(slot);
        let change = self.outcome.changes.account(&address);
        let written = change.and_then(|change| change.slots.iter().find(|written| written.slot == slot));
        match (written, change) {
            (Some(written), _) => written.after,
            (None, Some(change)) if change.storage_starts_empty() => U256::ZERO,
            (None, _) => self.case.world.state.storage(&address, &slot).expect("a state that is there"),
        }
    }

    /// Asserts that no transaction had to run twice although each ran blind to all others.
    #[track_caller]
    pub(crate) fn nobody_conflicts(self) -> Self {
        assert_eq!(self.blind.aborts, 0, "{:?}", self.blind);
        self
    }

    /// Asserts that some transaction had to run again: the case is about a conflict.
    #[track_caller]
    pub(crate) fn somebody_conflicts(self) -> Self {
        assert_ne!(self.blind.aborts, 0, "{:?}", self.blind);
        self
    }
}
