//! Bundles as revm's `State` makes them, transaction by transaction, against changes written down by hand.

use alloy_primitives::{Address, U256, keccak256};
use revm::{
    Database, DatabaseCommit,
    database::{CacheDB, EmptyDB, State, states::bundle_state::BundleRetention},
    state::{Account as EvmAccount, EvmStorageSlot, TransactionId},
};

use super::*;

const SUBJECT: Address = Address::with_last_byte(0xaa);
const CODE: &[u8] = &[0x60, 0x00];
const OTHER_CODE: &[u8] = &[0x60, 0x01];

/// What one transaction does to the subject. `Create` replaces code and storage, and sets nonce 1.
#[derive(Debug, Clone)]
enum Deed {
    Touch,
    Pay(u64),
    Spend(u64),
    Write(u64, u64),
    Create(&'static [u8], &'static [(u64, u64)]),
    Destroy,
    Delegate(Option<u8>),
}

/// The subject before the block.
#[derive(Debug, Clone, Copy)]
enum Before {
    Absent,
    Empty,
    /// Balance 100, nothing else.
    Payer,
    /// Nonce 1, balance 5, `CODE`, slot 1 holds 11 and slot 2 holds 22.
    Contract,
}

fn state_with(before: Before) -> State<CacheDB<EmptyDB>> {
    let mut database = CacheDB::new(EmptyDB::default());
    let info = |nonce, balance, code: &'static [u8]| {
        AccountInfo::new(U256::from(balance), nonce, keccak256(code), analysed(Bytes::from_static(code)))
    };
    match before {
        Before::Absent => {}
        Before::Empty => database.insert_account_info(SUBJECT, info(0, 0, &[])),
        Before::Payer => database.insert_account_info(SUBJECT, info(0, 100, &[])),
        Before::Contract => {
            database.insert_account_info(SUBJECT, info(1, 5, CODE));
            for (slot, value) in [(1, 11), (2, 22)] {
                let stored = database.insert_account_storage(SUBJECT, U256::from(slot), U256::from(value));
                stored.expect("an empty database does not fail");
            }
        }
    }
    State::builder().with_database(database).with_bundle_update().build()
}

fn set_code(account: &mut EvmAccount, code: Bytecode) {
    account.info.code_hash = code.hash_slow();
    account.info.code = Some(code);
}

fn apply(state: &mut State<CacheDB<EmptyDB>>, deed: &Deed) {
    let info = state.basic(SUBJECT).expect("an empty database does not fail");
    let mut account = info.map_or_else(|| EvmAccount::new_not_existing(TransactionId::ZERO), EvmAccount::from);
    account.mark_touch();
    let write = |account: &mut EvmAccount, slot: u64, original: U256, value: u64| {
        let value = EvmStorageSlot::new_changed(original, U256::from(value), TransactionId::ZERO);
        account.storage.insert(U256::from(slot), value);
    };
    match deed {
        Deed::Touch => {}
        Deed::Pay(amount) => account.info.balance += U256::from(*amount),
        Deed::Spend(amount) => account.info.balance -= U256::from(*amount),
        Deed::Write(slot, value) => {
            let original =
                Database::storage(state, SUBJECT, U256::from(*slot)).expect("an empty database does not fail");
            write(&mut account, *slot, original, *value);
        }
        Deed::Create(code, slots) => {
            account.mark_created();
            account.info.nonce = 1;
            set_code(&mut account, analysed(Bytes::from_static(code)));
            slots.iter().for_each(|(slot, value)| write(&mut account, *slot, U256::ZERO, *value));
        }
        Deed::Destroy => account.mark_selfdestruct(),
        Deed::Delegate(to) => {
            account.info.nonce += 1;
            let code = to.map(|to| Bytecode::new_eip7702(Address::with_last_byte(to)));
            set_code(&mut account, code.unwrap_or_default());
        }
    }
    state.commit([(SUBJECT, account)].into_iter().collect());
}

fn bundle(before: Before, deeds: &[Deed]) -> BundleState {
    let mut state = state_with(before);
    deeds.iter().for_each(|deed| apply(&mut state, deed));
    state.merge_transitions(BundleRetention::Reverts);
    state.take_bundle()
}

/// The change of the subject, after checking what holds for any bundle.
fn change(before: Before, deeds: &[Deed]) -> Option<AccountChange> {
    let bundle = bundle(before, deeds);
    let changes = changes_from_bundle(&bundle).expect("code is in the bundle");
    assert_round_trip(&changes);
    assert!(changes.accounts.len() <= 1);
    changes.accounts.into_iter().next()
}

/// Our bundle says the same changes, and its reverts lead back to where they began.
fn assert_round_trip(changes: &Changes) {
    let mut bundle = bundle_from_changes(changes);
    assert_eq!(changes_from_bundle(&bundle).as_ref().ok(), Some(changes));
    assert!(bundle.revert_latest());
    assert!(bundle.state.values().all(|account| account.info == account.original_info));
    assert_eq!(bundle.reverts_size, 0);
}

fn account(nonce: u64, balance: u64, code: &[u8]) -> Option<Account> {
    Some(Account { nonce, balance: U256::from(balance), code_hash: keccak256(code) })
}

fn slots(slots: &[(u64, u64, u64)]) -> Vec<SlotChange> {
    let slot = |(slot, before, after): &(u64, u64, u64)| SlotChange {
        slot: U256::from(*slot),
        before: U256::from(*before),
        after: U256::from(*after),
    };
    slots.iter().map(slot).collect()
}

fn expect(
    (before, deeds): (Before, &[Deed]),
    (account_before, account_after): (Option<Account>, Option<Account>),
    storage_cleared: bool,
    changed: &[(u64, u64, u64)],
) {
    let expected = AccountChange {
        address: SUBJECT,
        before: account_before,
        after: account_after,
        storage_cleared,
        slots: slots(changed),
    };
    assert_eq!(change(before, deeds), Some(expected), "{before:?} {deeds:?}");
}

#[test]
fn what_ends_as_it_began_is_no_change() {
    let nothing: [(Before, &[Deed]); 7] = [
        (Before::Absent, &[Deed::Touch]),
        (Before::Absent, &[Deed::Create(CODE, &[(1, 2)]), Deed::Destroy]),
        (Before::Absent, &[Deed::Pay(5), Deed::Spend(5)]),
        (Before::Absent, &[Deed::Create(CODE, &[(1, 2)]), Deed::Destroy, Deed::Create(CODE, &[]), Deed::Destroy]),
        (Before::Payer, &[Deed::Pay(5), Deed::Touch, Deed::Spend(5)]),
        (Before::Contract, &[Deed::Touch]),
        (Before::Contract, &[Deed::Write(1, 12), Deed::Write(3, 1), Deed::Write(1, 11), Deed::Write(3, 0)]),
    ];
    for (before, deeds) in nothing {
        assert_eq!(change(before, deeds), None, "{before:?} {deeds:?}");
    }
}

#[test]
fn an_account_that_did_not_exist_is_created() {
    expect((Before::Absent, &[Deed::Pay(3), Deed::Pay(4)]), (None, account(0, 7, &[])), false, &[]);
    let deeds = [Deed::Pay(3), Deed::Create(CODE, &[(2, 5), (1, 4)]), Deed::Write(1, 6)];
    expect((Before::Absent, &deeds), (None, account(1, 3, CODE)), false, &[(1, 0, 6), (2, 0, 5)]);
}

#[test]
fn an_existing_empty_account_differs_from_an_absent_one() {
    expect((Before::Empty, &[Deed::Pay(7)]), (account(0, 0, &[]), account(0, 7, &[])), false, &[]);
    expect((Before::Empty, &[Deed::Touch]), (account(0, 0, &[]), None), true, &[]);
}

#[test]
fn a_changed_account_lists_what_differs() {
    let deeds = [Deed::Write(1, 12), Deed::Write(1, 13), Deed::Write(3, 33), Deed::Pay(1)];
    expect((Before::Contract, &deeds), (account(1, 5, CODE), account(1, 6, CODE)), false, &[(1, 11, 13), (3, 0, 33)]);
    expect((Before::Contract, &[Deed::Write(2, 0)]), (account(1, 5, CODE), account(1, 5, CODE)), false, &[(2, 22, 0)]);
}

#[test]
fn a_destroyed_account_is_gone_with_its_storage() {
    expect((Before::Contract, &[Deed::Write(1, 12), Deed::Destroy]), (account(1, 5, CODE), None), true, &[]);
    let twice = [Deed::Destroy, Deed::Create(CODE, &[(1, 1)]), Deed::Destroy];
    expect((Before::Contract, &twice), (account(1, 5, CODE), None), true, &[]);
    expect((Before::Payer, &[Deed::Spend(100)]), (account(0, 100, &[]), None), true, &[]);
}

#[test]
fn an_account_destroyed_and_created_again_starts_from_empty_storage() {
    let deeds = [Deed::Write(3, 33), Deed::Destroy, Deed::Create(OTHER_CODE, &[(1, 11), (4, 44)]), Deed::Write(4, 0)];
    expect((Before::Contract, &deeds), (account(1, 5, CODE), account(1, 0, OTHER_CODE)), true, &[(1, 0, 11)]);
    let paid = [Deed::Destroy, Deed::Pay(9)];
    expect((Before::Contract, &paid), (account(1, 5, CODE), account(0, 9, &[])), true, &[]);
    let thrice = [Deed::Destroy, Deed::Create(CODE, &[(5, 5)]), Deed::Destroy, Deed::Create(CODE, &[(6, 6)])];
    expect((Before::Contract, &thrice), (account(1, 5, CODE), account(1, 0, CODE)), true, &[(6, 0, 6)]);
}

#[test]
fn an_account_created_twice_in_the_block_keeps_the_second_storage_and_clears_none() {
    let deeds = [Deed::Create(CODE, &[(1, 1)]), Deed::Destroy, Deed::Create(CODE, &[(2, 2)]), Deed::Write(1, 9)];
    expect((Before::Absent, &deeds), (None, account(1, 0, CODE)), false, &[(1, 0, 9), (2, 0, 2)]);
}

#[test]
fn code_is_listed_when_its_hash_is_new_to_the_account() {
    const NONE: [Bytes; 0] = [];
    let codes = |before, deeds: &[Deed]| {
        let changes = changes_from_bundle(&bundle(before, deeds)).expect("code is in the bundle");
        assert_round_trip(&changes);
        changes.codes.into_values().collect::<Vec<_>>()
    };
    let delegation = |to| Bytecode::new_eip7702(Address::with_last_byte(to)).original_bytes();
    assert_eq!(codes(Before::Absent, &[Deed::Create(CODE, &[])]), [Bytes::from_static(CODE)]);
    assert_eq!(
        codes(Before::Contract, &[Deed::Destroy, Deed::Create(OTHER_CODE, &[])]),
        [Bytes::from_static(OTHER_CODE)]
    );
    assert_eq!(codes(Before::Contract, &[Deed::Destroy, Deed::Create(CODE, &[])]), NONE);
    assert_eq!(codes(Before::Absent, &[Deed::Create(CODE, &[]), Deed::Destroy]), NONE);
    assert_eq!(codes(Before::Absent, &[Deed::Create(&[], &[(1, 1)])]), NONE);
    assert_eq!(codes(Before::Payer, &[Deed::Delegate(Some(1)), Deed::Delegate(Some(2))]), [delegation(2)]);
    assert_eq!(codes(Before::Payer, &[Deed::Delegate(Some(1)), Deed::Delegate(None)]), NONE);
}

#[test]
fn new_code_that_nobody_holds_is_an_error_that_names_it() {
    let mut bundle = bundle(Before::Absent, &[Deed::Create(CODE, &[])]);
    bundle.contracts.clear();
    bundle.state.values_mut().for_each(|account| account.info.as_mut().expect("created").code = None);
    let error = changes_from_bundle(&bundle).expect_err("no code");
    assert_eq!(error.to_string(), format!("account {SUBJECT} got code {} that nobody holds", keccak256(CODE)));
}

#[test]
fn the_bundle_of_changes_is_revms_own_bundle() {
    let blocks: [(Before, &[Deed]); 10] = [
        (Before::Absent, &[Deed::Pay(3)]),
        (Before::Absent, &[Deed::Create(CODE, &[(1, 1)])]),
        (Before::Empty, &[Deed::Pay(3)]),
        (Before::Empty, &[Deed::Touch]),
        (Before::Payer, &[Deed::Pay(3), Deed::Spend(4)]),
        (Before::Payer, &[Deed::Delegate(Some(1))]),
        (Before::Contract, &[Deed::Write(1, 12), Deed::Write(3, 33), Deed::Pay(1)]),
        (Before::Contract, &[Deed::Write(1, 12)]),
        (Before::Contract, &[Deed::Destroy]),
        (Before::Contract, &[Deed::Destroy, Deed::Create(OTHER_CODE, &[(7, 7)])]),
    ];
    for (before, deeds) in blocks {
        let mut theirs = bundle(before, deeds);
        theirs.contracts.retain(|_, code| !code.is_empty());
        let ours = bundle_from_changes(&changes_from_bundle(&theirs).expect("code is in the bundle"));
        assert_eq!(ours.state, theirs.state, "{before:?} {deeds:?}");
        assert_eq!(ours.reverts, theirs.reverts, "{before:?} {deeds:?}");
        assert_eq!(ours.contracts, theirs.contracts, "{before:?} {deeds:?}");
        assert_eq!((ours.state_size, ours.reverts_size), (theirs.state_size, theirs.reverts_size));
    }
}

#[test]
fn code_that_only_looks_like_a_delegation_is_executed_as_code() {
    let code = Bytes::from_static(&[0xef, 0x01, 0x00, 0x01]);
    let analysed = analysed(code.clone());
    assert!(analysed.is_legacy());
    assert_eq!(analysed.original_bytes(), code);
}
