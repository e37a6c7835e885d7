//! One block, in order and in parallel: checked to be equal, then timed.

use std::{num::NonZeroUsize, sync::Arc};

use criterion::{BatchSize, BenchmarkId, Criterion};
use ropewalk_benches::thread_counts;
use ropewalk_block::{
    BlockExecutor, ChainSpec, Engine, ExecutorOptions, InvalidTransactions, RecoveredBlock,
    oracle::{self, Oracle},
};
use ropewalk_state::StateReader;

/// What is compared.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) chain: Arc<ChainSpec>,
    pub(crate) block: RecoveredBlock,
    pub(crate) state: Arc<dyn StateReader>,
}

/// Times `subject` both ways, after checking that both say the same.
pub(crate) fn compare(criterion: &mut Criterion, subject: &Subject) {
    let Subject { name, chain, block, state } = subject;
    let expected = oracle::execute(chain, block, state).expect("a valid block");
    let prepared = Oracle::prepare(chain, block, state, InvalidTransactions::Reject).expect("a valid block");
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    group.bench_function("sequential", |bencher| {
        bencher.iter_batched(|| prepared.start(), |run| run.execute().expect("a valid block"), BatchSize::PerIteration);
    });
    let options = ExecutorOptions::default();
    for threads in thread_counts() {
        let engine = Engine::new(NonZeroUsize::new(threads).expect("not zero")).expect("threads");
        let executor = BlockExecutor::new(Arc::clone(chain), engine, options.clone());
        let run = || executor.execute(block, Arc::clone(state)).expect("a valid block");
        assert_eq!(run().outcome, expected, "{name} at {threads} threads differs from the oracle");
        group.bench_function(BenchmarkId::new("threads", threads), |bencher| bencher.iter(run));
    }
    group.finish();
}
