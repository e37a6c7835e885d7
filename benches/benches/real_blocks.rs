//! How does parallel execution compare with in-order execution on real mainnet blocks?
//!
//! `real/number=N txs=M`: recorded blocks with 50 or more transactions, by the oracle (`sequential`) and by the engine
//! (`threads=T`), from the same inputs in memory. Real blocks are not part of the repository; without them this says so.

mod comparison;

use std::sync::Arc;

use comparison::{Subject, compare};
use criterion::{Criterion, criterion_group, criterion_main};
use ropewalk_replay::{
    fixture::{Chains, Fixture, discover},
    ground::Ground,
};

fn real(criterion: &mut Criterion) {
    let Some(shared) = ropewalk_tests::shared() else {
        eprintln!("skipped: real blocks are not here; set ROPEWALK_SHARED to the folder that has fixtures/mainnet");
        return;
    };
    let (directories, _) = discover(&[shared.join("fixtures/mainnet")]);
    let mut chains = Chains::default();
    for directory in directories {
        let mut fixture = Fixture::read(&directory, &mut chains).expect("a recorded block");
        let txs = fixture.block.transactions.len();
        if txs < 50 {
            continue;
        }
        let (ground, _) = Ground::prepare(&mut fixture).expect("a recorded state");
        let subject = Subject {
            name: format!("real/number={} txs={txs}", fixture.number()),
            chain: Arc::clone(&fixture.chain.spec),
            state: ground.reader(),
            block: fixture.block,
        };
        compare(criterion, &subject);
    }
}

criterion_group!(benches, real);
criterion_main!(benches);
