//! What does the engine itself cost per transaction, without an EVM?
//!
//! `engine/pattern=P work=W threads=T`: 2,000 transactions that each read two counters, compute for W rounds and step
//! both; `serial` is the engine's serial twin on the same program.

use std::{convert::Infallible, hint::black_box, num::NonZeroUsize, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ropewalk_benches::thread_counts;
use ropewalk_engine::{
    Base, CommitHook, Decision, Delta, Effects, Engine, Fields, Interrupt, Memory, Observation, Program, RunOptions,
    TxIndex, View, Worker, WorkerFactory, serial,
};

const TRANSACTIONS: u64 = 2_000;

#[derive(Debug)]
struct Counters;

#[derive(Debug, Clone, PartialEq)]
struct Set(u64);

#[derive(Debug, Clone)]
struct Saw(u64);

#[derive(Debug, Clone, Copy)]
struct Step {
    keys: [u64; 2],
    rounds: u64,
}

impl Program for Counters {
    type Key = u64;
    type Value = u64;
    type Delta = Set;
    type Observation = Saw;
    type Transaction = Step;
    type Output = u64;
    type Fault = Infallible;

    fn hidden(_: &u64) -> u64 {
        0
    }
}

impl Delta<u64> for Set {
    fn apply(&self, value: &mut u64) {
        *value = self.0;
    }

    fn fields(&self) -> Fields {
        1
    }
}

impl Observation<u64> for Saw {
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

struct Zero;

impl Base<Counters> for Zero {
    fn read(&self, _: &u64) -> Result<u64, Infallible> {
        Ok(0)
    }
}

struct Stepper;

impl Worker<Counters> for Stepper {
    fn execute(&mut self, step: &Step, view: &mut View<Counters>) -> Result<u64, Interrupt<Infallible>> {
        let mut sum: u64 = 0;
        for key in step.keys {
            let value = view.read(&key)?;
            sum = sum.wrapping_add(value);
            for round in 0..step.rounds {
                sum = black_box(sum.rotate_left(5) ^ round);
            }
            view.write(&key, Set(value.wrapping_add(sum | 1)));
        }
        Ok(sum)
    }
}

impl WorkerFactory<Counters> for Stepper {
    type Worker = Self;

    fn build(&self) -> Self {
        Self
    }
}

#[derive(Default, PartialEq, Debug)]
struct Outputs(Vec<u64>);

impl CommitHook<Counters> for Outputs {
    fn commit_transaction(&mut self, _: TxIndex, output: u64, _: Effects<'_, Counters>) -> Decision {
        self.0.push(output);
        Decision::Keep
    }
}

fn transactions(pattern: &str, rounds: u64) -> Vec<Step> {
    let keys = |index: u64| match pattern {
        "independent" => [2 * index, 2 * index + 1],
        "chain" => [0, 1],
        "pairs" => [index / 2, TRANSACTIONS + index],
        other => unreachable!("no pattern is called {other}"),
    };
    (0..TRANSACTIONS).map(|index| Step { keys: keys(index), rounds }).collect()
}

fn run_serial(steps: &[Step]) -> Outputs {
    let mut outputs = Outputs::default();
    let memory = Arc::new(Memory::new(Zero, 4_096));
    serial::run(&memory, steps, &Stepper, &mut outputs).expect("nothing fails");
    outputs
}

fn run_engine(engine: &Engine, steps: &[Step]) -> Outputs {
    let mut outputs = Outputs::default();
    let memory = Arc::new(Memory::new(Zero, 4_096));
    engine.run(&memory, steps, &Stepper, &mut outputs, &RunOptions::default()).expect("nothing fails");
    outputs
}

fn engine(criterion: &mut Criterion) {
    for pattern in ["independent", "pairs", "chain"] {
        for work in [100, 2_000] {
            let mut group = criterion.benchmark_group(format!("engine/pattern={pattern} work={work}"));
            let steps = transactions(pattern, work);
            let expected = run_serial(&steps);
            group.bench_function("serial", |bencher| bencher.iter(|| run_serial(&steps)));
            for threads in thread_counts() {
                let engine = Engine::new(NonZeroUsize::new(threads).expect("not zero")).expect("threads");
                assert_eq!(run_engine(&engine, &steps), expected, "the engine differs from its serial twin");
                let id = BenchmarkId::new("threads", threads);
                group.bench_function(id, |bencher| bencher.iter(|| run_engine(&engine, &steps)));
            }
            group.finish();
        }
    }
}

criterion_group!(benches, engine);
criterion_main!(benches);
