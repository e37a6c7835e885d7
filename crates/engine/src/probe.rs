//! What the engine tells about itself while it runs.
//!
//! The default probe has no size and no effect. Traces, metrics and the simulator's clock hang here; the engine itself
//! knows no time.

use crate::{CellId, Fields, Incarnation, TxIndex, sync::Arc};

/// One boundary between steps of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An attempt begins.
    Execute {
        /// The transaction.
        index: TxIndex,
        /// The attempt.
        incarnation: Incarnation,
        /// Whether it is speculative, or runs on committed state.
        speculative: bool,
    },
    /// An attempt has ended with a result.
    Executed {
        /// The transaction.
        index: TxIndex,
        /// The attempt.
        incarnation: Incarnation,
    },
    /// A result was thrown away, or an attempt ended without one.
    Aborted {
        /// The transaction.
        index: TxIndex,
        /// The attempt.
        incarnation: Incarnation,
        /// Why.
        cause: AbortCause,
        /// The key that the reason lies in, where it lies in one: [`Memory::key`](crate::Memory::key) tells which.
        cell: Option<CellId>,
    },
    /// Transactions are about to be [foretold](crate::Worker::foretell).
    Foretell {
        /// The first of them.
        index: TxIndex,
        /// How many there are.
        count: u32,
    },
    /// What can be told of them is told.
    Foretold,
    /// A result is looked at again, because a lower transaction has written.
    Validate {
        /// The transaction.
        index: TxIndex,
    },
    /// A result that was looked at again still holds. One that does not is [aborted](Event::Aborted).
    Validated {
        /// The transaction.
        index: TxIndex,
    },
    /// A transaction is about to be committed.
    Commit {
        /// The transaction.
        index: TxIndex,
    },
    /// A transaction's effects are part of the committed state, or it was skipped.
    Committed {
        /// The transaction.
        index: TxIndex,
    },
    /// The worker parks.
    Wait,
    /// The worker has been woken.
    Wake,
}

/// Why an attempt came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortCause {
    /// An observation no longer held: one of these fields, or of several.
    Invalid(Fields),
    /// It had read what an aborted incarnation of this transaction wrote.
    Dependency(TxIndex),
    /// The base state failed.
    Fault,
    /// The worker panicked.
    Panic,
    /// The run was over.
    Stopped,
}

/// Hears of every step, on the worker's own thread. [`Wait`](Event::Wait) and [`Wake`](Event::Wake) come with the
/// scheduler's lock held: a probe that dawdles there holds everybody up.
pub trait Probe: Sync {
    /// `worker` has reached a boundary.
    fn event(&self, worker: usize, event: Event) {
        let _ = (worker, event);
    }

    /// The turns that workers take, where a simulation keeps time instead of the machine. `None` is the same for all calls.
    fn turns(&self) -> Option<Arc<dyn Turns>> {
        None
    }
}

/// Workers that take turns instead of running at once: a simulation lets one go on at a time, in the order of its own clock.
///
/// A worker keeps its turn until it begins to wait: in [`begin`](Self::begin), [`park`](Self::park) or [`pause`](Self::pause), or in a call of
/// [`Probe::event`] other than [`Event::Wait`] and [`Event::Wake`]. None of these is made with a lock of the engine held.
pub trait Turns: Send + Sync {
    /// `worker` is about to begin, one of `workers`. Returns when its turn has come.
    fn begin(&self, worker: usize, workers: usize);

    /// `worker` has nothing to do. Returns when it has been woken and its turn has come.
    fn park(&self, worker: usize);

    /// Parked workers may find work: one of them, or all.
    fn wake(&self, all: bool);

    /// An attempt of `worker` waits for what another one runs. Returns when it has been resumed and its turn has come.
    fn pause(&self, worker: usize);

    /// What the attempt of `worker` waits for has come, if it waits.
    fn resume(&self, worker: usize);

    /// `worker` has ended, perhaps by a panic.
    fn end(&self, worker: usize);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbe;

impl Probe for NoProbe {}
