//! What is found out about one block.

use std::{path::PathBuf, sync::Arc};

use alloy_primitives::B256;
use ropewalk_block::{BlockError, BlockOutcome, Dependencies, Locations, Timeline, TxIndex};
use ropewalk_state::StateReader;

use super::heat::Heat;
use crate::{
    bench::{Limit, Spread, TIMED_RUNS, sample},
    fixture::Fixture,
    run::{Runner, Timed, milliseconds, prepare_oracle, time_oracle, time_transactions},
};

/// Most events of the execution that is shown.
const MOST_EVENTS: usize = 1 << 18;

/// Figures of one block. Times are medians in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) label: String,
    pub(super) hash: B256,
    pub(super) directory: PathBuf,
    pub(super) txs: usize,
    pub(super) gas_used: u64,
    pub(super) sequential_ms: f64,
    pub(super) ms: f64,
    /// The speed-up that the block's dependencies allow.
    pub(super) limit: f64,
    /// Aborts of the recorded execution.
    pub(super) aborts: u32,
    /// Gas of results that it threw away.
    pub(super) wasted_gas: u64,
    /// Length of the longest chain of dependencies.
    pub(super) critical: usize,
}

impl Figures {
    pub(super) fn speedup(&self) -> f64 {
        self.sequential_ms / self.ms
    }

    /// The part of the limit that was reached.
    pub(super) fn share(&self) -> f64 {
        self.speedup() / self.limit
    }
}

/// What is shown of a block besides figures.
#[derive(Debug)]
pub(super) struct Detail {
    /// A recorded execution.
    pub(super) timeline: Timeline,
    /// What the timeline's numbers of locations stand for.
    pub(super) places: Locations,
    pub(super) dependencies: Dependencies,
    /// What the numbers of locations in the dependencies stand for.
    pub(super) links: Locations,
    /// The longest chain of dependencies.
    pub(super) critical: Vec<TxIndex>,
    /// Milliseconds of each transaction in order.
    pub(super) times: Vec<f64>,
    pub(super) hashes: Vec<B256>,
    pub(super) heat: Heat,
}

/// Measures a block, records an execution of it, and finds its dependencies.
///
/// # Errors
/// When an execution fails that has succeeded before.
pub(super) fn survey(
    fixture: &Fixture,
    reader: &Arc<dyn StateReader>,
    truth: &BlockOutcome,
    runner: &Runner,
    runs: usize,
) -> Result<(Figures, Detail), BlockError> {
    let oracle = prepare_oracle(fixture, reader)?;
    let times = time_transactions(&oracle, TIMED_RUNS)?;
    let (dependencies, links) = runner.dependencies(fixture, reader)?;
    let (mut in_order, mut parallel) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    for _ in 0..runs {
        in_order.push(milliseconds(sample(|| time_oracle(&oracle))?));
        parallel.push(milliseconds(sample(|| {
            let Timed { value, time } = runner.execute(fixture, reader, 0);
            value.map(|_| time)
        })?));
    }
    let (run, timeline) = runner.execute_recorded(fixture, reader, None, 0, MOST_EVENTS);
    let execution = run.value?;
    let places = execution.locations.expect("a recorded execution comes with its locations");
    let critical = dependencies.critical_chain(&times);
    let heat = Heat::of(&timeline, &places, &dependencies, &links);
    let figures = Figures {
        label: fixture.label(),
        hash: fixture.block.hash,
        directory: fixture.directory.clone(),
        txs: fixture.block.transactions.len(),
        gas_used: truth.gas_used,
        sequential_ms: Spread::of(&in_order).median,
        ms: Spread::of(&parallel).median,
        limit: Limit::by(&times, &dependencies).at(runner.threads()),
        aborts: execution.stats.aborts,
        wasted_gas: execution.stats.wasted_cost,
        critical: critical.len(),
    };
    let hashes = fixture.block.transactions.iter().map(|transaction| *transaction.recovered.hash()).collect();
    Ok((figures, Detail { timeline, places, dependencies, links, critical, times, hashes, heat }))
}
