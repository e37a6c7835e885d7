//! Changes stacked on a reader.
//!
//! Blocks that are executed but not yet written are layers over the state that is. A read asks the layers from the
//! newest down and ends at the first that knows the answer, which is the base state where none does. Layers are shared,
//! not copied: stacking a block costs the same however much it changed, and once a newer base holds the oldest layers,
//! a new overlay over it takes the others along for nothing.

use std::sync::Arc;

use alloy_primitives::{
    Address, B256, Bytes, U256,
    map::{HashMap, U256Set},
};

use crate::{Account, AccountChange, Changes, StateError, StateReader};

/// A state: what `R` says, with later blocks' changes on top.
#[derive(Debug, Clone)]
pub struct Overlay<R> {
    base: R,
    /// Oldest first.
    layers: Vec<Arc<Changes>>,
    block_hashes: HashMap<u64, B256>,
}

impl<R> Overlay<R> {
    /// The base state with nothing on top.
    pub fn new(base: R) -> Self {
        Self { base, layers: Vec::new(), block_hashes: HashMap::default() }
    }

    /// Stacks changes, in normal form, on top of all others.
    pub fn push(&mut self, changes: Arc<Changes>) {
        self.layers.push(changes);
    }

    /// Records the hash of a block that the base does not know.
    pub fn insert_block_hash(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert(number, hash);
    }

    /// What lies under the layers.
    pub fn base(&self) -> &R {
        &self.base
    }

    /// What the layers did to an account, newest first.
    fn changes_of<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = &'a AccountChange> {
        self.layers.iter().rev().filter_map(|layer| layer.account(address))
    }

    /// The account where a layer knows it.
    fn layered_account(&self, address: &Address) -> Option<Option<Account>> {
        self.changes_of(address).next().map(|change| change.after)
    }

    /// The slot's value where a layer knows it.
    fn layered_slot(&self, address: &Address, slot: &U256) -> Option<U256> {
        self.changes_of(address).find_map(|change| {
            if change.after.is_none() {
                return Some(U256::ZERO);
            }
            match change.slots.binary_search_by_key(slot, |change| change.slot) {
                Ok(at) => Some(change.slots[at].after),
                Err(_) => change.storage_starts_empty().then_some(U256::ZERO),
            }
        })
    }
}

impl<R: StateReader> StateReader for Overlay<R> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        self.layered_account(address).map_or_else(|| self.base.account(address), Ok)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        self.layered_slot(address, slot).map_or_else(|| self.base.storage(address, slot), Ok)
    }

    /// Storage that the layers emptied slot by slot counts as not empty: the base does not say which slots it has.
    ///
    /// Nobody can tell the difference. Slots of an account that stays are only changed by its own code, and an account
    /// with code is one that no creation may replace, whatever its storage. Storage that a creation wrote started empty.
    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        let mut newer = U256Set::default();
        for change in self.changes_of(address) {
            if change.after.is_none() {
                return Ok(true);
            }
            for slot in &change.slots {
                if newer.insert(slot.slot) && !slot.after.is_zero() {
                    return Ok(false);
                }
            }
            if change.storage_starts_empty() {
                return Ok(true);
            }
        }
        self.base.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        let layered = self.layers.iter().rev().find_map(|layer| layer.codes.get(hash));
        layered.map_or_else(|| self.base.code(hash), |code| Ok(code.clone()))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.block_hashes.get(&number).map_or_else(|| self.base.block_hash(number), |hash| Ok(*hash))
    }

    fn accounts(&self, addresses: &[Address]) -> Result<Vec<Option<Account>>, StateError> {
        let layered = addresses.iter().map(|address| self.layered_account(address));
        fill_gaps(addresses, layered.collect(), |unknown| self.base.accounts(unknown))
    }

    fn storages(&self, slots: &[(Address, U256)]) -> Result<Vec<U256>, StateError> {
        let layered = slots.iter().map(|(address, slot)| self.layered_slot(address, slot));
        fill_gaps(slots, layered.collect(), |unknown| self.base.storages(unknown))
    }
}

/// Answers in the order of `keys`: those known, and for the others what one batched read says.
fn fill_gaps<K: Clone, V>(
    keys: &[K],
    known: Vec<Option<V>>,
    read: impl FnOnce(&[K]) -> Result<Vec<V>, StateError>,
) -> Result<Vec<V>, StateError> {
    let unknown: Vec<K> =
        keys.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(key, _)| key.clone()).collect();
    let mut answers = read(&unknown)?.into_iter();
    debug_assert_eq!(answers.len(), unknown.len(), "a batched read answers every question");
    Ok(known.into_iter().filter_map(|known| known.or_else(|| answers.next())).collect())
}

#[cfg(test)]
mod tests;
