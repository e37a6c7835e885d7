//! Going back, as far as changesets reach, and what is pruned beyond.

use alloy_primitives::{B256, keccak256};
use ropewalk_state::{BlockCommit, Changes, StateReader};
use ropewalk_store::{Head, LostBlocks, Store, StoreError, StoreOptions};

use crate::{
    chain::{
        account, address, block_hash, changes, completed, destroy, extend, open, options, root_after, set, verified,
        with_code, word,
    },
    content::{Content, content, pruned},
    opening::{put, tamper},
};

fn keeping(changesets_kept: u64) -> StoreOptions {
    StoreOptions { changesets_kept, ..options() }
}

/// Blocks in which everything happens that a block can do: slots set, changed and removed, contracts destroyed and made
/// again, code deployed twice.
fn block(number: u64) -> Changes {
    let contract = address(1);
    let filler = set(address(10 + (number % 7) as u8), account(number), &[(number % 3, number)]);
    let main = match number % 6 {
        0 => set(contract, account(1), &[(1, 11), (2, 22), (3, 33)]),
        1 => set(contract, account(2), &[(1, 0), (2, 5)]),
        2 => destroy(contract, account(2)),
        3 => set(contract, account(1), &[(7, 77)]),
        4 => set(contract, account(4), &[(7, 0)]),
        _ => destroy(contract, account(4)),
    };
    let codes: [&'static [u8]; 3] = [b"\x60\x01", b"\x60\x02", b"\x60\x03"];
    with_code(changes([main, filler]), codes[(number / 4 % 3) as usize])
}

/// Commits blocks 0 to `last` and notes what the database held after each.
fn commit_noting(store: &mut Store, last: u64) -> Vec<Content> {
    let first = store.head().map_or(0, |head| head.number + 1);
    (first..=last)
        .map(|number| {
            extend(store, &block(number)).expect("a block");
            content(store)
        })
        .collect()
}

#[test]
fn every_column_family_is_as_it_was_after_unwinding_to_any_block() {
    for target in [0, 1, 5, 11, 12, 17] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut store = open(directory.path());
        let contents = commit_noting(&mut store, 17);
        store.unwind_to(target).expect("it is unwound");
        assert_eq!(store.head().map(|head| head.number), Some(target));
        assert_eq!(content(&store), contents[target as usize], "after going back to block {target}");
        assert!(verified(&store).is_sound());
        drop(store);
        let mut store = open(directory.path());
        assert_eq!(store.lost_blocks(), None, "unwound blocks are not lost ones");
        let again = commit_noting(&mut store, 17);
        assert_eq!(again.last().or(contents.last()), contents.last(), "the same blocks lead to the same bytes");
    }
}

#[test]
fn block_hash_that_went_out_of_reach_comes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    (0..260).for_each(|_| extend(&mut store, &Changes::default()).expect("a block"));
    assert!(store.reader().block_hash(3).is_err());
    store.unwind_to(250).expect("it is unwound");
    assert_eq!(store.reader().block_hash(3).expect("it is in reach"), block_hash(3));
    assert!(store.reader().block_hash(251).is_err());
}

#[test]
fn other_branch_is_committed_after_a_deep_unwind_and_back_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let contents = commit_noting(&mut store, 40);
    for _ in 0..3 {
        store.unwind_to(3).expect("it is unwound");
        for number in 4..=50_u64 {
            let parent = store.head().expect("there is a head");
            let branch =
                changes([set(address(99), account(number), &[(number, 1)]), set(address(1), account(9), &[(1, 9)])]);
            let branch = completed(&store.reader(), &branch);
            let hash = keccak256([b"branch", &number.to_be_bytes()[..]].concat());
            let state_root = root_after(&store, &branch);
            let block = BlockCommit { number, hash, parent_hash: parent.hash, state_root, changes: &branch };
            store.commit_block(&block).expect("a block of the branch");
        }
        assert!(verified(&store).is_sound());
        assert_eq!(store.reader().account(&address(99)).expect("it can be read"), Some(account(50)));
        store.unwind_to(3).expect("it is unwound");
        assert_eq!(content(&store), contents[3]);
        commit_noting(&mut store, 40);
        assert_eq!(content(&store), contents[40]);
    }
}

#[test]
fn as_many_blocks_can_be_unwound_as_changesets_are_kept_and_what_they_held_back_is_removed() {
    for kept in [0, 1, 4] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut store = Store::open(directory.path(), &keeping(kept)).expect("the store opens");
        let contents = commit_noting(&mut store, 30);
        assert_eq!(store.first_reachable(), Some(30 - kept));
        let stale = |content: &Content| content.get("cleared").map_or(0, |rows| rows.len());
        assert!(stale(&contents[30]) as u64 <= kept);
        if kept < 30 {
            let error = store.unwind_to(30 - kept - 1).expect_err("it is out of reach");
            assert!(
                matches!(error, StoreError::CannotUnwind { first: Some(first), .. } if first == 30 - kept),
                "{error}"
            );
            assert_eq!(content(&store), contents[30], "a refusal changes nothing");
        }
        store.unwind_to(30 - kept).expect("it is unwound");
        assert_eq!(content(&store), pruned(contents[(30 - kept) as usize].clone(), 30 - kept));
        let verified = verified(&store);
        assert!(verified.is_sound());
        assert_eq!(verified.stale_storages, 0, "nothing that cannot come back is left");
    }
}

#[test]
fn fewer_changesets_kept_at_a_later_open_are_reached_over_several_blocks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    commit_noting(&mut store, 150);
    drop(store);
    let mut store = Store::open(directory.path(), &keeping(2)).expect("the store opens");
    assert_eq!(store.first_reachable(), Some(0));
    commit_noting(&mut store, 151);
    assert_eq!(store.first_reachable(), Some(64), "a batch removes a bounded number");
    commit_noting(&mut store, 153);
    assert_eq!(store.first_reachable(), Some(151));
    drop(store);
    let mut store = Store::open(directory.path(), &keeping(2)).expect("the store opens");
    assert_eq!(store.first_reachable(), Some(151), "the database itself says so");
    store.unwind_to(151).expect("it is unwound");
    assert!(verified(&store).is_sound());
}

#[test]
fn block_above_the_head_and_an_empty_store_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    assert!(matches!(store.unwind_to(0), Err(StoreError::CannotUnwind { to: 0, head: None, first: None })));
    extend(&mut store, &block(0)).expect("block 0");
    let error = store.unwind_to(1).expect_err("there is no such block");
    assert!(matches!(&error, StoreError::CannotUnwind { to: 1, head: Some(head), .. } if head.number == 0), "{error}");
    store.unwind_to(0).expect("the head can be unwound to");
}

#[test]
fn base_of_a_chain_is_where_unwinding_ends_and_a_part_of_a_state_goes_back_too() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let base = Head { number: 100, hash: block_hash(100), state_root: None };
    let entry = ropewalk_store::BaseEntry::Account { address: address(1), account: account(7) };
    store.load_base(&base, [entry]).expect("it is loaded");
    let before = content(&store);
    extend(&mut store, &changes([destroy(address(1), account(7))])).expect("block 101");
    extend(&mut store, &changes([set(address(1), account(8), &[(1, 1)])])).expect("block 102");
    store.unwind_to(100).expect("it is unwound");
    assert_eq!(content(&store), before);
    assert!(matches!(store.unwind_to(99), Err(StoreError::CannotUnwind { first: Some(100), .. })));
}

#[test]
fn changeset_that_leads_elsewhere_is_an_error_and_nothing_is_undone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    commit_noting(&mut store, 2);
    let forged = changes([set(address(1), account(5), &[])]);
    let mut forged = completed(&store.reader(), &forged);
    let root = root_after(&store, &forged);
    forged.accounts[0].before = Some(account(77));
    let parent = store.head().expect("there is a head");
    let block =
        BlockCommit { number: 3, hash: block_hash(3), parent_hash: parent.hash, state_root: root, changes: &forged };
    store.commit_block(&block).expect("what was before is not part of the root");
    let before = content(&store);
    let error = store.unwind_to(1).expect_err("the changeset is wrong");
    assert!(matches!(error, StoreError::WrongUnwoundRoot { number: 3, .. }), "{error}");
    assert_eq!(content(&store), before);
}

#[test]
fn head_that_is_behind_what_was_committed_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &block(0)).expect("block 0");
    drop(store);
    let before: Vec<_> = std::fs::read_dir(directory.path()).expect("it can be listed").collect();
    assert!(!before.is_empty());
    let hint = directory.path().join("ropewalk.head");
    let at_block_0 = std::fs::read(&hint).expect("the hint is there");
    let mut store = open(directory.path());
    extend(&mut store, &block(1)).expect("block 1");
    let at_block_1 = std::fs::read(&hint).expect("the hint is there");
    store.unwind_to(0).expect("it is unwound");
    assert_eq!(std::fs::read(&hint).expect("the hint is there"), at_block_0);
    drop(store);
    std::fs::write(&hint, at_block_1).expect("the hint of the later head");
    let mut store = open(directory.path());
    assert_eq!(store.lost_blocks(), Some(LostBlocks { first: 1, last: 1, hash: block_hash(1) }));
    extend(&mut store, &block(1)).expect("block 1");
    assert_eq!(store.lost_blocks(), None);
    drop(store);
    for torn in [&b""[..], &[0; 44], &[7; 44], &[1; 3], &[9; 100]] {
        std::fs::write(&hint, torn).expect("a hint");
        assert_eq!(open(directory.path()).lost_blocks(), None, "a hint that is none says nothing");
    }
}

#[test]
fn block_of_another_branch_that_is_gone_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hint = directory.path().join("ropewalk.head");
    let mut store = open(directory.path());
    for number in 0..3 {
        extend(&mut store, &block(number)).expect("a block");
    }
    drop(store);
    let kept = std::fs::read(&hint).expect("the hint is there");
    let noted = |number: u64, hash: B256| {
        let block = [&number.to_be_bytes()[..], hash.as_slice()].concat();
        [&block[..], &keccak256(&block)[..4]].concat()
    };
    assert_eq!(kept, noted(2, block_hash(2)));
    for (number, hash, lost) in [
        (2, B256::repeat_byte(7), Some(2)),
        (1, B256::repeat_byte(7), Some(1)),
        (1, block_hash(1), None),
        (3, B256::repeat_byte(7), Some(3)),
    ] {
        std::fs::write(&hint, noted(number, hash)).expect("a hint");
        let lost = lost.map(|number| LostBlocks { first: number, last: number, hash });
        assert_eq!(open(directory.path()).lost_blocks(), lost, "block {number} with hash {hash}");
    }
}

#[test]
fn store_of_the_former_layout_is_taken_over_and_its_blocks_cannot_be_unwound() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    commit_noting(&mut store, 5);
    drop(store);
    tamper(directory.path(), |database| {
        for family in ["changesets", "cleared"] {
            database.drop_cf(family).expect("a family is dropped");
        }
        put(database, "head", "layout", 2_u32.to_be_bytes());
    });
    let mut store = open(directory.path());
    assert_eq!(store.head().map(|head| head.number), Some(5));
    assert_eq!(store.first_reachable(), Some(5));
    commit_noting(&mut store, 8);
    store.unwind_to(5).expect("the new ones can be");
    assert!(matches!(store.unwind_to(4), Err(StoreError::CannotUnwind { first: Some(5), .. })));
    assert!(verified(&store).is_sound());
    drop(store);
    assert_eq!(open(directory.path()).head().map(|head| head.number), Some(5));
}

#[test]
fn head_whose_trie_is_gone_is_refused_with_the_command_that_tells_more() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    commit_noting(&mut store, 1);
    drop(store);
    tamper(directory.path(), |database| put(database, "account_nodes", [], [0xc0]));
    let error = Store::open(directory.path(), &options()).expect_err("the trie is another's");
    assert!(matches!(error, StoreError::UnconfirmedRoot { .. }), "{error}");
    assert!(error.to_string().contains("ropewalk db rebuild"), "{error}");
}

#[test]
fn slots_of_an_unwound_creation_are_gone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    extend(&mut store, &Changes::default()).expect("block 0");
    extend(&mut store, &changes([set(address(1), account(1), &[(1, 1)])])).expect("block 1");
    store.unwind_to(0).expect("it is unwound");
    let reader = store.reader();
    assert_eq!(reader.account(&address(1)).expect("it can be read"), None);
    assert!(reader.storage_is_empty(&address(1)).expect("it can be read"));
    assert_eq!(reader.storage(&address(1), &word(1)).expect("it can be read"), word(0));
}
