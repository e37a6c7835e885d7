//! What an executor needs from a state.

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::{Account, StateError};

/// A state as of one block, readable from many threads.
///
/// A reader is a snapshot: two reads of the same thing give the same answer. Implementations exist for maps, overlays,
/// witnesses and the store; a node client implements it for its own database. Others may wait for what somebody reads, so a
/// reader is not to wait for threads that execute blocks.
pub trait StateReader: Send + Sync {
    /// The account at `address`, `None` where there is none.
    ///
    /// # Errors
    /// When the source fails, or cannot vouch for the account's absence.
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError>;

    /// Value of a storage slot, zero where nothing is stored.
    ///
    /// # Errors
    /// When the source fails, or cannot vouch for the slot being empty.
    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError>;

    /// Whether the account has no storage at all (EIP-7610 asks this of a contract's future address).
    ///
    /// # Errors
    /// When the source fails or cannot tell.
    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError>;

    /// Code by its Keccak-256 hash, as bytes. Never asked for the hash of empty code.
    ///
    /// # Errors
    /// When the source fails or does not hold the code.
    fn code(&self, hash: &B256) -> Result<Bytes, StateError>;

    /// Hash of one of the 256 most recent blocks.
    ///
    /// # Errors
    /// When the source fails or does not know that block.
    fn block_hash(&self, number: u64) -> Result<B256, StateError>;

    /// Reads many accounts at once, in the order given.
    ///
    /// # Errors
    /// As [`account`](Self::account), for the first that fails.
    fn accounts(&self, addresses: &[Address]) -> Result<Vec<Option<Account>>, StateError> {
        addresses.iter().map(|address| self.account(address)).collect()
    }

    /// Reads many slots at once, in the order given.
    ///
    /// # Errors
    /// As [`storage`](Self::storage), for the first that fails.
    fn storages(&self, slots: &[(Address, U256)]) -> Result<Vec<U256>, StateError> {
        slots.iter().map(|(address, slot)| self.storage(address, slot)).collect()
    }

    /// Reads many accounts at once, in the order given, of which some may fail: on a guess that somebody will look at them. A state
    /// that was recorded knows only what was looked at.
    fn each_account(&self, addresses: &[Address]) -> Vec<Result<Option<Account>, StateError>> {
        match self.accounts(addresses) {
            Ok(accounts) => accounts.into_iter().map(Ok).collect(),
            Err(_) => addresses.iter().map(|address| self.account(address)).collect(),
        }
    }

    /// The same with slots.
    fn each_storage(&self, slots: &[(Address, U256)]) -> Vec<Result<U256, StateError>> {
        match self.storages(slots) {
            Ok(values) => values.into_iter().map(Ok).collect(),
            Err(_) => slots.iter().map(|(address, slot)| self.storage(address, slot)).collect(),
        }
    }
}

impl<R: StateReader + ?Sized> StateReader for std::sync::Arc<R> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        (**self).account(address)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        (**self).storage(address, slot)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        (**self).storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        (**self).code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        (**self).block_hash(number)
    }

    fn accounts(&self, addresses: &[Address]) -> Result<Vec<Option<Account>>, StateError> {
        (**self).accounts(addresses)
    }

    fn storages(&self, slots: &[(Address, U256)]) -> Result<Vec<U256>, StateError> {
        (**self).storages(slots)
    }

    fn each_account(&self, addresses: &[Address]) -> Vec<Result<Option<Account>, StateError>> {
        (**self).each_account(addresses)
    }

    fn each_storage(&self, slots: &[(Address, U256)]) -> Vec<Result<U256, StateError>> {
        (**self).each_storage(slots)
    }
}
