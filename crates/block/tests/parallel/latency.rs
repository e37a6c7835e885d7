//! States that are slow to answer: the outcome is the same, and more workers wait for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes, U256};
use revm::bytecode::opcode as op;
use ropewalk_block::{CallSlots, ExecutorOptions, Frontier, Schedule, Shortcuts, SlowReads};
use ropewalk_state::{Account, StateError, StateReader};

use crate::{
    assembler::Code,
    case::{Case, Way},
    transaction::call,
    world::*,
};

/// Takes its time for accounts and slots.
struct Slow(Arc<dyn StateReader>);

impl Slow {
    fn wait() {
        thread::sleep(Duration::from_micros(300));
    }
}

impl StateReader for Slow {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        Self::wait();
        self.0.account(address)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        Self::wait();
        self.0.storage(address, slot)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        Self::wait();
        self.0.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.0.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.0.block_hash(number)
    }
}

/// Senders who count in slots, some of them in the same.
fn counting() -> Case {
    let world = World::new().contract(FIRST, &Code::new().increment(1)).contract(SECOND, &Code::new().increment(2));
    let calls = [ALICE, BOB, CAROL, DAVE].map(|sender| call(sender, if sender == BOB { SECOND } else { FIRST }));
    Case::new(Fork::Prague, &world, &calls)
}

fn way(threads: usize) -> Way {
    Way { threads, frontier: Frontier::Eager, schedule: Schedule::Normal }
}

#[test]
fn slow_state_gets_more_workers_and_the_outcome_is_the_same() {
    let case = counting();
    let (block, reader) = (case.block(), Arc::new(Slow(case.reader())));
    let expected = case.oracle(&block, &*case.reader()).expect("a valid block");
    // As many workers as there are transactions; one thread stays one.
    for (threads, most) in [(1, 1), (2, 4)] {
        let reads = Arc::new(SlowReads::default());
        let mut workers = Vec::new();
        for round in 0..12 {
            let options = ExecutorOptions { reads: Arc::clone(&reads), ..case.options(way(threads)) };
            let executor = case.executor_with(way(threads), options);
            let execution = executor.execute(&block, Arc::clone(&reader) as Arc<dyn StateReader>);
            let execution = execution.expect("a valid block");
            assert_eq!(execution.outcome, expected, "{threads} threads, round {round}");
            workers.push(execution.stats.workers);
        }
        assert_eq!((workers[0], workers[11]), (threads as u32, most), "{threads} threads: {workers:?}");
        assert!(reads.typical_ns() >= 20_000, "{} ns", reads.typical_ns());
    }
}

#[test]
fn state_in_memory_is_not_slow() {
    let case = counting();
    let reads = Arc::new(SlowReads::default());
    for _ in 0..12 {
        let options = ExecutorOptions { reads: Arc::clone(&reads), ..case.options(way(2)) };
        let execution = case.executor_with(way(2), options).execute(&case.block(), case.reader());
        assert!(execution.expect("a valid block").stats.workers <= 2);
    }
}

/// Takes its time for single look-ups and for batches alike, and counts the single ones.
struct Batching {
    state: Arc<dyn StateReader>,
    singles: AtomicUsize,
    /// Whether a batch takes as long as all of its reads one by one.
    in_a_row: bool,
}

impl Batching {
    fn over(state: &Arc<dyn StateReader>) -> Arc<Self> {
        Arc::new(Self { state: Arc::clone(state), singles: AtomicUsize::new(0), in_a_row: false })
    }

    fn batch(&self, reads: usize) {
        (0..if self.in_a_row { reads } else { 1 }).for_each(|_| Slow::wait());
    }

    fn single(&self) {
        self.singles.fetch_add(1, Ordering::Relaxed);
        Slow::wait();
    }
}

impl StateReader for Batching {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.single();
        self.state.account(address)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        self.single();
        self.state.storage(address, slot)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        self.state.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.state.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.state.block_hash(number)
    }

    fn accounts(&self, addresses: &[Address]) -> Result<Vec<Option<Account>>, StateError> {
        self.batch(addresses.len());
        self.state.accounts(addresses)
    }

    fn storages(&self, slots: &[(Address, U256)]) -> Result<Vec<U256>, StateError> {
        self.batch(slots.len());
        self.state.storages(slots)
    }

    fn each_account(&self, addresses: &[Address]) -> Vec<Result<Option<Account>, StateError>> {
        self.batch(addresses.len());
        self.state.each_account(addresses)
    }

    fn each_storage(&self, slots: &[(Address, U256)]) -> Vec<Result<U256, StateError>> {
        self.batch(slots.len());
        self.state.each_storage(slots)
    }
}

#[test]
fn by_a_list_slow_state_is_read_in_batches_before_anything_runs() {
    let case = counting();
    let (block, parent) = (case.block(), case.reader());
    let recording = ExecutorOptions { record: true, ..case.options(way(2)) };
    let own = case.executor_with(way(2), recording).execute(&block, Arc::clone(&parent)).expect("a valid block");
    let list = Arc::new(own.record.expect("asked for").access_list());
    for threads in [1, 2] {
        let reads = Arc::new(SlowReads::default());
        // Whether reads are slow is found out by three of them.
        for singles in [3, 0] {
            let state = Batching::over(&parent);
            let options = ExecutorOptions { reads: Arc::clone(&reads), ..case.options(way(threads)) };
            let reader: Arc<dyn StateReader> = Arc::clone(&state) as _;
            let by_list = case.executor_with(way(threads), options).execute_by_access_list(&block, reader, &list);
            assert_eq!(by_list.expect("its own list").outcome, own.outcome, "{threads} threads");
            assert_eq!(state.singles.load(Ordering::Relaxed), singles, "{threads} threads");
        }
    }
}

#[test]
fn what_is_looked_at_around_the_transactions_of_a_slow_state_is_read_in_batches() {
    let world = World::new();
    let case = Case::new(Fork::Prague, &world, &[]);
    let (block, parent) = (case.block(), case.reader());
    let reads = Arc::new(SlowReads::default());
    let singles: Vec<_> = (0..40)
        .map(|_| {
            let state = Batching::over(&parent);
            let options = ExecutorOptions { reads: Arc::clone(&reads), ..case.options(way(2)) };
            let reader: Arc<dyn StateReader> = Arc::clone(&state) as _;
            case.executor_with(way(2), options).execute(&block, reader).expect("a valid block");
            state.singles.load(Ordering::Relaxed)
        })
        .collect();
    assert!(singles[0] > 0 && singles[39] == 0, "{singles:?}");
}

#[test]
fn slots_that_other_calls_of_a_function_look_at_are_read_in_batches() {
    let argument = |code: Code| code.push(4).op(op::CALLDATALOAD);
    let count = argument(argument(Code::new()).op(op::SLOAD).push(1).op(op::ADD)).op(op::SSTORE);
    let world = World::new().contract(FIRST, &count);
    let calls: Vec<_> = (0..16_u8)
        .map(|at| {
            call([ALICE, BOB, CAROL, DAVE][usize::from(at % 4)], FIRST).input([vec![1; 4], vec![at + 1; 32]].concat())
        })
        .collect();
    let case = Case::new(Fork::Prague, &world, &calls);
    let (block, parent) = (case.block(), case.reader());
    let expected = case.oracle(&block, &*parent).expect("a valid block");
    let reads = Arc::new(SlowReads::default());
    let singles = |threads, slots: &Arc<CallSlots>, learned_slots, in_a_row| {
        let state = Arc::new(Batching { state: Arc::clone(&parent), singles: AtomicUsize::new(0), in_a_row });
        let shortcuts = Shortcuts { learned_slots, ..Shortcuts::ALL };
        let (reads, slots) = (Arc::clone(&reads), Arc::clone(slots));
        let options = ExecutorOptions { reads, slots, shortcuts, ..case.options(way(threads)) };
        let reader: Arc<dyn StateReader> = Arc::clone(&state) as _;
        let execution = case.executor_with(way(threads), options).execute(&block, reader).expect("a valid block");
        assert_eq!(execution.outcome, expected, "{threads} threads");
        state.singles.load(Ordering::Relaxed)
    };
    // It takes a block or more to find out that the state is slow.
    while reads.typical_ns() < 20_000 {
        singles(2, &Arc::default(), false, false);
    }
    for threads in [1, 2] {
        assert_eq!(singles(threads, &Arc::default(), false, false), 16, "{threads} threads");
        let slots = Arc::default();
        assert_eq!(singles(threads, &slots, true, false), 1, "{threads} threads: that of the first call");
        assert_eq!(singles(threads, &slots, true, false), 0, "{threads} threads: known from the block before");
        assert_eq!(singles(threads, &slots, true, true), 16, "{threads} threads: batches are no quicker");
    }
}

#[test]
fn state_that_has_become_fast_is_not_read_ahead_for_ever() {
    let case = counting();
    let (block, parent) = (case.block(), case.reader());
    let recording = ExecutorOptions { record: true, ..case.options(way(2)) };
    let own = case.executor_with(way(2), recording).execute(&block, Arc::clone(&parent)).expect("a valid block");
    let list = Arc::new(own.record.expect("asked for").access_list());
    let reads = Arc::new(SlowReads::default());
    let execute = |reader: Arc<dyn StateReader>| {
        let options = ExecutorOptions { reads: Arc::clone(&reads), ..case.options(way(2)) };
        case.executor_with(way(2), options).execute_by_access_list(&block, reader, &list).expect("its own list");
        reads.typical_ns()
    };
    let slow = execute(Arc::new(Slow(Arc::clone(&parent))));
    assert!(slow >= 300_000, "{slow} ns");
    // During one batch the thread may have had to wait for its core.
    assert!((0..50).any(|_| execute(Arc::clone(&parent)) < slow / 2), "{} ns", reads.typical_ns());
}
