//! Traps 10 and 11: accounts that are there and empty, before and after EIP-161.

use alloy_primitives::{Address, U256, address};
use revm::bytecode::opcode as op;

use crate::{
    assembler::{CallKind, Code},
    case::check,
    transaction::{Tx, call, create, pay},
    world::*,
};

const RIPEMD: Address = address!("0x0000000000000000000000000000000000000003");

/// A contract that does one thing while a switch is off and another once it is on.
fn switched(on: Code, off: Code) -> Code {
    Code::new().on_input(1, Code::new().sstore(0, 1).op(op::STOP)).sload(0).branch(on, off)
}

fn switch_on(sender: Address, contract: Address) -> Tx {
    call(sender, contract).input([1])
}

#[test]
fn a_touch_deletes_an_empty_account_from_eip161_on_and_not_before() {
    let touches = [
        Code::new().pay(NOBODY, 0),
        Code::new().destroy(NOBODY),
        Code::new().call(CallKind::Call, NOBODY, 0).op(op::POP).balance(NOBODY).log_top(),
    ];
    for fork in Fork::ALL {
        for touch in &touches {
            let world = World::new().contract(FIRST, touch).empty(NOBODY);
            let checked = check(fork, &world, &[call(ALICE, FIRST), call(BOB, FIRST)]);
            assert_eq!(checked.account(NOBODY).is_some(), fork < Fork::SpuriousDragon, "{fork:?}");
        }
        let checked = check(fork, &World::new().empty(NOBODY), &[pay(ALICE, NOBODY, 0), pay(BOB, NOBODY, 0)]);
        assert_eq!(checked.account(NOBODY).is_some(), fork < Fork::SpuriousDragon, "{fork:?}");
    }
}

#[test]
fn a_call_without_value_makes_an_empty_account_before_eip161() {
    let world = World::new().contract(FIRST, &Code::new().pay(NOBODY, 0));
    for fork in Fork::ALL {
        let checked = check(fork, &world, &[call(ALICE, FIRST), pay(BOB, NEWCOMER, 0)]);
        let exist = [NOBODY, NEWCOMER].map(|address| checked.account(address).is_some());
        assert_eq!(exist, [fork < Fork::SpuriousDragon; 2], "{fork:?}");
    }
}

#[test]
fn looking_at_an_empty_account_is_no_touch() {
    let look = Code::new().balance(NOBODY).log_top().address(NOBODY).op(op::EXTCODESIZE).log_top();
    for fork in Fork::ALL {
        let checked = check(fork, &World::new().contract(FIRST, &look).empty(NOBODY), &[call(ALICE, FIRST)]);
        assert!(checked.account(NOBODY).is_some());
        assert_eq!(check(fork, &World::new().contract(FIRST, &look), &[call(ALICE, FIRST)]).account(NOBODY), None);
    }
}

#[test]
fn an_account_that_was_just_paid_is_touched_and_stays() {
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &Code::new().pay(NOBODY, 0)).empty(NOBODY);
        let checked = check(fork, &world, &[pay(ALICE, NOBODY, 1), call(BOB, FIRST), pay(CAROL, NOBODY, 0)]);
        assert_eq!(checked.balance(NOBODY), U256::ONE);
        let checked = check(fork, &world, &[call(BOB, FIRST), pay(ALICE, NOBODY, 1), pay(CAROL, NOBODY, 0)]);
        assert_eq!(checked.balance(NOBODY), U256::ONE);
    }
}

#[test]
fn touches_of_an_account_with_a_balance_commute_with_payments_to_it() {
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &Code::new().pay(NOBODY, 0)).account(NOBODY, 0, 1);
        check(fork, &world, &[pay(ALICE, NOBODY, 1), call(BOB, FIRST), pay(CAROL, NOBODY, 0)]).nobody_conflicts();
    }
}

/// The account goes with whatever storage it had, and comes back without.
#[test]
fn an_empty_account_with_storage_loses_it_with_the_touch() {
    for fork in Fork::ALL {
        let world = World::new().empty(NOBODY).slot(NOBODY, 1, 7).contract(FIRST, &Code::new().pay(NOBODY, 0));
        let checked = check(fork, &world, &[call(ALICE, FIRST), pay(BOB, NOBODY, 5)]);
        let kept = if fork < Fork::SpuriousDragon { 7 } else { 0 };
        assert_eq!(checked.slot(NOBODY, 1), U256::from(kept), "{fork:?}");
        let checked = check(fork, &world, &[pay(BOB, NOBODY, 5), call(ALICE, FIRST)]);
        assert_eq!(checked.slot(NOBODY, 1), U256::from(7), "{fork:?}");
    }
}

/// An attempt that has not seen the switch makes an account that in truth is never made, and the other way round.
#[test]
fn existence_learnt_from_an_aborted_touch_is_not_relied_upon() {
    for fork in Fork::ALL {
        for world in [World::new(), World::new().empty(NOBODY)] {
            for (on, off) in [(0, 1), (1, 0)] {
                let touch = |times| if times == 0 { Code::new() } else { Code::new().pay(NOBODY, 0) };
                let world = world.clone().contract(FIRST, &switched(touch(on), touch(off)));
                let world = world.funded(SECOND, 10, &Code::new().pay(NOBODY, 0).pay(NOBODY, 1));
                let transactions = |last: Tx| vec![switch_on(ALICE, FIRST), call(BOB, FIRST), last];
                check(fork, &world, &transactions(pay(CAROL, NOBODY, 0)));
                check(fork, &world, &transactions(call(CAROL, SECOND)));
                check(fork, &world, &transactions(call(CAROL, FIRST)));
                // Nothing but the fees' zero touches it.
                let free = if fork >= Fork::London { BASE_FEE.into() } else { 0 };
                let mut case = crate::case::Case::new(fork, &world, &transactions(pay(CAROL, ALICE, 1).price(free)));
                case.transactions.iter_mut().for_each(|transaction| *transaction = transaction.clone().price(free));
                case.beneficiary(NOBODY).check();
            }
        }
    }
}

#[test]
fn a_payment_learnt_from_an_aborted_attempt_is_not_relied_upon() {
    for fork in Fork::ALL {
        for (on, off) in [(0, 3), (3, 0)] {
            let world = World::new()
                .funded(FIRST, 10, &switched(Code::new().pay(NOBODY, on), Code::new().pay(NOBODY, off)))
                .contract(SECOND, &Code::new().pay(NOBODY, 0).balance(NOBODY).log_top());
            let transactions = [switch_on(ALICE, FIRST), call(BOB, FIRST), pay(CAROL, NOBODY, 0), call(DAVE, SECOND)];
            check(fork, &world, &transactions).somebody_conflicts();
        }
    }
}

/// A contract without code that was created before EIP-161 has no nonce: it is empty, and there.
#[test]
fn a_creation_without_code_leaves_an_empty_account_before_eip161_and_a_nonce_after() {
    for fork in Fork::ALL {
        let init = Code::new().sstore(1, 2);
        let created = ALICE.create(0);
        for transactions in [
            vec![create(ALICE, &init), pay(BOB, created, 0)],
            vec![pay(BOB, created, 0), create(ALICE, &init)],
            vec![pay(BOB, created, 1), create(ALICE, &init), pay(CAROL, created, 0)],
        ] {
            let checked = check(fork, &World::new(), &transactions);
            let account = checked.account(created).expect("it was created");
            assert_eq!(account.nonce, u64::from(fork >= Fork::SpuriousDragon), "{fork:?}");
            assert_eq!(checked.slot(created, 1), U256::from(2));
        }
    }
}

/// Trap 11: the touch of the precompile at 3 outlives the failure of the call that made it, as it once did on mainnet.
#[test]
fn a_touch_of_ripemd_survives_the_failure_of_its_call() {
    let touch_and_fail = |touched| Code::new().pay(touched, 0).fail();
    let outer = |inner| Code::new().call(CallKind::Call, inner, 0).log_top();
    let sha256 = address!("0x0000000000000000000000000000000000000002");
    for fork in Fork::ALL {
        let world = World::new()
            .empty(RIPEMD)
            .empty(sha256)
            .contract(FIRST, &touch_and_fail(RIPEMD))
            .contract(SECOND, &touch_and_fail(sha256))
            .contract(THIRD, &outer(FIRST).then(outer(SECOND)));
        for transactions in [
            vec![call(ALICE, FIRST), call(ALICE, SECOND)],
            vec![call(BOB, THIRD), call(CAROL, THIRD)],
            vec![call(ALICE, FIRST), pay(BOB, RIPEMD, 1), call(CAROL, FIRST)],
        ] {
            let paid = transactions.len() == 3;
            let checked = check(fork, &world, &transactions);
            assert_eq!(checked.account(RIPEMD).is_some(), fork < Fork::SpuriousDragon || paid, "{fork:?}");
            assert!(checked.account(sha256).is_some(), "{fork:?}");
        }
    }
}

#[test]
fn a_failed_call_of_a_new_account_leaves_no_account() {
    let world = World::new().funded(FIRST, 5, &Code::new().pay(NOBODY, 0).pay(NEWCOMER, 1).fail());
    for fork in Fork::ALL {
        let checked = check(fork, &world, &[call(ALICE, FIRST), call(BOB, FIRST)]);
        assert_eq!([NOBODY, NEWCOMER].map(|address| checked.account(address)), [None, None]);
    }
}

#[test]
fn before_eip161_the_price_of_a_call_hangs_on_existence_even_without_value() {
    let world =
        World::new().contract(FIRST, &Code::new().pay(NOBODY, 0)).contract(SECOND, &Code::new().destroy(NOBODY));
    for fork in Fork::SpuriousDragon.earlier() {
        let checked = check(fork, &world, &[call(ALICE, FIRST), call(BOB, FIRST), call(CAROL, SECOND)]);
        assert_eq!(checked.gas_used(0) - checked.gas_used(1), 25_000, "{fork:?}");
        check(fork, &world, &[call(CAROL, SECOND), call(ALICE, FIRST), call(BOB, SECOND)]);
    }
}
