//! What a replay tells about its executions besides their verdicts: a trace, sums for Prometheus, slow blocks.
//!
//! Traces and metrics need an execution that was recorded, slow blocks do not: a block that turns out slow without a
//! recorder is executed once more with one, to say why.

use std::{path::PathBuf, time::Duration};

use ropewalk_block::{Execution, Locations, Metrics, Stats, Timeline};

use super::slow;
use crate::{
    arguments::ReplayArguments,
    compare::chain_of,
    fixture::{Fixture, WriteError},
    report::Progress,
    status::Status,
    trace::{TraceFile, TracedBlock},
    whole_file::write_whole,
};

/// Most events that are kept of one block, over all its repetitions.
const MOST_EVENTS: usize = 1 << 20;

/// Where executions are told about.
#[derive(Debug)]
pub(super) struct Watch {
    trace: Option<TraceFile>,
    metrics: Option<(PathBuf, Metrics)>,
    slow_block: Duration,
}

/// A recorded execution.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) timeline: Timeline,
    pub(super) locations: Option<Locations>,
}

impl Recorded {
    pub(super) fn of(execution: &Execution, timeline: Timeline) -> Self {
        Self { timeline, locations: execution.locations.clone() }
    }
}

/// An execution of a block, its time the one that is reported.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) fixture: &'a Fixture,
    pub(super) outcome: &'a ropewalk_block::BlockOutcome,
    pub(super) stats: &'a Stats,
    pub(super) took: Duration,
    pub(super) in_order: Option<Duration>,
    pub(super) recorded: Option<&'a Recorded>,
}

impl Watch {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// When a trace cannot be begun.
    pub(super) fn new(arguments: &ReplayArguments) -> Result<Self, WriteError> {
        let trace = arguments.trace.as_deref().map(TraceFile::create).transpose()?;
        let metrics = arguments.metrics.clone().map(|path| (path, Metrics::new()));
        Ok(Self { trace, metrics, slow_block: Duration::from_millis(arguments.slow_block) })
    }

    /// Whether executions are to be recorded.
    pub(super) fn records(&self) -> bool {
        self.trace.is_some() || self.metrics.is_some()
    }

    /// Events that each of so many executions of one block may keep.
    pub(super) fn most_events(repetitions: usize) -> usize {
        MOST_EVENTS / repetitions.max(1)
    }

    /// Whether an execution counts as slow.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        took >= self.slow_block
    }

    /// Adds an execution to the trace and to the metrics.
    ///
    /// # Errors
    /// When the trace cannot be written. It is given up then.
    pub(super) fn add(&mut self, seen: &Seen<'_>) -> Result<(), WriteError> {
        let Seen { fixture, outcome, stats, took, in_order, recorded } = seen;
        if let Some((_, metrics)) = &self.metrics {
            metrics.add_execution(outcome, stats, *took);
            in_order.iter().for_each(|in_order| metrics.add_comparison(*in_order, *took));
            recorded.iter().for_each(|recorded| metrics.add_timeline(&recorded.timeline));
        }
        let (Some(trace), Some(recorded)) = (&mut self.trace, recorded) else { return Ok(()) };
        let label = fixture.label();
        let added = trace.add(&TracedBlock {
            label: &label,
            block: &fixture.block,
            gas_used: outcome.gas_used,
            timeline: &recorded.timeline,
            locations: recorded.locations.as_ref(),
        });
        if added.is_err() {
            self.trace = None;
        }
        added
    }

    /// Makes the files appear, and says which cannot be written.
    pub(super) fn finish(self, progress: &Progress) -> Status {
        let trace = self.trace.map_or(Ok(()), TraceFile::finish);
        let metrics = self.metrics.map_or(Ok(()), |(path, metrics)| write_whole(&path, &metrics.encode()));
        let failures: Vec<_> = [trace, metrics].into_iter().filter_map(Result::err).collect();
        failures.iter().for_each(|error| progress.say(&format!("error: {}", chain_of(error))));
        if failures.is_empty() { Status::Verified } else { Status::Input }
    }
}

/// Logs a slow block, out of the progress bar's way.
pub(super) fn warn(progress: &Progress, seen: &Seen<'_>) {
    progress.aside(|| slow::warn(seen));
}
