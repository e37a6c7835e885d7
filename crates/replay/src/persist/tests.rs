//! Chains of generated blocks through databases.

use alloy_primitives::Bytes;
use ropewalk_block::{BlockOutcome, oracle};
use ropewalk_state::Completeness;

use super::*;
use crate::{
    fixture::{Chains, write_chain},
    generate::{GenerateOptions, Generator, Workload},
    ground::Ground,
};

/// A block with what it is executed on and what it does.
struct Ready {
    fixture: Fixture,
    ground: Ground,
    outcome: BlockOutcome,
}

/// A generated chain, read back.
fn chain(workload: Workload, seed: u64, blocks: u64) -> Vec<Ready> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let options = GenerateOptions { seed, blocks, txs: 20, depth: 3, ..GenerateOptions::new(workload) };
    let out = root.path().join("chain");
    write_chain(Generator::new(options).expect("sound"), &out, |_| ()).expect("writable");
    let mut chains = Chains::default();
    let ready = |number: u64| {
        let mut fixture = Fixture::read(&out.join(number.to_string()), &mut chains).expect("readable");
        let (ground, outcome) = Ground::prepare(&mut fixture).expect("a prestate answers");
        Ready { fixture, ground, outcome: outcome.expect("a valid block") }
    };
    (1..=blocks).map(ready).collect()
}

/// Places a block, executes it on the database's state and commits it; false where the database held it already.
fn persist(databases: &mut Databases, ready: &Ready) -> bool {
    let Ready { fixture, ground, outcome } = ready;
    match databases.place(fixture, ground.recorded()).expect("a usable database") {
        Place::Present => {
            assert_eq!(databases.check_present(fixture, &outcome.changes).expect("readable"), None);
            false
        }
        Place::Ready(extension) => {
            let found = oracle::execute(&fixture.chain.spec, &fixture.block, &extension.reader()).expect("valid");
            assert_eq!(compare::outcomes(&found, outcome), None, "block {}", fixture.number());
            assert_eq!(databases.commit(fixture, &extension, &outcome.changes).expect("writable"), None);
            true
        }
    }
}

fn directories(root: &Path) -> usize {
    std::fs::read_dir(root).expect("readable").count()
}

#[test]
fn a_chain_of_fixtures_ends_up_in_one_database() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut databases = Databases::new(Some(root.path())).expect("writable");
    for workload in [Workload::Payments, Workload::Erc20, Workload::Exchange] {
        assert!(chain(workload, 1, 3).iter().all(|block| persist(&mut databases, block)), "{workload:?}");
    }
    databases.close().expect("at the last block");
    assert_eq!(directories(root.path()), 3);
}

#[test]
fn replaying_into_the_same_directory_finds_the_blocks_there() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let blocks = chain(Workload::Erc20, 1, 4);
    let committed = |blocks: &[Ready]| -> Vec<bool> {
        let mut databases = Databases::new(Some(root.path())).expect("writable");
        blocks.iter().map(|block| persist(&mut databases, block)).collect()
    };
    assert_eq!(committed(&blocks[..2]), [true, true]);
    assert_eq!(committed(&blocks), [false, false, true, true]);
    assert_eq!(directories(root.path()), 1);
}

#[test]
fn unrelated_blocks_get_databases_of_their_own() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut databases = Databases::new(Some(root.path())).expect("writable");
    let blocks = chain(Workload::Payments, 1, 3);
    assert!(persist(&mut databases, &blocks[0]) && persist(&mut databases, &blocks[2]));
    assert!(persist(&mut databases, &chain(Workload::Payments, 2, 1)[0]));
    assert_eq!(directories(root.path()), 3);
}

#[test]
fn a_prestate_that_contradicts_the_database_begins_another() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut databases = Databases::new(Some(root.path())).expect("writable");
    let blocks = chain(Workload::Payments, 1, 2);
    assert!(persist(&mut databases, &blocks[0]));
    let changed = blocks[0].outcome.changes.accounts[0].address;
    let mut recorded = MemoryState::new(Completeness::Assumed);
    recorded.insert_account(changed, Some(Account { nonce: 1 << 40, ..Account::EMPTY }));
    let placed = databases.place(&blocks[1].fixture, &recorded).expect("usable");
    assert!(matches!(placed, Place::Ready(_)));
    assert_eq!(directories(root.path()), 2);
}

#[test]
fn a_database_that_is_open_elsewhere_is_an_error() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let blocks = chain(Workload::Payments, 1, 1);
    let mut first = Databases::new(Some(root.path())).expect("writable");
    assert!(persist(&mut first, &blocks[0]));
    let mut second = Databases::new(Some(root.path())).expect("writable");
    let error = second.place(&blocks[0].fixture, blocks[0].ground.recorded()).expect_err("it is locked");
    assert!(matches!(&error, PersistError::Store(StoreError::Locked { .. })), "{error:?}");
    assert!(error.is_about_all());
}

#[test]
fn a_file_in_place_of_the_directory_concerns_all_blocks() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let file = root.path().join("file");
    std::fs::write(&file, b"").expect("writable");
    let error = Databases::new(Some(&file)).expect_err("a file");
    assert!(matches!(error, PersistError::Root { .. }) && error.is_about_all());
}

#[test]
fn temporary_databases_leave_nothing_behind() {
    let mut databases = Databases::new(None).expect("writable");
    let Root::Temporary(directory) = &databases.root else { panic!("no directory was given") };
    let path = directory.path().to_owned();
    assert!(persist(&mut databases, &chain(Workload::Payments, 1, 1)[0]));
    assert!(path.exists());
    drop(databases);
    assert!(!path.exists());
}

fn change(before: Option<u64>, after: Option<u64>, slots: &[(u64, u64, u64)]) -> AccountChange {
    let account = |nonce| Account { nonce, ..Account::EMPTY };
    let slot = |(slot, before, after): &(u64, u64, u64)| SlotChange {
        slot: U256::from(*slot),
        before: U256::from(*before),
        after: U256::from(*after),
    };
    AccountChange {
        address: Address::repeat_byte(1),
        before: before.map(account),
        after: after.map(account),
        storage_cleared: false,
        slots: slots.iter().map(slot).collect(),
    }
}

fn only(change: AccountChange) -> Changes {
    Changes { accounts: vec![change], ..Changes::default() }
}

#[test]
fn stacked_changes_begin_with_the_earlier_and_end_with_the_later() {
    let earlier = only(change(None, Some(1), &[(1, 0, 5), (2, 0, 6)]));
    let later = only(change(Some(1), Some(2), &[(2, 6, 7), (3, 0, 8)]));
    let expected = only(change(None, Some(2), &[(1, 0, 5), (2, 0, 7), (3, 0, 8)]));
    assert_eq!(stacked(&earlier, &later), expected);
}

#[test]
fn a_later_clearing_takes_added_slots_with_it() {
    let earlier = only(change(None, Some(1), &[(1, 0, 5)]));
    let later = only(AccountChange { storage_cleared: true, ..change(Some(1), Some(1), &[(2, 0, 7)]) });
    assert_eq!(stacked(&earlier, &later), only(change(None, Some(1), &[(2, 0, 7)])));
    let gone = only(AccountChange { storage_cleared: true, ..change(Some(1), None, &[]) });
    assert_eq!(stacked(&earlier, &gone), Changes::default());
}

#[test]
fn codes_of_both_are_kept() {
    let code = |byte: u8| BTreeMap::from([(B256::repeat_byte(byte), Bytes::from(vec![byte]))]);
    let changes = |byte| Changes { codes: code(byte), ..Changes::default() };
    assert_eq!(stacked(&changes(1), &changes(2)).codes.len(), 2);
}
