//! A state read through the trie nodes that prove it.
//!
//! A witness is a heap of nodes, codes and hashes that somebody sent along with a block. Nothing in it is believed:
//! nodes and codes are known by the hashes of their bytes, and reading starts from a root that the caller vouches for.
//! What the nodes prove, absence included, is answered; what they do not reach is an error that names the path; nodes
//! that nothing refers to are never looked at.
//!
//! Nodes are decoded once, up front. Whether a node may stand where a walk meets it is a question for the walk, since
//! one node can be referred to from many places.

use std::{borrow::Cow, fmt};

use alloy_primitives::{
    Address, B256, Bytes, U256, keccak256,
    map::{B256Map, HashMap},
};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount, nodes::TrieNode};
use rayon::prelude::*;

use crate::{
    Account, Changes, StateError, StateReader,
    trie::{self, DecodedNodes, NodeReader, Place},
};

/// The part of a state, with proofs, that is enough to execute a block and to compute the root after it.
#[derive(Clone)]
pub struct Witness {
    root: B256,
    nodes: B256Map<RecordedNode>,
    codes: B256Map<Bytes>,
    block_hashes: HashMap<u64, B256>,
}

#[derive(Clone)]
struct RecordedNode {
    rlp: Bytes,
    /// `None` where the bytes are no node at all.
    decoded: Option<TrieNode>,
}

impl Witness {
    /// A witness of the state with this `root`, which the caller takes from a header it trusts.
    ///
    /// `nodes` are RLP trie nodes of the account trie and of storage tries, in any order; superfluous and malformed
    /// ones do no harm until a read meets them. `block_hashes` are pairs of number and hash, and are believed. Nodes
    /// are hashed and decoded on the rayon pool this is called from.
    pub fn new(
        root: B256,
        nodes: impl IntoIterator<Item = Bytes>,
        codes: impl IntoIterator<Item = Bytes>,
        block_hashes: impl IntoIterator<Item = (u64, B256)>,
    ) -> Self {
        let nodes: Vec<Bytes> = nodes.into_iter().collect();
        let nodes: Vec<(B256, RecordedNode)> = nodes
            .into_par_iter()
            .map(|rlp| (keccak256(&rlp), RecordedNode { decoded: trie::decode(&rlp), rlp }))
            .collect();
        Self {
            root,
            nodes: nodes.into_iter().collect(),
            codes: codes.into_iter().map(|code| (keccak256(&code), code)).collect(),
            block_hashes: block_hashes.into_iter().collect(),
        }
    }

    /// Root of the state that is read.
    pub fn state_root(&self) -> B256 {
        self.root
    }

    /// Root of the state after `changes`, which must be in normal form.
    ///
    /// Storage tries are changed on the rayon pool this is called from.
    ///
    /// # Errors
    /// [`StateError::MissingNode`] where the witness does not hold a node that the new root depends on,
    /// [`StateError::MalformedNode`] where what it holds cannot stand there.
    pub fn state_root_after(&self, changes: &Changes) -> Result<B256, StateError> {
        trie::state_root_after(self, self.root, changes)
    }

    fn trie_account(&self, address: &Address) -> Result<Option<TrieAccount>, StateError> {
        trie::account_leaf(self, self.root, address)
    }
}

impl DecodedNodes for Witness {
    fn decoded(&self, account: Option<B256>, place: &Place, hash: &B256) -> Result<Cow<'_, TrieNode>, StateError> {
        let recorded = self.nodes.get(hash).ok_or_else(|| place.missing_node(account))?;
        let node = recorded.decoded.as_ref().filter(|_| trie::may_be_hashed(&recorded.rlp, place));
        node.map(Cow::Borrowed).ok_or_else(|| place.malformed_node(account))
    }
}

impl StateReader for Witness {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        let account = self.trie_account(address)?;
        Ok(account.map(|TrieAccount { nonce, balance, code_hash, .. }| Account { nonce, balance, code_hash }))
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        trie::slot_leaf(self, self.root, address, slot)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        let account = self.trie_account(address)?;
        Ok(account.is_none_or(|account| account.storage_root == EMPTY_ROOT_HASH))
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.codes.get(hash).cloned().ok_or(StateError::MissingCode(*hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.block_hashes.get(&number).copied().ok_or(StateError::MissingBlockHash(number))
    }
}

impl NodeReader for Witness {
    fn node(&self, _account: Option<B256>, _path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(self.nodes.get(hash).map(|node| node.rlp.clone()))
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness")
            .field("root", &self.root)
            .field("nodes", &self.nodes.len())
            .field("codes", &self.codes.len())
            .field("block_hashes", &self.block_hashes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
