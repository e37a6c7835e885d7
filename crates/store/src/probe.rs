//! Steps of the store's work, told to whoever wants to time them or to end the process between them.

use std::sync::Arc;

/// A point between two steps of the store's work.
///
/// Steps are told in the order in which they stand here, those of one kind of work after each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// A block is about to be committed. Nothing was read or written for it.
    CommitBegins,
    /// Its state root was computed and is the one that its header claims.
    RootComputed,
    /// Its batch is complete: state, nodes, changeset, what is pruned, and the head.
    BatchReady,
    /// The batch was written, and synced where the [`Durability`](crate::Durability) says so.
    BatchWritten,
    /// The block is the head.
    CommitEnds,
    /// Blocks are about to be unwound.
    UnwindBegins,
    /// The batch that undoes one block is complete.
    UnwindBatchReady,
    /// It was written; its parent is the head.
    UnwindBatchWritten,
    /// All blocks were unwound, and that is on the disk.
    UnwindEnds,
    /// The mark that a load has begun is on the disk.
    LoadMarked,
    /// A sorted run of entries is in a file that is not part of the database yet.
    RunWritten,
    /// Files with runs became part of the database.
    RunsIngested,
    /// The tries were built and have the expected root.
    TriesBuilt,
    /// The mark was removed together with the head being set.
    LoadEnds,
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 14] = [
        Self::CommitBegins,
        Self::RootComputed,
        Self::BatchReady,
        Self::BatchWritten,
        Self::CommitEnds,
        Self::UnwindBegins,
        Self::UnwindBatchReady,
        Self::UnwindBatchWritten,
        Self::UnwindEnds,
        Self::LoadMarked,
        Self::RunWritten,
        Self::RunsIngested,
        Self::TriesBuilt,
        Self::LoadEnds,
    ];

    /// A name for command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::CommitBegins => "commit-begins",
            Self::RootComputed => "root-computed",
            Self::BatchReady => "batch-ready",
            Self::BatchWritten => "batch-written",
            Self::CommitEnds => "commit-ends",
            Self::UnwindBegins => "unwind-begins",
            Self::UnwindBatchReady => "unwind-batch-ready",
            Self::UnwindBatchWritten => "unwind-batch-written",
            Self::UnwindEnds => "unwind-ends",
            Self::LoadMarked => "load-marked",
            Self::RunWritten => "run-written",
            Self::RunsIngested => "runs-ingested",
            Self::TriesBuilt => "tries-built",
            Self::LoadEnds => "load-ends",
        }
    }
}

/// Hears of every step, on the thread that takes it.
pub trait Probe: Send + Sync {
    /// The store has come this far.
    fn reached(&self, step: Step);
}

/// The probe of a store, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Told(Option<Arc<dyn Probe>>);

impl Told {
    pub(crate) fn to(probe: Arc<dyn Probe>) -> Self {
        Self(Some(probe))
    }

    pub(crate) fn reached(&self, step: Step) {
        if let Some(probe) = &self.0 {
            probe.reached(step);
        }
    }
}
