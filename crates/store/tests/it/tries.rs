//! State roots and trie nodes: computed, refused, loaded, read.

use alloy_primitives::{Address, B256};
use ropewalk_state::{
    AccountChange, BlockCommit, Changes, SlotChange, StateReader,
    trie::{self, EMPTY_ROOT_HASH, Nibbles, NodeReader, StateTrie},
};
use ropewalk_store::{BaseEntry, Head, StoreError};

use crate::chain::{
    account, address, block_hash, changes, completed, destroy, extend, open, root_after, set, store_error, verified,
    word,
};

fn many(from: u64, count: u64) -> Changes {
    let mut all = changes([]);
    for i in from..from + count {
        let mut change = set(Address::left_padding_from(&i.to_be_bytes()), account(i), &[]);
        if i % 7 == 0 {
            change.slots = set(change.address, account(i), &[(i, i + 1), (i + 1, 5), (9, i)]).slots;
        }
        all.accounts.push(change);
    }
    all
}

fn entries(changes: &Changes) -> Vec<BaseEntry> {
    let accounts = changes.accounts.iter().flat_map(|change| {
        let account = change.after.map(|account| BaseEntry::Account { address: change.address, account });
        let slot = |slot: &SlotChange| BaseEntry::Slot { address: change.address, slot: slot.slot, value: slot.after };
        change.slots.iter().map(slot).chain(account)
    });
    accounts.collect()
}

#[test]
fn block_that_claims_another_root_is_refused_and_leaves_the_store_as_it_was() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &changes([set(address(1), account(1), &[(1, 11)]), set(address(2), account(2), &[])]))
        .expect("block 0");
    let (head, before) = (store.head(), verified(&store));
    let changes = completed(
        &store.reader(),
        &changes([set(address(1), account(5), &[(1, 12)]), destroy(address(2), account(2))]),
    );
    let right = root_after(&store, &changes);
    let block = |state_root| BlockCommit {
        number: 1,
        hash: block_hash(1),
        parent_hash: block_hash(0),
        state_root,
        changes: &changes,
    };
    let claimed = B256::repeat_byte(0xcc);
    match store.commit_block(&block(claimed)) {
        Err(StoreError::WrongStateRoot { number: 1, expected, found }) => {
            assert_eq!((expected, found), (claimed, right));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((store.head(), verified(&store)), (head, before));
    assert_eq!(store.reader().account(&address(2)).unwrap(), Some(account(2)));
    drop(store);

    let mut store = open(directory.path());
    assert_eq!(store.head(), head);
    store.commit_block(&block(right)).expect("the right block still follows");
    assert!(verified(&store).is_sound());
}

#[test]
fn roots_along_a_chain_are_those_of_tries_in_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let mut memory = StateTrie::empty();
    for block in [many(0, 300), many(150, 300), Changes::default(), many(7, 1)] {
        let block = completed(&store.reader(), &block);
        let root = memory.apply(&block).expect("nothing is missing");
        extend(&mut store, &block).expect("a block");
        assert_eq!(store.head().and_then(|head| head.state_root), Some(root));
    }
    let all = changes(many(0, 450).accounts.iter().map(|change| destroy(change.address, account(0))));
    extend(&mut store, &all).expect("the last block");
    assert_eq!(store.head().and_then(|head| head.state_root), Some(EMPTY_ROOT_HASH));
    let empty = verified(&store);
    assert!(empty.is_sound(), "{empty:?}");
    assert_eq!((empty.accounts, empty.slots, empty.nodes), (0, 0, 0));
    assert!(empty.stale_storages > 0);
}

#[test]
fn whole_base_is_compared_with_its_root_and_gets_its_nodes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    // More nodes than go into one batch.
    let state = many(0, 40_000);
    let root = StateTrie::empty().apply(&state).expect("nothing is missing");
    let base = |state_root| Head { number: 5, hash: block_hash(5), state_root: Some(state_root) };

    let wrong = B256::repeat_byte(1);
    let refused = store.load_base(&base(wrong), entries(&state));
    assert!(
        matches!(&refused, Err(StoreError::WrongStateRoot { number: 5, expected, found }) if (*expected, *found) == (wrong, root)),
        "{refused:?}"
    );
    assert_eq!(store.head(), None);
    assert_eq!(verified(&store).accounts, 0);

    store.load_base(&base(root), entries(&state)).expect("the base is loaded");
    let loaded = verified(&store);
    assert!(loaded.is_sound(), "{loaded:?}");
    assert_eq!((loaded.state_root, loaded.accounts), (root, 40_000));
    assert!(loaded.nodes > 40_000);
    extend(&mut store, &many(39_000, 2_000)).expect("block 6");
    assert!(verified(&store).is_sound());
}

#[test]
fn part_of_a_state_takes_roots_over_unseen_and_has_no_nodes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let base = Head { number: 5, hash: block_hash(5), state_root: None };
    store.load_base(&base, entries(&many(0, 10))).expect("the base is loaded");
    extend(&mut store, &many(5, 10)).expect("block 6");
    let head = store.head().expect("there is a head");
    assert_eq!((head.number, head.state_root), (6, None));
    let claimed = store.reader().block(6).unwrap().expect("the block is recorded").state_root;
    assert_eq!(claimed, Some(completed_hash(&many(5, 10), 0..10)));
    let verified = verified(&store);
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!((verified.accounts, verified.nodes), (15, 0));
    drop(store);
    assert_eq!(open(directory.path()).head(), Some(head));
}

/// What [`extend`] takes for a root on top of a part of a state: the changes without what was there already.
fn completed_hash(changes: &Changes, present: std::ops::Range<u64>) -> B256 {
    let mut changes = changes.clone();
    let is_present = |change: &AccountChange| {
        present.clone().any(|i| change.address == Address::left_padding_from(&i.to_be_bytes()))
    };
    changes.accounts.retain(|change| !is_present(change));
    changes.normalize();
    changes.hash()
}

#[test]
fn reader_hands_out_the_nodes_of_its_block_while_later_ones_are_committed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &many(0, 100)).expect("block 0");
    let (old, root) = (store.reader(), store.head().and_then(|head| head.state_root).expect("a whole state"));
    extend(&mut store, &many(50, 100)).expect("block 1");
    extend(&mut store, &changes([destroy(Address::ZERO, account(0))])).expect("block 2");
    let proven = trie::account(&old, root, &Address::ZERO).unwrap().expect("it is there");
    assert_eq!(proven.balance, account(0).balance);
    assert_eq!(trie::storage(&old, root, &Address::ZERO, &word(1)).unwrap(), word(5));
    let new_root = store.head().and_then(|head| head.state_root).expect("a whole state");
    assert_eq!(trie::account(&store.reader(), new_root, &Address::ZERO).unwrap(), None);
}

#[test]
fn node_of_another_state_is_an_error_that_names_both_hashes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &many(0, 3)).expect("block 0");
    let root = store.head().and_then(|head| head.state_root).expect("a whole state");
    let error = store.reader().node(None, &Nibbles::new(), &B256::ZERO).expect_err("another root is asked for");
    assert!(
        matches!(store_error(&error), StoreError::WrongNode { expected: B256::ZERO, found, .. } if *found == root),
        "{error:?}"
    );
}
