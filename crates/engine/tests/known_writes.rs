//! Memory over writes that are known before the run: what a read of it costs, and what it finds.

#![cfg(not(feature = "shuttle"))]

use std::{
    convert::Infallible,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ropewalk_engine::{
    Base, Below, CellId, CommitHook, Decision, Delta, Effects, Engine, Fields, Interrupt, KnownWrites, Memory,
    Observation, Position, Program, RunOptions, TxIndex, View, Worker, WorkerFactory,
};

/// Transactions that each read one counter and set it to one more.
struct Count;

#[derive(Debug, Clone, PartialEq)]
struct Set(u64);

#[derive(Debug, Clone)]
struct Exactly(u64);

impl Delta<u64> for Set {
    fn apply(&self, value: &mut u64) {
        *value = self.0;
    }

    fn fields(&self) -> Fields {
        1
    }

    fn is_absolute(&self) -> bool {
        true
    }
}

impl Observation<u64> for Exactly {
    fn exact(value: &u64) -> Self {
        Self(*value)
    }

    fn holds(&self, value: &u64) -> bool {
        self.0 == *value
    }

    fn fields(&self) -> Fields {
        1
    }
}

impl Program for Count {
    type Key = u32;
    type Value = u64;
    type Delta = Set;
    type Observation = Exactly;
    type Transaction = ();
    type Output = u64;
    type Fault = Infallible;

    fn hidden(_: &u32) -> u64 {
        unreachable!("no key has a shadow")
    }
}

struct Nothing;

impl Base<Count> for Nothing {
    fn read(&self, _: &u32) -> Result<u64, Infallible> {
        Ok(0)
    }
}

struct Adder;

impl Worker<Count> for Adder {
    fn execute(&mut self, (): &(), view: &mut View<Count>) -> Result<u64, Interrupt<Infallible>> {
        let value = view.read(&0)?;
        view.write(&0, Set(value + 1));
        Ok(value)
    }
}

struct Adders;

impl WorkerFactory<Count> for Adders {
    type Worker = Adder;

    fn build(&self) -> Adder {
        Adder
    }
}

/// Keeps what each transaction read.
struct Reads(Vec<u64>);

impl CommitHook<Count> for Reads {
    fn commit_transaction(&mut self, _: TxIndex, output: u64, effects: Effects<'_, Count>) -> Decision {
        let written = effects.written().unwrap_or_else(|never| match never {});
        assert_eq!(written.iter().map(|written| (written.before, written.after)).next(), Some((output, output + 1)));
        self.0.push(output);
        Decision::Keep
    }
}

/// What each transaction writes, with a count of the looks at it.
struct Counted(Arc<AtomicUsize>);

impl KnownWrites<Count> for Counted {
    fn place(&self, _: &u32, _: CellId) -> Option<u32> {
        Some(0)
    }

    fn below(&self, _: u32, position: Position) -> Below<u64> {
        self.0.fetch_add(1, Ordering::Relaxed);
        if position > Position(1) { Below::Value(u64::from(position.0 - 1)) } else { Below::Nothing }
    }

    fn change(&self, _: u32, position: Position, _: &mut u64) {
        unreachable!("all is known at {position:?}");
    }
}

/// Runs a list of transactions over memory in which all is known, and counts how often that was looked at.
fn run(transactions: u32, threads: usize) -> (Vec<u64>, usize, u32) {
    let looks = Arc::new(AtomicUsize::new(0));
    let memory = Arc::new(Memory::<Count>::new(Nothing, 4).over(Counted(Arc::clone(&looks))));
    let engine = Engine::new(NonZeroUsize::new(threads).expect("not zero")).expect("threads");
    let options = RunOptions { known_writes: true, ..RunOptions::default() };
    let mut hook = Reads(Vec::new());
    let list = vec![(); transactions as usize];
    let finished = engine.run(&memory, &list, &Adders, &mut hook, &options).expect("nothing fails");
    (hook.0, looks.load(Ordering::Relaxed), finished.stats.aborts)
}

#[test]
fn reader_of_a_key_that_all_write_looks_at_it_once_however_many_they_are() {
    for threads in [1, 2, 8] {
        let (reads, looks, aborts) = run(2_000, threads);
        assert_eq!(reads, (0..2_000).collect::<Vec<u64>>());
        assert_eq!(aborts, 0);
        // Each transaction reads once, and is compared once.
        assert_eq!(looks, 2 * 2_000, "{threads} threads");
    }
}
