//! How a run is to be done. Nothing here changes a result (I3).

use std::fmt;

use crate::sync::{Arc, AtomicBool, Ordering};

/// Options of one run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// How the lowest uncommitted transaction is run.
    pub frontier: Frontier,
    /// In which order work is taken up.
    pub schedule: Schedule,
    /// Whether frontier runs record their observations, so that the hook gets to see them.
    pub record: bool,
    /// Whether the memory lies [over](crate::Memory::over) what each transaction is said to write, to be told before there is a
    /// memory: it decides how many workers there are. Over such a memory reads find what was said and nothing is published, and where
    /// it is right nothing is run twice. Nothing is judged or committed either: what a kept transaction leaves is what was said of it, and
    /// what the list leaves in the end is for whoever said so to know. They must compare each transaction's
    /// [effects](crate::Effects::each_written) with what was said, and the hook must stop the run where they differ.
    pub known_writes: bool,
    /// Cost that speculation may take, as a multiple of the summed weight of all transactions. A transaction that the
    /// budget no longer covers waits for the frontier.
    pub speculation_multiple: u32,
    /// Which lists run on the calling thread alone.
    pub inline: Inline,
    /// Most transactions ahead of the frontier that are speculated on, per worker.
    pub window_per_worker: u32,
    /// What makes a run faster and nothing else.
    pub shortcuts: Shortcuts,
    /// Ends the run early.
    pub cancel: Option<CancelToken>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            frontier: Frontier::Eager,
            schedule: Schedule::Normal,
            record: false,
            known_writes: false,
            speculation_multiple: 3,
            inline: Inline::Automatic,
            window_per_worker: 512,
            shortcuts: Shortcuts::default(),
            cancel: None,
        }
    }
}

/// What makes a run faster and nothing else: each can be left out, to see what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortcuts {
    /// A transaction is not begun before the one before it in its [lane](crate::Program::lane) is executed.
    pub lanes: bool,
    /// A transaction that takes long is begun in good time, out of order.
    pub large_first: bool,
    /// A result whose turn has come is committed by whoever made it, without being published.
    pub commits_at_once: bool,
    /// Transactions that are worth nothing to another thread one by one are [foretold](crate::Worker::foretell) in groups.
    pub foretells: bool,
    /// Where nothing else is to be done, a transaction is begun before the one that it [follows](crate::Program::follows) is
    /// executed, and waits inside the read where they [meet](crate::Program::meets).
    pub waits_in_reads: bool,
}

impl Default for Shortcuts {
    /// All of them.
    fn default() -> Self {
        Self { lanes: true, large_first: true, commits_at_once: true, foretells: true, waits_in_reads: true }
    }
}

/// Which lists run on the calling thread alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inline {
    /// Those whose summed [effort](crate::Program::effort) is not worth waking another thread, or lies in one transaction, or in
    /// one chain of few.
    Automatic,
    /// Those whose summed [weight](crate::Program::weight) is below this.
    Below(u64),
}

/// How the lowest uncommitted transaction is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frontier {
    /// On committed state, by the worker that commits: its result is final.
    Eager,
    /// As an incarnation like any other, recorded and validated. Slower; for tests.
    Never,
}

/// In which order work is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Low positions first.
    Normal,
    /// The worst order that still ends: every transaction runs once, high positions first and blind to all others,
    /// before any write is published or any transaction committed. Whoever depends on another therefore runs at least
    /// twice. From then on the seed decides. Implies [`Frontier::Never`].
    Adversarial {
        /// Decides among what could be done next.
        seed: u64,
    },
}

/// Ends a run from outside; takes effect at the next transaction.
#[derive(Clone, Default)]
pub struct CancelToken {
    /// Set once by the caller, read by workers between tasks. Relaxed: it publishes nothing but itself.
    cancelled: Arc<AtomicBool>,
}

impl CancelToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the runs that hold this token, or a clone of it, to end.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled()).finish()
    }
}
