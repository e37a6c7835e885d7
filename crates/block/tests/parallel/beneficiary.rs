//! Trap 4: the account that gets the fees, in all its roles. Fees are credits, and only a real look at the account makes
//! them anything else.

use alloy_primitives::{Address, U256};
use revm::bytecode::opcode as op;

use crate::{
    assembler::{CallKind, Code, create2_address},
    case::{Case, Checked, check},
    transaction::{call, create, pay},
    world::*,
};

/// What a transaction leaves the beneficiary per unit of gas, in wei.
fn tip(fork: Fork) -> u64 {
    if fork >= Fork::London { 3 } else { 10 }
}

/// What a block itself pays its beneficiary, in wei.
fn reward(fork: Fork) -> U256 {
    let ether = match fork {
        _ if fork >= Fork::Paris => 0,
        _ if fork >= Fork::Petersburg => 2,
        _ if fork >= Fork::Byzantium => 3,
        _ => 5,
    };
    U256::from(ether * ETHER)
}

#[track_caller]
fn check_for(beneficiary: Address, fork: Fork, world: &World, transactions: &[crate::transaction::Tx]) -> Checked {
    Case::new(fork, world, transactions).beneficiary(beneficiary).check()
}

#[test]
fn fees_commute() {
    for fork in Fork::ALL {
        let transactions = [pay(ALICE, NOBODY, 1), pay(BOB, NOBODY, 1), pay(CAROL, NOBODY, 1), pay(DAVE, NOBODY, 1)];
        let checked = check(fork, &World::new(), &transactions).nobody_conflicts();
        assert_eq!(checked.balance(MINER), U256::from(4 * 21_000 * tip(fork)) + reward(fork));
    }
}

#[test]
fn the_beneficiary_spends_the_fees_of_the_transaction_before() {
    for fork in Fork::ALL {
        let transactions = [
            pay(ALICE, NOBODY, 1).price(1000),
            pay(MINER, NOBODY, 2).gas(21_000),
            pay(BOB, MINER, 5),
            call(CAROL, MINER),
        ];
        let checked = check(fork, &World::new(), &transactions).somebody_conflicts();
        assert_eq!(checked.balance(NOBODY), U256::from(3));
    }
}

#[test]
fn the_beneficiary_sends_and_receives_between_others() {
    for fork in Fork::ALL {
        let world = World::new().account(MINER, 3, ETHER);
        let transactions = [
            pay(MINER, ALICE, 5),
            pay(ALICE, MINER, 6),
            pay(MINER, MINER, 7),
            pay(BOB, MINER, 8),
            pay(MINER, NOBODY, ETHER / 2),
        ];
        check(fork, &world, &transactions);
    }
}

#[test]
fn balance_of_the_coinbase_is_read_between_fees() {
    let look = Code::new().op(op::COINBASE).op(op::BALANCE).log_top();
    let world = World::new().contract(FIRST, &look);
    for fork in Fork::ALL {
        let transactions = [pay(ALICE, NOBODY, 1), call(BOB, FIRST), pay(CAROL, NOBODY, 1), call(DAVE, FIRST)];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        let fee = |index| U256::from(checked.gas_used(index) * tip(fork));
        assert_eq!(checked.logged(1), [fee(0)], "{fork:?}");
        assert_eq!(checked.logged(3), [fee(0) + fee(1) + fee(2)], "{fork:?}");
    }
}

#[test]
fn contracts_that_pay_the_coinbase_commute_with_fees() {
    let bribe = Code::new().push(0).push(0).push(0).push(0).op(op::CALLVALUE).op(op::COINBASE).push(50_000);
    let world = World::new().account(MINER, 0, 1).contract(FIRST, &bribe.op(op::CALL).log_top());
    for fork in Fork::ALL {
        let transactions = [call(ALICE, FIRST).value(100), call(BOB, FIRST).value(200), pay(CAROL, NOBODY, 3)];
        let checked = check(fork, &world, &transactions);
        assert_eq!((checked.logged(0), checked.logged(1)), (vec![U256::ONE], vec![U256::ONE]));
    }
}

#[test]
fn the_beneficiary_is_a_contract_that_is_called_and_pays() {
    let code = Code::new().increment(0).op(op::ADDRESS).op(op::BALANCE).log_top().pay(NOBODY, 1000);
    for fork in Fork::ALL {
        let world = World::new().contract(MINER, &code);
        let transactions =
            [pay(ALICE, NOBODY, 1), call(BOB, MINER), call(CAROL, MINER).value(50), pay(DAVE, NOBODY, 1)];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        assert_eq!((checked.slot(MINER, 0), checked.balance(NOBODY)), (U256::from(2), U256::from(2002)));
    }
}

#[test]
fn the_beneficiary_is_created_after_it_has_got_fees() {
    let init = Code::new().op(op::ADDRESS).op(op::BALANCE).log_top().sstore(1, 2).deploying(&Code::new().increment(1));
    for fork in Fork::ALL {
        let created = BOB.create(8);
        let transactions = [pay(ALICE, NOBODY, 1), pay(BOB, NOBODY, 1), create(BOB, &init), call(CAROL, created)];
        let checked = check_for(created, fork, &World::new(), &transactions).somebody_conflicts();
        assert_eq!(checked.logged(2), [U256::from(2 * 21_000 * tip(fork))], "{fork:?}");
        assert_eq!(checked.slot(created, 1), U256::from(3));
    }
}

/// A contract that is destroyed in the transaction whose tip it gets burns the tip, as whatever else it is paid.
#[test]
fn the_tip_burns_when_the_transaction_destroys_the_beneficiary() {
    for fork in Fork::Frontier.onwards().filter(|fork| *fork < Fork::Cancun) {
        let world = World::new().funded(FIRST, 5, &Code::new().destroy(NOBODY));
        let transactions = [pay(ALICE, NOBODY, 1), call(BOB, FIRST), pay(CAROL, NOBODY, 1), call(DAVE, FIRST)];
        let checked = check_for(FIRST, fork, &world, &transactions).somebody_conflicts();
        let fee = |index| U256::from(checked.gas_used(index) * tip(fork));
        assert_eq!(checked.balance(FIRST), fee(2) + fee(3) + reward(fork), "{fork:?}");
        assert_eq!(checked.balance(NOBODY), U256::from(7) + fee(0), "{fork:?}");
    }
}

#[test]
fn the_tip_stays_when_the_beneficiary_merely_sends_its_balance_away() {
    for fork in Fork::Cancun.onwards() {
        let world = World::new().funded(FIRST, 5, &Code::new().destroy(NOBODY));
        let transactions = [pay(ALICE, NOBODY, 1), call(BOB, FIRST), pay(CAROL, NOBODY, 1), call(DAVE, FIRST)];
        let checked = check_for(FIRST, fork, &world, &transactions);
        assert_eq!(checked.balance(FIRST), U256::from(checked.gas_used(3) * tip(fork)), "{fork:?}");
    }
}

#[test]
fn the_tip_burns_when_the_beneficiary_is_created_and_destroyed_in_one_transaction() {
    let init = Code::new().destroy(NOBODY);
    let factory = Code::new().create2(&init, 0, 9).log_top();
    let world = World::new().contract(FIRST, &factory);
    let created = create2_address(FIRST, 9, &init);
    for fork in Fork::Petersburg.onwards() {
        let transactions = [pay(ALICE, NOBODY, 1), call(BOB, FIRST), pay(CAROL, NOBODY, 1)];
        let checked = check_for(created, fork, &world, &transactions).somebody_conflicts();
        assert_eq!(checked.balance(created), U256::from(21_000 * tip(fork)) + reward(fork), "{fork:?}");
    }
}

#[test]
fn contracts_destroy_themselves_in_favour_of_the_beneficiary() {
    for fork in Fork::ALL {
        let heir = Code::new().op(op::COINBASE).op(op::SELFDESTRUCT);
        let world = World::new().funded(FIRST, 5, &heir).contract(SECOND, &heir);
        check(fork, &world, &[call(ALICE, SECOND), pay(BOB, NOBODY, 1), call(CAROL, FIRST), call(DAVE, FIRST)]);
    }
}

#[test]
fn a_zero_tip_touches_the_beneficiary() {
    let free = |fork| if fork >= Fork::London { BASE_FEE.into() } else { 0 };
    for fork in Fork::ALL {
        let transactions = [pay(ALICE, NOBODY, 1).price(free(fork)), pay(BOB, NOBODY, 1).price(free(fork))];
        let world = World::new().empty(MINER);
        let exists = fork < Fork::SpuriousDragon;
        let checked = check(fork, &world, &transactions);
        assert_eq!(checked.account(MINER).is_some(), exists || !reward(fork).is_zero(), "{fork:?}");
        let checked = check(fork, &World::new(), &transactions);
        assert_eq!(checked.account(MINER).is_some(), exists || !reward(fork).is_zero(), "{fork:?}");
    }
}

#[test]
fn a_zero_tip_neither_conflicts_with_payments_nor_takes_what_is_there() {
    let free = |fork| if fork >= Fork::London { BASE_FEE.into() } else { 0 };
    for fork in Fork::ALL {
        let world = World::new().account(MINER, 0, 5);
        let transactions = [pay(ALICE, MINER, 1), pay(BOB, NOBODY, 1).price(free(fork)), pay(CAROL, MINER, 1)];
        let checked = check(fork, &world, &transactions).nobody_conflicts();
        let fees = 2 * 21_000 * tip(fork);
        assert_eq!(checked.balance(MINER), U256::from(7 + fees) + reward(fork));
    }
}

/// A zero tip touches an address at which a lower transaction creates a contract: to an attempt that has not seen it,
/// the touch looks as if it made the account, before EIP-161, or found nothing, after.
#[test]
fn a_zero_tip_does_not_clear_the_storage_of_a_beneficiary_that_was_just_created() {
    let init = Code::new().sstore(1, 2).deploying(&Code::new().sload(1).log_top());
    let free = |fork| if fork >= Fork::London { BASE_FEE.into() } else { 0 };
    for fork in Fork::ALL {
        let created = BOB.create(7);
        let transactions = [
            create(BOB, &init).price(free(fork)),
            pay(ALICE, NOBODY, 1).price(free(fork)),
            call(CAROL, created).price(free(fork)),
        ];
        let checked = check_for(created, fork, &World::new(), &transactions);
        assert_eq!((checked.slot(created, 1), checked.logged(2)), (U256::from(2), vec![U256::from(2)]), "{fork:?}");
    }
}

#[test]
fn the_beneficiary_is_called_without_value_among_zero_tips() {
    let free = |fork| if fork >= Fork::London { BASE_FEE.into() } else { 0 };
    let look = Code::new().call(CallKind::Call, MINER, 0).log_top().balance(MINER).log_top();
    for fork in Fork::ALL {
        for world in [World::new(), World::new().empty(MINER), World::new().account(MINER, 0, 1)] {
            let world = world.contract(FIRST, &look);
            let transactions = [
                call(ALICE, FIRST).price(free(fork)),
                pay(BOB, MINER, 0).price(free(fork)),
                pay(CAROL, MINER, 1).price(free(fork)),
                call(DAVE, FIRST).price(free(fork)),
            ];
            check(fork, &world, &transactions);
        }
    }
}
