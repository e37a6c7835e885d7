//! What tests of several modules share.

use std::collections::BTreeMap;

use alloy_primitives::keccak256;

use super::*;

pub(super) type Nodes = BTreeMap<(Option<B256>, Nibbles), Bytes>;

/// Nodes by trie and path, as a database keeps them.
pub(super) struct NodesByPath(pub(super) Nodes);

impl NodeReader for NodesByPath {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        let node = self.0.get(&(account, *path));
        assert_eq!(node.map(keccak256), Some(*hash), "a node that stands by itself is kept at {path:?}");
        Ok(node.cloned())
    }
}

impl NodesByPath {
    pub(super) fn update(&mut self, updates: TrieUpdates) {
        let TrieUpdates { accounts, storage } = updates;
        accounts.into_iter().for_each(|(path, node)| self.put(None, path, node));
        for (key, StorageTrieUpdate { wiped, nodes }) in storage {
            if wiped {
                self.0.retain(|(account, _), _| *account != Some(key));
            }
            nodes.into_iter().for_each(|(path, node)| self.put(Some(key), path, node));
        }
    }

    fn put(&mut self, account: Option<B256>, path: Nibbles, node: Option<Bytes>) {
        match node {
            Some(rlp) => drop(self.0.insert((account, path), rlp)),
            None => drop(self.0.remove(&(account, path))),
        }
    }
}
