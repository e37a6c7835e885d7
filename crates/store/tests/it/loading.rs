//! Base states: loading, refusing, clearing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use alloy_primitives::{B256, Bytes, U256, keccak256};
use ropewalk_state::{Account, BlockCommit, Changes, StateError, StateReader};
use ropewalk_store::{BaseEntry, BlockMeta, Head, Store, StoreError};

use crate::chain::{account, address, block_hash, changes, destroy, extend, open, options, set, word};

fn base_at(number: u64) -> Head {
    Head { number, hash: block_hash(number), state_root: None }
}

fn account_entry(n: u8) -> BaseEntry {
    BaseEntry::Account { address: address(n), account: account(n.into()) }
}

fn slot_entry(n: u8, slot: u64, value: u64) -> BaseEntry {
    BaseEntry::Slot { address: address(n), slot: word(slot), value: word(value) }
}

#[test]
fn loaded_base_is_what_the_next_block_builds_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let code = Bytes::from_static(b"\x5b\x00");
    let contract = Account { code_hash: keccak256(&code), ..account(3) };
    let mut store = open(directory.path());
    let entries = [
        slot_entry(3, 1, 11),
        slot_entry(3, 2, 0),
        account_entry(1),
        BaseEntry::Account { address: address(3), account: contract },
        BaseEntry::Code(code.clone()),
        BaseEntry::Code(Bytes::new()),
        BaseEntry::BlockHash { number: 1000, hash: block_hash(1000) },
        BaseEntry::BlockHash { number: 745, hash: block_hash(745) },
        BaseEntry::BlockHash { number: 744, hash: block_hash(744) },
    ];
    store.load_base(&base_at(1000), entries).expect("the base is loaded");
    drop(store);

    let mut store = open(directory.path());
    let reader = store.reader();
    assert_eq!(reader.head(), Some(base_at(1000)));
    assert_eq!(reader.account(&address(1)).unwrap(), Some(account(1)));
    assert_eq!(reader.account(&address(3)).unwrap(), Some(contract));
    assert_eq!(reader.code(&contract.code_hash).unwrap(), code);
    assert_eq!(reader.storage(&address(3), &word(1)).unwrap(), word(11));
    assert_eq!(reader.storage(&address(3), &word(2)).unwrap(), U256::ZERO);
    assert!(reader.storage_is_empty(&address(1)).unwrap());
    assert_eq!(reader.block_hash(1000).unwrap(), block_hash(1000));
    assert_eq!(reader.block_hash(745).unwrap(), block_hash(745));
    assert!(matches!(reader.block_hash(744), Err(StateError::MissingBlockHash(744))), "out of reach of BLOCKHASH");
    let meta = BlockMeta { hash: block_hash(1000), parent_hash: None, state_root: None };
    assert_eq!(reader.block(1000).unwrap(), Some(meta));

    extend(&mut store, &changes([destroy(address(3), contract)])).expect("block 1001");
    assert!(store.reader().storage_is_empty(&address(3)).unwrap());
    assert!(matches!(store.reader().block_hash(745), Err(StateError::MissingBlockHash(745))));
}

#[test]
fn base_larger_than_a_batch_arrives_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let slots = 60_000;
    let entries = [account_entry(1)].into_iter().chain((1..=slots).map(|slot| slot_entry(1, slot, slot)));
    store.load_base(&base_at(5), entries).expect("the base is loaded");
    drop(store);
    let reader = open(directory.path()).reader();
    let asked: Vec<_> = (1..=slots).step_by(97).map(|slot| (address(1), word(slot))).collect();
    let expected: Vec<_> = asked.iter().map(|(_, slot)| *slot).collect();
    assert_eq!(reader.storages(&asked).unwrap(), expected);
}

#[test]
fn interrupted_load_is_refused_in_the_process_and_at_open_and_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let entries = (1..=9).map(|n| if n < 9 { account_entry(n) } else { panic!("the source of entries breaks") });
    let interrupted = catch_unwind(AssertUnwindSafe(|| store.load_base(&base_at(5), entries)));
    assert!(interrupted.is_err());

    let here = extend(&mut store, &Changes::default());
    assert!(matches!(here, Err(StoreError::UnfinishedLoad { base, .. }) if base == base_at(5)), "{here:?}");
    drop(store);
    let reopened = Store::open(directory.path(), &options()).expect_err("half a state is no state");
    assert!(
        matches!(&reopened, StoreError::UnfinishedLoad { base, path } if *base == base_at(5) && path == directory.path())
    );
    assert!(reopened.to_string().contains("remove the directory and load again"), "{reopened}");
}

#[test]
fn interrupted_load_can_be_cleared_away_by_its_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let entries = (1..=9).map(|n| if n < 9 { account_entry(n) } else { panic!("the source of entries breaks") });
    assert!(catch_unwind(AssertUnwindSafe(|| store.load_base(&base_at(5), entries))).is_err());
    store.clear().expect("the rest of the load is removed");
    extend(&mut store, &Changes::default()).expect("block 0");
    drop(store);
    assert_eq!(open(directory.path()).reader().account(&address(1)).unwrap(), None);
}

#[test]
fn hash_that_contradicts_the_base_is_refused_and_leaves_the_store_empty() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    for (number, hash) in [(5, B256::ZERO), (6, block_hash(6))] {
        let entries = [account_entry(1), BaseEntry::BlockHash { number, hash }];
        let result = store.load_base(&base_at(5), entries);
        assert!(matches!(result, Err(StoreError::UnexpectedBlockHash { number: n, .. }) if n == number), "{result:?}");
        assert_eq!(store.head(), None);
        assert_eq!(store.reader().account(&address(1)).unwrap(), None);
    }
    store.load_base(&base_at(5), [account_entry(1)]).expect("a sound base is welcome after a bad one");
}

#[test]
fn base_is_refused_by_a_store_that_has_a_head() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(1), &[])])).expect("block 0");
    let head = store.head().expect("there is a head");
    let result = store.load_base(&base_at(5), [account_entry(2)]);
    assert!(matches!(result, Err(StoreError::NotEmpty { head: found }) if found == head));
    assert_eq!(store.head(), Some(head));
    assert_eq!(store.reader().account(&address(2)).unwrap(), None);
}

#[test]
fn cleared_store_remembers_nothing_and_its_readers_everything() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let entries = [account_entry(1), slot_entry(1, 1, 11), BaseEntry::Code(Bytes::from_static(b"\x00"))];
    store.load_base(&base_at(5), entries).expect("the base is loaded");
    let recreated = {
        let mut change = set(address(1), account(1), &[(1, 12)]);
        change.storage_cleared = true;
        change
    };
    extend(&mut store, &changes([recreated])).expect("block 6");
    let before = store.reader();

    store.clear().expect("the store is cleared");
    assert_eq!(store.head(), None);
    drop(store);
    assert_eq!(before.storage(&address(1), &word(1)).unwrap(), word(12));
    drop(before);

    let mut store = open(directory.path());
    assert_eq!(store.head(), None);
    let empty = store.reader();
    assert_eq!(empty.account(&address(1)).unwrap(), None);
    assert!(empty.storage_is_empty(&address(1)).unwrap());
    assert!(matches!(empty.code(&keccak256([0])), Err(StateError::MissingCode(_))));
    assert!(matches!(empty.block_hash(5), Err(StateError::MissingBlockHash(5))));
    assert_eq!(empty.block(6).unwrap(), None);

    store.load_base(&base_at(77), [account_entry(1), slot_entry(1, 2, 22)]).expect("another base is loaded");
    let fresh = store.reader();
    assert_eq!(fresh.storages(&[(address(1), word(1)), (address(1), word(2))]).unwrap(), [U256::ZERO, word(22)]);
}

#[test]
fn base_at_the_last_number_has_no_successor() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    store.load_base(&base_at(u64::MAX), []).expect("the base is loaded");
    let changes = Changes::default();
    let parent_hash = block_hash(u64::MAX);
    let block = BlockCommit { number: 0, hash: B256::ZERO, parent_hash, state_root: B256::ZERO, changes: &changes };
    assert!(matches!(store.commit_block(&block), Err(StoreError::NotExtending { number: 0, .. })));
}
