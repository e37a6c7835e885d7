//! What the two threads of a pipeline share: the blocks between them, the newest snapshot, and how it ends.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use ropewalk_state::Overlay;

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

impl<R> State<R> {
    fn check(&self) -> Result<(), CommitFailure> {
        self.failure.clone().map_or(Ok(()), Err)
    }
}

impl<R> Shared<R> {
    pub(super) fn new(committed: u64, snapshot: R) -> Self {
        let snapshot = Arc::new(snapshot);
        let state = State { waiting: VecDeque::new(), committed, snapshot, end: End::Open, failure: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Only handles are moved under the lock: no code of the store, no drop of a snapshot or of changes. So nobody waits
    /// long for it, and a poisoned one is as good as any.
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
        state.check()?;
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
            let block = state.waiting.pop_front();
            state.committed = number;
            let snapshot = mem::replace(&mut state.snapshot, Arc::new(snapshot));
            (block, snapshot)
        };
        self.changed.notify_all();
        // Giving up a snapshot may take a while, which nobody should wait for; and its code is the store's.
        drop(former);
    }

    /// The first block could not be committed, and none of those after it will be.
    pub(super) fn fail(&self, failure: CommitFailure) {
        let given_up = {
            let mut state = self.lock();
            state.failure = Some(failure);
            mem::take(&mut state.waiting)
        };
        self.changed.notify_all();
        drop(given_up);
    }

    /// Whether every block so far could be committed, or may be.
    pub(super) fn check(&self) -> Result<(), CommitFailure> {
        self.lock().check()
    }

    /// The state after the block that was pushed last: the newest snapshot, and what is not in it on top.
    pub(super) fn tip_state(&self) -> Result<Overlay<Arc<R>>, CommitFailure> {
        let state = self.lock();
        state.check()?;
        let mut overlay = Overlay::new(Arc::clone(&state.snapshot));
        for block in &state.waiting {
            overlay.push(Arc::clone(&block.changes));
            overlay.insert_block_hash(block.number, block.hash);
        }
        Ok(overlay)
    }

    /// The state after the block committed last.
    pub(super) fn snapshot(&self) -> Arc<R> {
        Arc::clone(&self.lock().snapshot)
    }

    /// Number of the block committed last.
    pub(super) fn committed(&self) -> u64 {
        self.lock().committed
    }

    /// The state once nothing is waiting.
    pub(super) fn drained(&self) -> Result<Arc<R>, CommitFailure> {
        let state = self.wait_while(|state| !state.waiting.is_empty() && state.failure.is_none());
        state.check()?;
        Ok(Arc::clone(&state.snapshot))
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
