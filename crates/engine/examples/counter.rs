//! The smallest program there is: numbered counters, and transactions that move a counter by what another one says.
//!
//! ```text
//! cargo run --release -p ropewalk-engine --example counter
//! ```

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc};

use ropewalk_engine::{
    Base, CommitHook, Decision, Delta, Effects, Engine, Fields, Interrupt, Memory, Observation, Program, RunOptions,
    TxIndex, View, Worker, WorkerFactory,
};

/// The program: a key is a counter's number, its value what it stands at.
struct Counters;

/// Adds one counter's value to another counter.
struct AddTo {
    from: u32,
    to: u32,
}

impl Program for Counters {
    type Key = u32;
    type Value = u64;
    type Delta = Add;
    type Observation = Exactly;
    type Transaction = AddTo;
    type Output = u64;
    type Fault = Infallible;

    fn hidden(_: &u32) -> u64 {
        unreachable!("no key has a shadow")
    }
}

/// A step. Steps commute: two transactions that add to the same counter do not conflict.
#[derive(Debug, Clone, PartialEq)]
struct Add(u64);

impl Delta<u64> for Add {
    fn apply(&self, value: &mut u64) {
        *value = value.wrapping_add(self.0);
    }

    fn fields(&self) -> Fields {
        1
    }
}

/// What a transaction relies upon: the value that it read.
#[derive(Debug, Clone)]
struct Exactly(u64);

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

/// Before the block every counter stands at its own number.
struct Numbers;

impl Base<Counters> for Numbers {
    fn read(&self, key: &u32) -> Result<u64, Infallible> {
        Ok(u64::from(*key))
    }
}

struct Adder;

impl Worker<Counters> for Adder {
    fn execute(&mut self, transaction: &AddTo, view: &mut View<Counters>) -> Result<u64, Interrupt<Infallible>> {
        let value = view.read(&transaction.from)?;
        view.write(&transaction.to, Add(value));
        Ok(value)
    }
}

struct Adders;

impl WorkerFactory<Counters> for Adders {
    type Worker = Adder;

    fn build(&self) -> Adder {
        Adder
    }
}

/// Keeps every transaction, and what it moved.
#[derive(Default)]
struct Moved(Vec<u64>);

impl CommitHook<Counters> for Moved {
    fn commit_transaction(&mut self, _: TxIndex, output: u64, _: Effects<'_, Counters>) -> Decision {
        self.0.push(output);
        Decision::Keep
    }
}

#[expect(clippy::print_stdout, reason = "an example shows something")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let list: Vec<AddTo> = (0..1_000).map(|index| AddTo { from: index % 7, to: index % 11 }).collect();
    let memory = Arc::new(Memory::new(Numbers, 16));
    let mut moved = Moved::default();
    let engine = Engine::new(NonZeroUsize::new(4).expect("four is not zero"))?;
    let finished = engine.run(&memory, &list, &Adders, &mut moved, &RunOptions::default())?;

    let mut counters: Vec<u64> = (0..11).collect();
    for (transaction, moved) in list.iter().zip(&moved.0) {
        let value = counters[transaction.from as usize];
        assert_eq!(*moved, value, "the engine's outputs are those of running in order");
        let to = &mut counters[transaction.to as usize];
        *to = to.wrapping_add(value);
    }
    memory.for_each_committed(|counter| assert_eq!(counters[*counter.key as usize], *counter.value));
    println!("{:?}", finished.stats);
    Ok(())
}
