//! How does parallel execution compare with in-order execution on each kind of work?
//!
//! `generated/workload=W txs=N hot=H depth=D`: one generated block, by the oracle (`sequential`) and by the engine
//! (`threads=T`), from the same inputs in memory.

mod comparison;

use std::sync::Arc;

use comparison::{Subject, compare};
use criterion::{Criterion, criterion_group, criterion_main};
use ropewalk_replay::generate::{GenerateOptions, Generator, Workload, blocks};

fn generated(criterion: &mut Criterion) {
    for workload in [Workload::Payments, Workload::Erc20, Workload::Exchange, Workload::Mixed] {
        for (hot, depth) in [(0.0, 1), (0.5, 1), (0.0, 50)] {
            let options = GenerateOptions { txs: 500, hot, depth, ..GenerateOptions::new(workload) };
            let chain = Generator::new(options).expect("options that can be met").chain_spec().clone();
            let generated = blocks(&options).expect("a block").pop().expect("one block");
            let subject = Subject {
                name: format!("generated/workload={workload:?} txs=500 hot={hot} depth={depth}"),
                chain: Arc::new(chain),
                state: Arc::new(generated.prestate()),
                block: generated.block,
            };
            compare(criterion, &subject);
        }
    }
}

criterion_group!(benches, generated);
criterion_main!(benches);
