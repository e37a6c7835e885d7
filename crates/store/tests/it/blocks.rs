//! Committing blocks and reading them back.

use std::thread;

use alloy_primitives::{B256, U256, keccak256};
use ropewalk_state::{Account, BlockCommit, Changes, StateError, StateReader, StateWriter, trie::EMPTY_ROOT_HASH};
use ropewalk_store::{BlockMeta, Head, Store, StoreError};

use crate::chain::{account, address, block_hash, changes, destroy, extend, open, set, store_error, with_code, word};

fn is_at(head: Option<Head>, number: u64) -> bool {
    head.is_some_and(|head| (head.number, head.hash) == (number, block_hash(number)))
}

#[test]
fn reopened_store_continues_from_its_head() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let code = b"\x60\x00";
    let contract = Account { code_hash: keccak256(code), ..account(1) };
    let mut store = open(directory.path());
    assert_eq!(store.head(), None);
    extend(&mut store, &with_code(changes([set(address(1), contract, &[(5, 55)])]), code)).expect("block 0");
    extend(&mut store, &changes([set(address(2), account(2), &[])])).expect("block 1");
    drop(store);

    let mut store = open(directory.path());
    assert!(is_at(store.head(), 1));
    extend(&mut store, &changes([set(address(1), contract, &[(6, 66)])])).expect("block 2");

    let reader = store.reader();
    assert!(is_at(reader.head(), 2));
    assert_eq!(reader.account(&address(1)).unwrap(), Some(contract));
    assert_eq!(reader.account(&address(2)).unwrap(), Some(account(2)));
    assert_eq!(reader.account(&address(3)).unwrap(), None);
    assert_eq!(reader.storage(&address(1), &word(5)).unwrap(), word(55));
    assert_eq!(reader.storage(&address(1), &word(6)).unwrap(), word(66));
    assert_eq!(reader.code(&contract.code_hash).unwrap(), code[..]);
    assert!(matches!(reader.code(&B256::ZERO), Err(StateError::MissingCode(B256::ZERO))));
}

#[test]
fn block_records_tell_hash_parent_and_root() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &Changes::default()).expect("block 0");
    extend(&mut store, &Changes::default()).expect("block 1");
    let meta = BlockMeta { hash: block_hash(1), parent_hash: Some(block_hash(0)), state_root: Some(EMPTY_ROOT_HASH) };
    assert_eq!(store.reader().block(1).unwrap(), Some(meta));
    assert_eq!(store.reader().block(2).unwrap(), None);
}

#[test]
fn reader_sees_its_block_while_later_ones_are_committed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(0), &[(1, 100)])])).expect("block 0");
    let old = store.reader();
    let watchers: Vec<_> = (0..3)
        .map(|_| {
            let old = old.clone();
            thread::spawn(move || {
                for _ in 0..200 {
                    assert_eq!(old.account(&address(1)).unwrap(), Some(account(0)));
                    assert_eq!(old.storages(&[(address(1), word(1))]).unwrap(), [word(100)]);
                    assert!(!old.storage_is_empty(&address(1)).unwrap());
                }
            })
        })
        .collect();
    for number in 1..40 {
        extend(&mut store, &changes([set(address(1), account(number), &[(1, 100 + number)])])).expect("a block");
    }
    extend(&mut store, &changes([destroy(address(1), account(39))])).expect("block 40");
    watchers.into_iter().for_each(|watcher| watcher.join().expect("no watcher saw another block"));

    assert!(is_at(old.head(), 0));
    assert_eq!(old.block(1).unwrap(), None);
    assert_eq!(store.reader().account(&address(1)).unwrap(), None);
    assert!(store.reader().storage_is_empty(&address(1)).unwrap());
}

#[test]
fn reader_outlives_its_store_and_keeps_it_locked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(1), &[])])).expect("block 0");
    let reader = store.reader();
    drop(store);
    assert_eq!(reader.account(&address(1)).unwrap(), Some(account(1)));
    assert!(matches!(Store::open(directory.path(), &crate::chain::options()), Err(StoreError::Locked { .. })));
    drop(reader);
    open(directory.path());
}

#[test]
fn destroyed_account_returns_without_its_old_storage_across_reopen() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let contract = address(7);
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(contract, account(1), &[(1, 11), (2, 22)])])).expect("block 0");
    extend(&mut store, &changes([destroy(contract, account(1))])).expect("block 1");
    drop(store);

    let mut store = open(directory.path());
    let gone = store.reader();
    assert_eq!(gone.account(&contract).unwrap(), None);
    assert_eq!(gone.storages(&[(contract, word(1)), (contract, word(2))]).unwrap(), [U256::ZERO; 2]);
    assert!(gone.storage_is_empty(&contract).unwrap());

    extend(&mut store, &changes([set(contract, account(2), &[(2, 222)])])).expect("block 2");
    drop(store);
    drop(gone);
    let mut store = open(directory.path());
    let back = store.reader();
    assert_eq!(back.storages(&[(contract, word(1)), (contract, word(2))]).unwrap(), [U256::ZERO, word(222)]);
    assert!(!back.storage_is_empty(&contract).unwrap());

    extend(&mut store, &changes([destroy(contract, account(2))])).expect("block 3");
    assert!(store.reader().storage_is_empty(&contract).unwrap(), "the second storage is hidden like the first");
}

#[test]
fn account_destroyed_and_recreated_in_one_block_keeps_only_the_new_slots() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let contract = address(7);
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(contract, account(1), &[(1, 11), (2, 22)])])).expect("block 0");
    let mut recreated = set(contract, account(1), &[(2, 99)]);
    recreated.before = Some(account(1));
    recreated.storage_cleared = true;
    extend(&mut store, &changes([recreated])).expect("block 1");

    let reader = store.reader();
    assert_eq!(reader.account(&contract).unwrap(), Some(account(1)));
    assert_eq!(reader.storage(&contract, &word(1)).unwrap(), U256::ZERO);
    assert_eq!(reader.storage(&contract, &word(2)).unwrap(), word(99));
}

#[test]
fn storage_is_empty_once_every_slot_is_zero_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    assert!(store.reader().storage_is_empty(&address(1)).unwrap());
    extend(&mut store, &changes([set(address(1), account(1), &[(1, 1), (2, 2)])])).expect("block 0");
    assert!(!store.reader().storage_is_empty(&address(1)).unwrap());
    assert!(store.reader().storage_is_empty(&address(2)).unwrap(), "a neighbour has no storage");
    extend(&mut store, &changes([set(address(1), account(1), &[(1, 0)])])).expect("block 1");
    assert!(!store.reader().storage_is_empty(&address(1)).unwrap());
    extend(&mut store, &changes([set(address(1), account(1), &[(2, 0)])])).expect("block 2");
    assert!(store.reader().storage_is_empty(&address(1)).unwrap());
}

#[test]
fn empty_account_exists() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), Account::EMPTY, &[])])).expect("block 0");
    assert_eq!(store.reader().accounts(&[address(1), address(2)]).unwrap(), [Some(Account::EMPTY), None]);
}

#[test]
fn batched_reads_answer_in_the_order_asked() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let all = (1..=40).map(|n| set(address(n), account(n.into()), &[(1, n.into()), (2, 1000 + u64::from(n))]));
    extend(&mut store, &changes(all)).expect("block 0");
    extend(&mut store, &changes((1..=40).step_by(3).map(|n| destroy(address(n), account(n.into()))))).expect("block 1");

    let reader = store.reader();
    let addresses: Vec<_> = (0..=41).rev().chain([5, 5]).map(address).collect();
    let slots: Vec<_> = addresses.iter().flat_map(|a| [(*a, word(2)), (*a, word(1)), (*a, word(3))]).collect();
    let one_by_one: Vec<_> = addresses.iter().map(|a| reader.account(a).unwrap()).collect();
    assert_eq!(reader.accounts(&addresses).unwrap(), one_by_one);
    let one_by_one: Vec<_> = slots.iter().map(|(a, s)| reader.storage(a, s).unwrap()).collect();
    assert_eq!(reader.storages(&slots).unwrap(), one_by_one);
    assert_eq!(one_by_one.iter().filter(|value| !value.is_zero()).count(), 2 * (26 + 2));
    assert!(reader.accounts(&[]).unwrap().is_empty() && reader.storages(&[]).unwrap().is_empty());
}

#[test]
fn block_that_does_not_extend_the_head_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let intruder = changes([set(address(9), account(9), &[(9, 9)])]);
    let block = |number, parent_hash| BlockCommit {
        number,
        hash: B256::repeat_byte(0xee),
        parent_hash,
        state_root: B256::ZERO,
        changes: &intruder,
    };
    assert!(matches!(
        store.commit_block(&block(1, B256::ZERO)),
        Err(StoreError::NotExtending { head: None, number: 1, .. })
    ));
    extend(&mut store, &changes([set(address(1), account(1), &[])])).expect("block 0");
    for (number, parent_hash) in [(1, block_hash(5)), (2, block_hash(0)), (0, block_hash(0)), (0, B256::ZERO)] {
        match store.commit_block(&block(number, parent_hash)) {
            Err(StoreError::NotExtending { head, number: found, parent_hash: parent }) => {
                assert_eq!((head.map(|head| *head), found, parent), (store.head(), number, parent_hash));
            }
            other => panic!("block {number} on {parent_hash}: {other:?}"),
        }
    }
    let through_the_trait = StateWriter::commit_block(&mut store, &block(7, block_hash(0))).unwrap_err();
    assert!(matches!(store_error(&through_the_trait), StoreError::NotExtending { number: 7, .. }));

    assert!(is_at(store.head(), 0));
    assert_eq!(store.reader().account(&address(9)).unwrap(), None);
    extend(&mut store, &Changes::default()).expect("the right block still follows");
}

#[test]
fn storage_of_an_account_that_is_gone_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let mut haunted = set(address(2), account(1), &[(1, 1)]);
    haunted.after = None;
    let result = extend(&mut store, &changes([set(address(1), account(1), &[]), haunted]));
    assert!(matches!(result, Err(StoreError::StorageWithoutAccount { address: a, number: 0 }) if a == address(2)));
    assert_eq!(store.head(), None);
    assert_eq!(store.reader().account(&address(1)).unwrap(), None);
}

#[test]
fn hashes_of_the_last_256_blocks_are_kept_and_older_ones_are_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    for number in 0..300 {
        extend(&mut store, &Changes::default()).expect("a block");
        if number == 255 {
            assert_eq!(store.reader().block_hash(0).unwrap(), block_hash(0));
        }
    }
    drop(store);
    let reader = open(directory.path()).reader();
    for number in 44..300 {
        assert_eq!(reader.block_hash(number).unwrap(), block_hash(number));
    }
    for number in [0, 1, 43, 300, u64::MAX] {
        assert!(matches!(reader.block_hash(number), Err(StateError::MissingBlockHash(missing)) if missing == number));
    }
    assert!(reader.block(0).unwrap().is_some(), "the record of a block outlives its place in the window");
}

#[test]
fn what_was_absent_from_a_snapshot_is_there_in_the_next_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(1), &[])])).expect("block 0");
    let before = store.reader();
    let clone = before.clone();
    for _ in 0..2 {
        assert_eq!(before.account(&address(2)).unwrap(), None);
        assert_eq!(clone.storage(&address(1), &word(5)).unwrap(), U256::ZERO);
        assert_eq!(before.accounts(&[address(3), address(1)]).unwrap(), [None, Some(account(1))]);
        assert_eq!(clone.storages(&[(address(2), word(1))]).unwrap(), [U256::ZERO]);
    }
    extend(&mut store, &changes([set(address(1), account(1), &[(5, 55)]), set(address(2), account(2), &[(1, 1)])]))
        .expect("block 1");
    let after = store.reader();
    assert_eq!(after.account(&address(2)).unwrap(), Some(account(2)));
    assert_eq!(after.storage(&address(1), &word(5)).unwrap(), word(55));
    assert_eq!(after.storages(&[(address(2), word(1))]).unwrap(), [word(1)]);
    assert_eq!(clone.account(&address(2)).unwrap(), None, "the snapshot stays what it was");
    assert_eq!(before.storage(&address(1), &word(5)).unwrap(), U256::ZERO);
}
