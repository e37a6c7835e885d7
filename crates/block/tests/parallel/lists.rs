//! Records and access lists: made by every way alike, equal to the list that revm makes in order, and good as a plan.
//!
//! Every block of every other test comes by here too ([`wrong`]): its record must add up to its outcome, its list must be
//! revm's own, executing it by that list must give the same outcome without running anything twice, and so must
//! executing it over the witness that is made of its record.

use std::sync::Arc;

use alloy_eip7928::{AccountChanges, BalanceChange, BlockAccessIndex, SlotChanges, StorageChange};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks};
use alloy_primitives::{Address, B256, U256};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use ropewalk_block::{
    AccessList, AccessListExtension, AccessListFault, BlockError, BlockOutcome, Execution, ExecutorOptions, Frontier,
    InvalidBlock, InvalidTransactions, Record, RecoveredBlock, Schedule, first_difference, oracle,
};
use ropewalk_state::{MemoryState, StateReader, Witness, trie::StateTrie};

use crate::{
    assembler::{CallKind, Code},
    case::{BLIND, Case, Verdict, Way},
    programs::random_case,
    transaction::{call, pay},
    world::{ALICE, FIRST, Fork, MINER, NOBODY, World},
};

const EAGER: Way = Way { threads: 2, frontier: Frontier::Eager, schedule: Schedule::Normal };
const BACKWARDS: Way = Way { threads: 2, frontier: Frontier::Never, schedule: Schedule::Adversarial { seed: 1 } };

fn recorded(case: &Case, way: Way, block: &RecoveredBlock) -> Result<Execution, BlockError> {
    let options = ExecutorOptions { record: true, ..case.options(way) };
    case.executor_with(way, options).execute(block, case.reader())
}

fn by_list(case: &Case, way: Way, block: &RecoveredBlock, list: &AccessList) -> Result<Execution, BlockError> {
    case.executor(way).execute_by_access_list(block, case.reader(), &Arc::new(list.clone()))
}

/// What is wrong with the records and lists of a valid block, if anything.
pub(crate) fn wrong(case: &Case, block: &RecoveredBlock, outcome: &BlockOutcome, oracle: Verdict) -> Option<String> {
    let first = recorded(case, BLIND, block).expect("a valid block").record.expect("a record was asked for");
    for way in [EAGER, BACKWARDS] {
        let execution = recorded(case, way, block).expect("a valid block");
        if execution.record.as_ref() != Some(&first) {
            return Some(format!("{way:?}: {:#?}, not {first:#?}", execution.record));
        }
    }
    let (mut by_position, mut at_once) = (case.world.state.clone(), case.world.state.clone());
    first.positions.iter().for_each(|position| by_position.apply(&position.changes));
    at_once.apply(&outcome.changes);
    if by_position.state_root() != at_once.state_root() {
        return Some(format!("the positions do not add up to the block: {first:#?}"));
    }
    // What a builder skips is not in its block, nor in the block's list and witness.
    if case.invalid == InvalidTransactions::Skip {
        return None;
    }
    if let Some(wrong) = stateless(case, block, &first, outcome) {
        return Some(wrong);
    }
    let list = first.access_list();
    let extension = list.extension.clone().unwrap_or_default();
    // revm lists the slots of a storage that is cleared as written, as far as the transaction knew them. Of an account that
    // a payment found no room in it lists what its journal has, touched or not; no chain has that much ether.
    let has_room = case.world.state.iter_accounts().all(|(_, account)| !account.balance.bit(255));
    // It moves the DAO's funds at another position.
    let dao = case.chain.ethereum_fork_activation(EthereumHardfork::Dao).transitions_at_block(case.header.number);
    if oracle == Verdict::Same && extension.storage_cleared.is_empty() && has_room && !dao {
        let theirs = oracle::execute_with_access_list(&case.chain, block, &case.world.state);
        let (_, theirs) = theirs.expect("a valid block");
        if list.accounts != theirs {
            return Some(format!("our list {:#?}, revm's {theirs:#?}", list.accounts));
        }
    }
    match AccessList::decode(&list.encode()) {
        Ok(read) if read.accounts == list.accounts => {}
        other => return Some(format!("read back: {other:?}")),
    }
    // A header that names a list is to name this one; the blocks of tests are made before their lists.
    let mut block = block.clone();
    block.header.block_access_list_hash = block.header.block_access_list_hash.map(|_| list.hash());
    [EAGER, BLIND, BACKWARDS].iter().find_map(|way| followed(case, *way, &block, &list, (outcome, &first)))
}

/// What goes wrong when a block is executed over its own witness, by the oracle and in parallel.
fn stateless(case: &Case, block: &RecoveredBlock, record: &Record, outcome: &BlockOutcome) -> Option<String> {
    let state = &case.world.state;
    let (nodes, root) = (StateTrie::of(state), state.state_root());
    let made = record.witness(&nodes, root, state, &outcome.changes).expect("a whole state");
    let hashes: Vec<_> = state.iter_block_hashes().collect();
    let witness = Witness::new(root, made.state.clone(), made.codes.clone(), hashes);
    let mut after = state.clone();
    after.apply(&outcome.changes);
    match witness.state_root_after(&outcome.changes) {
        Ok(root) if root == after.state_root() => {}
        other => return Some(format!("root over the witness: {other:?}, {made:#?}")),
    }
    let reader: Arc<dyn StateReader> = Arc::new(witness);
    for way in [EAGER, BACKWARDS] {
        // Backwards, a transaction may look at what it never would in order: the witness has none of that.
        match case.execute(way, block, Arc::clone(&reader)) {
            Ok(execution) if execution.outcome == *outcome => {}
            other => return Some(format!("{way:?} over the witness: {:?}, {made:#?}", other.map(|it| it.outcome))),
        }
    }
    None
}

/// What goes wrong when a block is executed by its own list.
fn followed(
    case: &Case,
    way: Way,
    block: &RecoveredBlock,
    list: &AccessList,
    (outcome, record): (&BlockOutcome, &Record),
) -> Option<String> {
    let options = ExecutorOptions { record: true, ..case.options(way) };
    let recorded = case.executor_with(way, options);
    let recorded = recorded.execute_by_access_list(block, case.reader(), &Arc::new(list.clone()));
    for (result, record) in [(by_list(case, way, block, list), None), (recorded, Some(record))] {
        let execution = match result {
            Ok(execution) => execution,
            Err(error) => return Some(format!("{way:?}, by its list: {error:?}, {list:#?}")),
        };
        if let Some(difference) = first_difference(&execution.outcome, outcome) {
            return Some(format!("{way:?}, by its list: {difference:#?}"));
        }
        if execution.record.as_ref() != record {
            return Some(format!("{way:?}, by its list: {:#?}, not {record:#?}", execution.record));
        }
        if execution.stats.aborts != 0 {
            return Some(format!("{way:?}, by its list: {:?}", execution.stats));
        }
    }
    None
}

fn fault(case: &Case, way: Way, list: &AccessList) -> AccessListFault {
    match by_list(case, way, &case.block(), list) {
        Err(BlockError::Invalid(InvalidBlock::AccessList(fault))) => *fault,
        other => panic!("{way:?}: {:?} for {list:#?}", other.map(|execution| execution.outcome)),
    }
}

const SENDER: Address = ALICE;
const FRIEND: Address = Address::repeat_byte(0x52);

/// One payment of one wei in a block of Prague, and its list.
fn payment() -> (Case, AccessList) {
    let world = World::new().account(FRIEND, 0, 5);
    let case = Case::new(Fork::Prague, &world, &[pay(SENDER, FRIEND, 1)]);
    let record = recorded(&case, BLIND, &case.block()).expect("valid").record.expect("asked for");
    (case, record.access_list())
}

fn entry(list: &mut AccessList, address: Address) -> &mut AccountChanges {
    list.accounts.iter_mut().find(|account| account.address == address).expect("listed")
}

/// The fault of the payment's block when its list is changed.
#[track_caller]
fn fault_after(change: impl FnOnce(&mut AccessList)) -> AccessListFault {
    let (case, mut list) = payment();
    change(&mut list);
    let found = fault(&case, EAGER, &list);
    assert_eq!(fault(&case, BACKWARDS, &list), found, "the fault does not depend on the schedule");
    found
}

#[test]
fn missing_account_is_found_where_it_is_looked_at() {
    let fault = fault_after(|list| list.accounts.retain(|account| account.address != FRIEND));
    assert_eq!(fault, AccessListFault::MissingAccess { position: 1, address: FRIEND, slot: None });
}

#[test]
fn missing_change_is_found_at_its_position() {
    let fault = fault_after(|list| entry(list, SENDER).nonce_changes.clear());
    assert!(matches!(fault, AccessListFault::MissingChange { position: 1, address: SENDER, .. }), "{fault:?}");
}

#[test]
fn wrong_value_is_found_with_both_values() {
    let fault = fault_after(|list| entry(list, FRIEND).balance_changes[0].post_balance = U256::from(7));
    assert!(matches!(fault, AccessListFault::WrongValue { position: 1, address: FRIEND, .. }), "{fault:?}");
}

#[test]
fn change_that_does_not_happen_is_found_at_its_position() {
    let later = BalanceChange::new(BlockAccessIndex::new(2), U256::from(9));
    let fault = fault_after(|list| entry(list, FRIEND).balance_changes.push(later));
    assert!(matches!(fault, AccessListFault::UnfoundedChange { position: 2, address: FRIEND, .. }), "{fault:?}");
}

#[test]
fn superfluous_account_and_read_are_found_at_the_end() {
    let fault = fault_after(|list| {
        let at = list.accounts.partition_point(|account| account.address < NOBODY);
        list.accounts.insert(at, AccountChanges::new(NOBODY));
    });
    assert_eq!(fault, AccessListFault::Superfluous { address: NOBODY, slot: None });
    let fault = fault_after(|list| entry(list, FRIEND).storage_reads.push(U256::from(3)));
    assert_eq!(fault, AccessListFault::Superfluous { address: FRIEND, slot: Some(U256::from(3)) });
}

#[test]
fn disorder_and_positions_beyond_the_block_are_found_before_anything_is_executed() {
    assert!(matches!(fault_after(|list| list.accounts.reverse()), AccessListFault::Malformed(_)));
    let beyond = BalanceChange::new(BlockAccessIndex::new(3), U256::from(9));
    let fault = fault_after(|list| entry(list, FRIEND).balance_changes.push(beyond));
    assert!(matches!(fault, AccessListFault::Malformed(_)), "{fault:?}");
}

#[test]
fn list_of_another_hash_than_the_headers_is_refused() {
    let (mut case, list) = payment();
    case.header.block_access_list_hash = Some(B256::repeat_byte(1));
    let expected = AccessListFault::Hash { expected: B256::repeat_byte(1), found: list.hash() };
    assert_eq!(fault(&case, EAGER, &list), expected);
}

#[test]
fn list_of_a_block_before_cancun_is_refused_without_its_extension() {
    let world = World::new().account(FRIEND, 0, 5);
    let case = Case::new(Fork::London, &world, &[pay(SENDER, FRIEND, 1)]);
    let record = recorded(&case, BLIND, &case.block()).expect("valid").record.expect("asked for");
    let mut list = record.access_list();
    list.extension = None;
    assert_eq!(fault(&case, EAGER, &list), AccessListFault::MissingExtension { fork: "London" });
}

#[test]
fn list_larger_than_the_gas_limit_allows_is_refused_before_anything_is_executed() {
    let (case, mut list) = payment();
    let slots = (0..3_000_000u64).map(U256::from).collect();
    entry(&mut list, FRIEND).storage_reads = slots;
    let fault = fault(&case.gas_limit(30_000_000), EAGER, &list);
    assert!(matches!(fault, AccessListFault::TooManyItems { .. }), "{fault:?}");
}

#[test]
fn slot_that_the_list_changes_at_every_position_is_found_at_the_first() {
    let world = World::new().account(FRIEND, 0, 5);
    let payments: Vec<_> = (0..200).map(|nonce| pay(SENDER, FRIEND, 1).nonce(nonce)).collect();
    let case = Case::new(Fork::Prague, &world, &payments);
    let record = recorded(&case, BLIND, &case.block()).expect("valid").record.expect("asked for");
    let mut list = record.access_list();
    let changes = (0..=201).map(|at| StorageChange::new(BlockAccessIndex::new(at), U256::from(at + 1))).collect();
    entry(&mut list, FRIEND).storage_changes.push(SlotChanges::new(U256::from(1), changes));
    let fault = fault(&case, EAGER, &list);
    assert!(matches!(fault, AccessListFault::UnfoundedChange { position: 0, address: FRIEND, .. }), "{fault:?}");
}

/// The case with those transactions alone that a builder keeps.
fn without_invalid(case: Case) -> Case {
    let skipping = case.skipping();
    let outcome = skipping.execute(BLIND, &skipping.block(), skipping.reader()).expect("nothing to reject").outcome;
    let is_kept = |index: usize| outcome.skipped.iter().all(|skipped| skipped.index != index);
    let kept = skipping.transactions.iter().enumerate().filter(|(index, _)| is_kept(*index));
    let transactions = kept.map(|(_, transaction)| transaction.clone()).collect();
    Case { invalid: InvalidTransactions::Reject, transactions, ..skipping.clone() }
}

/// Changes one thing in a list.
fn disturb(list: &mut AccessList, random: &mut ChaCha8Rng) {
    let at = random.random_range(0..list.accounts.len());
    let account = &mut list.accounts[at];
    match random.random_range(0..9) {
        0 => drop(list.accounts.remove(at)),
        1 if !account.balance_changes.is_empty() => account.balance_changes[0].post_balance ^= U256::from(1),
        2 if !account.balance_changes.is_empty() => drop(account.balance_changes.pop()),
        3 if !account.nonce_changes.is_empty() => account.nonce_changes[0].new_nonce += 1,
        4 if !account.storage_reads.is_empty() => drop(account.storage_reads.pop()),
        5 if !account.storage_changes.is_empty() => drop(account.storage_changes.pop()),
        6 if !account.storage_changes.is_empty() => {
            account.storage_changes[0].changes[0].new_value ^= U256::from(1);
        }
        7 if !account.code_changes.is_empty() => account.code_changes.clear(),
        _ => account.nonce_changes.push(alloy_eip7928::NonceChange::new(BlockAccessIndex::new(0), 77)),
    }
}

#[test]
fn every_random_block_has_the_list_that_revm_makes_and_can_be_executed_by_it() {
    for seed in 0..200 {
        let case = without_invalid(random_case(&mut ChaCha8Rng::seed_from_u64(seed)));
        let block = case.block();
        if let Ok(outcome) = case.oracle(&block, &case.world.state)
            && let Some(wrong) = wrong(&case, &block, &outcome, Verdict::Same)
        {
            panic!("seed {seed}: {wrong}");
        }
    }
}

#[test]
fn any_list_but_the_blocks_own_is_refused_for_what_is_wrong_with_it() {
    let mut tried = 0;
    for seed in 0..600 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // Of a block that a builder would make, the kept transactions are a block of their own.
        let case = without_invalid(random_case(&mut random));
        let block = case.block();
        let Ok(execution) = recorded(&case, EAGER, &block) else { continue };
        let own = execution.record.expect("asked for").access_list();
        if own.accounts.is_empty() {
            continue;
        }
        let mut list = own.clone();
        disturb(&mut list, &mut random);
        if list == own {
            continue;
        }
        tried += 1;
        let way = *[EAGER, BLIND, BACKWARDS].choose(&mut random).expect("not empty");
        let result = by_list(&case, way, &block, &list);
        assert!(
            matches!(result, Err(BlockError::Invalid(InvalidBlock::AccessList(_)))),
            "seed {seed}, {way:?}: {result:?} for {list:#?} instead of {own:#?}"
        );
    }
    assert!(tried > 200, "only {tried} lists were tried");
}

#[test]
fn state_that_fails_while_reading_ahead_is_no_fault_of_the_list() {
    let (case, list) = payment();
    let mut state = MemoryState::new(ropewalk_state::Completeness::Claimed);
    for address in [SENDER, FRIEND] {
        state.insert_account(address, case.world.state.account(&address).expect("recorded"));
    }
    let reader: Arc<dyn StateReader> = Arc::new(state);
    let result = case.executor(EAGER).execute_by_access_list(&case.block(), reader, &Arc::new(list));
    assert!(matches!(result, Err(BlockError::State { .. })), "{result:?}");
}

#[test]
fn extension_out_of_order_is_refused() {
    let clears = vec![(FRIEND, 1), (FRIEND, 1)];
    let extension = AccessListExtension { storage_cleared: clears, existence: Vec::new() };
    let fault = fault_after(|list| list.extension = Some(extension));
    assert_eq!(fault, AccessListFault::ExtensionDisorder { address: FRIEND, position: 1 });
}

/// The list of a valid block.
fn list_of(case: &Case) -> AccessList {
    case.check();
    recorded(case, BLIND, &case.block()).expect("valid").record.expect("asked for").access_list()
}

fn find(list: &AccessList, address: Address) -> Option<&AccountChanges> {
    list.accounts.iter().find(|account| account.address == address)
}

#[test]
fn eip7928_system_address_is_in_no_list_though_it_calls() {
    let list = list_of(&Case::new(Fork::Prague, &World::new(), &[pay(ALICE, FRIEND, 1)]));
    assert_eq!(find(&list, alloy_eips::eip4788::SYSTEM_ADDRESS), None);
    assert!(find(&list, alloy_eips::eip4788::BEACON_ROOTS_ADDRESS).is_some());
}

#[test]
fn eip7928_beneficiary_is_listed_where_a_transaction_touches_it_and_not_otherwise() {
    let with = |transactions: &[_]| list_of(&Case::new(Fork::Prague, &World::new(), transactions));
    assert_eq!(find(&with(&[]), MINER), None);
    assert!(find(&with(&[pay(ALICE, FRIEND, 1).tip(0)]), MINER).expect("touched").balance_changes.is_empty());
    assert_eq!(find(&with(&[pay(ALICE, FRIEND, 1)]), MINER).expect("tipped").balance_changes.len(), 1);
}

#[test]
fn eip7928_what_a_reverted_frame_looked_at_stays_in_the_list_and_what_it_wrote_counts_as_read() {
    let failing = Code::new().sstore(3, 7).call(CallKind::Call, FRIEND, 0).fail();
    let world = World::new().contract(FIRST, &failing);
    let list = list_of(&Case::new(Fork::Prague, &world, &[call(ALICE, FIRST)]));
    let first = find(&list, FIRST).expect("called");
    assert_eq!((first.storage_reads.as_slice(), first.storage_changes.len()), (&[U256::from(3)][..], 0));
    assert!(find(&list, FRIEND).is_some());
}

#[test]
fn eip7928_slot_written_with_the_value_it_has_counts_as_read() {
    let world = World::new().contract(FIRST, &Code::new().sstore(3, 7)).slot(FIRST, 3, 7);
    let list = list_of(&Case::new(Fork::Prague, &world, &[call(ALICE, FIRST)]));
    let first = find(&list, FIRST).expect("called");
    assert_eq!((first.storage_reads.as_slice(), first.storage_changes.len()), (&[U256::from(3)][..], 0));
}

#[test]
fn eip7928_entries_of_a_transactions_own_list_are_not_accesses() {
    let list = list_of(&Case::new(Fork::Prague, &World::new(), &[pay(ALICE, FRIEND, 1).warm(NOBODY, &[1, 2])]));
    assert_eq!(find(&list, NOBODY), None);
}

#[test]
fn eip7928_withdrawal_of_nothing_is_an_access() {
    let case = Case::new(Fork::Prague, &World::new(), &[]).withdrawals(&[(NOBODY, 0)]);
    assert_eq!(find(&list_of(&case), NOBODY), Some(&AccountChanges::new(NOBODY)));
}

#[test]
fn storage_that_is_cleared_and_accounts_that_exist_empty_are_in_the_extension() {
    let world = World::new().contract(FIRST, &Code::new().destroy(FRIEND)).slot(FIRST, 1, 5);
    let extension = list_of(&Case::new(Fork::London, &world, &[call(ALICE, FIRST)])).extension.expect("there");
    assert_eq!(extension, AccessListExtension { storage_cleared: vec![(FIRST, 1)], existence: vec![] });

    let extension = list_of(&Case::new(Fork::Frontier, &World::new(), &[pay(ALICE, FRIEND, 0)])).extension;
    assert_eq!(extension.expect("there").existence, [(FRIEND, 1, true)]);
}
