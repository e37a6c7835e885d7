//! Small blocks to commit, and what they should have led to.

use std::path::Path;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use ropewalk_state::{
    Account, AccountChange, BlockCommit, Changes, SlotChange, StateError, StateReader,
    trie::{EMPTY_ROOT_HASH, NoNodes, state_root_after},
};
use ropewalk_store::{Durability, Head, Store, StoreError, StoreOptions, StoreReader, Verified};

/// Small caches, and no waiting for the disk: these tests kill no power.
pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        durability: Durability::OperatingSystem,
        cache_bytes: 4 << 20,
        memtable_bytes: 4 << 20,
        ..StoreOptions::default()
    }
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

pub(crate) fn account(nonce: u64) -> Account {
    Account { nonce, balance: word(nonce) * word(1_000_000_007), code_hash: KECCAK256_EMPTY }
}

/// A change that gives `address` this account and these slots; [`extend`] fills in what was there.
pub(crate) fn set(address: Address, after: Account, slots: &[(u64, u64)]) -> AccountChange {
    let slots = slots
        .iter()
        .map(|(slot, after)| SlotChange { slot: word(*slot), before: U256::ZERO, after: word(*after) })
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

/// Commits `changes` as the block after the head, with what was there before and the root that they lead to.
pub(crate) fn extend(store: &mut Store, changes: &Changes) -> Result<(), StoreError> {
    let (number, parent_hash) = match store.head() {
        Some(head) => (head.number + 1, head.hash),
        None => (0, B256::ZERO),
    };
    let hash = block_hash(number);
    let changes = &completed(&store.reader(), changes);
    let state_root = root_after(store, changes);
    store.commit_block(&BlockCommit { number, hash, parent_hash, state_root, changes })
}

/// The changes in normal form, with what `reader` holds before them.
pub(crate) fn completed(reader: &StoreReader, changes: &Changes) -> Changes {
    let mut changes = changes.clone();
    for change in &mut changes.accounts {
        change.before = reader.account(&change.address).expect("the store answers");
        for slot in &mut change.slots {
            slot.before = reader.storage(&change.address, &slot.slot).expect("the store answers");
        }
    }
    changes.normalize();
    changes
}

/// The root that `changes` lead to; on top of a part of a state, some root.
pub(crate) fn root_after(store: &Store, changes: &Changes) -> B256 {
    match store.head() {
        None => state_root_after(&NoNodes, EMPTY_ROOT_HASH, changes).expect("nothing is missing of an empty state"),
        Some(Head { state_root: Some(root), .. }) => {
            state_root_after(&store.reader(), root, changes).expect("the store holds its nodes")
        }
        Some(Head { state_root: None, .. }) => changes.hash(),
    }
}

pub(crate) fn verified(store: &Store) -> Verified {
    store.verify(&mut |_| {}).expect("the store can be read")
}

/// The store's error inside a reader's.
pub(crate) fn store_error(error: &StateError) -> &StoreError {
    let StateError::Source(source) = error else { panic!("expected a failed source, got {error:?}") };
    source.downcast_ref().expect("the source is the store")
}
