//! A state's tries, kept in memory while blocks or transactions change them one after the other.
//!
//! What was touched once stays decoded, so the next root costs what the next changes touch. Nodes are shared between
//! clones: a clone is a state to come back to, and two clones that grow apart hold their differences only.
//!
//! The storage tries at hand are spread over shards by the first byte of the account's hash, so that a change after a
//! clone copies one small table and not the table of all accounts.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, map::B256Map};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles};

use super::{
    NoNodes, NodeReader,
    partial::PartialTrie,
    update::{change_accounts, change_slots},
};
use crate::{AccountChange, Changes, MemoryState, SlotChange, StateError};

/// Number of shards that storage tries are spread over: one for each first byte of a hash.
const SHARDS: usize = 256;

/// The tries of a state: whole in memory, or read from `R` where changes touch them.
///
/// Cheap to clone. As a [`NodeReader`] it hands out the nodes of the state as it is now.
#[derive(Debug)]
pub struct StateTrie<R = NoNodes> {
    nodes: Arc<R>,
    root: B256,
    accounts: PartialTrie<Arc<R>>,
    /// Storage tries at hand, by account hash; always settled, as the account trie is.
    storage: Vec<Shard<R>>,
}

type Shard<R> = Arc<B256Map<Arc<PartialTrie<Arc<R>>>>>;

impl<R> Clone for StateTrie<R> {
    fn clone(&self) -> Self {
        Self {
            nodes: Arc::clone(&self.nodes),
            root: self.root,
            accounts: self.accounts.clone(),
            storage: self.storage.clone(),
        }
    }
}

impl<R: NodeReader> StateTrie<R> {
    /// The tries of the state with this `root`, whose nodes are read from `nodes` when they are needed.
    pub fn new(nodes: R, root: B256) -> Self {
        let nodes = Arc::new(nodes);
        let accounts = PartialTrie::new(Arc::clone(&nodes), None, root);
        Self { nodes, root, accounts, storage: (0..SHARDS).map(|_| Arc::default()).collect() }
    }

    /// Root of the state as it is now.
    pub fn root(&self) -> B256 {
        self.root
    }

    /// Makes `changes`, which must be in normal form, part of the state and returns its new root.
    ///
    /// Costs what the changes touch. Storage tries are changed on the rayon pool this is called from.
    ///
    /// # Errors
    /// [`StateError::MissingNode`] or [`StateError::MalformedNode`] on the way to a change, or the source's own error.
    /// The state is as it was then.
    pub fn apply(&mut self, changes: &Changes) -> Result<B256, StateError> {
        let mut accounts = self.accounts.clone();
        let storage = change_accounts(&mut accounts, changes, |key, change, storage_root| {
            self.change_storage(key, change, storage_root)
        })?;
        self.root = accounts.root();
        self.accounts = accounts;
        for (key, change) in storage {
            self.install(key, change);
        }
        Ok(self.root)
    }

    /// The storage trie that an account's changes lead to.
    fn change_storage(
        &self,
        key: &B256,
        change: &AccountChange,
        storage_root: B256,
    ) -> Result<(B256, StorageChange<R>), StateError> {
        if change.after.is_none() || (change.slots.is_empty() && change.storage_starts_empty()) {
            return Ok((EMPTY_ROOT_HASH, StorageChange::Gone));
        }
        if change.slots.is_empty() {
            return Ok((storage_root, StorageChange::Same));
        }
        let held = self.shard(key).get(key).filter(|_| !change.storage_starts_empty());
        let fresh = || PartialTrie::new(Arc::clone(&self.nodes), Some(*key), storage_root);
        let mut storage = held.map_or_else(fresh, |held| (**held).clone());
        let root = change_slots(&mut storage, change)?;
        Ok((root, StorageChange::Trie(Arc::new(storage))))
    }

    fn install(&mut self, key: B256, change: StorageChange<R>) {
        let shard = &mut self.storage[usize::from(key[0])];
        match change {
            StorageChange::Same => {}
            StorageChange::Gone if !shard.contains_key(&key) => {}
            StorageChange::Gone => drop(Arc::make_mut(shard).remove(&key)),
            StorageChange::Trie(trie) => drop(Arc::make_mut(shard).insert(key, trie)),
        }
    }

    fn shard(&self, key: &B256) -> &Shard<R> {
        &self.storage[usize::from(key[0])]
    }
}

/// What becomes of an account's storage trie at hand.
enum StorageChange<R> {
    Same,
    /// The account has no storage any more.
    Gone,
    Trie(Arc<PartialTrie<Arc<R>>>),
}

impl StateTrie<NoNodes> {
    /// The tries of a state without accounts.
    pub fn empty() -> Self {
        Self::new(NoNodes, EMPTY_ROOT_HASH)
    }

    /// The tries of a whole state, all of them in memory.
    ///
    /// Built on the rayon pool this is called from.
    ///
    /// # Panics
    /// Never: a trie that grows from nothing needs no nodes.
    pub fn of(state: &MemoryState) -> Self {
        let slots = |address: &Address| -> Vec<SlotChange> {
            let written = |(slot, after)| SlotChange { slot, before: U256::ZERO, after };
            state.iter_slots(address).map(written).collect()
        };
        let created = state.iter_accounts().map(|(address, account)| AccountChange {
            address,
            before: None,
            after: Some(account),
            storage_cleared: false,
            slots: slots(&address),
        });
        let changes = Changes { accounts: created.collect(), ..Changes::default() };
        let mut trie = Self::empty();
        trie.apply(&changes).expect("a trie that grows from nothing needs no nodes");
        trie
    }
}

impl<R: NodeReader> NodeReader for StateTrie<R> {
    fn node(&self, account: Option<B256>, path: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        let Some(key) = account else { return self.accounts.node(path, hash) };
        match self.shard(&key).get(&key) {
            Some(storage) => storage.node(path, hash),
            None => self.nodes.node(account, path, hash),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;
    use crate::{
        Completeness, StateReader, Witness,
        model::{self, World},
        trie,
    };

    proptest! {
        #[test]
        fn every_block_leads_to_the_root_of_a_full_rebuild_and_clones_stay_where_they_were(
            start in model::block(),
            blocks in collection::vec(model::block(), 1..6),
        ) {
            let mut world = World::after(&start);
            let mut whole = StateTrie::of(&world.memory(Completeness::Assumed));
            let mut partial = StateTrie::new(world.witness(), world.root());
            prop_assert_eq!(whole.root(), world.root());
            let mut clones = Vec::new();
            for block in &blocks {
                clones.push((whole.clone(), partial.clone(), world.clone()));
                let changes = world.play(block);
                prop_assert_eq!(whole.apply(&changes).unwrap(), world.root());
                prop_assert_eq!(partial.apply(&changes).unwrap(), world.root());
            }
            for (mut whole, mut partial, mut world) in clones {
                let changes = world.play(&blocks[0]);
                prop_assert_eq!(whole.apply(&changes).unwrap(), world.root());
                prop_assert_eq!(partial.apply(&changes).unwrap(), world.root());
            }
        }

        #[test]
        fn nodes_in_memory_are_those_of_the_present_state(
            start in model::block(),
            block in model::block(),
        ) {
            let mut world = World::after(&start);
            let mut whole = StateTrie::of(&world.memory(Completeness::Assumed));
            let mut partial = StateTrie::new(world.witness(), world.root());
            let changes = world.play(&block);
            whole.apply(&changes).unwrap();
            partial.apply(&changes).unwrap();
            for ((account, path), rlp) in world.nodes_by_path() {
                let hash = alloy_primitives::keccak256(&rlp);
                prop_assert_eq!(whole.node(account, &path, &hash).unwrap(), Some(rlp.clone()));
                prop_assert_eq!(partial.node(account, &path, &hash).unwrap(), Some(rlp));
            }
            let slots = || model::slots().into_iter();
            let reads = model::addresses().into_iter().map(|address| (address, slots()));
            let nodes = trie::prove(&whole, world.root(), reads, &Changes::default()).unwrap();
            world.assert_read_by(&Witness::new(world.root(), nodes, [], []));
        }
    }

    #[test]
    fn change_that_needs_a_missing_node_leaves_the_state_as_it_was() {
        let mut world = World::after(&[model::Step::Set(model::addresses()[0], crate::Account::EMPTY)]);
        let root = world.root();
        let mut trie = StateTrie::new(NoNodes, root);
        let changes = world.play(&[model::Step::Destroy(model::addresses()[0])]);
        assert!(matches!(trie.apply(&changes), Err(StateError::MissingNode { account: None, .. })));
        assert_eq!(trie.root(), root);
        assert!(world.memory(Completeness::Assumed).account(&model::addresses()[0]).unwrap().is_none());
    }
}
