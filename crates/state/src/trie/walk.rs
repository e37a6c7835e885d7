//! Reading a key through the nodes on its path.
//!
//! The walk ends at a leaf or at the proof that there is none: an empty place in a branch, or a leaf or an extension
//! that turns off. Nothing is kept: whoever reads a trie again and again keeps nodes decoded itself and hands them out.

use std::borrow::Cow;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rlp::decode_exact;
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles, TrieAccount,
    nodes::{RlpNode, TrieNode},
};

use super::{
    NodeReader,
    node::{self, Place, Reference},
};
use crate::StateError;

/// A source of decoded nodes, for one walk after the other.
pub(crate) trait DecodedNodes {
    /// The node with this `hash` at `place`, checked for being a node, but not for fitting there.
    ///
    /// # Errors
    /// [`StateError::MissingNode`] or [`StateError::MalformedNode`], or the source's own error.
    fn decoded(&self, account: Option<B256>, place: &Place, hash: &B256) -> Result<Cow<'_, TrieNode>, StateError>;
}

/// Decodes what a reader hands out.
struct Decoding<'a, R>(&'a R);

impl<R: NodeReader> DecodedNodes for Decoding<'_, R> {
    fn decoded(&self, account: Option<B256>, place: &Place, hash: &B256) -> Result<Cow<'_, TrieNode>, StateError> {
        let rlp = self.0.node(account, place.path(), hash)?.ok_or_else(|| place.missing_node(account))?;
        let node = node::decode(&rlp).filter(|_| node::may_be_hashed(&rlp, place));
        node.map(Cow::Owned).ok_or_else(|| place.malformed_node(account))
    }
}

/// What the state with this `root` holds for `address`; `None` where it proves that there is no such account.
///
/// # Errors
/// [`StateError::MissingNode`] or [`StateError::MalformedNode`] on the way, or the source's own error.
pub fn account(nodes: &impl NodeReader, root: B256, address: &Address) -> Result<Option<TrieAccount>, StateError> {
    account_leaf(&Decoding(nodes), root, address)
}

/// The value of a slot in the state with this `root`; zero where it proves that nothing is stored there.
///
/// # Errors
/// As [`account`].
pub fn storage(nodes: &impl NodeReader, root: B256, address: &Address, slot: &U256) -> Result<U256, StateError> {
    slot_leaf(&Decoding(nodes), root, address, slot)
}

/// [`account`] over nodes that are decoded already.
pub(crate) fn account_leaf(
    nodes: &impl DecodedNodes,
    root: B256,
    address: &Address,
) -> Result<Option<TrieAccount>, StateError> {
    leaf(nodes, None, root, &keccak256(address), |leaf| decode_exact(leaf).ok())
}

/// [`storage`] over nodes that are decoded already.
pub(crate) fn slot_leaf(
    nodes: &impl DecodedNodes,
    root: B256,
    address: &Address,
    slot: &U256,
) -> Result<U256, StateError> {
    let Some(account) = account_leaf(nodes, root, address)? else { return Ok(U256::ZERO) };
    if account.storage_root == EMPTY_ROOT_HASH {
        return Ok(U256::ZERO);
    }
    let key = keccak256(slot.to_be_bytes::<32>());
    let stored = |leaf: &[u8]| decode_exact::<U256>(leaf).ok().filter(|value| !value.is_zero());
    Ok(leaf(nodes, Some(keccak256(address)), account.storage_root, &key, stored)?.unwrap_or_default())
}

/// What `read` makes of the leaf under `key`, `None` where the trie proves that there is none.
fn leaf<T>(
    nodes: &impl DecodedNodes,
    account: Option<B256>,
    root: B256,
    key: &B256,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<Option<T>, StateError> {
    if root == EMPTY_ROOT_HASH {
        return Ok(None);
    }
    let key = Nibbles::unpack_array(&key.0);
    let (mut next, mut place) = (RlpNode::word_rlp(&root), Place::root());
    loop {
        let malformed = || place.malformed_node(account);
        let node = match node::reference(&next) {
            Reference::Hash(hash) => nodes.decoded(account, &place, &hash)?,
            Reference::Inline(rlp) => Cow::Owned(node::decode(rlp).ok_or_else(malformed)?),
        };
        if !node::fits(&node, &place) {
            return Err(malformed());
        }
        let rest = place.rest_of(&key);
        let (child, below) = match &*node {
            TrieNode::EmptyRoot => return Ok(None),
            TrieNode::Leaf(leaf) if leaf.key != rest => return Ok(None),
            TrieNode::Leaf(leaf) => {
                let malformed = || StateError::MalformedNode { account, path: key };
                return read(&leaf.value).map(Some).ok_or_else(malformed);
            }
            TrieNode::Extension(extension) if !rest.starts_with(&extension.key) => return Ok(None),
            TrieNode::Extension(extension) => (&extension.child, place.below_extension(&extension.key)),
            TrieNode::Branch(branch) => {
                let nibble = rest.get_unchecked(0);
                let Some(child) = node::branch_child(branch, nibble) else { return Ok(None) };
                (child, place.below_branch(nibble))
            }
        };
        (next, place) = (child.clone(), below);
    }
}
