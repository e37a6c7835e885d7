//! Every decoder of bytes from outside, given bytes that nobody should have sent: none panics, and none makes much out of
//! little.
//!
//! | module | decodes |
//! |---|---|
//! | `rlp` | blocks and access lists |
//! | `fixture` | the files of a fixture, plain and compressed, witness and genesis included; what can be read is executed |
//! | `rpc` | answers of a node, over HTTP |
//!
//! Keys and values of the database are tested beside their layout (`crates/store/src/layout/tests.rs`), nodes of tries
//! beside the tries (`crates/state/src/trie`).
//!
//! `ROPEWALK_SEED` says at which seed to begin, `ROPEWALK_ROUNDS` how many times as many rounds as usual to make.

mod damage;
mod fixture;
mod rlp;
mod rpc;

use std::env;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use ropewalk_block::RecoveredBlock;
use ropewalk_replay::generate::{GenerateOptions, Workload, blocks};

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Makes so many rounds, each with randomness of its own, whose seed a panic prints.
fn rounds(count: u64, mut round: impl FnMut(&mut ChaCha8Rng)) {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("ROPEWALK_SEED={}", self.0);
            }
        }
    }
    let (first, times) = (setting("ROPEWALK_SEED").unwrap_or(0), setting("ROPEWALK_ROUNDS").unwrap_or(1));
    for seed in first..first + count * times {
        let _named = Named(seed);
        round(&mut ChaCha8Rng::seed_from_u64(seed));
    }
}

/// A block of every kind of transaction.
fn generated_block() -> RecoveredBlock {
    let options = GenerateOptions { txs: 120, ..GenerateOptions::new(Workload::Mixed) };
    blocks(&options).expect("valid options").remove(0).block
}
