//! Traps 7, 8 and 9: a transaction is invalid by what stands when its turn has come, and by nothing that was guessed.

use alloy_eips::eip4844::DATA_GAS_PER_BLOB;
use alloy_primitives::{Address, U256};
use revm::{bytecode::opcode as op, context_interface::result::InvalidTransaction};
use ropewalk_block::{SkippedTransaction, TransactionFault};

use crate::{
    assembler::Code,
    case::{Case, Checked, check, check_invalid},
    transaction::{call, create, pay},
    world::*,
};

fn skipped(checked: &Checked) -> Vec<usize> {
    checked.outcome.skipped.iter().map(|skipped| skipped.index).collect()
}

fn nonce_too_high(tx: u64, state: u64) -> TransactionFault {
    TransactionFault::Invalid(InvalidTransaction::NonceTooHigh { tx, state })
}

fn nonce_too_low(tx: u64, state: u64) -> TransactionFault {
    TransactionFault::Invalid(InvalidTransaction::NonceTooLow { tx, state })
}

#[test]
fn one_sender_many_nonces() {
    for fork in Fork::ALL {
        let transactions: Vec<_> = (0..12).map(|value| pay(ALICE, NOBODY, value)).collect();
        let checked = check(fork, &World::new(), &transactions).somebody_conflicts();
        assert_eq!(checked.account(ALICE).expect("there").nonce, 12);
    }
}

#[test]
fn chains_of_senders_interleave() {
    for fork in Fork::ALL {
        let senders = [ALICE, BOB, CAROL, DAVE];
        let transactions: Vec<_> =
            (0..24).map(|at| pay(senders[at % 4], senders[(at + at / 4) % 4], at as u64)).collect();
        check(fork, &World::new(), &transactions).somebody_conflicts();
    }
}

#[test]
fn a_nonce_gap_makes_the_block_invalid_at_the_transaction_after_it() {
    for fork in Fork::ALL {
        let transactions =
            [pay(BOB, NOBODY, 1), pay(ALICE, NOBODY, 1), pay(ALICE, NOBODY, 1).nonce(2), pay(BOB, NOBODY, 1)];
        assert_eq!(check_invalid(fork, &World::new(), &transactions), (2, nonce_too_high(2, 1)));
    }
}

#[test]
fn a_nonce_that_was_used_makes_the_block_invalid() {
    for fork in Fork::ALL {
        let transactions = [pay(BOB, NOBODY, 1), pay(CAROL, NOBODY, 1), pay(BOB, NOBODY, 1).nonce(7)];
        assert_eq!(check_invalid(fork, &World::new(), &transactions), (2, nonce_too_low(7, 8)));
    }
}

#[test]
fn the_lowest_invalid_transaction_is_the_one_named() {
    for fork in Fork::ALL {
        let transactions = [
            pay(ALICE, NOBODY, 1),
            pay(BOB, NOBODY, 1).nonce(9),
            pay(CAROL, NOBODY, 1).nonce(5),
            pay(DAVE, NOBODY, RICH),
            pay(ALICE, NOBODY, 1).nonce(0),
        ];
        assert_eq!(check_invalid(fork, &World::new(), &transactions), (1, nonce_too_high(9, 7)));
    }
}

#[test]
fn a_nonce_at_the_end_of_its_range_sends_nothing() {
    let old = Address::repeat_byte(0x61);
    for fork in Fork::ALL {
        let world = World::new().account(old, u64::MAX, ETHER);
        let (index, _) = check_invalid(fork, &world, &[pay(ALICE, old, 1), pay(old, NOBODY, 1).nonce(u64::MAX)]);
        assert_eq!(index, 1);
        let world = World::new().account(old, u64::MAX - 1, ETHER);
        check(fork, &world, &[pay(ALICE, old, 1), pay(old, NOBODY, 1).nonce(u64::MAX - 1)]);
        let (index, _) = check_invalid(
            fork,
            &world,
            &[pay(old, NOBODY, 1).nonce(u64::MAX - 1), create(old, &Code::new()).nonce(u64::MAX)],
        );
        assert_eq!(index, 1);
    }
}

#[test]
fn a_sender_that_an_earlier_transaction_has_emptied_makes_the_block_invalid() {
    for fork in Fork::ALL {
        let transactions =
            [pay(BOB, NOBODY, 1), pay(ALICE, NOBODY, RICH - ETHER), pay(CAROL, NOBODY, 1), pay(ALICE, BOB, ETHER)];
        let (index, fault) = check_invalid(fork, &World::new(), &transactions);
        assert_eq!(index, 3);
        assert!(
            matches!(fault, TransactionFault::Invalid(InvalidTransaction::LackOfFundForMaxFee { .. })),
            "{fault:?}"
        );
    }
}

#[test]
fn a_sender_with_code_is_refused_even_when_the_code_is_new() {
    for fork in Fork::ALL {
        let world = World::new().funded(FIRST, ETHER, &Code::new().log(1));
        let fault = TransactionFault::Invalid(InvalidTransaction::RejectCallerWithCode);
        let transactions = [pay(ALICE, NOBODY, 1), pay(FIRST, NOBODY, 1)];
        assert_eq!(check_invalid(fork, &world, &transactions), (1, fault.clone()));

        let created = BOB.create(7);
        let init = Code::new().deploying(&Code::new().log(1));
        let nonce = u64::from(fork >= Fork::SpuriousDragon);
        let transactions = [create(BOB, &init).value(ETHER), pay(created, NOBODY, 1).nonce(nonce)];
        assert_eq!(check_invalid(fork, &World::new(), &transactions), (1, fault));
    }
}

#[test]
fn a_builder_skips_what_is_invalid_and_the_rest_goes_on() {
    for fork in Fork::ALL {
        let transactions = [
            pay(ALICE, NOBODY, 1).nonce(5),
            pay(ALICE, NOBODY, 2),
            pay(BOB, NOBODY, 4).nonce(7),
            pay(BOB, NOBODY, 8).nonce(7),
            pay(CAROL, NOBODY, 16),
            pay(NEWCOMER, NOBODY, 32),
            pay(BOB, NOBODY, 64).nonce(8),
        ];
        // Numbers given out by hand: the first of these leaves a gap for the second.
        let mut transactions = transactions;
        transactions[1] = pay(ALICE, NOBODY, 2).nonce(0);
        let checked = Case::new(fork, &World::new(), &transactions).skipping().check();
        assert_eq!(skipped(&checked), [0, 3, 5]);
        assert_eq!(checked.balance(NOBODY), U256::from(2 + 4 + 16 + 64));
        assert_eq!(checked.outcome.receipts.len(), 4);
    }
}

/// What comes after a skipped transaction has seen its effects in vain.
#[test]
fn skipping_one_in_the_middle_changes_what_the_next_ones_find() {
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &Code::new().increment(0).sload(0).log_top());
        let poor = Address::repeat_byte(0x61);
        let world = world.account(poor, 0, ETHER);
        let transactions = [
            call(ALICE, FIRST),
            pay(poor, NOBODY, ETHER / 2),
            call(poor, FIRST).value(ETHER / 2),
            call(poor, FIRST).nonce(1),
            call(poor, FIRST).nonce(1),
            call(BOB, FIRST),
        ];
        let checked = Case::new(fork, &world, &transactions).skipping().check();
        assert_eq!(skipped(&checked), [2, 4]);
        assert_eq!(checked.slot(FIRST, 0), U256::from(3));
    }
}

#[test]
fn a_builder_may_have_to_skip_everything() {
    for fork in Fork::ALL {
        let transactions: Vec<_> = (0..6).map(|_| pay(ALICE, NOBODY, 1).nonce(3)).collect();
        let checked = Case::new(fork, &World::new(), &transactions).skipping().check();
        assert_eq!(checked.outcome.receipts.len(), 0);
        let expected = (0..6).map(|index| SkippedTransaction { index, fault: nonce_too_high(3, 0) });
        assert_eq!(checked.outcome.skipped, expected.collect::<Vec<_>>());
    }
}

/// Trap 9: what is declared counts, against what was used.
#[test]
fn block_gas_is_admitted_by_declared_gas_and_counted_by_used_gas() {
    for fork in Fork::ALL {
        let transactions: Vec<_> = (0..3).map(|_| pay(ALICE, NOBODY, 1)).collect();
        let enough = 2 * 21_000 + 100_000;
        Case::new(fork, &World::new(), &transactions).gas_limit(enough).check();
        let fault = Case::new(fork, &World::new(), &transactions).gas_limit(enough - 1).check_invalid();
        assert_eq!(fault, (2, TransactionFault::BlockGas { limit_gas: 100_000, available_gas: 99_999 }));
    }
}

#[test]
fn block_gas_comes_before_any_fault_that_hangs_on_the_state() {
    for fork in Fork::ALL {
        let transactions = [pay(ALICE, NOBODY, 1), pay(BOB, NOBODY, 1).nonce(99), pay(CAROL, NOBODY, 1)];
        let (index, fault) = Case::new(fork, &World::new(), &transactions).gas_limit(120_999).check_invalid();
        assert_eq!((index, fault), (1, TransactionFault::BlockGas { limit_gas: 100_000, available_gas: 99_999 }));
        let (index, fault) = Case::new(fork, &World::new(), &transactions).gas_limit(121_000).check_invalid();
        assert_eq!((index, fault), (1, nonce_too_high(99, 7)));
    }
}

#[test]
fn a_builder_skips_what_does_not_fit_and_takes_smaller_ones() {
    for fork in Fork::ALL {
        let transactions = [
            pay(ALICE, NOBODY, 1),
            pay(BOB, NOBODY, 2).gas(90_000),
            pay(ALICE, NOBODY, 4).gas(21_000).nonce(1),
            pay(ALICE, NOBODY, 8).gas(59_000).nonce(2),
            pay(CAROL, NOBODY, 16).gas(21_000),
            pay(DAVE, NOBODY, 32).gas(38_000),
        ];
        let checked = Case::new(fork, &World::new(), &transactions).gas_limit(100_000).skipping().check();
        assert_eq!(skipped(&checked), [1, 3, 5]);
        assert_eq!(checked.outcome.gas_used, 63_000);
    }
}

#[test]
fn refunds_give_room_to_the_transactions_after() {
    let clearing = Code::new().sstore(1, 0).sstore(2, 0).sstore(3, 0);
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &clearing).slot(FIRST, 1, 1).slot(FIRST, 2, 1).slot(FIRST, 3, 1);
        let transactions = [call(ALICE, FIRST).gas(80_000), pay(BOB, NOBODY, 1).gas(30_000)];
        let used = check(fork, &world, &transactions).gas_used(0);
        let case = |limit: u64| Case::new(fork, &world, &transactions).gas_limit(limit.max(80_000));
        case(used + 30_000).check();
        if used + 29_999 >= 80_000 {
            assert_eq!(case(used + 29_999).check_invalid().0, 1);
        }
    }
}

/// alloy-evm leaves it to the header, which a builder does not have yet.
#[test]
fn eip4844_blobs_of_a_block_share_a_limit() {
    for fork in Fork::Cancun.onwards() {
        let params = fork.chain().blob_params(fork.header().timestamp).expect("blobs since Cancun");
        let third = params.max_blob_count as usize / 3;
        let transactions = [
            call(ALICE, NOBODY).blobs(third),
            call(ALICE, NOBODY).blobs(third),
            // Its nonce is wrong too; what does not fit is found first.
            call(BOB, NOBODY).blobs(third + 1).nonce(99),
            pay(DAVE, NOBODY, 1),
            call(CAROL, NOBODY).blobs(third),
        ];
        let gas = |blobs: usize| blobs as u64 * DATA_GAS_PER_BLOB;
        let fault = TransactionFault::BlobGas { blob_gas: gas(third + 1), available_gas: gas(third) };
        assert_eq!(check_invalid(fork, &World::new(), &transactions), (2, fault.clone()));
        let checked = Case::new(fork, &World::new(), &transactions).skipping().check();
        assert_eq!(checked.outcome.skipped, [SkippedTransaction { index: 2, fault }]);
        assert_eq!(checked.outcome.blob_gas_used, gas(3 * third));
    }
}

/// Trap 7: a loop that only an attempt on stale state runs into ends with its gas.
#[test]
fn an_endless_loop_of_a_stale_attempt_ends_with_its_gas() {
    let endless = Code::new().op(op::JUMPDEST).push(0).op(op::JUMP);
    let careful = Code::new().on_input(1, Code::new().sstore(0, 1).op(op::STOP)).sload(0).op(op::ISZERO);
    let careful = careful.when(Code::new().pay(SECOND, 0)).increment(1);
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &careful).contract(SECOND, &endless);
        let transactions = [
            call(ALICE, FIRST).input([1]),
            call(BOB, FIRST).gas(5_000_000),
            call(CAROL, FIRST).gas(5_000_000),
            call(DAVE, SECOND).gas(500_000),
        ];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        assert_eq!(checked.slot(FIRST, 1), U256::from(2));
        assert!(checked.gas_used(1) < 100_000);
    }
}

#[test]
fn a_stale_attempt_may_jump_to_nowhere_or_run_out_of_stack() {
    let wild = Code::new().on_input(1, Code::new().sstore(0, 1).op(op::STOP)).sload(0).op(op::ISZERO);
    for nonsense in [Code::new().push(9).op(op::JUMP), Code::new().op(op::POP).op(op::POP), Code::new().fail()] {
        let code = wild.clone().when(nonsense).increment(1);
        for fork in Fork::ALL {
            let world = World::new().contract(FIRST, &code);
            let checked = check(fork, &world, &[call(ALICE, FIRST).input([1]), call(BOB, FIRST), call(CAROL, FIRST)]);
            assert_eq!(checked.successes(), [true; 3]);
        }
    }
}
