//! Merkle-Patricia tries: reading through proofs, changing what is known, roots of what is complete.
//!
//! Keys are Keccak-256 hashes, 64 nibbles each, so no key is a prefix of another and no branch holds a value. A node
//! shorter than 32 bytes is embedded in its parent; the root and every longer node stands by itself and is referred to
//! by its hash.
//!
//! | module | question it answers |
//! |---|---|
//! | `node` | may these bytes be a node at this place, and what does it say? |
//! | `walk` | what is stored under a key, or what proves that nothing is? |
//! | `partial` | what is the root after these keys change, when only some nodes are at hand? |
//! | `root` | what is the root of a trie whose leaves are all at hand? |
//! | `builder` | what are root and nodes of a trie whose leaves arrive one by one? |
//! | `update` | what is the state root after a block's changes, and which nodes come and go? |
//! | `set` | what are they when accounts are set outright, to go back to an earlier state? |
//! | `state_trie` | what is the state root after this block, and the next, and the next? |
//! | `proof` | which nodes prove what a block read, and that its new root is right? |
//!
//! A trie that is not all at hand gets its nodes from a [`NodeReader`], one at a time and only along the paths that are
//! touched: what a root costs grows with the number of changes times the depth, not with the size of the state.
//!
//! Nodes are untrusted bytes. What a node claims is checked against the place it stands at before it is used, so that
//! every walk ends after at most 64 steps, however the nodes refer to each other; nothing is expanded ahead of a walk,
//! because a handful of nodes that share children describes a tree without bounds.

mod builder;
mod node;
mod partial;
mod proof;
mod root;
mod set;
mod state_trie;
mod update;
mod walk;

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};

use crate::StateError;

pub use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
pub use builder::TrieBuilder;
pub use proof::{RecordingNodes, prove};
pub use set::{AccountUpdate, set_accounts};
pub use state_trie::StateTrie;
pub use update::{StorageTrieUpdate, TrieUpdates, state_root_after, update_state_root};
pub use walk::{account, storage};

pub(crate) use node::{Place, decode, may_be_hashed};
pub(crate) use root::{sorted_root, storage_root};
pub(crate) use update::trie_account;
pub(crate) use walk::{DecodedNodes, account_leaf, slot_leaf};

/// Where trie nodes come from: a witness, or a database of nodes.
///
/// Every node is asked for by its trie, its path and its hash, so that a source may be keyed by path as well as by
/// hash. A source keyed by path answers for one state only: the one whose root its reader starts from.
pub trait NodeReader: Send + Sync {
    /// RLP of the node with this `hash` that stands at `path` of a trie, `None` where the source does not hold it.
    ///
    /// `account` is the hash of the address whose storage trie is meant, `None` for the account trie. The caller does
    /// not check the hash again: a source that cannot trust its bytes checks them.
    ///
    /// # Errors
    /// When the source itself fails.
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError>;
}

impl<R: NodeReader + ?Sized> NodeReader for &R {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        (**self).node(account, path, hash)
    }
}

impl<R: NodeReader + ?Sized> NodeReader for Arc<R> {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        (**self).node(account, path, hash)
    }
}

/// A source without nodes: what a trie that is whole in memory is built upon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoNodes;

impl NodeReader for NoNodes {
    fn node(&self, _: Option<B256>, _: &Nibbles, _: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(None)
    }
}

#[cfg(test)]
pub(crate) mod reference_trie;

#[cfg(test)]
mod tests;
