//! Figures of executions for Prometheus.
//!
//! [`Metrics`] adds up what executions cost and encodes the sums in Prometheus' text format, for a file that a collector
//! picks up or for an answer of the embedder's own server; this crate opens no port. Whoever has a recorder of the
//! `metrics` facade installed hears the counts of the same names from the executor itself.

use std::time::Duration;

use prometheus::{
    Counter, CounterVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
    core::Collector,
};
use ropewalk_evm::field;

use crate::{BlockOutcome, Span, Stats, Step, Timeline};

/// Sums over executions. All of them only grow.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    blocks: IntCounter,
    transactions: IntCounter,
    gas: IntCounter,
    wasted_gas: IntCounter,
    executions: IntCounterVec,
    aborts: IntCounterVec,
    invalid: IntCounterVec,
    validations: IntCounter,
    parks: IntCounter,
    block_seconds: Histogram,
    sequential_seconds: Counter,
    speedup: Histogram,
    worker_seconds: CounterVec,
    dropped_events: IntCounter,
}

/// Upper bounds of the buckets of a block's time, in seconds.
const SECONDS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Upper bounds of the buckets of speed-ups.
const RATIOS: [f64; 13] = [0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0];

const STEPS: [&str; 4] = ["execute", "validate", "commit", "wait"];

impl Metrics {
    /// Nothing so far.
    pub fn new() -> Self {
        let registry = Registry::new();
        let count = |name, help| registered(&registry, IntCounter::new(name, help));
        let counts = |name, help, label, values: &[&str]| {
            let vector = registered(&registry, IntCounterVec::new(Opts::new(name, help), &[label]));
            // What has not happened yet is 0, not absent.
            values.iter().for_each(|value| drop(vector.with_label_values(&[*value])));
            vector
        };
        let histogram = |name, help, buckets: &[f64]| {
            registered(&registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
        };
        let worker_seconds = registered(
            &registry,
            CounterVec::new(
                Opts::new("ropewalk_worker_seconds_total", "Time of all workers in recorded executions, by step."),
                &["step"],
            ),
        );
        STEPS.iter().for_each(|step| drop(worker_seconds.with_label_values(&[*step])));
        Self {
            blocks: count("ropewalk_blocks_total", "Blocks executed."),
            transactions: count("ropewalk_transactions_total", "Transactions committed or skipped."),
            gas: count("ropewalk_gas_total", "Gas used by the blocks."),
            wasted_gas: count("ropewalk_wasted_gas_total", "Gas of results that were thrown away."),
            executions: counts(
                "ropewalk_executions_total",
                "Attempts to run a transaction, ahead of their turn or at the commit frontier.",
                "kind",
                &["speculative", "frontier"],
            ),
            aborts: counts(
                "ropewalk_aborts_total",
                "Attempts that came to nothing, by cause.",
                "cause",
                &["invalid", "dependency", "failure"],
            ),
            invalid: counts(
                "ropewalk_invalid_observations_total",
                "Results that were found wrong, by the kind of location; one may be wrong in several.",
                "location",
                &field::NAMES,
            ),
            validations: count("ropewalk_validations_total", "Results that were looked at ahead of their turn."),
            parks: count("ropewalk_parks_total", "Times that a worker parked for lack of work."),
            block_seconds: histogram("ropewalk_block_seconds", "Time that a block's execution took.", &SECONDS),
            sequential_seconds: registered(
                &registry,
                Counter::new("ropewalk_sequential_seconds_total", "Time that the blocks took in order."),
            ),
            speedup: histogram("ropewalk_speedup_ratio", "Time in order over time in parallel, by block.", &RATIOS),
            worker_seconds,
            dropped_events: count(
                "ropewalk_dropped_events_total",
                "Events for which a recorded execution had no room.",
            ),
            registry,
        }
    }

    /// Adds an execution that took so long.
    pub fn add_execution(&self, outcome: &BlockOutcome, stats: &Stats, took: Duration) {
        self.blocks.inc();
        self.transactions.inc_by(stats.committed.into());
        self.gas.inc_by(outcome.gas_used);
        self.wasted_gas.inc_by(stats.wasted_cost);
        self.validations.inc_by(stats.validations.into());
        self.parks.inc_by(stats.waits.into());
        self.block_seconds.observe(took.as_secs_f64());
        let add = |counts: &IntCounterVec, value: &str, count: u32| {
            counts.with_label_values(&[value]).inc_by(count.into());
        };
        add(&self.executions, "speculative", stats.speculations);
        add(&self.executions, "frontier", stats.frontier_runs);
        let otherwise = stats.dependencies.saturating_add(stats.failures);
        add(&self.aborts, "invalid", stats.aborts.saturating_sub(otherwise));
        add(&self.aborts, "dependency", stats.dependencies);
        add(&self.aborts, "failure", stats.failures);
        for (name, count) in field::NAMES.iter().zip(stats.aborts_by_field) {
            add(&self.invalid, name, count);
        }
    }

    /// Adds how long the block of an execution takes in order.
    pub fn add_comparison(&self, in_order: Duration, took: Duration) {
        self.sequential_seconds.inc_by(in_order.as_secs_f64());
        if !took.is_zero() {
            self.speedup.observe(in_order.as_secs_f64() / took.as_secs_f64());
        }
    }

    /// Adds what the workers of an execution did with their time. A frontier run counts as execution and not as part of
    /// the commit that it belongs to.
    pub fn add_timeline(&self, timeline: &Timeline) {
        let mut totals = [Duration::ZERO; STEPS.len()];
        for Span { step, begin, end, .. } in timeline.spans() {
            let duration = end.saturating_sub(*begin);
            match step {
                Step::Execute { speculative, .. } => {
                    totals[0] += duration;
                    if !speculative {
                        // Its commit encloses it, and comes before it.
                        totals[2] = totals[2].saturating_sub(duration);
                    }
                }
                Step::Foretell { .. } => totals[0] += duration,
                Step::Validate { .. } => totals[1] += duration,
                Step::Commit { .. } => totals[2] += duration,
                Step::Wait => totals[3] += duration,
            }
        }
        for (step, total) in STEPS.iter().zip(totals) {
            self.worker_seconds.with_label_values(&[*step]).inc_by(total.as_secs_f64());
        }
        self.dropped_events.inc_by(timeline.dropped_events);
    }

    /// Everything so far in Prometheus' text format, version 0.0.4.
    #[expect(
        clippy::missing_panics_doc,
        reason = "what is encoded was made here, and a string takes all that is written"
    )]
    pub fn encode(&self) -> String {
        let encoded = TextEncoder::new().encode_to_string(&self.registry.gather());
        encoded.expect("families that are gathered have names and metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A collector that the registry knows.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("names and labels are well-formed");
    registry.register(Box::new(collector.clone())).expect("no name is taken twice");
    collector
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ropewalk_engine::{Incarnation, TxIndex};

    use super::*;

    /// The samples of a text by name and labels. Every line must be a comment or a sample of a family that was announced.
    fn samples(text: &str) -> BTreeMap<String, f64> {
        let mut family = "";
        let mut samples = BTreeMap::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let words: Vec<&str> = comment.splitn(3, ' ').collect();
                let [kind, name, rest] = words[..] else { panic!("{line}") };
                match kind {
                    "HELP" => family = name,
                    "TYPE" => assert!(name == family && ["counter", "histogram"].contains(&rest), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let bare = name.split('{').next().unwrap_or_default();
            let ending = bare.strip_prefix(family).expect("it belongs to the family announced last");
            assert!(["", "_bucket", "_sum", "_count"].contains(&ending), "{line}");
            assert!(samples.insert(name.to_owned(), value.parse().expect("a number")).is_none(), "{line} comes twice");
        }
        samples
    }

    fn stats() -> Stats {
        let aborts_by_field = [0, 0, 0, 0, 0, 4];
        Stats {
            committed: 7,
            aborts: 5,
            dependencies: 1,
            wasted_cost: 900,
            aborts_by_field: spread(aborts_by_field),
            ..Stats::default()
        }
    }

    fn spread<const N: usize, const M: usize>(counts: [u32; M]) -> [u32; N] {
        std::array::from_fn(|at| counts.get(at).copied().unwrap_or_default())
    }

    fn outcome() -> BlockOutcome {
        BlockOutcome { gas_used: 21_000, ..BlockOutcome::default() }
    }

    #[test]
    fn what_has_not_happened_is_zero_and_not_absent() {
        let samples = samples(&Metrics::new().encode());
        assert!(samples.values().all(|value| *value == 0.0), "{samples:?}");
        assert!(samples.contains_key("ropewalk_aborts_total{cause=\"dependency\"}"), "{samples:?}");
        assert!(samples.contains_key("ropewalk_invalid_observations_total{location=\"slot\"}"), "{samples:?}");
    }

    #[test]
    fn no_sample_ever_falls_and_buckets_are_cumulative() {
        let metrics = Metrics::new();
        let mut before = samples(&metrics.encode());
        for ms in [1, 30, 4000] {
            let took = Duration::from_millis(ms);
            metrics.add_execution(&outcome(), &stats(), took);
            metrics.add_comparison(took * 2, took);
            let after = samples(&metrics.encode());
            assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
            assert!(before.iter().all(|(name, value)| after[name] >= *value), "{before:?} {after:?}");
            before = after;
        }
        assert_eq!(before["ropewalk_gas_total"], 63_000.0);
        assert_eq!(before["ropewalk_aborts_total{cause=\"invalid\"}"], 12.0);
        assert_eq!(before["ropewalk_invalid_observations_total{location=\"slot\"}"], 12.0);
        let within = |bound: &str| before[&format!("ropewalk_block_seconds_bucket{{le=\"{bound}\"}}")];
        assert_eq!([within("0.0001"), within("0.001"), within("0.05"), within("+Inf")], [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(before["ropewalk_speedup_ratio_count"], 3.0);
    }

    #[test]
    fn time_of_a_frontier_run_is_not_counted_as_time_of_its_commit() {
        let span = |step, begin, end| {
            let [begin, end] = [begin, end].map(Duration::from_secs);
            Span { step, begin, end, abort: None, complete: true }
        };
        let index = TxIndex(0);
        let run = Step::Execute { index, incarnation: Incarnation(0), speculative: false };
        let worker = vec![span(Step::Commit { index }, 0, 5), span(run, 1, 4), span(Step::Wait, 5, 6)];
        let metrics = Metrics::new();
        metrics.add_timeline(&Timeline { workers: vec![worker], ..Timeline::default() });
        let samples = samples(&metrics.encode());
        let seconds = |step: &str| samples[&format!("ropewalk_worker_seconds_total{{step=\"{step}\"}}")];
        assert_eq!(["execute", "validate", "commit", "wait"].map(seconds), [3.0, 0.0, 2.0, 1.0]);
    }
}
