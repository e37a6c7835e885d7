//! The state root when accounts and slots are set outright, whatever they were: how a state goes back to an earlier one.
//!
//! A block's changes say how an account became what it is; going back only says what it was. So nothing is derived here:
//! each account names its leaf, its slots, and, where its storage as a whole was exchanged for another, that storage's
//! root.

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes, U256};
use alloy_rlp::decode_exact;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};
use rayon::prelude::*;

use super::{
    NodeReader, StorageTrieUpdate, TrieUpdates,
    partial::PartialTrie,
    update::{account_leaf, apply},
};
use crate::{Account, StateError};

/// What one account is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountUpdate {
    /// Hash of its address.
    pub key: B256,
    /// The account; `None` where there is to be none.
    pub account: Option<Account>,
    /// Slots to set, by the hashes of their keys; zero removes one. They are set in the trie that the account has now.
    pub slots: Vec<(B256, U256)>,
    /// Root of another storage that takes the place of the one that the slots were set in.
    pub storage_root: Option<B256>,
}

/// The root that the state with this `root` has with these accounts in it, and the nodes that come and go.
///
/// No account may be named twice. Nodes of a storage that an account gets by its root are not listed: they are there
/// already. Storage tries are changed on the rayon pool this is called from.
///
/// # Errors
/// [`StateError::MissingNode`] or [`StateError::MalformedNode`] on the way to a change, or the source's own error.
pub fn set_accounts(
    nodes: &impl NodeReader,
    root: B256,
    updates: &[AccountUpdate],
) -> Result<(B256, TrieUpdates), StateError> {
    let mut accounts = PartialTrie::new(nodes, None, root).recording_updates();
    let roots = updates.iter().map(|update| storage_root(&mut accounts, &update.key)).collect::<Result<Vec<_>, _>>()?;
    let changed = (updates, roots)
        .into_par_iter()
        .map(|(update, root)| {
            let (root, nodes) = set_slots(nodes, update, root)?;
            let root = update.storage_root.unwrap_or(root);
            Ok((update.account.as_ref().map(|account| account_leaf(account, root)), nodes))
        })
        .collect::<Result<Vec<_>, StateError>>()?;
    let (leaves, storage): (Vec<Option<Bytes>>, Vec<_>) = changed.into_iter().unzip();
    apply(&mut accounts, updates.iter().map(|update| update.key).zip(leaves))?;
    let root = accounts.root();
    let changed = updates.iter().zip(storage).filter(|(_, nodes)| !nodes.is_empty());
    let storage = changed.map(|(update, nodes)| (update.key, StorageTrieUpdate { wiped: false, nodes })).collect();
    Ok((root, TrieUpdates { accounts: accounts.take_updates(), storage }))
}

/// The root of the storage that an account has now.
fn storage_root(accounts: &mut PartialTrie<impl NodeReader>, key: &B256) -> Result<B256, StateError> {
    let Some(leaf) = accounts.get(key)? else { return Ok(EMPTY_ROOT_HASH) };
    let malformed = |_| StateError::MalformedNode { account: None, path: Nibbles::unpack(key) };
    decode_exact::<TrieAccount>(leaf).map(|account| account.storage_root).map_err(malformed)
}

/// The storage with its slots set: its root, and the nodes that come and go.
fn set_slots(
    nodes: &impl NodeReader,
    update: &AccountUpdate,
    root: B256,
) -> Result<(B256, BTreeMap<Nibbles, Option<Bytes>>), StateError> {
    if update.slots.is_empty() {
        return Ok((root, BTreeMap::new()));
    }
    let mut storage = PartialTrie::new(nodes, Some(update.key), root).recording_updates();
    let value = |value: &U256| (!value.is_zero()).then(|| alloy_rlp::encode_fixed_size(value).to_vec().into());
    apply(&mut storage, update.slots.iter().map(|(slot, after)| (*slot, value(after))))?;
    Ok((storage.root(), storage.take_updates()))
}

#[cfg(test)]
mod tests;
