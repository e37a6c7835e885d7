//! The state root after a block's changes, and the nodes that come and go with it.
//!
//! Three steps: each changed account's storage root before the block is read from the account trie; the storage tries
//! are changed side by side, since they have nothing in common; the accounts are written with their new storage roots.
//!
//! In every trie what is stored comes before what is removed. The resulting root does not depend on that, but the
//! nodes it takes do: a branch that loses one child and gains another in the same block never stands with a single
//! child, so its siblings need not be known.

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
use rayon::prelude::*;

use super::{NodeReader, partial::PartialTrie};
use crate::{Account, AccountChange, Changes, SlotChange, StateError};

/// What a block's changes do to the nodes of a state's tries.
///
/// Listed are the nodes that stand by themselves: roots, and nodes of at least 32 bytes. Each is given by its path from
/// its trie's root: its new RLP, or `None` where there is no such node any more. Whoever keeps exactly these nodes keeps
/// exactly those of the state after the block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrieUpdates {
    /// Nodes of the account trie.
    pub accounts: BTreeMap<Nibbles, Option<Bytes>>,
    /// Changed storage tries, by the hash of the account's address.
    pub storage: BTreeMap<B256, StorageTrieUpdate>,
}

/// What a block's changes do to the nodes of one storage trie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageTrieUpdate {
    /// The account lost its whole storage: every node from before the block is gone, and `nodes` are all there are.
    pub wiped: bool,
    /// Nodes that come and go, as in [`TrieUpdates`].
    pub nodes: BTreeMap<Nibbles, Option<Bytes>>,
}

/// The root that the state with this `root` has after `changes`, which must be in normal form.
///
/// An account whose slots did not change keeps its storage root. Storage tries are changed on the rayon pool this is
/// called from.
///
/// # Errors
/// [`StateError::MissingNode`] or [`StateError::MalformedNode`] on the way to a change, or the source's own error.
pub fn state_root_after(nodes: &impl NodeReader, root: B256, changes: &Changes) -> Result<B256, StateError> {
    let mut accounts = PartialTrie::new(nodes, None, root);
    change_accounts(&mut accounts, changes, |key, change, storage_root| {
        if change.slots.is_empty() {
            return Ok((storage_root, ()));
        }
        let mut storage = PartialTrie::new(nodes, Some(*key), storage_root);
        Ok((change_slots(&mut storage, change)?, ()))
    })?;
    Ok(accounts.root())
}

/// [`state_root_after`], together with the nodes that come and go.
///
/// # Errors
/// As [`state_root_after`].
pub fn update_state_root(
    nodes: &impl NodeReader,
    root: B256,
    changes: &Changes,
) -> Result<(B256, TrieUpdates), StateError> {
    let mut accounts = PartialTrie::new(nodes, None, root).recording_updates();
    let storage = change_accounts(&mut accounts, changes, |key, change, storage_root| {
        let wiped = change.before.is_some() && (change.storage_cleared || change.after.is_none());
        if change.slots.is_empty() || change.after.is_none() {
            return Ok((storage_root, wiped.then(|| StorageTrieUpdate { wiped, ..StorageTrieUpdate::default() })));
        }
        let mut storage = PartialTrie::new(nodes, Some(*key), storage_root).recording_updates();
        let root = change_slots(&mut storage, change)?;
        Ok((root, Some(StorageTrieUpdate { wiped, nodes: storage.take_updates() })))
    })?;
    let root = accounts.root();
    let storage = storage.into_iter().filter_map(|(key, update)| Some((key, update?))).collect();
    Ok((root, TrieUpdates { accounts: accounts.take_updates(), storage }))
}

/// Changes the account trie, each account's storage by `change_storage`.
///
/// `change_storage` gets the account's key and change and the root its slot changes start from. It says which root they
/// lead to, with anything else there is to say, which is handed back beside the key; it is called on many threads.
pub(super) fn change_accounts<T: Send>(
    accounts: &mut PartialTrie<impl NodeReader>,
    changes: &Changes,
    change_storage: impl Fn(&B256, &AccountChange, B256) -> Result<(B256, T), StateError> + Sync,
) -> Result<Vec<(B256, T)>, StateError> {
    let keys: Vec<B256> = changes.accounts.par_iter().map(|change| keccak256(change.address)).collect();
    let mut roots = Vec::with_capacity(keys.len());
    for (key, change) in keys.iter().zip(&changes.accounts) {
        roots.push(storage_root_before(accounts, key, change)?);
    }
    let changed = (&keys, &changes.accounts, roots)
        .into_par_iter()
        .map(|(key, change, root)| {
            let (root, rest) = change_storage(key, change, root)?;
            Ok((change.after.as_ref().map(|account| account_leaf(account, root)), (*key, rest)))
        })
        .collect::<Result<Vec<_>, StateError>>()?;
    let (leaves, rest): (Vec<Option<Bytes>>, Vec<(B256, T)>) = changed.into_iter().unzip();
    apply(accounts, keys.into_iter().zip(leaves))?;
    Ok(rest)
}

/// Changes a storage trie and returns its root.
pub(super) fn change_slots(
    storage: &mut PartialTrie<impl NodeReader>,
    change: &AccountChange,
) -> Result<B256, StateError> {
    apply(storage, change.slots.iter().map(slot_update))?;
    Ok(storage.root())
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

/// What the account trie holds for an account.
pub(super) fn account_leaf(account: &Account, storage_root: B256) -> Bytes {
    let mut leaf = Vec::new();
    trie_account(account, storage_root).encode(&mut leaf);
    leaf.into()
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
pub(super) fn apply(
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

#[cfg(test)]
mod tests;
