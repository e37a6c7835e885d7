use alloy_primitives::KECCAK256_EMPTY;
use alloy_trie::EMPTY_ROOT_HASH;
use proptest::prelude::*;

use super::*;
use crate::{
    SlotChange,
    model::{self, World},
};

const ALICE: Address = Address::repeat_byte(0xa1);
const BOB: Address = Address::repeat_byte(0xb0);

fn account(balance: u64) -> Account {
    Account { balance: U256::from(balance), ..Account::EMPTY }
}

fn slot(slot: u64) -> U256 {
    U256::from(slot)
}

/// One account's change, with slots as `(slot, after)`.
fn change(before: Option<Account>, after: Option<Account>, cleared: bool, slots: &[(u64, u64)]) -> Changes {
    let slots = slots.iter().map(|&(slot, after)| SlotChange {
        slot: U256::from(slot),
        before: U256::ZERO,
        after: U256::from(after),
    });
    let change = AccountChange { address: ALICE, before, after, storage_cleared: cleared, slots: slots.collect() };
    Changes { accounts: vec![change], ..Changes::default() }
}

fn is_missing_slot(result: &Result<U256, StateError>, expected: u64) -> bool {
    matches!(result, Err(StateError::MissingSlot { address: ALICE, slot }) if *slot == U256::from(expected))
}

proptest! {
    #[test]
    fn applied_blocks_read_and_hash_as_the_naive_state(start in model::block(), blocks in prop::collection::vec(model::block(), 1..4)) {
        let mut world = World::after(&start);
        for completeness in [Completeness::Assumed, Completeness::Claimed] {
            let mut world = world.clone();
            let mut memory = world.memory(completeness);
            for block in &blocks {
                memory.apply(&world.play(block));
                world.assert_read_by(&memory);
                prop_assert_eq!(memory.state_root(), world.root());
            }
        }
        let changes = world.play(&blocks[0]);
        let (mut once, mut twice) = (changes.clone(), changes);
        once.normalize();
        twice.normalize();
        twice.normalize();
        prop_assert_eq!(once, twice);
    }
}

#[test]
fn claimed_state_names_what_it_does_not_know() {
    let mut state = MemoryState::new(Completeness::Claimed);
    state.insert_account(ALICE, Some(account(1)));
    state.insert_slot(ALICE, slot(1), slot(0));
    assert_eq!(state.account(&ALICE).unwrap(), Some(account(1)));
    assert_eq!(state.storage(&ALICE, &slot(1)).unwrap(), U256::ZERO);
    assert!(is_missing_slot(&state.storage(&ALICE, &slot(2)), 2));
    assert!(matches!(state.account(&BOB), Err(StateError::MissingAccount(BOB))));
    assert!(matches!(state.storage(&BOB, &slot(1)), Err(StateError::MissingSlot { address: BOB, .. })));
    assert!(matches!(state.storage_is_empty(&BOB), Err(StateError::MissingAccount(BOB))));
}

#[test]
fn assumed_state_is_absent_or_zero_where_nothing_is_recorded() {
    let state = MemoryState::new(Completeness::Assumed);
    assert_eq!(state.account(&BOB).unwrap(), None);
    assert_eq!(state.storage(&BOB, &slot(1)).unwrap(), U256::ZERO);
    assert!(state.storage_is_empty(&BOB).unwrap());
    assert_eq!(state.state_root(), EMPTY_ROOT_HASH);
}

#[test]
fn slots_of_an_account_recorded_as_absent_are_zero() {
    for completeness in [Completeness::Assumed, Completeness::Claimed] {
        let mut state = MemoryState::new(completeness);
        state.insert_account(ALICE, None);
        state.insert_slot(ALICE, slot(1), slot(7));
        assert_eq!(state.storage(&ALICE, &slot(1)).unwrap(), U256::ZERO);
        assert_eq!(state.storage(&ALICE, &slot(2)).unwrap(), U256::ZERO);
        assert!(state.storage_is_empty(&ALICE).unwrap());
        assert_eq!(state.iter_slots(&ALICE).count(), 0);
    }
}

#[test]
fn storage_of_a_created_account_is_known_in_every_slot() {
    let mut state = MemoryState::new(Completeness::Claimed);
    state.insert_account(ALICE, None);
    state.apply(&change(None, Some(account(1)), false, &[(1, 5)]));
    assert_eq!(state.storage(&ALICE, &slot(1)).unwrap(), slot(5));
    assert_eq!(state.storage(&ALICE, &slot(2)).unwrap(), U256::ZERO);
}

#[test]
fn cleared_storage_keeps_only_what_was_written_afterwards() {
    let mut state = MemoryState::new(Completeness::Claimed);
    state.insert_account(ALICE, Some(account(1)));
    state.insert_slot(ALICE, slot(1), slot(5));
    state.apply(&change(Some(account(1)), Some(account(1)), true, &[(2, 6)]));
    let slots: Vec<_> = state.iter_slots(&ALICE).collect();
    assert_eq!(slots, [(slot(2), slot(6))]);
    assert_eq!(state.storage(&ALICE, &slot(1)).unwrap(), U256::ZERO);
    assert_eq!(state.storage(&ALICE, &slot(9)).unwrap(), U256::ZERO);
}

#[test]
fn destroyed_account_leaves_nothing_behind() {
    let mut state = MemoryState::new(Completeness::Claimed);
    state.insert_account(ALICE, Some(account(1)));
    state.insert_slot(ALICE, slot(1), slot(5));
    state.apply(&change(Some(account(1)), None, true, &[]));
    assert_eq!(state.account(&ALICE).unwrap(), None);
    assert_eq!(state.storage(&ALICE, &slot(1)).unwrap(), U256::ZERO);
    assert_eq!(state.state_root(), EMPTY_ROOT_HASH);
    state.apply(&change(None, Some(account(2)), false, &[]));
    assert_eq!(state.storage(&ALICE, &slot(1)).unwrap(), U256::ZERO);
}

#[test]
fn slot_zeroed_in_a_claimed_state_stays_recorded() {
    let mut state = MemoryState::new(Completeness::Claimed);
    state.insert_account(ALICE, Some(account(1)));
    state.insert_slot(ALICE, slot(1), slot(5));
    state.apply(&change(Some(account(1)), Some(account(1)), false, &[(1, 0)]));
    assert_eq!(state.storage(&ALICE, &slot(1)).unwrap(), U256::ZERO);
    assert!(is_missing_slot(&state.storage(&ALICE, &slot(2)), 2));
    assert!(state.storage_is_empty(&ALICE).unwrap());
}

#[test]
fn unknown_code_and_block_hash_are_errors_whatever_the_completeness() {
    let mut state = MemoryState::new(Completeness::Assumed);
    let hash = state.insert_code(Bytes::from_static(&[1, 2, 3]));
    assert_eq!(state.code(&hash).unwrap(), Bytes::from_static(&[1, 2, 3]));
    assert!(matches!(state.code(&KECCAK256_EMPTY), Err(StateError::MissingCode(KECCAK256_EMPTY))));
    state.insert_block_hash(7, B256::repeat_byte(7));
    assert_eq!(state.block_hash(7).unwrap(), B256::repeat_byte(7));
    assert!(matches!(state.block_hash(8), Err(StateError::MissingBlockHash(8))));
}

#[test]
fn iterators_ascend() {
    let mut state = MemoryState::new(Completeness::Assumed);
    for byte in [9, 3, 200, 5] {
        let address = Address::repeat_byte(byte);
        state.insert_account(address, Some(account(1)));
        state.insert_slot(ALICE, slot(u64::from(byte)), slot(1));
        state.insert_code(Bytes::from(vec![byte]));
        state.insert_block_hash(u64::from(byte), B256::ZERO);
    }
    state.insert_account(BOB, None);
    state.insert_slot(ALICE, slot(4), slot(0));
    assert!(state.iter_accounts().map(|(address, _)| address[0]).eq([3, 5, 9, 200]));
    assert!(state.iter_slots(&ALICE).map(|(slot, _)| slot.to::<u8>()).eq([3, 5, 9, 200]));
    assert!(state.iter_block_hashes().map(|(number, _)| number).eq([3, 5, 9, 200]));
    assert!(state.iter_codes().is_sorted_by_key(|(hash, _)| hash));
    assert_eq!(state.iter_codes().count(), 4);
}

fn commit<'a>(number: u64, parent: u8, hash: u8, changes: &'a Changes) -> BlockCommit<'a> {
    BlockCommit {
        number,
        hash: B256::repeat_byte(hash),
        parent_hash: B256::repeat_byte(parent),
        state_root: B256::ZERO,
        changes,
    }
}

#[test]
fn block_that_does_not_extend_the_last_one_is_refused_whole() {
    let mut state = MemoryState::new(Completeness::Assumed);
    let first = change(None, Some(account(1)), false, &[]);
    let second = change(Some(account(1)), Some(account(2)), false, &[]);
    state.commit_block(&commit(1, 0, 1, &first)).unwrap();
    let error = state.commit_block(&commit(2, 9, 2, &second)).unwrap_err();
    let (head, wrong) = (B256::repeat_byte(1), B256::repeat_byte(9));
    assert!(
        matches!(error, StateError::WrongParent { number: 2, expected, found } if expected == head && found == wrong)
    );
    assert_eq!(state.account(&ALICE).unwrap(), Some(account(1)));
    assert!(state.block_hash(2).is_err());
    state.commit_block(&commit(2, 1, 2, &second)).unwrap();
    assert_eq!(state.account(&ALICE).unwrap(), Some(account(2)));
    assert_eq!(state.block_hash(2).unwrap(), B256::repeat_byte(2));
}

#[test]
fn block_hashes_reach_back_256_blocks() {
    let mut state = MemoryState::new(Completeness::Assumed);
    let changes = Changes::default();
    for number in 1..=300u64 {
        let (parent_hash, hash) = (B256::with_last_byte((number - 1) as u8), B256::with_last_byte(number as u8));
        let commit = BlockCommit { number, hash, parent_hash, state_root: B256::ZERO, changes: &changes };
        state.commit_block(&commit).unwrap();
    }
    assert_eq!(state.iter_block_hashes().count(), 256);
    assert!(state.block_hash(44).is_err());
    assert!(state.block_hash(45).is_ok());
}
