//! How fast a block could be executed, as its true dependencies allow.

use std::sync::Arc;

use ropewalk_block::{BlockError, Dependencies, oracle::Oracle};
use ropewalk_state::StateReader;

use crate::{
    fixture::Fixture,
    run::{Runner, time_transactions},
};

/// What bounds a block's speed-up, in milliseconds of in-order execution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit {
    /// Of all transactions.
    total: f64,
    /// Of the longest chain of transactions that depend on each other.
    chain: f64,
}

/// Runs that a transaction's time is the least of.
pub(crate) const RUNS: usize = 5;

impl Limit {
    /// The limit of a block: its dependencies by value at the engine's grain of locations, weighted by the time that each
    /// transaction takes the oracle.
    ///
    /// # Errors
    /// When an execution fails.
    pub(crate) fn of<R: StateReader>(
        oracle: &Oracle<'_, R>,
        runner: &Runner,
        fixture: &Fixture,
        reader: &Arc<dyn StateReader>,
    ) -> Result<Self, BlockError> {
        let times = time_transactions(oracle, RUNS)?;
        let (dependencies, _) = runner.dependencies(fixture, reader)?;
        Ok(Self::by(&times, &dependencies))
    }

    /// The limit of transactions that take these times in order and depend on each other like this.
    pub(crate) fn by(times: &[f64], dependencies: &Dependencies) -> Self {
        Self { total: times.iter().sum(), chain: dependencies.critical_path(times) }
    }

    /// The speed-up that so many threads could reach.
    pub(crate) fn at(self, threads: usize) -> f64 {
        if self.total == 0.0 { 1.0 } else { self.total / self.chain.max(self.total / threads as f64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_that_of_the_threads_or_of_the_longest_chain() {
        let limit = Limit { total: 12.0, chain: 3.0 };
        assert_eq!([1, 2, 4, 64].map(|threads| limit.at(threads)), [1.0, 2.0, 4.0, 4.0]);
        assert_eq!(Limit { total: 0.0, chain: 0.0 }.at(2), 1.0, "a block without transactions");
    }
}
