//! The state root after a block's changes.
//!
//! Three steps: each changed account's storage root before the block is read from the account trie; the storage tries
//! are changed side by side, since they have nothing in common; the accounts are written with their new storage roots.
//!
//! In every trie what is stored comes before what is removed. The resulting root does not depend on that, but the
//! nodes it takes do: a branch that loses one child and gains another in the same block never stands with a single
//! child, so its siblings need not be known.

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
use rayon::prelude::*;

use super::{NodeReader, partial::PartialTrie};
use crate::{Account, AccountChange, Changes, SlotChange, StateError};

/// The root that the state with this `root` has after `changes`.
///
/// An account whose slots did not change keeps its storage root. Storage tries are changed on the rayon pool this is
/// called from.
///
/// # Errors
/// [`StateError::MissingNode`] or [`StateError::MalformedNode`] on the way to a change, or the source's own error.
pub(crate) fn state_root_after(nodes: &impl NodeReader, root: B256, changes: &Changes) -> Result<B256, StateError> {
    let keys: Vec<B256> = changes.accounts.par_iter().map(|change| keccak256(change.address)).collect();
    let mut accounts = PartialTrie::new(nodes, None, root);
    let mut storage_roots = Vec::with_capacity(keys.len());
    for (key, change) in keys.iter().zip(&changes.accounts) {
        storage_roots.push(storage_root_before(&mut accounts, key, change)?);
    }
    let leaves = (&keys, &changes.accounts, storage_roots)
        .into_par_iter()
        .map(|(key, change, storage_root)| account_leaf(nodes, key, change, storage_root))
        .collect::<Result<Vec<Option<Bytes>>, StateError>>()?;
    apply(&mut accounts, keys.into_iter().zip(leaves))?;
    Ok(accounts.root())
}

/// The root of the storage that the account's slot changes start from.
fn storage_root_before(
    accounts: &mut PartialTrie<impl NodeReader>,
    key: &B256,
    change: &AccountChange,
) -> Result<B256, StateError> {
    if change.after.is_none() || change.storage_starts_empty() {
        return Ok(EMPTY_ROOT_HASH);
    }
    let Some(leaf) = accounts.get(key)? else { return Ok(EMPTY_ROOT_HASH) };
    let account = alloy_rlp::decode_exact::<TrieAccount>(leaf);
    let malformed = |_| StateError::MalformedNode { account: None, path: Nibbles::unpack(key) };
    account.map(|account| account.storage_root).map_err(malformed)
}

/// What the account trie holds for the account after the block; `None` where the account is gone.
fn account_leaf(
    nodes: &impl NodeReader,
    key: &B256,
    change: &AccountChange,
    storage_root: B256,
) -> Result<Option<Bytes>, StateError> {
    let Some(account) = &change.after else { return Ok(None) };
    let storage_root = if change.slots.is_empty() {
        storage_root
    } else {
        let mut storage = PartialTrie::new(nodes, Some(*key), storage_root);
        apply(&mut storage, change.slots.iter().map(slot_update))?;
        storage.root()
    };
    let mut leaf = Vec::new();
    trie_account(account, storage_root).encode(&mut leaf);
    Ok(Some(leaf.into()))
}

fn slot_update(change: &SlotChange) -> (B256, Option<Bytes>) {
    let value = (!change.after.is_zero()).then(|| alloy_rlp::encode_fixed_size(&change.after).to_vec().into());
    (keccak256(change.slot.to_be_bytes::<32>()), value)
}

/// The form in which the account trie holds an account.
pub(crate) fn trie_account(account: &Account, storage_root: B256) -> TrieAccount {
    TrieAccount::new(account.nonce, account.balance, storage_root, account.code_hash)
}

/// Stores every value first, then removes the keys without one.
fn apply(
    trie: &mut PartialTrie<impl NodeReader>,
    updates: impl Iterator<Item = (B256, Option<Bytes>)>,
) -> Result<(), StateError> {
    let mut removals = Vec::new();
    for (key, value) in updates {
        match value {
            Some(value) => trie.insert(&key, value)?,
            None => removals.push(key),
        }
    }
    removals.iter().try_for_each(|key| trie.remove(key))
}
