//! Traps 1, 6, 16, 19 and 24: what belongs to one transaction stays in it, however many attempts there were and whoever used
//! the EVM before; what comes out of it is in its place.

use alloy_consensus::TxReceipt;
use alloy_primitives::{Address, B256, U256};
use revm::{bytecode::opcode as op, context_interface::result::InvalidTransaction};
use ropewalk_block::{TransactionFault, first_difference};

use crate::{
    assembler::{CallKind, Code},
    case::{Case, Checked, Way, check, check_invalid},
    transaction::{Tx, call, create, pay},
    world::*,
};

fn all_logged(checked: &Checked) -> Vec<U256> {
    (0..checked.outcome.receipts.len()).flat_map(|index| checked.logged(index)).collect()
}

/// Makes all later calls of the contract conflict with each other.
fn contended(code: Code) -> Code {
    code.increment(99)
}

fn senders() -> [Address; 4] {
    [ALICE, BOB, CAROL, DAVE]
}

fn everybody_calls(contract: Address) -> Vec<Tx> {
    [senders(), senders()].concat().into_iter().map(|sender| call(sender, contract)).collect()
}

#[test]
fn transient_storage_begins_empty_in_every_attempt() {
    let code =
        Code::new().push(5).op(op::TLOAD).log_top().push(7).push(5).op(op::TSTORE).push(5).op(op::TLOAD).log_top();
    for fork in Fork::Cancun.onwards() {
        let world = World::new().contract(FIRST, &contended(code.clone()));
        let checked = check(fork, &world, &everybody_calls(FIRST)).somebody_conflicts();
        assert_eq!(all_logged(&checked), [0, 7].repeat(8).into_iter().map(U256::from).collect::<Vec<_>>());
    }
}

#[test]
fn slots_and_accounts_are_cold_in_every_attempt() {
    let price = |look: Code| {
        let before = Code::new().op(op::GAS).then(look).op(op::POP).op(op::GAS);
        before.op(op::SWAP1).op(op::SUB).log_top()
    };
    let looks = price(Code::new().sload(5)).then(price(Code::new().balance(NOBODY))).then(price(Code::new().sload(5)));
    for fork in Fork::Berlin.onwards() {
        let world = World::new().contract(FIRST, &contended(looks.clone()));
        let mut transactions = everybody_calls(FIRST);
        transactions[3] = call(DAVE, FIRST).warm(FIRST, &[5]).warm(NOBODY, &[]);
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        for index in [0, 1, 2, 4, 5, 6, 7] {
            assert_eq!(checked.logged(index), checked.logged(0), "{fork:?} {index}");
        }
        let saved = [2000, 2500, 0].map(U256::from);
        let difference = checked.logged(0).into_iter().zip(checked.logged(3)).map(|(cold, warm)| cold - warm);
        assert_eq!(difference.collect::<Vec<_>>(), saved);
    }
}

#[test]
fn refunds_are_those_of_the_attempt_that_counts() {
    // Clears as many slots as the count says, so a stale attempt would be refunded for others.
    let clear = |slot: u64| Code::new().sload(99).push(slot).op(op::EQ).when(Code::new().sstore(slot, 0));
    let code = contended(clear(0).then(clear(1)).then(clear(2)));
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &code).slot(FIRST, 0, 1).slot(FIRST, 1, 1).slot(FIRST, 2, 1);
        let checked = check(fork, &world, &everybody_calls(FIRST)[..6]).somebody_conflicts();
        assert_eq!([0, 1, 2].map(|slot| checked.slot(FIRST, slot)), [U256::ZERO; 3]);
    }
}

#[test]
fn original_values_are_those_before_the_transaction() {
    // Dirty slots are priced by what they were before the transaction (EIP-2200), not before the block.
    let code = Code::new().increment(1).increment(1).sload(1).push(1).op(op::SWAP1).op(op::SUB).store(1);
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &code);
        check(fork, &world, &everybody_calls(FIRST)).somebody_conflicts();
    }
}

#[test]
fn logs_and_cumulative_gas_are_in_block_order() {
    let code = Code::new().increment(1).sload(1).log_top().log(1000).call(CallKind::Call, SECOND, 0).op(op::POP);
    for fork in Fork::ALL {
        let world =
            World::new().contract(FIRST, &code).contract(SECOND, &Code::new().increment(2).sload(2).log_top().fail());
        let checked = check(fork, &world, &everybody_calls(FIRST)).somebody_conflicts();
        let expected: Vec<_> = (1..=8).flat_map(|count| [count, 1000]).map(U256::from).collect();
        let failing = if fork < Fork::Tangerine { Vec::new() } else { expected };
        // Before EIP-150 the failing call takes too much gas for the rest of the transaction.
        if !failing.is_empty() {
            assert_eq!(all_logged(&checked), failing, "{fork:?}");
        }
        let cumulative: Vec<_> = checked.outcome.receipts.iter().map(TxReceipt::cumulative_gas_used).collect();
        assert!(cumulative.is_sorted() && cumulative.last() == Some(&checked.outcome.gas_used));
    }
}

#[test]
fn a_failed_transaction_leaves_fee_and_nonce_and_nothing_else() {
    let code = Code::new().increment(1).log(1).pay(NOBODY, 5).fail();
    for fork in Fork::ALL {
        let world = World::new().funded(FIRST, 100, &code);
        let checked = check(fork, &world, &everybody_calls(FIRST));
        assert_eq!((checked.successes(), all_logged(&checked)), (vec![false; 8], vec![]));
        assert_eq!((checked.slot(FIRST, 1), checked.account(NOBODY)), (U256::ZERO, None));
    }
}

#[test]
fn a_reverted_transaction_gives_its_gas_back_and_what_it_read_counts() {
    let code =
        Code::new().on_input(1, Code::new().sstore(1, 1).op(op::STOP)).log(1).sload(1).when(Code::new().revert());
    for fork in Fork::Byzantium.onwards() {
        let world = World::new().contract(FIRST, &code);
        let checked = check(fork, &world, &[call(ALICE, FIRST).input([1]), call(BOB, FIRST)]).somebody_conflicts();
        assert_eq!(checked.successes(), [true, false]);
        let checked = check(fork, &world, &[call(BOB, FIRST), call(ALICE, FIRST).input([1])]);
        assert_eq!(checked.successes(), [true, true]);
    }
}

#[test]
fn block_hashes_come_from_the_state_source_within_their_window() {
    let ask = |number: u64| Code::new().push(number).op(op::BLOCKHASH).log_top();
    let code = ask(NUMBER - 1).then(ask(NUMBER - 256)).then(ask(NUMBER - 257)).then(ask(NUMBER)).then(ask(NUMBER + 5));
    let (parent, oldest) = (B256::repeat_byte(1), B256::repeat_byte(2));
    for fork in Fork::ALL {
        let world = World::new().block_hash(NUMBER - 1, parent).block_hash(NUMBER - 256, oldest);
        let world = world.block_hash(NUMBER - 257, B256::repeat_byte(3)).contract(FIRST, &contended(code.clone()));
        let checked = check(fork, &world, &everybody_calls(FIRST)).somebody_conflicts();
        let expected = [parent, oldest, B256::ZERO, B256::ZERO, B256::ZERO].map(|hash| U256::from_be_bytes(hash.0));
        assert_eq!(checked.logged(7), expected, "{fork:?}");
    }
}

#[test]
fn the_environment_is_the_blocks_and_the_transactions_own() {
    let mut code = Code::new();
    for opcode in
        [op::NUMBER, op::TIMESTAMP, op::COINBASE, op::GASLIMIT, op::DIFFICULTY, op::ORIGIN, op::GASPRICE, op::CALLVALUE]
    {
        code = code.op(opcode).log_top();
    }
    for fork in Fork::ALL {
        let mut code = contended(code.clone());
        let later = [(Fork::Istanbul, op::CHAINID), (Fork::London, op::BASEFEE), (Fork::Cancun, op::BLOBBASEFEE)];
        for (_, opcode) in later.into_iter().filter(|(since, _)| *since <= fork) {
            code = code.op(opcode).log_top();
        }
        let world = World::new().contract(FIRST, &code);
        let transactions = [call(ALICE, FIRST).price(50), call(BOB, FIRST).value(3), call(CAROL, FIRST).price(11)];
        let checked = check(fork, &world, &transactions).somebody_conflicts();
        assert_eq!(checked.logged(1)[0], U256::from(NUMBER));
        assert_eq!(checked.logged(2)[5], U256::from_be_bytes(CAROL.into_word().0));
    }
}

/// Trap 1: locations are told apart by all of their bytes.
#[test]
fn slots_and_accounts_that_look_alike_are_not_taken_for_each_other() {
    let word = |high: u64, low: u64| U256::from_limbs([low, 0, 0, high]);
    let slots = [word(0, 1), word(1, 1), word(1, 0), word(1 << 63, 1), word(1, 1 << 63), word(u64::MAX, u64::MAX)];
    let mut code = Code::new();
    for (at, slot) in slots.iter().enumerate() {
        let bump = Code::new().push(*slot).op(op::SLOAD).push(at as u64 + 1).op(op::ADD).push(*slot).op(op::SSTORE);
        code = code.then(bump).push(*slot).op(op::SLOAD).log_top();
    }
    let mut other = FIRST;
    other[19] ^= 1;
    let mut third = FIRST;
    third[0] ^= 1;
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &code).contract(other, &code).contract(third, &code);
        let transactions =
            [call(ALICE, FIRST), call(BOB, other), call(CAROL, third), call(DAVE, other), call(ALICE, other)];
        let transactions = transactions.map(|transaction| transaction.gas(2_000_000));
        let checked = check(fork, &world, &transactions);
        assert_eq!(checked.logged(2), (1..=6).map(U256::from).collect::<Vec<_>>());
        assert_eq!(checked.logged(4), (1..=6).map(|count| U256::from(3 * count)).collect::<Vec<_>>());
    }
}

#[test]
fn blob_gas_is_counted_and_paid() {
    let look = Code::new().push(0).op(op::BLOBHASH).log_top().push(2).op(op::BLOBHASH).log_top();
    for fork in Fork::Cancun.onwards() {
        let world = World::new().contract(FIRST, &look);
        let transactions =
            [call(ALICE, FIRST).blobs(2), pay(BOB, NOBODY, 1), call(ALICE, FIRST).blobs(3), call(CAROL, FIRST)];
        let checked = check(fork, &world, &transactions);
        assert_eq!(checked.outcome.blob_gas_used, 5 * 131_072);
        assert_ne!(checked.logged(2)[1], U256::ZERO);
    }
}

#[test]
fn a_sender_must_afford_its_blobs() {
    let poor = Address::repeat_byte(0x61);
    let needed = 1_000_000 * 10 + 131_072 * 1000;
    for fork in Fork::Cancun.onwards() {
        let world = World::new();
        check(fork, &world, &[pay(ALICE, poor, needed), call(poor, NOBODY).blobs(1)]);
        let (index, _) = check_invalid(fork, &world, &[pay(ALICE, poor, needed - 1), call(poor, NOBODY).blobs(1)]);
        assert_eq!(index, 1);
    }
}

#[test]
fn every_type_of_transaction_gets_its_receipt() {
    for fork in Fork::Prague.onwards() {
        let authorization = crate::transaction::authorization(NEWCOMER, 0, FIRST);
        let transactions = [
            pay(ALICE, NOBODY, 1),
            pay(BOB, NOBODY, 1).warm(NOBODY, &[1, 2]),
            pay(CAROL, NOBODY, 1).tip(2),
            pay(DAVE, NOBODY, 1).blobs(1),
            call(ALICE, NOBODY).authorizing([authorization]),
        ];
        let checked = check(fork, &World::new(), &transactions);
        let types: Vec<_> = checked.outcome.receipts.iter().map(|receipt| receipt.tx_type() as u8).collect();
        assert_eq!(types, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn faults_that_need_no_state_are_found_in_their_place() {
    let cheap =
        |fork| if fork >= Fork::London { pay(BOB, NOBODY, 1).price(6) } else { pay(BOB, NOBODY, 1).gas(20_999) };
    for fork in Fork::ALL {
        let (index, _) =
            check_invalid(fork, &World::new(), &[pay(ALICE, NOBODY, 1), cheap(fork), pay(ALICE, NOBODY, 1)]);
        assert_eq!(index, 1);
    }
    let greedy = pay(BOB, NOBODY, 1).price(10).tip(11);
    let (_, fault) = check_invalid(Fork::London, &World::new(), &[greedy]);
    assert_eq!(fault, TransactionFault::Invalid(InvalidTransaction::PriorityFeeGreaterThanMaxFee));
    let huge = pay(BOB, NOBODY, 1).gas((1 << 24) + 1);
    check(Fork::Prague, &World::new(), std::slice::from_ref(&huge));
    check_invalid(Fork::Osaka, &World::new(), &[huge]);
}

#[test]
fn deep_recursion_ends_as_it_does_in_order() {
    let deeper = Code::new().increment(1).sload(1).log_top().op(op::ADDRESS).balance(FIRST).op(op::POP).op(op::POP);
    let deeper = deeper.call(CallKind::Call, FIRST, 1).op(op::POP);
    for fork in Fork::ALL {
        let world = World::new().funded(FIRST, 50, &deeper);
        let transactions = [call(ALICE, FIRST).gas(3_000_000), call(BOB, FIRST).gas(4_000_000), pay(CAROL, FIRST, 1)];
        check(fork, &world, &transactions).somebody_conflicts();
    }
}

#[test]
fn memory_is_zero_at_the_start_of_every_call() {
    let code = Code::new()
        .push(4096)
        .op(op::MLOAD)
        .log_top()
        .push(77)
        .push(4096)
        .op(op::MSTORE)
        .push(0)
        .op(op::MLOAD)
        .log_top();
    for fork in Fork::ALL {
        let world = World::new().contract(FIRST, &contended(code.clone().push(5).push(0).op(op::MSTORE)));
        let checked = check(fork, &world, &everybody_calls(FIRST)).somebody_conflicts();
        assert!(all_logged(&checked).iter().all(U256::is_zero));
    }
}

/// Trap 6: what an executor keeps from block to block, analysed code and EVMs, belongs to no block. The code of a
/// metamorphic contract and of a delegated account is another in each of these blocks.
#[test]
fn one_executor_runs_blocks_in_which_the_code_of_an_address_changes() {
    let shapes: Vec<_> = (0..4u64).map(|shape| Code::new().log(shape).increment(shape).destroy(DAVE)).collect();
    for fork in Fork::ALL {
        let world = World::new();
        let case = Case::new(fork, &world, &[]);
        let executors: Vec<_> = Way::all(0..2).map(|way| case.executor(way)).collect();
        let mut state = world.state;
        for (round, shape) in shapes.iter().enumerate() {
            let world = World { state: state.clone() }.contract(FIRST, shape);
            let init = Code::new().deploying(shape);
            let transactions =
                [call(ALICE, FIRST), create(BOB, &init), call(CAROL, BOB.create(7 + round as u64)), call(DAVE, FIRST)];
            let case = Case::new(fork, &world, &transactions);
            let block = case.block();
            let theirs = case.oracle(&block, &world.state).expect("a valid block");
            for executor in &executors {
                let ours = executor.execute(&block, case.reader()).expect("a valid block");
                assert_eq!(first_difference(&ours.outcome, &theirs), None, "{fork:?} {round}");
            }
            state = world.state;
            state.apply(&theirs.changes);
        }
    }
}
