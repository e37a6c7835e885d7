//! The nodes that prove what a block read, and what its new state root is.
//!
//! Nobody has to know in advance which nodes those are: everything is done once over a reader that writes down what it
//! hands out, and whoever does the same over the written-down nodes gets along with them.

use std::sync::{Mutex, PoisonError};

use alloy_primitives::{Address, B256, Bytes, U256, map::B256Map};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};

use super::{NodeReader, state_root_after, walk};
use crate::{Changes, StateError};

/// A node reader that keeps every node it hands out.
#[derive(Debug)]
pub struct RecordingNodes<R> {
    nodes: R,
    /// By hash. Held for one look-up or insertion at a time.
    handed_out: Mutex<B256Map<Bytes>>,
}

impl<R: NodeReader> RecordingNodes<R> {
    /// Reads from `nodes`; nothing was handed out yet.
    pub fn new(nodes: R) -> Self {
        Self { nodes, handed_out: Mutex::default() }
    }

    /// The nodes handed out so far, each once, ascending by hash.
    pub fn into_nodes(self) -> Vec<Bytes> {
        let handed_out = self.handed_out.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut nodes: Vec<(B256, Bytes)> = handed_out.into_iter().collect();
        nodes.sort_unstable_by_key(|(hash, _)| *hash);
        nodes.into_iter().map(|(_, rlp)| rlp).collect()
    }
}

impl<R: NodeReader> NodeReader for RecordingNodes<R> {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        let node = self.nodes.node(account, path, hash)?;
        if let Some(rlp) = &node {
            let mut handed_out = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner);
            handed_out.entry(*hash).or_insert_with(|| rlp.clone());
        }
        Ok(node)
    }
}

/// The nodes that prove these accounts and slots in the state with this `root`, absence included, and from which the
/// root after `changes` can be computed: the state part of a witness. Each node once, ascending by hash.
///
/// `reads` are addresses with the slots that were read of each; those that `changes` name need not be listed.
///
/// # Errors
/// [`StateError::MissingNode`] or [`StateError::MalformedNode`] where `nodes` do not hold the state, or the source's
/// own error.
pub fn prove<S: IntoIterator<Item = U256>>(
    nodes: &impl NodeReader,
    root: B256,
    reads: impl IntoIterator<Item = (Address, S)>,
    changes: &Changes,
) -> Result<Vec<Bytes>, StateError> {
    let recording = RecordingNodes::new(nodes);
    for (address, slots) in reads {
        walk::account(&recording, root, &address)?;
        for slot in slots {
            walk::storage(&recording, root, &address, &slot)?;
        }
    }
    for change in &changes.accounts {
        walk::account(&recording, root, &change.address)?;
        for slot in &change.slots {
            walk::storage(&recording, root, &change.address, &slot.slot)?;
        }
    }
    let after = state_root_after(&recording, root, changes)?;
    // A state that does not change is proven to be there all the same.
    if after == root && root != EMPTY_ROOT_HASH {
        recording.node(None, &Nibbles::new(), &root)?;
    }
    Ok(recording.into_nodes())
}

#[cfg(test)]
mod tests;
