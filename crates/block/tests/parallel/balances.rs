//! Balances: credits and debits commute as long as every decision that hangs on them stays the same.
//!
//! Trap 18: nobody may be taken to afford what it cannot.

use alloy_primitives::{Address, U256};
use revm::{bytecode::opcode as op, context_interface::result::InvalidTransaction};
use ropewalk_block::TransactionFault;

use crate::{
    assembler::{CallKind, Code},
    case::{Case, check, check_invalid},
    transaction::{call, create, pay},
    world::*,
};

/// Almost more wei than an account can hold.
const HUGE: U256 = U256::from_limbs([u64::MAX - 9, u64::MAX, u64::MAX, u64::MAX]);

/// A contract that pays an amount to an account and logs whether that worked.
fn paying(to: Address, amount: u64) -> Code {
    Code::new().call(CallKind::Call, to, amount).log_top()
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<U256> {
    numbers.into_iter().map(U256::from).collect()
}

#[test]
fn payments_to_one_account_commute() {
    for fork in Fork::ALL {
        let transactions = [pay(ALICE, NOBODY, 5), pay(BOB, NOBODY, 6), pay(CAROL, NOBODY, 7), pay(DAVE, NOBODY, 8)];
        let checked = check(fork, &World::new(), &transactions).nobody_conflicts();
        assert_eq!(checked.balance(NOBODY), U256::from(26));
    }
}

#[test]
fn a_chain_of_payments_in_which_each_is_affordable_by_the_one_before() {
    let (poor, poorer) = (Address::repeat_byte(0x61), Address::repeat_byte(0x62));
    for fork in Fork::ALL {
        let transactions = [pay(ALICE, poor, ETHER), pay(poor, poorer, ETHER / 2), pay(poorer, NOBODY, ETHER / 4)];
        let checked = check(fork, &World::new(), &transactions).somebody_conflicts();
        assert_eq!(checked.balance(NOBODY), U256::from(ETHER / 4));
    }
}

#[test]
fn many_payments_ahead_of_their_turn_of_which_some_cannot_be_made() {
    let (poor, poorer) = (Address::repeat_byte(0x61), Address::repeat_byte(0x62));
    let of_one_sender = (1..=40).map(|amount| pay(ALICE, NOBODY, amount));
    let one_by_one = [pay(BOB, poor, ETHER), pay(poor, poorer, ETHER / 2), pay(poor, NOBODY, 3)];
    let too_much = [pay(poorer, NOBODY, ETHER), pay(poorer, NOBODY, 5).nonce(7), pay(poorer, poor, ETHER / 4).nonce(0)];
    let more = (1..=20).map(|amount| pay(poor, MINER, amount));
    let transactions: Vec<_> = of_one_sender.chain(one_by_one).chain(too_much).chain(more).collect();
    for fork in Fork::ALL {
        let checked = Case::new(fork, &World::new(), &transactions).skipping().check();
        assert_eq!(checked.outcome.skipped.iter().map(|skipped| skipped.index).collect::<Vec<_>>(), [43, 44]);
        assert_eq!(checked.balance(NOBODY), U256::from(41 * 20 + 3));
    }
}

#[test]
fn a_payment_to_an_account_that_has_code_when_its_turn_comes() {
    for fork in Fork::ALL {
        let pays = (1..=10).map(|amount| pay(BOB, ALICE.create(0), amount));
        let deployed = create(ALICE, &Code::new().deploying(&Code::new().sstore(1, 2)));
        let before = (1..=10).map(|amount| pay(CAROL, ALICE.create(0), amount));
        let transactions: Vec<_> = before.chain([deployed]).chain(pays).collect();
        check(fork, &World::new(), &transactions);
    }
}

#[test]
fn a_sender_is_poor_until_a_contract_pays_it() {
    let poor = Address::repeat_byte(0x61);
    let world = World::new().funded(FIRST, ETHER, &Code::new().pay(poor, ETHER / 2));
    for fork in Fork::ALL {
        let checked = check(fork, &world, &[call(ALICE, FIRST), pay(poor, NOBODY, 3)]).somebody_conflicts();
        assert_eq!(checked.balance(NOBODY), U256::from(3));
    }
}

#[test]
fn a_sender_must_afford_its_whole_gas_limit_although_it_will_pay_less() {
    let poor = Address::repeat_byte(0x61);
    let limit = 100_000;
    let needed = u128::from(limit) * 10 + 7;
    for (balance, affordable) in [(needed, true), (needed - 1, false)] {
        let world = World::new().account(poor, 0, 1);
        let transactions = [pay(ALICE, poor, balance - 1), pay(poor, NOBODY, 7).gas(limit)];
        if affordable {
            check(Fork::Prague, &world, &transactions);
        } else {
            let (index, fault) = check_invalid(Fork::Prague, &world, &transactions);
            let lack = InvalidTransaction::LackOfFundForMaxFee {
                fee: Box::new(U256::from(needed)),
                balance: Box::new(U256::from(balance)),
            };
            assert_eq!((index, fault), (1, TransactionFault::Invalid(lack)));
        }
    }
}

#[test]
fn a_contract_pays_out_exactly_what_an_earlier_payment_left_it_and_not_one_wei_more() {
    for fork in Fork::ALL {
        for (amount, works) in [(15, 1), (16, 0)] {
            let world = World::new().funded(FIRST, 5, &paying(NOBODY, amount));
            let feeder = World { state: world.state }.funded(SECOND, 10, &Code::new().destroy(FIRST));
            let checked = check(fork, &feeder, &[call(ALICE, SECOND), call(BOB, FIRST)]);
            assert_eq!(checked.logged(1), numbers([works]), "{fork:?} {amount}");
            assert_eq!(checked.balance(NOBODY), U256::from(amount * works));
        }
    }
}

#[test]
fn payouts_that_are_affordable_in_any_case_commute_with_payments_in() {
    let world = World::new().funded(FIRST, 1000, &paying(NOBODY, 5)).account(NOBODY, 0, 1);
    for fork in Fork::ALL {
        let transactions = [call(ALICE, FIRST).value(7), call(BOB, FIRST), call(CAROL, FIRST), call(DAVE, FIRST)];
        let checked = check(fork, &world, &transactions).nobody_conflicts();
        assert_eq!(checked.balance(FIRST), U256::from(987));
    }
}

#[test]
fn payouts_that_fail_in_any_case_commute_with_payments_in() {
    let world = World::new().funded(FIRST, 1, &paying(NOBODY, 1000));
    let transactions = [call(ALICE, FIRST).value(7), call(BOB, FIRST), call(CAROL, FIRST)];
    let checked = check(Fork::Cancun, &world, &transactions).nobody_conflicts();
    assert_eq!((0..3).flat_map(|index| checked.logged(index)).collect::<Vec<_>>(), numbers([0, 0, 0]));
}

#[test]
fn a_contract_that_passes_on_what_it_gets_needs_no_balance() {
    let forward = Code::new().op(op::CALLVALUE).pay_top(NOBODY).log_top();
    let world = World::new().contract(FIRST, &forward);
    for fork in Fork::ALL {
        let transactions = [call(ALICE, FIRST).value(7), call(BOB, FIRST).value(8), call(CAROL, FIRST).value(9)];
        let checked = check(fork, &world, &transactions);
        assert_eq!((checked.balance(NOBODY), checked.balance(FIRST)), (U256::from(24), U256::ZERO));
    }
}

#[test]
fn of_two_senders_who_drain_one_contract_the_second_gets_nothing() {
    let world = World::new().funded(FIRST, 10, &Code::new().op(op::CALLER).op(op::POP).then(paying(NOBODY, 7)));
    for fork in Fork::ALL {
        let checked = check(fork, &world, &[call(ALICE, FIRST), call(BOB, FIRST)]).somebody_conflicts();
        assert_eq!((checked.logged(0), checked.logged(1)), (numbers([1]), numbers([0])));
        assert_eq!(checked.balance(FIRST), U256::from(3));
    }
}

#[test]
fn a_payment_to_oneself_must_be_affordable_and_changes_nothing() {
    let by_others = Code::new().op(op::CALLER).op(op::ADDRESS).op(op::EQ).op(op::ISZERO);
    for fork in Fork::ALL {
        for (amount, works) in [(15, 1), (16, 0)] {
            let world = World::new().funded(FIRST, 10, &by_others.clone().when(paying(FIRST, amount)));
            let checked = check(fork, &world, &[call(ALICE, FIRST).value(5), pay(BOB, BOB, 6)]);
            assert_eq!(checked.logged(0), numbers([works]), "{fork:?} {amount}");
            assert_eq!(checked.balance(FIRST), U256::from(15));
        }
    }
}

#[test]
fn a_payment_to_oneself_of_more_than_one_has_is_refused_at_the_top() {
    let poor = Address::repeat_byte(0x61);
    let world = World::new().account(poor, 0, 2_000_000);
    let (index, _) = check_invalid(Fork::Prague, &world, &[pay(ALICE, NOBODY, 1), pay(poor, poor, 1_000_001)]);
    assert_eq!(index, 1);
    check(Fork::Prague, &world, &[pay(ALICE, NOBODY, 1), pay(poor, poor, 1_000_000)]);
}

#[test]
fn selfbalance_and_balance_see_every_earlier_payment() {
    let balance_of_itself = Code::new().balance(FIRST).log_top();
    let selfbalance = Code::new().op(op::SELFBALANCE).log_top();
    for (fork, code) in Fork::ALL
        .into_iter()
        .map(|fork| (fork, &balance_of_itself))
        .chain(Fork::Istanbul.onwards().map(|fork| (fork, &selfbalance)))
    {
        let world = World::new().funded(FIRST, 100, code);
        let transactions = [call(ALICE, FIRST).value(1), call(BOB, FIRST).value(2), call(CAROL, FIRST)];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        let logged = (0..3).flat_map(|index| checked.logged(index)).collect::<Vec<_>>();
        assert_eq!(logged, numbers([101, 103, 103]), "{fork:?}");
    }
}

#[test]
fn balance_of_somebody_else_sees_fees_and_payments() {
    let world = World::new().contract(FIRST, &Code::new().balance(ALICE).log_top().balance(MINER).log_top());
    for fork in Fork::ALL {
        let checked = check(fork, &world, &[pay(ALICE, NOBODY, 5), call(BOB, FIRST)]).somebody_conflicts();
        let tip = if fork >= Fork::London { 3 } else { 10 };
        assert_eq!(checked.logged(1)[1], U256::from(21_000 * tip));
    }
}

#[test]
fn readers_of_code_do_not_conflict_with_payments() {
    let look = |opcode| Code::new().address(SECOND).op(opcode).log_top();
    let mut readers = vec![(Fork::Frontier, look(op::EXTCODESIZE)), (Fork::Petersburg, look(op::EXTCODEHASH))];
    let copy = Code::new().push(2).push(0).push(0).address(SECOND).op(op::EXTCODECOPY);
    readers.push((Fork::Frontier, copy.push(0).op(op::MLOAD).log_top()));
    readers.push((Fork::Homestead, Code::new().call(CallKind::DelegateCall, SECOND, 0).log_top()));
    for (since, reader) in readers {
        let world = World::new().contract(FIRST, &reader).funded(SECOND, 7, &Code::new().log(1));
        for fork in since.onwards() {
            let transactions = [call(ALICE, SECOND).value(5), call(BOB, FIRST), call(CAROL, SECOND).value(6)];
            check(fork, &world, &transactions).nobody_conflicts();
        }
    }
}

#[test]
fn extcodehash_of_an_account_without_code_hangs_on_whether_it_has_a_balance() {
    let world = World::new().contract(FIRST, &Code::new().address(NOBODY).op(op::EXTCODEHASH).log_top());
    let empty_code = U256::from_be_bytes(alloy_primitives::KECCAK256_EMPTY.0);
    for fork in Fork::Petersburg.onwards() {
        let appears = [call(ALICE, FIRST), pay(BOB, NOBODY, 5), call(CAROL, FIRST)];
        let checked = check(fork, &world, &appears).somebody_conflicts();
        assert_eq!((checked.logged(0), checked.logged(2)), (numbers([0]), vec![empty_code]));
        // Whoever has a balance and gets more of it stays who it is.
        let grows = world.clone().account(NOBODY, 0, 1);
        let checked = check(fork, &grows, &appears).nobody_conflicts();
        assert_eq!((checked.logged(0), checked.logged(2)), (vec![empty_code], vec![empty_code]));
    }
}

#[test]
fn the_price_of_a_call_with_value_hangs_on_whether_the_callee_is_there() {
    let world = World::new().funded(FIRST, 100, &Code::new().pay(NOBODY, 1));
    for fork in Fork::ALL {
        let checked = check(fork, &world, &[pay(ALICE, NOBODY, 5), call(BOB, FIRST)]).somebody_conflicts();
        let first = check(fork, &world, &[call(BOB, FIRST), pay(ALICE, NOBODY, 5)]);
        assert_eq!(first.gas_used(0) - checked.gas_used(1), 25_000, "{fork:?}");
    }
}

#[test]
fn a_payment_that_would_overflow_the_recipient_fails() {
    for fork in Fork::ALL {
        for (amount, arrives) in [(9, true), (10, false)] {
            let world = World::new().account(NOBODY, 0, HUGE);
            let checked = check(fork, &world, &[pay(ALICE, NOBODY, amount), pay(BOB, NOBODY, 0)]);
            assert_eq!(checked.successes()[0], arrives, "{fork:?} {amount}");
        }
    }
}

#[test]
fn a_recipient_that_has_paid_out_before_has_room_again() {
    let huge = Code::new().op(op::CALLVALUE).op(op::ISZERO).when(Code::new().pay(NOBODY, 1000));
    let world = World::new().funded(FIRST, HUGE, &huge).funded(SECOND, 50, &paying(FIRST, 20));
    for fork in Fork::ALL {
        let checked = check(fork, &world, &[call(ALICE, FIRST), call(BOB, SECOND), call(CAROL, SECOND)]);
        assert_eq!((checked.logged(1), checked.logged(2)), (numbers([1]), numbers([1])), "{fork:?}");
        let checked = check(fork, &world, &[call(BOB, SECOND), call(ALICE, FIRST)]);
        assert_eq!(checked.logged(0), numbers([0]), "{fork:?}");
    }
}

#[test]
fn a_payment_that_is_reverted_later_would_have_overflowed_after_another_payment() {
    // The inner call pays the huge account and fails after it; what it saw is logged by how far it came.
    let inner = Code::new().call(CallKind::Call, NOBODY, 5).branch(Code::new().revert(), Code::new());
    let outer = Code::new().call(CallKind::Call, SECOND, 0).log_top();
    let world = World::new().account(NOBODY, 0, HUGE).contract(FIRST, &outer).funded(SECOND, 100, &inner);
    for fork in Fork::Byzantium.onwards() {
        let checked = check(fork, &world, &[pay(ALICE, NOBODY, 6), call(BOB, FIRST)]);
        assert_eq!(checked.logged(1), numbers([1]), "{fork:?}: the payment overflows, and nothing is reverted");
        let checked = check(fork, &world, &[call(BOB, FIRST), pay(ALICE, NOBODY, 6)]);
        assert_eq!(checked.logged(0), numbers([0]), "{fork:?}: the payment works, and is reverted");
    }
}

#[test]
fn a_transfer_that_overflows_before_others_make_room_is_tried_again() {
    // The other way round: at first there is no room, so the payment fails and leaves no trace of its own.
    let huge = Code::new().op(op::CALLVALUE).op(op::ISZERO).when(Code::new().pay(NOBODY, 1000));
    let world = World::new().funded(FIRST, HUGE, &huge);
    for fork in Fork::ALL {
        let checked = check(fork, &world, &[call(ALICE, FIRST), pay(BOB, FIRST, 500).gas(200_000)]);
        assert_eq!(checked.successes(), [true, true]);
    }
}

/// What a failed payment without room costs the payer stays lost even where all around it is reverted, in revm as here.
#[test]
fn a_payer_whose_payment_had_no_room_is_touched_again_after_a_failure() {
    let failing = Code::new().call(CallKind::Call, FIRST, 0).log_top().fail();
    let outer = Code::new().call(CallKind::Call, SECOND, 0).log_top().call(CallKind::Call, FIRST, 1).log_top();
    let world =
        World::new().account(NOBODY, 0, HUGE).funded(FIRST, 100, &paying(NOBODY, 50)).contract(SECOND, &failing);
    let world = world.funded(THIRD, 10, &outer);
    for fork in Fork::ALL {
        for transactions in [[call(ALICE, SECOND), call(BOB, THIRD)], [call(ALICE, FIRST), call(BOB, SECOND)]] {
            Case::new(fork, &world, &transactions).beneficiary(FIRST).check();
            Case::new(fork, &world, &transactions).beneficiary(SECOND).check();
        }
    }
}

#[test]
fn a_creation_that_overflows_the_new_contract_fails() {
    let init = Code::new().log(1);
    let created = BOB.create(7);
    for fork in Fork::ALL {
        let world = World::new().account(created, 0, HUGE);
        let transactions = [pay(ALICE, created, 5), create(BOB, &init).value(4), create(BOB, &init).value(3)];
        check(fork, &world, &transactions);
        let world = World::new().account(created, 0, HUGE - U256::from(5));
        check(fork, &world, &[pay(ALICE, created, 5), create(BOB, &init).value(10)]);
        check(fork, &world, &[pay(ALICE, created, 5), create(BOB, &init).value(9)]);
    }
}

#[test]
fn a_destruction_that_overflows_its_heir_does_what_the_oracle_does() {
    let world = World::new().account(NOBODY, 0, HUGE).funded(FIRST, 8, &Code::new().destroy(NOBODY));
    for fork in Fork::ALL {
        check(fork, &world, &[call(BOB, FIRST), pay(ALICE, NOBODY, 5)]);
        check(fork, &world, &[pay(ALICE, NOBODY, 5), call(BOB, FIRST)]);
        check(fork, &world, &[pay(ALICE, FIRST, 50).gas(200_000), pay(BOB, NOBODY, 1)]);
    }
}

#[test]
fn a_sender_of_almost_all_there_is_gets_its_unused_gas_back_as_far_as_it_fits() {
    let huge = Address::repeat_byte(0x61);
    let world = World::new()
        .account(huge, 0, HUGE)
        .funded(FIRST, ETHER, &Code::new().op(op::CALLER).op(op::POP).pay(huge, 900_000))
        .funded(SECOND, ETHER, &Code::new().pay(huge, 200_000));
    for fork in Fork::ALL {
        check(fork, &world, &[pay(huge, NOBODY, 5), pay(huge, NOBODY, 6)]);
        check(fork, &world, &[call(huge, FIRST), pay(ALICE, huge, 8)]);
        check(fork, &world, &[call(ALICE, SECOND), call(huge, FIRST), call(BOB, SECOND)]);
    }
}
