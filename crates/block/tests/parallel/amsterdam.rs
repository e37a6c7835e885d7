//! Traps 12 and 13 from Amsterdam on: payments leave logs (EIP-7708), and a destroyed account keeps what it is left
//! with (EIP-8246).

use std::sync::Arc;

use alloy_hardforks::{EthereumHardfork, ForkCondition};
use alloy_primitives::{Address, B256, U256, address, keccak256};
use ropewalk_block::ChainSpec;

use crate::{
    assembler::{CallKind, Code},
    case::{Case, Checked},
    transaction::{Tx, call, create, pay},
    world::*,
};

/// Who emits the logs of EIP-7708.
const SYSTEM: Address = address!("0xfffffffffffffffffffffffffffffffffffffffe");

/// A block of a chain that has been at Amsterdam from its beginning.
fn amsterdam(world: &World, transactions: &[Tx]) -> Case {
    let at = |fork: &EthereumHardfork| match fork {
        fork if *fork < EthereumHardfork::Paris => ForkCondition::Block(0),
        EthereumHardfork::Paris => {
            ForkCondition::TTD { activation_block_number: 0, fork_block: None, total_difficulty: U256::ZERO }
        }
        _ => ForkCondition::Timestamp(0),
    };
    let until = |fork: &&EthereumHardfork| {
        **fork <= EthereumHardfork::Osaka && **fork != EthereumHardfork::Dao || **fork == EthereumHardfork::Amsterdam
    };
    let forks = EthereumHardfork::VARIANTS.iter().filter(until).map(|fork| (*fork, at(fork)));
    let mut case = Case::new(Fork::Osaka, world, transactions);
    case.chain = Arc::new(ChainSpec::from_forks(1, forks, [], None).expect("a consistent chain"));
    case.header.slot_number = Some(7);
    case.header.block_access_list_hash = Some(B256::ZERO);
    case
}

/// The payments that a transaction's logs tell of: who, to whom, how much.
fn payments(checked: &Checked, index: usize) -> Vec<(Address, Address, U256)> {
    let transfer = keccak256("Transfer(address,address,uint256)");
    let logs = checked.outcome.receipts[index].logs().iter();
    let told = logs.filter(|log| log.address == SYSTEM && log.data.topics()[0] == transfer).map(|log| {
        let side = |at: usize| Address::from_word(log.data.topics()[at]);
        (side(1), side(2), U256::from_be_slice(&log.data.data))
    });
    told.collect()
}

#[test]
fn eip7708_logs_of_payments_are_in_the_receipts_in_order() {
    let passing = Code::new().log(1).pay(NOBODY, 2).log(2).pay(THIRD, 3).log(3);
    let world = World::new().funded(FIRST, 100, &passing);
    // An account that begins to exist takes more gas than a payment is given otherwise (EIP-8037).
    let transactions = [pay(ALICE, NOBODY, 5), call(BOB, FIRST).value(9), pay(ALICE, BOB, 0), pay(CAROL, NOBODY, 6)]
        .map(|transaction| transaction.gas(1_000_000));
    let checked = amsterdam(&world, &transactions).check();
    assert_eq!(payments(&checked, 0), [(ALICE, NOBODY, U256::from(5))]);
    let passed_on = [(BOB, FIRST, U256::from(9)), (FIRST, NOBODY, U256::from(2)), (FIRST, THIRD, U256::from(3))];
    assert_eq!(payments(&checked, 1), passed_on);
    assert_eq!(payments(&checked, 2), []);
    assert_eq!(payments(&checked, 3), [(CAROL, NOBODY, U256::from(6))]);
}

#[test]
fn eip7708_logs_tell_of_creations_and_not_of_what_was_reverted() {
    let creating = Code::new().create(&Code::new(), 4).log_top();
    let failing = Code::new().pay(NOBODY, 1).revert();
    let world = World::new().funded(FIRST, 100, &creating).funded(SECOND, 100, &failing);
    let transactions = [
        create(ALICE, &Code::new()).value(3),
        call(BOB, FIRST),
        call(CAROL, SECOND).value(8),
        call(DAVE, FIRST).value(1),
    ];
    let checked = amsterdam(&world, &transactions).check();
    assert_eq!(payments(&checked, 0), [(ALICE, ALICE.create(0), U256::from(3))]);
    assert_eq!(payments(&checked, 1), [(FIRST, FIRST.create(1), U256::from(4))]);
    assert_eq!(payments(&checked, 2), []);
    assert_eq!(payments(&checked, 3).len(), 2);
}

#[test]
fn eip7708_logs_tell_of_what_a_destroyed_contract_gives_away() {
    let destroying = Code::new().destroy(NOBODY);
    let made_and_destroyed = Code::new().destroy(THIRD);
    let world = World::new().funded(FIRST, 50, &destroying);
    let transactions = [call(BOB, FIRST).value(5), create(CAROL, &made_and_destroyed).value(7)];
    let checked = amsterdam(&world, &transactions).check();
    assert_eq!(payments(&checked, 0), [(BOB, FIRST, U256::from(5)), (FIRST, NOBODY, U256::from(55))]);
    assert!(payments(&checked, 1).contains(&(CAROL.create(0), THIRD, U256::from(7))));
}

#[test]
fn eip8246_what_is_left_to_a_destroyed_account_does_not_burn() {
    let to_itself = Code::new().op(revm::bytecode::opcode::ADDRESS).op(revm::bytecode::opcode::SELFDESTRUCT);
    let paid_after = Code::new().call(CallKind::Call, ALICE.create(0), 6).log_top();
    let world = World::new().funded(FIRST, 100, &paid_after);
    let transactions = [create(ALICE, &to_itself).value(9), call(BOB, FIRST), pay(CAROL, ALICE.create(0), 1)];
    let checked = amsterdam(&world, &transactions).check();
    assert_eq!(checked.balance(ALICE.create(0)), U256::from(9 + 6 + 1));
}
