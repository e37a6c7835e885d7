//! Speculative execution of an ordered list of transactions, such that the result equals running them in order.
//!
//! This is Block-STM (Gelashvili et al., arXiv:2203.06871) with four turns of its own. The engine knows keys, values
//! and order; what they mean is the [`Program`]'s business.
//!
//! 1. Workers run transactions ahead of the **commit frontier** against [`Memory`], which holds every uncommitted write
//!    by transaction; each attempt leaves a read set of observations and a write set of deltas.
//! 2. When the frontier reaches a transaction, its observations are **validated by value**, once: each must hold of
//!    the state that all lower transactions have left. Who wrote that state, and how often, does not matter.
//! 3. A transaction without a valid result runs **at the frontier**, on committed state, where there is nothing to
//!    validate. Work that depends on itself therefore goes on at the speed of in-order execution.
//! 4. Deltas **commute** where the program says so: an observation is a predicate ("at least 10"), and a step that
//!    leaves it true conflicts with nobody.
//!
//! Writes name the transactions that may have read too early; these are looked at again before their turn. That is a
//! hint and never the correctness argument, which is step 2.
//!
//! # Invariants
//!
//! - **I1** A committed transaction's observations equal those of the in-order run of all lower transactions.
//! - **I2** A transaction is committed once, in order, with no gap.
//! - **I3** The outcome does not depend on thread count, schedule, hints or mode.
//! - **I4** A lower position never waits for a higher one; some worker can always make progress.
//! - **I5** Every observation is recorded, including absence.
//! - **I6** Nothing speculative leaves the engine: no log line, counter or error of an aborted incarnation is visible
//!   as a result.
//!
//! # Where to read next
//!
//! [`program`](Program) has the seams, `memory` and `cell` the versions, `scheduler` the order of work, `run` the
//! worker's round, [`KnownWrites`] what may be said of a list before it runs, [`serial`] the twin that everything is
//! compared with.
//!
//! # Example
//!
//! A whole program (`examples/counter.rs`):
#![cfg_attr(not(feature = "shuttle"), doc = concat!("```\n", include_str!("../examples/counter.rs"), "\n```"))]

mod cell;
mod dependencies;
mod dirty;
mod error;
mod index;
mod known_writes;
mod memory;
mod options;
mod pool;
mod probe;
mod program;
mod run;
mod scheduler;
pub mod serial;
mod stats;
mod sync;
mod table;
mod view;

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod interleavings;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod simulation;
#[cfg(test)]
mod toy;

pub use dependencies::{Dependencies, DependencyRecorder, Link};
pub use error::RunError;
pub use index::{Incarnation, Position, TxIndex};
pub use known_writes::{Below, KnownWrites, MOST_PLACES};
pub use memory::{Final, Memory, Remains, Remnant, Written};
pub use options::{CancelToken, Frontier, Inline, RunOptions, Schedule, Shortcuts};
pub use pool::Engine;
pub use probe::{AbortCause, Event, NoProbe, Probe, Turns};
pub use program::{Base, CommitHook, Decision, Delta, Fields, Observation, Program, Worker, WorkerFactory};
pub use run::{Conflict, Finished};
pub use stats::Stats;
pub use table::CellId;
pub use view::{Effects, Handle, Interrupt, View};
