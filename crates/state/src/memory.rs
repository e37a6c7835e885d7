//! A state in maps.
//!
//! It serves two purposes that differ in one thing: what it means that something is not recorded. A whole state (a
//! genesis, a generated one) records everything that is there, so the rest is absent or zero. A recording of what one
//! block needs may claim to be complete for that block; then an unrecorded read shows that the claim, or whoever reads,
//! is wrong, and must not turn into a silent zero.
//!
//! What a block creates it knows completely: after [`MemoryState::apply`] the storage of an account that the block
//! created or cleared is known in every slot, recorded or not.

use alloy_primitives::{
    Address, B256, Bytes, U256, keccak256,
    map::{AddressMap, B256Map, HashMap, U256Map},
};
use alloy_rlp::Encodable;
use rayon::prelude::*;

use crate::{Account, AccountChange, BlockCommit, Changes, StateError, StateReader, StateWriter, trie};

/// Number of recent blocks whose hashes a block may ask for.
const BLOCK_HASHES: u64 = 256;

/// What it means that an account or a slot is not recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Completeness {
    /// Whatever is not recorded is absent or zero.
    #[default]
    Assumed,
    /// Whatever is read is recorded; a read of anything else is an error that names it.
    Claimed,
}

/// A state in maps: whole, or what a block needs of one.
#[derive(Debug, Clone, Default)]
pub struct MemoryState {
    completeness: Completeness,
    accounts: AddressMap<Option<Account>>,
    storage: AddressMap<Storage>,
    codes: B256Map<Bytes>,
    block_hashes: HashMap<u64, B256>,
    /// Hash of the block committed last.
    head: Option<B256>,
}

/// The recorded storage of one account.
#[derive(Debug, Clone, Default)]
struct Storage {
    slots: U256Map<U256>,
    /// Slots that are not recorded are zero, whatever the state's completeness.
    whole: bool,
}

impl MemoryState {
    /// A state in which nothing is recorded.
    pub fn new(completeness: Completeness) -> Self {
        Self { completeness, ..Self::default() }
    }

    /// Records an account, or that there is none.
    pub fn insert_account(&mut self, address: Address, account: Option<Account>) {
        self.accounts.insert(address, account);
    }

    /// Records a slot's value. The slots of an account that is recorded as absent read as zero all the same.
    pub fn insert_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.storage.entry(address).or_default().slots.insert(slot, value);
    }

    /// Records code and returns its hash.
    pub fn insert_code(&mut self, code: Bytes) -> B256 {
        let hash = keccak256(&code);
        self.codes.insert(hash, code);
        hash
    }

    /// Records the hash of a block.
    pub fn insert_block_hash(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert(number, hash);
    }

    /// Makes a block's changes part of the state.
    pub fn apply(&mut self, changes: &Changes) {
        for change in &changes.accounts {
            self.accounts.insert(change.address, change.after);
            if change.storage_starts_empty() || change.after.is_none() {
                self.storage.remove(&change.address);
            }
            if change.after.is_some() {
                self.apply_slots(change);
            }
        }
        self.codes.extend(changes.codes.iter().map(|(hash, code)| (*hash, code.clone())));
    }

    fn apply_slots(&mut self, change: &AccountChange) {
        let is_assumed = self.completeness == Completeness::Assumed;
        if change.slots.is_empty() && is_assumed {
            return;
        }
        let storage = self.storage.entry(change.address).or_default();
        storage.whole |= is_assumed || change.storage_starts_empty();
        for slot in &change.slots {
            if slot.after.is_zero() && storage.whole {
                storage.slots.remove(&slot.slot);
            } else {
                storage.slots.insert(slot.slot, slot.after);
            }
        }
    }

    /// The state root of everything recorded.
    ///
    /// It is the root of a block's state only where the whole state is recorded. Computed on the rayon pool this is
    /// called from.
    pub fn state_root(&self) -> B256 {
        let existing: Vec<(&Address, &Account)> =
            self.accounts.iter().filter_map(|(address, account)| Some((address, account.as_ref()?))).collect();
        let mut leaves: Vec<_> = existing
            .into_par_iter()
            .map(|(address, account)| {
                let slots = self.storage.get(address).into_iter().flat_map(|storage| &storage.slots);
                let storage_root = trie::storage_root(slots.map(|(slot, value)| (*slot, *value)));
                (keccak256(address), trie::trie_account(account, storage_root))
            })
            .collect();
        leaves.par_sort_unstable_by_key(|(key, _)| *key);
        trie::sorted_root(&leaves, |account, out| account.encode(out))
    }

    /// The accounts that exist, ascending by address.
    pub fn iter_accounts(&self) -> impl Iterator<Item = (Address, Account)> + use<> {
        let existing = self.accounts.iter().filter_map(|(address, account)| Some((*address, (*account)?)));
        sorted(existing.collect())
    }

    /// An account's slots that are not zero, ascending by slot.
    pub fn iter_slots(&self, address: &Address) -> impl Iterator<Item = (U256, U256)> + use<> {
        let recorded = self.storage.get(address).filter(|_| !self.is_recorded_as_absent(address));
        let slots = recorded.into_iter().flat_map(|storage| &storage.slots);
        sorted(slots.filter(|(_, value)| !value.is_zero()).map(|(slot, value)| (*slot, *value)).collect())
    }

    /// The recorded codes, ascending by hash.
    pub fn iter_codes(&self) -> impl Iterator<Item = (B256, Bytes)> + use<> {
        sorted(self.codes.iter().map(|(hash, code)| (*hash, code.clone())).collect())
    }

    /// The recorded block hashes, ascending by number.
    pub fn iter_block_hashes(&self) -> impl Iterator<Item = (u64, B256)> + use<> {
        sorted(self.block_hashes.iter().map(|(number, hash)| (*number, *hash)).collect())
    }

    fn is_recorded_as_absent(&self, address: &Address) -> bool {
        matches!(self.accounts.get(address), Some(None))
    }
}

fn sorted<K: Ord + Copy, V>(mut entries: Vec<(K, V)>) -> impl Iterator<Item = (K, V)> {
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries.into_iter()
}

impl StateReader for MemoryState {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        match (self.accounts.get(address), self.completeness) {
            (Some(account), _) => Ok(*account),
            (None, Completeness::Assumed) => Ok(None),
            (None, Completeness::Claimed) => Err(StateError::MissingAccount(*address)),
        }
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        if self.is_recorded_as_absent(address) {
            return Ok(U256::ZERO);
        }
        let storage = self.storage.get(address);
        if let Some(value) = storage.and_then(|storage| storage.slots.get(slot)) {
            return Ok(*value);
        }
        if self.completeness == Completeness::Assumed || storage.is_some_and(|storage| storage.whole) {
            return Ok(U256::ZERO);
        }
        Err(StateError::MissingSlot { address: *address, slot: *slot })
    }

    /// Of a recorded account, storage is what is recorded of it: a recording that is complete for a block in which this
    /// matters holds a slot that is not zero.
    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        if self.account(address)?.is_none() {
            return Ok(true);
        }
        let slots = self.storage.get(address).into_iter().flat_map(|storage| storage.slots.values());
        Ok(slots.into_iter().all(U256::is_zero))
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.codes.get(hash).cloned().ok_or(StateError::MissingCode(*hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.block_hashes.get(&number).copied().ok_or(StateError::MissingBlockHash(number))
    }
}

impl StateWriter for MemoryState {
    /// Applies the block's changes and records its hash. The block's state root is not checked: only a whole state has
    /// one, and [`MemoryState::state_root`] computes it where it is wanted.
    fn commit_block(&mut self, block: &BlockCommit<'_>) -> Result<(), StateError> {
        if let Some(expected) = self.head.filter(|head| *head != block.parent_hash) {
            return Err(StateError::WrongParent { number: block.number, expected, found: block.parent_hash });
        }
        self.apply(block.changes);
        self.insert_block_hash(block.number, block.hash);
        if let Some(out_of_reach) = block.number.checked_sub(BLOCK_HASHES) {
            self.block_hashes.remove(&out_of_reach);
        }
        self.head = Some(block.hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
