//! When each worker did what: a probe with a clock.
//!
//! A [`Recorder`] listens to one execution and stamps each event of the engine with the time since it was made. Every
//! worker has a lane of its own, which nobody else touches until the execution is over: its lock is never contended, and
//! lanes lie on cache lines of their own. A lane has room for a stated number of events; what comes after is counted and
//! left out, so that a lane is always a beginning of what its worker did. Where nobody records there is no recorder, and
//! the engine's default probe compiles to nothing.
//!
//! A [`Timeline`] is what comes of it: for each worker its spans, in the order begun.
//!
//! ```text
//! worker 0   [execute 0][commit 0][commit 1 [execute 1]      ][commit 2]
//! worker 1   [execute 1 x][execute 2     ][wait              ]
//! ```
//!
//! Spans of one worker follow each other, save that a commit encloses the frontier run that it may take.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ropewalk_engine::{AbortCause, CellId, Event, Incarnation, Probe, TxIndex};

/// Stamps what the engine tells of one execution.
#[derive(Debug)]
pub struct Recorder {
    begun: Instant,
    most_events: usize,
    /// One for each worker. A lane's lock is taken by its worker alone, until the recorder is given up.
    lanes: Vec<Lane>,
}

/// What one worker told. Aligned to two cache lines, since lines are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    events: Vec<(Duration, Event)>,
    dropped: u64,
}

/// What the workers of one execution did, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// By worker: its spans in the order begun.
    pub workers: Vec<Vec<Span>>,
    /// From the recorder's beginning to when it was given up.
    pub duration: Duration,
    /// Events for which there was no room.
    pub dropped_events: u64,
}

/// A step of a worker. Times are since the recorder was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// What was done.
    pub step: Step,
    /// When it began.
    pub begin: Duration,
    /// When it ended; not before it began.
    pub end: Duration,
    /// The result that the step brought to nothing: its own, or for a commit the one that it found wrong.
    pub abort: Option<Abort>,
    /// Whether the step was done to its end. A commit that had to be put off was not, nor was what the end of the run or
    /// of the recording cut off.
    pub complete: bool,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It runs an incarnation.
    Execute {
        /// The transaction.
        index: TxIndex,
        /// The attempt.
        incarnation: Incarnation,
        /// Whether it is speculative, or runs on committed state.
        speculative: bool,
    },
    /// It works out what payments come to, ahead of their turn.
    Foretell {
        /// The first of them.
        index: TxIndex,
        /// How many there are.
        count: u32,
    },
    /// It looks at a result again, ahead of its turn.
    Validate {
        /// The transaction.
        index: TxIndex,
    },
    /// It commits: validates by value, runs the transaction at the frontier where that is needed, folds its writes.
    Commit {
        /// The transaction.
        index: TxIndex,
    },
    /// It is parked for lack of work.
    Wait,
}

/// An attempt that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// The transaction.
    pub index: TxIndex,
    /// The attempt.
    pub incarnation: Incarnation,
    /// Why.
    pub cause: AbortCause,
    /// The key that the reason lies in, where it lies in one.
    pub cell: Option<CellId>,
}

impl Recorder {
    /// A recorder for an execution by at most `workers` workers that keeps at most `most_events` events, the same number
    /// for each. An event takes 40 bytes.
    pub fn new(workers: usize, most_events: usize) -> Self {
        let lanes: Vec<Lane> = (0..workers.max(1)).map(|_| Lane::default()).collect();
        Self { begun: Instant::now(), most_events: most_events / lanes.len(), lanes }
    }

    /// What was recorded. To be asked when the execution is over.
    pub fn finish(self) -> Timeline {
        let duration = self.begun.elapsed();
        let mut timeline = Timeline { duration, ..Timeline::default() };
        for Lane(told) in self.lanes {
            let Told { events, dropped } = told.into_inner().unwrap_or_else(PoisonError::into_inner);
            timeline.dropped_events += dropped;
            timeline.workers.push(spans(&events));
        }
        timeline
    }
}

impl Probe for Recorder {
    fn event(&self, worker: usize, event: Event) {
        let at = self.begun.elapsed();
        // A worker beyond those announced shares the last lane's count of what is left out, and nothing else.
        let lane = self.lanes.get(worker).or(self.lanes.last());
        let Some(Lane(told)) = lane else { return };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if worker < self.lanes.len() && told.events.len() < self.most_events {
            told.events.push((at, event));
        } else {
            told.dropped += 1;
        }
    }
}

impl Span {
    /// How long it took.
    pub fn duration(&self) -> Duration {
        self.end.saturating_sub(self.begin)
    }
}

impl Step {
    /// The transaction that it is about.
    pub fn index(&self) -> Option<TxIndex> {
        match self {
            Self::Execute { index, .. } | Self::Validate { index } | Self::Commit { index } => Some(*index),
            Self::Foretell { index, .. } => Some(*index),
            Self::Wait => None,
        }
    }
}

impl Timeline {
    /// All spans, worker by worker.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.workers.iter().flatten()
    }

    /// All aborts, worker by worker.
    pub fn aborts(&self) -> impl Iterator<Item = &Abort> {
        self.spans().filter_map(|span| span.abort.as_ref())
    }
}

/// The spans that a worker's events make up.
fn spans(events: &[(Duration, Event)]) -> Vec<Span> {
    let mut lane = OpenLane::default();
    for (at, event) in events {
        lane.hear(*at, *event);
    }
    lane.close_all();
    lane.spans
}

/// A lane that is being put together.
#[derive(Debug, Default)]
struct OpenLane {
    spans: Vec<Span>,
    /// Indices of those that have not ended, the innermost last: at most a commit with a frontier run in it.
    open: Vec<usize>,
    /// When the last event was.
    latest: Duration,
}

impl OpenLane {
    fn hear(&mut self, at: Duration, event: Event) {
        match event {
            Event::Execute { index, incarnation, speculative } => {
                if speculative {
                    self.close_all();
                }
                self.begin(at, Step::Execute { index, incarnation, speculative });
            }
            Event::Foretell { index, count } => self.begin_alone(at, Step::Foretell { index, count }),
            Event::Validate { index } => self.begin_alone(at, Step::Validate { index }),
            Event::Commit { index } => self.begin_alone(at, Step::Commit { index }),
            Event::Wait => self.begin_alone(at, Step::Wait),
            Event::Executed { .. } | Event::Foretold | Event::Validated { .. } | Event::Wake => self.end(at, true),
            Event::Committed { .. } => {
                while self.open.len() > 1 {
                    self.end(at, false);
                }
                self.end(at, true);
            }
            Event::Aborted { index, incarnation, cause, cell } => {
                self.abort(at, Abort { index, incarnation, cause, cell });
            }
        }
        self.latest = at;
    }

    fn begin(&mut self, at: Duration, step: Step) {
        self.open.push(self.spans.len());
        self.spans.push(Span { step, begin: at, end: at, abort: None, complete: false });
    }

    fn begin_alone(&mut self, at: Duration, step: Step) {
        self.close_all();
        self.begin(at, step);
    }

    fn end(&mut self, at: Duration, complete: bool) {
        if let Some(innermost) = self.open.pop() {
            let span = &mut self.spans[innermost];
            (span.end, span.complete) = (at, complete);
        }
    }

    fn abort(&mut self, at: Duration, abort: Abort) {
        let Some(innermost) = self.open.last() else { return };
        let span = &mut self.spans[*innermost];
        span.abort = Some(abort);
        if !matches!(span.step, Step::Commit { .. }) {
            self.end(at, true);
        }
    }

    /// What has no end of its own ended no later than the last that was heard.
    fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.end(self.latest, false);
        }
    }
}

#[cfg(test)]
mod tests;
