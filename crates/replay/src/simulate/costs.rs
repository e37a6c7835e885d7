//! What steps cost, from the timelines of recorded runs.
//!
//! ```text
//! [execute 5]--publish--claim--[commit 4 [execute 4]]--claim--[execute 6]--hand over--[commit 6]
//! ```
//!
//! Between two spans of a worker lies what the engine does there: making a result visible, reporting and claiming. A span
//! of a commit is what validation and, of what nobody could see before, folding take, without the frontier run that it may
//! enclose. Of many samples the mean is taken, without the highest twentieth: a thread that lost its core for a while says
//! nothing about the step. What the recorder itself takes is taken off.

use std::{
    collections::HashSet,
    fmt,
    time::{Duration, Instant},
};

use ropewalk_block::{Event, Probe, Recorder, Span, Step, Timeline, TxIndex};

/// Costs of steps in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Costs {
    /// Reporting and getting a task, all of it with the scheduler's lock held.
    pub(super) claim: f64,
    /// Making a result visible.
    pub(super) publish: f64,
    /// From the end of an attempt to the commit of it by the same worker.
    pub(super) hand_over: f64,
    /// Committing a result that others can see.
    pub(super) commit: f64,
    /// What committing takes longer where nobody could see the result before: it is made part of the committed values.
    pub(super) fold: f64,
    /// Looking at a result again.
    pub(super) validate: f64,
    /// Until another thread begins.
    pub(super) start: f64,
    /// From waking a parked thread until it goes on.
    pub(super) wake: f64,
    /// By transaction: a speculative attempt, and a frontier run.
    pub(super) executions: Vec<(f64, f64)>,
}

impl Costs {
    /// What an attempt takes.
    pub(super) fn execution(&self, index: TxIndex, speculative: bool) -> f64 {
        let (speculation, frontier) = self.executions[index.at()];
        if speculative { speculation } else { frontier }
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, publish, hand_over, commit, fold, validate, start, wake, executions } = self;
        let (speculative, frontier) = executions.iter().fold((0.0, 0.0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
        write!(f, "claim {claim:.0}, publish {publish:.0}, hand over {hand_over:.0}, commit {commit:.0}, ")?;
        write!(f, "fold {fold:.0}, ")?;
        write!(f, "validate {validate:.0}, start {start:.0}, wake {wake:.0}, ")?;
        write!(f, "all transactions {speculative:.0} speculative, {frontier:.0} at the frontier")
    }
}

/// Samples of recorded runs with one number of threads, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    /// Before the first step and after the last.
    outside: Vec<f64>,
    start: Vec<f64>,
    claim: Vec<f64>,
    publish: Vec<f64>,
    hand_over: Vec<f64>,
    /// Of what was published, and of what was not.
    commit: Vec<f64>,
    commit_unseen: Vec<f64>,
    validate: Vec<f64>,
    /// By transaction.
    speculations: Vec<Vec<f64>>,
    frontier_runs: Vec<Vec<f64>>,
}

/// Nanoseconds that the recorder takes for one event.
pub(super) fn event_cost() -> f64 {
    const EVENTS: usize = 20_000;
    let recorder = Recorder::new(1, EVENTS);
    let begun = Instant::now();
    (0..EVENTS as u32).for_each(|index| recorder.event(0, Event::Commit { index: TxIndex(index) }));
    nanoseconds(begun.elapsed()) / EVENTS as f64
}

impl Samples {
    pub(super) fn new(transactions: usize) -> Self {
        let none = vec![Vec::new(); transactions];
        Self { speculations: none.clone(), frontier_runs: none, ..Self::default() }
    }

    /// Takes in a run that took `total` all in all.
    pub(super) fn add(&mut self, timeline: &Timeline, total: Duration, event_cost: f64) {
        let begin = |spans: &Vec<Span>| spans.first().map(|span| span.begin);
        let Some(first) = timeline.workers.iter().filter_map(begin).min() else {
            // A block without transactions.
            return self.outside.push(nanoseconds(total));
        };
        let last = timeline.spans().map(|span| span.end).max().unwrap_or(first);
        self.outside.push(nanoseconds(total.saturating_sub(last - first)));
        if let [mine, other] = &timeline.workers[..]
            && let (Some(mine), Some(other)) = (begin(mine), begin(other))
        {
            self.start.push(nanoseconds(other.saturating_sub(mine)));
        }
        let foretold = timeline.spans().filter_map(|span| match span.step {
            Step::Foretell { index, count } => Some(index.0..index.0 + count),
            _ => None,
        });
        let foretold: HashSet<u32> = foretold.flatten().collect();
        timeline.workers.iter().for_each(|spans| self.add_worker(spans, &foretold, event_cost));
    }

    fn add_worker(&mut self, spans: &[Span], foretold: &HashSet<u32>, event_cost: f64) {
        let cost = |time: Duration| (nanoseconds(time) - event_cost).max(0.0);
        let mut at = 0;
        while at < spans.len() {
            let span = &spans[at];
            let enclosed = spans[at + 1..].iter().take_while(|next| next.begin < span.end).count();
            match span.step {
                Step::Execute { index, .. } if span.complete && span.abort.is_none() => {
                    self.speculations[index.at()].push(cost(span.duration()));
                }
                // A transaction of a group takes its share.
                Step::Foretell { index, count } if span.complete => {
                    let each = cost(span.duration()) / f64::from(count);
                    (0..count).for_each(|at| self.speculations[(index.0 + at) as usize].push(each));
                }
                Step::Commit { index } if span.complete => {
                    let made = spans[..at].last().is_some_and(|before| is_attempt(before.step, index));
                    let mut rest = cost(span.duration());
                    for run in &spans[at + 1..at + 1 + enclosed] {
                        if let Step::Execute { index, .. } = run.step {
                            self.frontier_runs[index.at()].push(cost(run.duration()));
                            rest -= nanoseconds(run.duration()) + event_cost;
                        }
                    }
                    let is_unseen = made || enclosed > 0 || foretold.contains(&index.0);
                    let samples = if is_unseen { &mut self.commit_unseen } else { &mut self.commit };
                    samples.push(rest.max(0.0));
                }
                Step::Validate { .. } if span.complete => self.validate.push(cost(span.duration())),
                _ => {}
            }
            at += 1 + enclosed;
            if let Some(next) = spans.get(at) {
                self.add_way(span, next, cost(next.begin.saturating_sub(span.end)));
            }
        }
    }

    /// What lies between two spans.
    fn add_way(&mut self, from: &Span, to: &Span, cost: f64) {
        match (from.step, to.step) {
            (Step::Wait, _) | (_, Step::Wait) => {}
            (made, Step::Commit { index }) if is_attempt(made, index) => self.hand_over.push(cost),
            (Step::Execute { .. }, _) => self.publish.push(cost),
            (Step::Commit { .. } | Step::Validate { .. } | Step::Foretell { .. }, _) => self.claim.push(cost),
        }
    }

    /// What a step costs on several threads, as measured; where it never came to it, as measured on one.
    pub(super) fn costs(&self, alone: &Self, wake: f64) -> Costs {
        let either = |of: fn(&Self) -> &Vec<f64>| typical(of(self)).or_else(|| typical(of(alone)));
        let claim = either(|samples| &samples.claim).unwrap_or_default();
        let unseen = either(|samples| &samples.commit_unseen);
        let commit = typical(&self.commit).or(unseen).unwrap_or_default();
        let publish = typical(&self.publish).map_or(claim, |publish| (publish - claim).max(0.0));
        Costs {
            claim,
            publish,
            hand_over: typical(&self.hand_over).unwrap_or(claim),
            commit,
            fold: (unseen.unwrap_or(commit) - commit).max(0.0),
            validate: typical(&self.validate).unwrap_or(claim),
            start: typical(&self.start).unwrap_or(wake),
            wake,
            executions: self.executions(alone),
        }
    }

    /// A speculative attempt and a frontier run of each transaction. What was seen too rarely is what one thread takes,
    /// as much longer as the others are.
    fn executions(&self, alone: &Self) -> Vec<(f64, f64)> {
        let base: Vec<f64> = alone.frontier_runs.iter().map(|times| typical(times).unwrap_or_default()).collect();
        let estimate = |times: &[Vec<f64>]| -> Vec<f64> {
            let seen: Vec<Option<f64>> =
                times.iter().map(|times| typical(times).filter(|_| times.len() >= SEEN_OFTEN)).collect();
            let both = || seen.iter().zip(&base).filter_map(|(seen, base)| Some((seen.as_ref()?, base)));
            let (longer, alone) = both().fold((0.0, 0.0), |sum, (seen, base)| (sum.0 + seen, sum.1 + base));
            let ratio = if alone > 0.0 { longer / alone } else { 1.0 };
            seen.iter().zip(&base).map(|(seen, base)| seen.unwrap_or(base * ratio)).collect()
        };
        estimate(&self.speculations).into_iter().zip(estimate(&self.frontier_runs)).collect()
    }

    /// Nanoseconds before the first step and after the last.
    pub(super) fn outside(&self) -> f64 {
        typical(&self.outside).unwrap_or_default()
    }
}

/// Whether a step is an attempt of this transaction.
fn is_attempt(step: Step, of: TxIndex) -> bool {
    matches!(step, Step::Execute { index, .. } if index == of)
}

/// Samples of one transaction that are believed.
const SEEN_OFTEN: usize = 3;

/// Mean without the highest twentieth; `None` of nothing.
fn typical(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.truncate(sorted.len() - sorted.len() / 20);
    (!sorted.is_empty()).then(|| sorted.iter().sum::<f64>() / sorted.len() as f64)
}

pub(super) fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use ropewalk_block::Incarnation;

    use super::*;

    fn span(step: Step, begin: u64, end: u64) -> Span {
        let (begin, end) = (Duration::from_nanos(begin), Duration::from_nanos(end));
        Span { step, begin, end, abort: None, complete: true }
    }

    #[test]
    fn costs_are_what_lies_within_and_between_spans() {
        let execute = |index, speculative| Step::Execute { index, incarnation: Incarnation(0), speculative };
        let [first, second, third] = [0, 1, 2].map(TxIndex);
        let mine = vec![
            span(Step::Commit { index: first }, 100, 200),
            span(execute(first, false), 110, 180),
            span(execute(second, true), 230, 330),
            span(Step::Commit { index: second }, 340, 360),
        ];
        let other = vec![span(execute(third, true), 150, 300), span(Step::Validate { index: second }, 390, 440)];
        let timeline = Timeline { workers: vec![mine, other], duration: Duration::ZERO, dropped_events: 0 };
        let mut samples = Samples::new(3);
        for _ in 0..SEEN_OFTEN {
            samples.add(&timeline, Duration::from_nanos(1000), 0.0);
        }
        let mut alone = Samples::new(3);
        alone.frontier_runs = vec![vec![35.0], vec![60.0], vec![70.0]];
        let costs = samples.costs(&alone, 5.0);
        let expected = Costs {
            claim: 30.0,
            publish: 60.0,
            hand_over: 10.0,
            commit: 25.0,
            fold: 0.0,
            validate: 50.0,
            start: 50.0,
            wake: 5.0,
            // Speculation was seen to take 250 where one thread takes 130.
            executions: vec![(35.0 * 250.0 / 130.0, 70.0), (100.0, 120.0), (150.0, 140.0)],
        };
        assert_eq!(costs, expected);
        assert_eq!(samples.outside(), 660.0);
    }
}
