//! What the two threads of a pipeline share: the blocks between them, the newest snapshot, and how it ends.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{CommitFailure, ExecutedBlock};

/// What both threads look at.
pub(super) struct Shared<R> {
    state: Mutex<State<R>>,
    /// Told whenever the state has changed.
    changed: Condvar,
}

struct State<R> {
    /// Blocks that are executed and not committed, in order; the first may be under way.
    waiting: VecDeque<ExecutedBlock>,
    /// Number of the block committed last, and the state after it.
    committed: u64,
    snapshot: Arc<R>,
    end: End,
    failure: Option<CommitFailure>,
}

/// Whether the committer is to end.
#[derive(PartialEq, Eq)]
enum End {
    /// There may be more blocks.
    Open,
    /// When all blocks are committed.
    AfterAll,
    /// As soon as no block is under way.
    Now,
}

impl<R> Shared<R> {
    pub(super) fn new(committed: u64, snapshot: R) -> Self {
        let snapshot = Arc::new(snapshot);
        let state = State { waiting: VecDeque::new(), committed, snapshot, end: End::Open, failure: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// No code that can panic runs under the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl Fn(&State<R>) -> bool) -> MutexGuard<'_, State<R>> {
        let guard = self.changed.wait_while(self.lock(), |state| condition(state));
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a block once there are fewer than `backlog`; returns how many there are then.
    pub(super) fn push(&self, block: ExecutedBlock, backlog: usize) -> Result<usize, CommitFailure> {
        let mut state = self.wait_while(|state| state.waiting.len() >= backlog && state.failure.is_none());
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.waiting.push_back(block);
        let depth = state.waiting.len();
        drop(state);
        self.changed.notify_all();
        Ok(depth)
    }

    /// The next block to commit; `None` when there will be none.
    pub(super) fn next(&self) -> Option<ExecutedBlock> {
        let state = self.wait_while(|state| state.waiting.is_empty() && state.end == End::Open);
        match state.end {
            End::Now => None,
            End::Open | End::AfterAll => state.waiting.front().cloned(),
        }
    }

    /// The first block was committed, and this is the state after it.
    pub(super) fn committed_first(&self, number: u64, snapshot: R) {
        let former = {
            let mut state = self.lock();
            state.waiting.pop_front();
            state.committed = number;
            std::mem::replace(&mut state.snapshot, Arc::new(snapshot))
        };
        self.changed.notify_all();
        // Giving up a snapshot may take a while, which nobody should wait for.
        drop(former);
    }

    /// The first block could not be committed, and none of those after it will be.
    pub(super) fn fail(&self, failure: CommitFailure) {
        let mut state = self.lock();
        state.waiting.clear();
        state.failure = Some(failure);
        drop(state);
        self.changed.notify_all();
    }

    /// Number of the block committed last, and the state after it.
    pub(super) fn snapshot(&self) -> (u64, Arc<R>) {
        let state = self.lock();
        (state.committed, Arc::clone(&state.snapshot))
    }

    /// Number of the block committed last.
    pub(super) fn committed(&self) -> u64 {
        self.lock().committed
    }

    /// The state once nothing is waiting.
    pub(super) fn drained(&self) -> Result<Arc<R>, CommitFailure> {
        let state = self.wait_while(|state| !state.waiting.is_empty() && state.failure.is_none());
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(Arc::clone(&state.snapshot)),
        }
    }

    /// There will be no more blocks.
    pub(super) fn close(&self) {
        self.end(End::AfterAll);
    }

    /// Blocks that are not under way are given up.
    pub(super) fn abort(&self) {
        self.end(End::Now);
    }

    fn end(&self, end: End) {
        self.lock().end = end;
        self.changed.notify_all();
    }
}
