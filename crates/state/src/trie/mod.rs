//! Merkle-Patricia tries: reading through proofs, changing what is known, roots of what is complete.
//!
//! Keys are Keccak-256 hashes, 64 nibbles each, so no key is a prefix of another and no branch holds a value. A node
//! shorter than 32 bytes is embedded in its parent; the root and every longer node is referred to by its hash.
//!
//! | module | question it answers |
//! |---|---|
//! | `node` | may these bytes be a node at this place, and what does it say? |
//! | `partial` | what is the root after these keys change, when only some nodes are at hand? |
//! | `root` | what is the root of a trie whose leaves are all at hand? |
//! | `update` | what is the state root after a block's changes? |
//!
//! A trie that is not all at hand gets its nodes from a [`NodeReader`], one at a time and only along the paths that are
//! touched: what a root costs grows with the number of changes times the depth, not with the size of the state.
//!
//! Nodes are untrusted bytes. What a node claims is checked against the place it stands at before it is used, so that
//! every walk ends after at most 64 steps, however the nodes refer to each other; nothing is expanded ahead of a walk,
//! because a handful of nodes that share children describes a tree without bounds.

mod node;
mod partial;
mod root;
mod update;

use alloy_primitives::{B256, Bytes};
use alloy_trie::Nibbles;

use crate::StateError;

pub(crate) use node::{Place, Reference, branch_child, decode, fits, may_be_hashed, reference};
pub(crate) use root::{sorted_root, storage_root};
pub(crate) use update::{state_root_after, trie_account};

/// Where trie nodes come from: a witness, or a database of nodes.
///
/// Every node is asked for by its trie, its path and its hash, so that a source may be keyed by path as well as by
/// hash. A source keyed by path answers for one state only: the one whose root its reader starts from.
pub(crate) trait NodeReader: Sync {
    /// RLP of the node with this `hash` that stands at `path` of a trie, `None` where the source does not hold it.
    ///
    /// `account` is the hash of the address whose storage trie is meant, `None` for the account trie. The caller does
    /// not check the hash again: a source that cannot trust its bytes checks them.
    ///
    /// # Errors
    /// When the source itself fails.
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError>;
}

impl<R: NodeReader> NodeReader for &R {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        (**self).node(account, path, hash)
    }
}

#[cfg(test)]
pub(crate) mod reference_trie;
