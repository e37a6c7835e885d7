//! What is measured and recorded of a block before it is simulated.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Instant,
};

use ropewalk_block::{BlockError, EvmKey};
use ropewalk_evm::EvmValue;
use ropewalk_state::StateReader;

use super::{
    costs::{Costs, Samples, event_cost, nanoseconds},
    script::{Script, scripts},
};
use crate::{
    bench::{Limit, Spread, sample},
    fixture::Fixture,
    run::{Runner, Timed, milliseconds, prepare_oracle, time_oracle},
};

/// Recorded runs of each number of threads in a round.
const RECORDED_RUNS: usize = 4;
/// Events that a recorder keeps.
const MOST_EVENTS: usize = 1 << 20;

/// What a simulation of a block goes by.
#[derive(Debug)]
pub(super) struct Measured {
    /// Median of the oracle.
    pub(super) seq_ms: f64,
    /// Median of the engine on two threads.
    pub(super) together_ms: f64,
    pub(super) limit: Limit,
    pub(super) costs: Costs,
    pub(super) scripts: Vec<Script>,
    /// What each key held before the first transaction.
    pub(super) before: Arc<HashMap<EvmKey, EvmValue>>,
    /// Nanoseconds before the first step and after the last: on one thread, and on two.
    pub(super) outside: (f64, f64),
}

impl Measured {
    /// Nanoseconds before the first step and after the last, on so many threads: a part that threads share, and one that
    /// they do not.
    pub(super) fn outside_ns(&self, threads: usize) -> f64 {
        let (alone, together) = self.outside;
        let shared = (2.0 * (alone - together)).clamp(0.0, together.min(alone));
        if threads == 1 { alone } else { together - shared / 2.0 + shared / threads as f64 }
    }
}

/// Measures a block: in order and on two threads in turns, with and without recorders.
///
/// # Errors
/// When an execution fails that has succeeded before.
pub(super) fn measure(
    fixture: &Fixture,
    reader: &Arc<dyn StateReader>,
    alone: &Runner,
    together: &Runner,
    runs: usize,
) -> Result<Measured, BlockError> {
    let oracle = prepare_oracle(fixture, reader)?;
    let limit = Limit::of(&oracle, alone, fixture, reader)?;
    let count = fixture.block.transactions.len();
    let recorder_ns = event_cost();
    let (mut in_order, mut parallel) = (Vec::with_capacity(runs), Vec::with_capacity(runs));
    let (mut one, mut two) = (Samples::new(count), Samples::new(count));
    for _ in 0..runs {
        in_order.push(milliseconds(sample(|| time_oracle(&oracle))?));
        parallel.push(milliseconds(sample(|| {
            let Timed { value, time } = together.execute(fixture, reader, 0);
            value.map(|_| time)
        })?));
        for (runner, samples) in [(alone, &mut one), (together, &mut two)] {
            for _ in 0..RECORDED_RUNS {
                let (run, timeline) = runner.execute_recorded(fixture, reader, None, 0, MOST_EVENTS);
                let Timed { value, time } = run;
                value?;
                samples.add(&timeline, time, recorder_ns);
            }
        }
    }
    let (footprints, arrivals) = alone.footprints(fixture, reader)?;
    let costs = two.costs(&one, wake_cost());
    Ok(Measured {
        seq_ms: Spread::of(&in_order).median,
        together_ms: Spread::of(&parallel).median,
        limit,
        costs,
        scripts: scripts(&footprints, &arrivals),
        before: Arc::new(footprints.before),
        outside: (one.outside(), two.outside()),
    })
}

/// Nanoseconds from waking a parked thread until it goes on: half the time that a ball takes there and back.
fn wake_cost() -> f64 {
    const ROUNDS: u32 = 200;
    let court = (Mutex::new(0u32), Condvar::new());
    let play = |odd: u32| {
        let (ball, turn) = &court;
        let mut at = ball.lock().unwrap_or_else(PoisonError::into_inner);
        while *at < 2 * ROUNDS {
            if *at % 2 == odd {
                *at += 1;
                turn.notify_one();
            } else {
                at = turn.wait(at).unwrap_or_else(PoisonError::into_inner);
            }
        }
    };
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| play(1));
        play(0);
    });
    nanoseconds(begun.elapsed()) / f64::from(2 * ROUNDS)
}
