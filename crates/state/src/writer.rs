//! What takes a block's changes in.

use alloy_primitives::B256;

use crate::{Changes, StateError, StateReader};

/// One executed block, ready to be made part of a state.
#[derive(Debug, Clone, Copy)]
pub struct BlockCommit<'a> {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// Hash of the block it extends.
    pub parent_hash: B256,
    /// State root that the block's header claims.
    pub state_root: B256,
    /// What the block changed.
    pub changes: &'a Changes,
}

/// Takes in one block at a time, whole or not at all.
pub trait StateWriter {
    /// Makes `block` part of the state. Afterwards readers see it, or, on error, nothing of it.
    ///
    /// # Errors
    /// When the block does not extend the state's head, or the state cannot be written.
    fn commit_block(&mut self, block: &BlockCommit<'_>) -> Result<(), StateError>;
}

/// A writer that hands out owned snapshots of what it holds.
pub trait StateStore: StateWriter {
    /// A state as of one block, whatever is committed after it.
    type Snapshot: StateReader + 'static;

    /// The state after the block committed last.
    fn snapshot(&self) -> Self::Snapshot;
}
