//! Trie nodes by path: reading them, and writing what a block changes.

use std::collections::BTreeMap;

use alloy_primitives::{B256, Bytes, keccak256};
use rocksdb::WriteBatch;
use ropewalk_state::{
    StateError,
    trie::{Nibbles, NodeReader},
};

use crate::{
    StoreError, StoreReader,
    database::Database,
    layout::{Column, STORAGE_PREFIX_LENGTH, node_path, storage_node_key, storage_prefix},
    reader::View,
};

/// Whose trie a node belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trie {
    Accounts,
    /// An account's storage, by what the keys of its slots and nodes begin with.
    Storage([u8; STORAGE_PREFIX_LENGTH]),
}

impl Trie {
    /// Where its nodes are.
    pub(crate) fn column(&self) -> Column {
        match self {
            Self::Accounts => Column::AccountNodes,
            Self::Storage(_) => Column::StorageNodes,
        }
    }

    /// Key of its node at `path`.
    pub(crate) fn key(&self, path: &Nibbles) -> Vec<u8> {
        match self {
            Self::Accounts => node_path(path),
            Self::Storage(prefix) => storage_node_key(prefix, path),
        }
    }

    /// Hash of the address of the account whose storage it is.
    pub(crate) fn account(&self) -> Option<B256> {
        match self {
            Self::Accounts => None,
            Self::Storage(prefix) => Some(B256::from_slice(&prefix[..32])),
        }
    }
}

/// Puts the nodes of one trie that differ into a batch.
pub(crate) fn put_updates(
    database: &Database,
    trie: &Trie,
    updates: &BTreeMap<Nibbles, Option<Bytes>>,
    batch: &mut WriteBatch,
) {
    let family = database.family(trie.column());
    for (path, node) in updates {
        match node {
            Some(node) => batch.put_cf(family, trie.key(path), node),
            None => batch.delete_cf(family, trie.key(path)),
        }
    }
}

impl View<'_> {
    /// The node at `path` of a trie, which must have this hash; `None` where there is none.
    pub(crate) fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StoreError> {
        let trie = match account {
            None => Trie::Accounts,
            Some(account) => Trie::Storage(storage_prefix(&account, self.incarnation(&account)?)),
        };
        let rlp = self.get(trie.column(), &trie.key(path), |bytes| Ok(Bytes::copy_from_slice(bytes)))?;
        match rlp.as_ref().map(keccak256) {
            Some(found) if found != *hash => {
                Err(StoreError::WrongNode { account, path: Box::new(*path), expected: *hash, found })
            }
            _ => Ok(rlp),
        }
    }
}

/// Nodes of the state that is looked at, and of no other.
impl NodeReader for View<'_> {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(Self::node(self, account, path, hash)?)
    }
}

/// Nodes of the state of the reader's [head](StoreReader::head), where that has a state root. A node that is asked for
/// by the hash of another state is [`StoreError::WrongNode`].
impl NodeReader for StoreReader {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(View::node(self.view(), account, path, hash)?)
    }
}
