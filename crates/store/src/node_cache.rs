//! Trie nodes of the head's state that the latest blocks changed or passed.
//!
//! Every block passes the upper nodes of the tries, and most blocks change accounts that others changed before. What one
//! block wrote the next one would look up again, in the memtable or a file, and hash again to see whether it is the right
//! one. Here it is at hand. The cache belongs to whoever commits: readers of snapshots have nothing to do with it.
//!
//! Nodes are kept in two generations. What is asked for moves to the young one; when that is half of the bound, it becomes
//! the old one, and what was old and not asked for is forgotten. So the bound holds whatever blocks do.
//!
//! The content is that of the head: a commit takes its updates over once they are written, and whatever else changes the
//! state, or fails, forgets everything.

use std::{
    mem::size_of,
    sync::atomic::{AtomicUsize, Ordering},
};

use alloy_primitives::{B256, Bytes, map::DefaultHashBuilder};
use dashmap::DashMap;
use ropewalk_state::{
    StateError,
    trie::{Nibbles, NodeReader, TrieUpdates},
};

use crate::reader::View;

/// A node by the account whose storage trie it belongs to, and its path.
type Key = (Option<B256>, Nibbles);

/// What a node takes besides its RLP, in bytes, about: key, handle, and its share of the map.
const OVERHEAD: usize = 2 * (size_of::<Key>() + size_of::<Bytes>());

type Generation = DashMap<Key, Bytes, DefaultHashBuilder>;

/// The cache.
pub(crate) struct NodeCache {
    young: Generation,
    old: Generation,
    young_bytes: AtomicUsize,
    most_bytes: usize,
}

impl NodeCache {
    /// A cache of so many bytes; none with 0.
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { young: Generation::default(), old: Generation::default(), young_bytes: AtomicUsize::new(0), most_bytes }
    }

    /// The nodes that `view` shows, which must be those of the state that the cache is of.
    pub(crate) fn over<'a>(&'a self, view: &'a View<'a>) -> CachedNodes<'a> {
        CachedNodes { cache: self, view }
    }

    /// Makes what a block changed part of it. A storage that was wiped as a whole is rare: then everything is forgotten.
    pub(crate) fn take_over(&mut self, updates: TrieUpdates) {
        if updates.storage.values().any(|storage| storage.wiped) {
            return self.clear();
        }
        let TrieUpdates { accounts, storage } = updates;
        for (path, node) in accounts {
            self.update((None, path), node);
        }
        for (account, update) in storage {
            for (path, node) in update.nodes {
                self.update((Some(account), path), node);
            }
        }
        if *self.young_bytes.get_mut() > self.most_bytes / 2 {
            self.old = std::mem::take(&mut self.young);
            *self.young_bytes.get_mut() = 0;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        *self.young_bytes.get_mut() = 0;
    }

    fn update(&self, key: Key, node: Option<Bytes>) {
        match node {
            Some(rlp) => self.keep(key, rlp),
            None => drop(self.young.remove(&key)),
        }
        self.old.remove(&key);
    }

    fn keep(&self, key: Key, rlp: Bytes) {
        if self.most_bytes == 0 {
            return;
        }
        let bytes = rlp.len() + OVERHEAD;
        // What replaces another is counted again, so the count is too high rather than too low.
        self.young_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.young.insert(key, rlp);
    }

    fn get(&self, key: &Key) -> Option<Bytes> {
        if let Some(node) = self.young.get(key) {
            return Some(node.clone());
        }
        let (_, node) = self.old.remove(key)?;
        self.keep(*key, node.clone());
        Some(node)
    }
}

/// Nodes from the cache, and from the database where it has none.
pub(crate) struct CachedNodes<'a> {
    cache: &'a NodeCache,
    view: &'a View<'a>,
}

impl NodeReader for CachedNodes<'_> {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        let key = (account, *path);
        if let Some(node) = self.cache.get(&key) {
            debug_assert_eq!(alloy_primitives::keccak256(&node), *hash, "the cache is of the head's state");
            return Ok(Some(node));
        }
        let node = self.view.node(account, path, hash)?;
        if let Some(node) = &node {
            self.cache.keep(key, node.clone());
        }
        Ok(node)
    }
}
