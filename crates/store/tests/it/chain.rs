//! Small blocks to commit, and what they should have led to.

use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use ropewalk_state::{Account, AccountChange, BlockCommit, Changes, SlotChange, StateError};
use ropewalk_store::{Durability, Store, StoreError, StoreOptions};

/// Small caches, and no waiting for the disk: these tests kill no power.
pub(crate) fn options() -> StoreOptions {
    StoreOptions { durability: Durability::OperatingSystem, cache_bytes: 4 << 20, memtable_bytes: 4 << 20 }
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, &options()).expect("the store opens")
}

pub(crate) fn address(n: u8) -> Address {
    Address::repeat_byte(n)
}

pub(crate) fn word(n: u64) -> U256 {
    U256::from(n)
}

/// Hash of block `number` of the chain that these tests commit.
pub(crate) fn block_hash(number: u64) -> B256 {
    keccak256(number.to_be_bytes())
}

pub(crate) fn state_root(number: u64) -> B256 {
    keccak256(block_hash(number))
}

pub(crate) fn account(nonce: u64) -> Account {
    Account { nonce, balance: word(nonce) * word(1_000_000_007), code_hash: KECCAK256_EMPTY }
}

/// A change that gives `address` this account and these slots, whatever was there.
pub(crate) fn set(address: Address, after: Account, slots: &[(u64, u64)]) -> AccountChange {
    let slots = slots
        .iter()
        .map(|(slot, after)| SlotChange { slot: word(*slot), before: U256::MAX, after: word(*after) })
        .collect();
    AccountChange { address, before: None, after: Some(after), storage_cleared: false, slots }
}

/// A change that destroys `address`.
pub(crate) fn destroy(address: Address, before: Account) -> AccountChange {
    AccountChange { address, before: Some(before), after: None, storage_cleared: true, slots: Vec::new() }
}

pub(crate) fn changes(accounts: impl IntoIterator<Item = AccountChange>) -> Changes {
    Changes { accounts: accounts.into_iter().collect(), ..Changes::default() }
}

pub(crate) fn with_code(mut changes: Changes, code: &'static [u8]) -> Changes {
    changes.codes.insert(keccak256(code), Bytes::from_static(code));
    changes
}

/// Commits `changes` as the block after the head.
pub(crate) fn extend(store: &mut Store, changes: &Changes) -> Result<(), StoreError> {
    let (number, parent_hash) = match store.head() {
        Some(head) => (head.number + 1, head.hash),
        None => (0, B256::ZERO),
    };
    let (hash, state_root) = (block_hash(number), state_root(number));
    store.commit_block(&BlockCommit { number, hash, parent_hash, state_root, changes })
}

/// The store's error inside a reader's.
pub(crate) fn store_error(error: &StateError) -> &StoreError {
    let StateError::Source(source) = error else { panic!("expected a failed source, got {error:?}") };
    source.downcast_ref().expect("the source is the store")
}
