//! Attempts that wait inside a read: on real threads, since what matters is who is held up and who goes on.

#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{
    convert::Infallible,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use ropewalk_engine::{
    Base, CancelToken, CommitHook, Decision, Effects, Engine, Finished, Inline, Interrupt, Memory, Program, RunError,
    RunOptions, Shortcuts, Stats, TxIndex, View, Worker, WorkerFactory,
};

mod words;

use words::{Exactly, Set};

/// Transactions are closures over numbered words.
struct Words;

type Attempt = Box<dyn Fn(&mut View<Words>) -> Result<u64, Interrupt<Infallible>> + Send + Sync>;

struct Transaction {
    attempt: Attempt,
    follows: Option<u32>,
    meets: Option<u32>,
    runs: AtomicU32,
}

impl Program for Words {
    type Key = u32;
    type Value = u64;
    type Delta = Set;
    type Observation = Exactly;
    type Transaction = Transaction;
    type Output = u64;
    type Fault = Infallible;

    fn hidden(_: &u32) -> u64 {
        unreachable!("no key has a shadow")
    }

    fn follows(transaction: &Transaction) -> Option<TxIndex> {
        transaction.follows.map(TxIndex)
    }

    fn meets(transaction: &Transaction) -> Option<&u32> {
        transaction.meets.as_ref()
    }
}

struct Zeros;

impl Base<Words> for Zeros {
    fn read(&self, _: &u32) -> Result<u64, Infallible> {
        Ok(0)
    }
}

struct Runs;

impl Worker<Words> for Runs {
    fn execute(&mut self, transaction: &Transaction, view: &mut View<Words>) -> Result<u64, Interrupt<Infallible>> {
        transaction.runs.fetch_add(1, Ordering::Relaxed);
        (transaction.attempt)(view)
    }
}

impl WorkerFactory<Words> for Runs {
    type Worker = Self;

    fn build(&self) -> Self {
        Self
    }
}

#[derive(Default)]
struct Outputs(Vec<u64>);

impl CommitHook<Words> for Outputs {
    fn commit_transaction(&mut self, _: TxIndex, output: u64, _: Effects<'_, Words>) -> Decision {
        self.0.push(output);
        Decision::Keep
    }
}

fn transaction(attempt: Attempt) -> Transaction {
    Transaction { attempt, follows: None, meets: None, runs: AtomicU32::new(0) }
}

fn follower(lower: u32, key: u32, attempt: Attempt) -> Transaction {
    Transaction { follows: Some(lower), meets: Some(key), ..transaction(attempt) }
}

fn run(
    threads: usize,
    transactions: &[Transaction],
    options: &RunOptions,
) -> (Vec<u64>, Result<Finished, RunError<Infallible>>) {
    let engine = Engine::new(NonZeroUsize::new(threads).unwrap()).unwrap();
    let mut outputs = Outputs::default();
    let finished = engine.run(&Arc::new(Memory::new(Zeros, 8)), transactions, &Runs, &mut outputs, options);
    (outputs.0, finished)
}

/// However little a list is worth, both threads are to take part.
fn both() -> RunOptions {
    RunOptions { inline: Inline::Below(0), ..RunOptions::default() }
}

/// Longer than anything here takes, unless nobody comes.
const LONG: Duration = Duration::from_secs(20);
/// Time for an attempt to come from its last word to its next read.
const A_MOMENT: Duration = Duration::from_millis(200);

/// Says something once, and is heard once.
fn signal() -> (impl Fn() + Send + Sync, impl Fn() -> bool + Send + Sync) {
    let (says, hears): (Sender<()>, Receiver<()>) = channel();
    let (says, hears) = (Mutex::new(says), Mutex::new(hears));
    let say = move || says.lock().unwrap().send(()).unwrap_or(());
    (say, move || hears.lock().unwrap().recv_timeout(LONG).is_ok())
}

/// The first writes when the second has begun, and waits a moment until that may have come to the read.
fn writer_and_follower(
    ending: impl Fn() -> Result<u64, Interrupt<Infallible>> + Send + Sync + 'static,
) -> [Transaction; 2] {
    let (say, has_begun) = signal();
    let writer = transaction(Box::new(move |view| {
        let met = has_begun();
        thread::sleep(A_MOMENT);
        view.write(&1, Set(7));
        ending().map(|_| u64::from(met))
    }));
    [writer, announced(0, say)]
}

/// Says that it has begun, and goes on to what `lower` writes.
fn announced(lower: u32, say: impl Fn() + Send + Sync + 'static) -> Transaction {
    let attempt = move |view: &mut View<Words>| {
        let own = view.read(&2)?;
        say();
        Ok(own + view.read(&1)?)
    };
    follower(lower, 1, Box::new(attempt))
}

fn stats(finished: &Result<Finished, RunError<Infallible>>) -> Stats {
    finished.as_ref().expect("nothing fails").stats
}

#[test]
fn follower_is_begun_while_the_other_runs_and_sees_what_it_writes() {
    let list = writer_and_follower(|| Ok(0));
    let (outputs, finished) = run(2, &list, &both());
    assert_eq!(outputs, [1, 7], "the first met the second on its way, which read what it wrote");
    let stats = stats(&finished);
    assert_eq!((stats.aborts, stats.read_waits), (0, 1), "{stats:?}");
    assert_eq!(list[1].runs.load(Ordering::Relaxed), 1);
}

#[test]
fn follower_is_not_begun_early_where_that_is_left_out_or_the_key_is_unknown() {
    let options = RunOptions { shortcuts: Shortcuts { waits_in_reads: false, ..Shortcuts::default() }, ..both() };
    let unknown = |list: [Transaction; 2]| list.map(|transaction| Transaction { meets: None, ..transaction });
    let short = || {
        let writer = transaction(Box::new(|view| {
            thread::sleep(A_MOMENT);
            view.write(&1, Set(7));
            Ok(0)
        }));
        [writer, follower(0, 1, Box::new(|view| view.read(&1)))]
    };
    for (list, options) in [(short(), options), (unknown(short()), both())] {
        let (outputs, finished) = run(2, &list, &options);
        assert_eq!((outputs, stats(&finished).read_waits), (vec![0, 7], 0));
    }
}

#[test]
fn chain_of_followers_waits_for_each_other_from_the_lowest_up() {
    let link = |index: u32| -> Attempt {
        Box::new(move |view| {
            thread::sleep(A_MOMENT / 10);
            let value = view.read(&1)?;
            view.write(&1, Set(value + 1));
            Ok(u64::from(index) + value)
        })
    };
    let mut list = vec![transaction(link(0))];
    list.extend((1..20).map(|index| follower(index - 1, 1, link(index))));
    let (outputs, finished) = run(8, &list, &both());
    assert_eq!(outputs, (0..20).map(|index| 2 * index).collect::<Vec<_>>());
    assert!(stats(&finished).read_waits > 0, "{finished:?}");
}

#[test]
fn follower_of_one_that_comes_to_nothing_runs_again() {
    // The first transaction keeps the commit role until the third has given up: by then nobody runs the second, which panics
    // while it is speculated upon.
    let (gives_up, has_given_up) = signal();
    let first = transaction(Box::new(move |_| Ok(u64::from(has_given_up()))));
    let [writer, second] = {
        let (begun, has_begun) = signal();
        let writer = transaction(Box::new(move |view| {
            if view.is_speculative() {
                let _met = has_begun();
                thread::sleep(A_MOMENT);
                std::panic::resume_unwind(Box::new("not now".to_owned()));
            }
            view.write(&1, Set(7));
            Ok(0)
        }));
        let third = follower(
            1,
            1,
            Box::new(move |view| {
                let own = view.read(&2)?;
                begun();
                Ok(own + view.read(&1).inspect_err(|_| gives_up())?)
            }),
        );
        [writer, third]
    };
    let list = [first, writer, second];
    let (outputs, finished) = run(3, &list, &both());
    assert_eq!(outputs, [1, 0, 7]);
    let stats = stats(&finished);
    assert_eq!((stats.failures, stats.read_waits), (1, 1), "{stats:?}");
}

#[test]
fn attempt_that_waits_ends_with_the_run() {
    let token = CancelToken::new();
    let cancel = token.clone();
    let list = writer_and_follower(move || {
        cancel.cancel();
        Ok(0)
    });
    let (outputs, finished) = run(2, &list, &RunOptions { cancel: Some(token), ..both() });
    match finished {
        Err(RunError::Cancelled { index }) => assert_eq!(outputs.len(), index.0 as usize),
        other => assert_eq!((outputs, other.is_ok()), (vec![1, 7], true)),
    }
}
