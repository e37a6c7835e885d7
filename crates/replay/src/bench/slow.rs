//! A state that takes its time to answer.

use std::{sync::Arc, thread, time::Duration};

use alloy_primitives::{Address, B256, Bytes, U256};
use ropewalk_state::{Account, StateError, StateReader};

/// Sleeps before each look-up of accounts or slots: once for one of many, as a store that reads in parallel does. Code
/// comes at once; both sides of a benchmark have it ready.
pub(super) struct SlowReader {
    reader: Arc<dyn StateReader>,
    latency: Duration,
}

impl SlowReader {
    pub(super) fn new(reader: Arc<dyn StateReader>, latency: Duration) -> Self {
        Self { reader, latency }
    }
}

impl StateReader for SlowReader {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        thread::sleep(self.latency);
        self.reader.account(address)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        thread::sleep(self.latency);
        self.reader.storage(address, slot)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        thread::sleep(self.latency);
        self.reader.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.reader.code(hash)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.reader.block_hash(number)
    }

    fn accounts(&self, addresses: &[Address]) -> Result<Vec<Option<Account>>, StateError> {
        thread::sleep(self.latency);
        self.reader.accounts(addresses)
    }

    fn storages(&self, slots: &[(Address, U256)]) -> Result<Vec<U256>, StateError> {
        thread::sleep(self.latency);
        self.reader.storages(slots)
    }

    fn each_account(&self, addresses: &[Address]) -> Vec<Result<Option<Account>, StateError>> {
        thread::sleep(self.latency);
        self.reader.each_account(addresses)
    }

    fn each_storage(&self, slots: &[(Address, U256)]) -> Vec<Result<U256, StateError>> {
        thread::sleep(self.latency);
        self.reader.each_storage(slots)
    }
}
