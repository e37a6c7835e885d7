//! How many workers a list gets.

#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{
    convert::Infallible,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
};

use ropewalk_engine::{
    Base, CommitHook, Decision, Effects, Engine, Inline, Interrupt, Memory, Program, RunOptions, Shortcuts, TxIndex,
    View, Worker, WorkerFactory,
};

mod words;

use words::{Exactly, Set};

/// Transactions that add one to a word and are known to take some time.
struct Counting;

#[derive(Clone, Default)]
struct Transaction {
    word: u32,
    effort_ns: u64,
    lane: Option<u64>,
    follows: Option<TxIndex>,
    meets: Option<u32>,
}

impl Program for Counting {
    type Key = u32;
    type Value = u64;
    type Delta = Set;
    type Observation = Exactly;
    type Transaction = Transaction;
    type Output = ThreadId;
    type Fault = Infallible;

    fn hidden(_: &u32) -> u64 {
        unreachable!("no key has a shadow")
    }

    fn effort(transaction: &Transaction) -> u64 {
        transaction.effort_ns
    }

    fn lane(transaction: &Transaction) -> Option<u64> {
        transaction.lane
    }

    fn follows(transaction: &Transaction) -> Option<TxIndex> {
        transaction.follows
    }

    fn meets(transaction: &Transaction) -> Option<&u32> {
        transaction.meets.as_ref()
    }
}

struct Zeros;

impl Base<Counting> for Zeros {
    fn read(&self, _: &u32) -> Result<u64, Infallible> {
        Ok(0)
    }
}

struct Counts;

impl WorkerFactory<Counting> for Counts {
    type Worker = Self;

    fn build(&self) -> Self {
        Self
    }
}

impl Worker<Counting> for Counts {
    fn execute(
        &mut self,
        transaction: &Transaction,
        view: &mut View<Counting>,
    ) -> Result<ThreadId, Interrupt<Infallible>> {
        let value = view.read(&transaction.word)?;
        view.write(&transaction.word, Set(value + 1));
        Ok(thread::current().id())
    }
}

#[derive(Default)]
struct Threads(Mutex<Vec<ThreadId>>);

impl CommitHook<Counting> for Threads {
    fn commit_transaction(&mut self, _: TxIndex, output: ThreadId, _: Effects<'_, Counting>) -> Decision {
        self.0.lock().unwrap().push(output);
        Decision::Keep
    }
}

fn engine(threads: usize) -> Engine {
    Engine::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

fn workers(transactions: &[Transaction], options: &RunOptions) -> usize {
    engine(2).rouse::<Counting>(transactions, options)
}

const MILLISECOND: u64 = 1_000_000;

/// Transactions of so many nanoseconds, each as `with` makes it.
fn list(count: u32, effort_ns: u64, with: impl Fn(TxIndex, &mut Transaction)) -> Vec<Transaction> {
    let transaction = |index| {
        let mut transaction = Transaction { word: index, effort_ns, ..Transaction::default() };
        with(TxIndex(index), &mut transaction);
        transaction
    };
    (0..count).map(transaction).collect()
}

fn after(index: TxIndex) -> Option<TxIndex> {
    index.0.checked_sub(1).map(TxIndex)
}

#[test]
fn independent_transactions_get_all_workers_and_a_little_work_gets_one() {
    let options = RunOptions::default();
    assert_eq!(workers(&list(8, MILLISECOND, |_, _| ()), &options), 2);
    assert_eq!(workers(&list(8, 1_000, |_, _| ()), &options), 1);
}

#[test]
fn short_list_that_is_one_chain_gets_one_worker() {
    let options = RunOptions::default();
    let one_lane = list(8, MILLISECOND, |_, it| it.lane = Some(7));
    let followers = list(8, MILLISECOND, |index, it| it.follows = after(index));
    let two_lanes = list(8, MILLISECOND, |index, it| it.lane = Some((index.0 % 2).into()));
    assert_eq!([&one_lane, &followers, &two_lanes].map(|list| workers(list, &options)), [1, 1, 2]);
}

#[test]
fn chain_that_nobody_waits_along_gets_all_workers() {
    let one_lane = list(8, MILLISECOND, |_, it| it.lane = Some(7));
    let known_writes = RunOptions { known_writes: true, ..RunOptions::default() };
    let without_lanes = Shortcuts { lanes: false, ..Shortcuts::default() };
    let without_lanes = RunOptions { shortcuts: without_lanes, ..RunOptions::default() };
    assert_eq!([known_writes, without_lanes].map(|options| workers(&one_lane, &options)), [2, 2]);
}

#[test]
fn chain_whose_parts_overlap_inside_reads_gets_all_workers() {
    let meeting = |index, it: &mut Transaction| (it.follows, it.meets) = (after(index), Some(0));
    let options = RunOptions::default();
    let without =
        RunOptions { shortcuts: Shortcuts { waits_in_reads: false, ..Shortcuts::default() }, ..options.clone() };
    let (long, short) = (list(8, MILLISECOND, meeting), list(8, MILLISECOND / 2, meeting));
    assert_eq!(workers(&long, &options), 2);
    assert_eq!(workers(&long, &without), 1);
    assert_eq!(workers(&short, &options), 1);
}

#[test]
fn memory_for_one_thread_is_run_over_by_the_caller_alone() {
    let transactions = list(200, MILLISECOND, |index, it| it.word = index.0 % 50);
    let memory = Arc::new(Memory::<Counting>::new(Zeros, 4).for_one_thread());
    let options = RunOptions { inline: Inline::Below(0), ..RunOptions::default() };
    let mut threads = Threads::default();
    engine(4).run(&memory, &transactions, &Counts, &mut threads, &options).unwrap();
    let here = thread::current().id();
    assert!(threads.0.into_inner().unwrap().iter().all(|thread| *thread == here));
    let mut counted = Vec::new();
    memory.for_each_committed(|end| counted.push((*end.key, *end.value)));
    counted.sort_unstable();
    assert_eq!(counted, (0..50).map(|word| (word, 4)).collect::<Vec<_>>());
}
