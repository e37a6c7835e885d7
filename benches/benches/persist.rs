//! What does it cost to make a block durable?
//!
//! `persist/commit/changes=N`: `commit_block` of a block that changes N accounts and four slots for every ten of them, on a
//! state of 100,000 accounts and as many slots, every block synced: state root, batch, write. `no_node_cache` is the same
//! without the cache of trie nodes, `unsynced` without the wait for the disk, `root` the state root alone, from a reader.
//! `unwind` undoes such a block. Before anything is timed the store is verified, and every commit checks its root.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use alloy_primitives::B256;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use ropewalk_benches::state::{MadeUp, block_hash};
use ropewalk_state::{BlockCommit, Changes, trie::state_root_after};
use ropewalk_store::{Durability, Head, Store, StoreError, StoreOptions};
use tempfile::TempDir;

const STATE: MadeUp = MadeUp { accounts: 100_000 };

/// A store with the state, and the blocks that follow.
struct Chain {
    _directory: TempDir,
    store: Store,
    before: BTreeMap<(u64, u64), u64>,
}

/// A block that can be committed next.
struct Next {
    number: u64,
    parent_hash: B256,
    state_root: B256,
    changes: Changes,
}

impl Chain {
    fn new(options: &StoreOptions) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut store = Store::open(directory.path(), options).expect("the store opens");
        let base = |root| Head { number: 0, hash: block_hash(0), state_root: Some(root) };
        // The load says which root the entries have.
        let found = match store.load_base(&base(B256::ZERO), STATE.entries()) {
            Err(StoreError::WrongStateRoot { found, .. }) => found,
            other => panic!("no state has the root zero: {other:?}"),
        };
        store.load_base(&base(found), STATE.entries()).expect("the state is loaded");
        let verified = store.verify(&mut |_| ()).expect("the store can be read");
        assert!(verified.is_sound(), "{verified:?}");
        Self { _directory: directory, store, before: BTreeMap::new() }
    }

    fn next(&mut self, changed: u64) -> Next {
        let head = self.store.head().expect("the state is loaded");
        let number = head.number + 1;
        let changes = STATE.block(number, changed, &mut self.before);
        let root = head.state_root.expect("the state is whole");
        let state_root = state_root_after(&self.store.reader(), root, &changes).expect("the store can be read");
        Next { number, parent_hash: head.hash, state_root, changes }
    }

    fn commit(&mut self, next: &Next) {
        let &Next { number, parent_hash, state_root, ref changes } = next;
        let block = BlockCommit { number, hash: block_hash(number), parent_hash, state_root, changes };
        self.store.commit_block(&block).expect("the block is committed, its root is right");
    }
}

fn persist(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("persist");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let ways = [
        ("commit", StoreOptions::default()),
        ("no_node_cache", StoreOptions { node_cache_bytes: 0, ..StoreOptions::default() }),
        ("unsynced", StoreOptions { durability: Durability::OperatingSystem, ..StoreOptions::default() }),
    ];
    for (name, options) in &ways {
        let mut chain = Chain::new(options);
        for changed in [100, 1_000, 5_000] {
            group.bench_function(BenchmarkId::new(*name, format!("changes={changed}")), |bencher| {
                bencher.iter_custom(|times| {
                    (0..times)
                        .map(|_| {
                            let next = chain.next(changed);
                            let began = std::time::Instant::now();
                            chain.commit(&next);
                            began.elapsed()
                        })
                        .sum()
                });
            });
        }
    }
    let mut chain = Chain::new(&StoreOptions::default());
    for changed in [100, 1_000, 5_000] {
        let next = chain.next(changed);
        let head = chain.store.head().and_then(|head| head.state_root).expect("the state is whole");
        let reader = chain.store.reader();
        group.bench_function(BenchmarkId::new("root", format!("changes={changed}")), |bencher| {
            bencher.iter_batched(
                || (),
                |()| black_box(state_root_after(&reader, head, &next.changes).expect("the store can be read")),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("unwind", format!("changes={changed}")), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| {
                        chain.commit(&next);
                        let began = std::time::Instant::now();
                        chain.store.unwind_to(next.number - 1).expect("it is unwound");
                        began.elapsed()
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, persist);
criterion_main!(benches);
