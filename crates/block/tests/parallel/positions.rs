//! Traps 15 and 17: what runs before and after the transactions is seen by them, and sees them.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_eips::{
    eip2935::HISTORY_STORAGE_ADDRESS, eip4788::BEACON_ROOTS_ADDRESS, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
};
use alloy_evm::eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY};
use alloy_hardforks::{EthereumHardfork, ForkCondition};
use alloy_primitives::{Address, B256, U256, address};
use revm::bytecode::opcode as op;
use ropewalk_block::ChainSpec;

use crate::{
    assembler::Code,
    case::{Case, check},
    transaction::{call, pay},
    world::*,
};

const SYSTEM: Address = address!("0xfffffffffffffffffffffffffffffffffffffffe");

/// A system contract that keeps what the system tells it in slot 1, counts such calls in slot 2, and tells both to
/// anybody else.
fn keeping() -> Code {
    let keep = Code::new().push(0).op(op::CALLDATALOAD).store(1).increment(2).log(9);
    let tell = Code::new().sload(1).log_top().sload(2).log_top();
    Code::new().op(op::CALLER).address(SYSTEM).op(op::EQ).branch(keep, tell)
}

#[test]
fn transactions_see_what_the_system_calls_before_them_wrote() {
    for fork in Fork::Cancun.onwards() {
        let world =
            World::new().contract(BEACON_ROOTS_ADDRESS, &keeping()).contract(HISTORY_STORAGE_ADDRESS, &keeping());
        let transactions = [call(ALICE, BEACON_ROOTS_ADDRESS), call(BOB, HISTORY_STORAGE_ADDRESS)];
        let checked = check(fork, &world, &transactions).nobody_conflicts();
        let root = U256::from_be_bytes(B256::repeat_byte(0x4b).0);
        assert_eq!(checked.logged(0), [root, U256::ONE], "{fork:?}");
        let calls = u64::from(fork >= Fork::Prague);
        assert_eq!(checked.logged(1)[1], U256::from(calls), "{fork:?}");
        assert_eq!(checked.account(SYSTEM), None);
    }
}

#[test]
fn the_system_address_may_have_an_account_of_its_own() {
    for fork in Fork::Cancun.onwards() {
        for world in
            [World::new().empty(SYSTEM), World::new().account(SYSTEM, 0, 5), World::new().account(SYSTEM, 3, ETHER)]
        {
            let world = world.contract(BEACON_ROOTS_ADDRESS, &keeping());
            check(fork, &world, &[call(ALICE, BEACON_ROOTS_ADDRESS), pay(BOB, SYSTEM, 0), pay(CAROL, SYSTEM, 2)]);
        }
    }
}

#[test]
fn the_system_calls_after_the_transactions_see_what_these_wrote() {
    // Answers the system with its count, and counts for everybody else.
    let answer = Code::new().sload(1).push(0).op(op::MSTORE).sstore(1, 0).push(32).push(0).op(op::RETURN);
    let counting = Code::new().op(op::CALLER).address(SYSTEM).op(op::EQ).branch(answer, Code::new().increment(1));
    for fork in Fork::Prague.onwards() {
        let world = World::new().contract(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &counting);
        let transactions = [ALICE, BOB, CAROL].map(|sender| call(sender, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS));
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        let requests = checked.outcome.requests.clone().take();
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0][0], requests[0][32]), (1, 3));
        assert_eq!(checked.slot(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, 1), U256::ZERO);
    }
}

#[test]
fn withdrawals_reach_whatever_the_transactions_left() {
    let gwei = U256::from(1_000_000_000);
    for fork in Fork::Shanghai.onwards() {
        let world = World::new().funded(FIRST, 5, &Code::new().destroy(NOBODY)).empty(SECOND).account(THIRD, 0, 1);
        let huge = Address::repeat_byte(0x61);
        let world = world.account(huge, 0, U256::MAX - U256::from(5));
        let withdrawals =
            [(FIRST, 1), (SECOND, 0), (THIRD, 2), (NEWCOMER, 3), (NEWCOMER, 4), (MINER, 5), (huge, 1), (DAVE, 0)];
        let transactions = [call(ALICE, FIRST), pay(BOB, THIRD, 3), pay(CAROL, NEWCOMER, 4)];
        let checked = Case::new(fork, &world, &transactions).withdrawals(&withdrawals).check();
        assert_eq!(checked.balance(FIRST), gwei);
        assert_eq!(checked.balance(NEWCOMER), U256::from(7) * gwei + U256::from(4));
        assert_eq!(checked.account(SECOND), None);
    }
}

#[test]
fn rewards_are_paid_after_the_last_transaction() {
    for fork in Fork::Paris.earlier() {
        // What the miner spends is what it has before the reward.
        let world = World::new().account(MINER, 0, ETHER);
        let (index, _) = Case::new(fork, &world, &[pay(MINER, NOBODY, 2 * ETHER)]).check_invalid();
        assert_eq!(index, 0);
        let look = World::new().contract(FIRST, &Code::new().balance(MINER).log_top());
        let checked = check(fork, &look, &[call(ALICE, FIRST)]);
        assert_eq!(checked.logged(0), [U256::ZERO]);
        assert!(checked.balance(MINER) > U256::from(ETHER));
    }
}

#[test]
fn a_miner_that_was_destroyed_gets_its_reward() {
    for fork in Fork::Paris.earlier() {
        let world = World::new().funded(MINER, 5, &Code::new().destroy(NOBODY)).slot(MINER, 1, 1);
        let checked = check(fork, &world, &[pay(ALICE, NOBODY, 1), call(BOB, MINER)]);
        let account = checked.account(MINER).expect("it was rewarded");
        assert!(!account.has_code() && account.nonce == 0);
        assert_eq!(checked.slot(MINER, 1), U256::ZERO);
    }
}

#[test]
fn ommers_are_rewarded() {
    for fork in Fork::Paris.earlier() {
        let case = Case::new(fork, &World::new(), &[pay(ALICE, NOBODY, 1)]);
        let mut block = case.block();
        block.ommers = [(NOBODY, 1), (NEWCOMER, 6), (MINER, 2)]
            .map(|(beneficiary, age)| Header { number: NUMBER - age, beneficiary, ..Header::default() })
            .to_vec();
        let theirs = case.oracle(&block, &case.world.state).expect("a valid block");
        for way in crate::case::Way::all(0..1) {
            let ours = case.execute(way, &block, case.reader()).expect("a valid block").outcome;
            assert_eq!(ropewalk_block::first_difference(&ours, &theirs), None);
        }
    }
}

/// The rules move the funds before the transactions, the oracle after them. Where a transaction can tell, the rules win.
#[test]
fn eip779_moves_the_daos_funds_before_the_transactions() {
    let dao = DAO_HARDFORK_ACCOUNTS[3];
    let forks = [
        (EthereumHardfork::Frontier, ForkCondition::Block(0)),
        (EthereumHardfork::Homestead, ForkCondition::Block(0)),
        (EthereumHardfork::Dao, ForkCondition::Block(NUMBER)),
    ];
    let chain = Arc::new(ChainSpec::from_forks(1, forks, [], None).expect("a consistent chain"));
    let look = Code::new().balance(dao).log_top().balance(DAO_HARDFORK_BENEFICIARY).log_top();
    let contract = Code::new().log(1);
    let world = World::new().funded(dao, 50, &contract).funded(DAO_HARDFORK_ACCOUNTS[5], 7, &contract);
    let world = world.contract(FIRST, &look);
    let at_fork =
        |transactions: &[_]| Case { chain: Arc::clone(&chain), ..Case::new(Fork::Homestead, &world, transactions) };

    let unaware = at_fork(&[pay(ALICE, NOBODY, 1)]).check();
    assert_eq!(unaware.balance(DAO_HARDFORK_BENEFICIARY), U256::from(57));

    let aware = at_fork(&[call(ALICE, FIRST), pay(BOB, dao, 9), call(CAROL, FIRST)]).check_without_oracle();
    assert_eq!([0, 2].map(|index| aware.logged(index)), [[0, 57], [9, 57]].map(|told| told.map(U256::from).to_vec()));
    assert_eq!((aware.balance(dao), aware.balance(DAO_HARDFORK_BENEFICIARY)), (U256::from(9), U256::from(57)));
}
