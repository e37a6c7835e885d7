//! What verification finds in a store that was tampered with.

use std::path::Path;

use alloy_primitives::{Address, B256, keccak256};
use rocksdb::DB;
use ropewalk_state::{Account, trie::Nibbles};
use ropewalk_store::{FINDINGS_KEPT, Finding, Store, Verified, VerifyStep};

use crate::{
    chain::{account, address, changes, destroy, extend, open, options, set, verified, with_code},
    opening::{put, tamper},
};

const CODE: &[u8] = b"\x60\x00\x50";

/// A store with a few accounts, one of them a contract with slots, one destroyed with its storage.
fn fill(path: &Path) {
    let contract = Account { code_hash: keccak256(CODE), ..account(1) };
    let mut store = open(path);
    let first = changes([
        set(address(1), contract, &[(1, 11), (2, 22), (3, 33)]),
        set(address(2), account(2), &[(1, 1)]),
        set(address(3), account(3), &[]),
    ]);
    extend(&mut store, &with_code(first, CODE)).expect("block 0");
    extend(&mut store, &changes([destroy(address(2), account(2))])).expect("block 1");
    let sound = verified(&store);
    assert!(sound.is_sound(), "{sound:?}");
    assert_eq!((sound.accounts, sound.slots, sound.stale_storages), (2, 3, 1));
}

/// What is found after `damage`.
fn found(damage: impl FnOnce(&mut DB)) -> Verified {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fill(directory.path());
    tamper(directory.path(), damage);
    let verified = verified(&Store::open_unconfirmed(directory.path(), &options()).expect("the store opens"));
    assert_eq!(verified.findings_total, verified.findings.len() as u64);
    verified
}

fn delete(database: &DB, family: &str, key: impl AsRef<[u8]>) {
    database.delete_cf(database.cf_handle(family).expect("the family exists"), key).expect("a key is deleted");
}

/// Where the slots and nodes of an account are.
fn storage_of(address: Address, incarnation: u64, rest: &[u8]) -> Vec<u8> {
    [keccak256(address).as_slice(), &incarnation.to_be_bytes(), rest].concat()
}

#[test]
fn missing_and_different_nodes_are_named_by_trie_and_path() {
    let root = Nibbles::new();
    let contract = Some(keccak256(address(1)));
    let missing = found(|database| delete(database, "account_nodes", []));
    assert_eq!(missing.findings, [Finding::MissingNode { account: None, path: root }]);
    let missing = found(|database| delete(database, "storage_nodes", storage_of(address(1), 0, &[])));
    assert_eq!(missing.findings, [Finding::MissingNode { account: contract, path: root }]);
    let different = found(|database| put(database, "storage_nodes", storage_of(address(1), 0, &[]), [0xc0]));
    assert_eq!(different.findings, [Finding::DifferentNode { account: contract, path: root }]);
}

#[test]
fn nodes_that_the_state_does_not_make_are_counted() {
    let superfluous = found(|database| {
        put(database, "account_nodes", [15, 15, 15, 15, 15], [0xc0]);
        put(database, "storage_nodes", storage_of(address(1), 0, &[7; 64]), [0xc0]);
        put(database, "storage_nodes", storage_of(address(3), 0, &[7]), [0xc0]);
        put(database, "storage_nodes", storage_of(address(3), 0, &[8]), [0xc0]);
    });
    let mut findings = superfluous.findings;
    findings.sort_by_key(ToString::to_string);
    let mut expected = [
        Finding::SuperfluousNodes { account: None, count: 1 },
        Finding::SuperfluousNodes { account: Some(keccak256(address(1))), count: 1 },
        Finding::SuperfluousNodes { account: Some(keccak256(address(3))), count: 2 },
    ];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(findings, expected);
}

#[test]
fn flat_state_that_is_not_the_heads_is_found_by_its_root() {
    let changed = found(|database| put(database, "accounts", keccak256(address(3)), [0x01, 9]));
    assert!(
        changed
            .findings
            .iter()
            .any(|finding| matches!(finding, Finding::StateRoot { found, .. } if *found == changed.state_root)),
        "{changed:?}"
    );
    assert!(changed.findings.iter().any(|finding| matches!(finding, Finding::DifferentNode { account: None, .. })));
    let lost = found(|database| {
        let slot = keccak256(B256::with_last_byte(2));
        delete(database, "storage", storage_of(address(1), 0, slot.as_slice()));
    });
    assert!(lost.findings.iter().any(|finding| matches!(finding, Finding::StateRoot { .. })), "{lost:?}");
}

#[test]
fn storage_that_a_later_account_would_find_is_found_first() {
    let slot = keccak256(B256::with_last_byte(9));
    let orphan = found(|database| put(database, "storage", storage_of(address(9), 0, slot.as_slice()), [1]));
    let account = keccak256(address(9));
    assert_eq!(orphan.findings, [Finding::StorageWithoutAccount { account, column: "storage" }]);
    let orphan = found(|database| put(database, "storage_nodes", storage_of(address(9), 0, &[]), [0xc0]));
    assert_eq!(orphan.findings, [Finding::StorageWithoutAccount { account, column: "storage_nodes" }]);
    let ahead = found(|database| put(database, "storage", storage_of(address(1), 4, slot.as_slice()), [1]));
    assert_eq!(ahead.findings, [Finding::StorageAhead { account: keccak256(address(1)), column: "storage" }]);
}

#[test]
fn code_that_an_account_refers_to_is_missed() {
    let code_hash = keccak256(CODE);
    let missing = found(|database| delete(database, "code", code_hash));
    assert_eq!(missing.findings, [Finding::MissingCode { account: keccak256(address(1)), code_hash }]);
}

#[test]
fn findings_beyond_a_stated_number_are_counted_only() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fill(directory.path());
    let orphans = 2 * FINDINGS_KEPT;
    tamper(directory.path(), |database| {
        for i in 0..orphans {
            let key = [keccak256(i.to_be_bytes()).as_slice(), &[0; 8], B256::ZERO.as_slice()].concat();
            put(database, "storage", key, [1]);
        }
    });
    let verified = verified(&Store::open_unconfirmed(directory.path(), &options()).expect("the store opens"));
    assert_eq!((verified.findings.len(), verified.findings_total), (FINDINGS_KEPT, orphans as u64));
}

#[test]
fn progress_is_told_and_never_goes_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut store = open(directory.path());
    let account_of = |i: u64| set(Address::left_padding_from(&i.to_be_bytes()), account(i), &[]);
    extend(&mut store, &changes((0..10_000).map(account_of))).expect("block 0");
    let mut shares = Vec::new();
    let verified = store
        .verify(&mut |step| {
            if let VerifyStep::State { share, .. } = step {
                shares.push(share);
            }
        })
        .expect("the store can be read");
    assert!(verified.is_sound());
    assert!(shares.len() >= 2 && shares.is_sorted(), "{shares:?}");
}
