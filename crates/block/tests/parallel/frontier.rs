//! The commit frontier reaches a transaction while an incarnation of it is running (Frontier::Eager).
//!
//! What an attempt has loaded before that moment may be out of date, whether or not it made use of it yet. The readers
//! of these tests hold the two threads of the engine in the order that it takes.

use std::{num::NonZeroUsize, sync::Arc};

use alloy_primitives::U256;
use revm::bytecode::opcode as op;
use ropewalk_block::{BlockExecutor, Engine, Frontier, Schedule, TxIndex};

use crate::{
    assembler::Code,
    case::{Case, Way},
    sources::{Gate, Item, Mood, Moody},
    transaction::{Tx, call, pay},
    world::*,
};

const EAGER: Way = Way { threads: 2, frontier: Frontier::Eager, schedule: Schedule::Normal };

/// Runs two transactions, and a payment between them, such that the second one has asked for slot 1 of `SECOND` when
/// the first is not yet committed, and gets its answer when it has become the lowest uncommitted one.
#[track_caller]
fn check_overtaken(world: &World, first: Tx, second: Tx) {
    let case = Case::new(Fork::Cancun, world, &[first, pay(CAROL, DAVE, 1), second]);
    let block = case.block();
    let theirs = case.oracle(&block, &case.world.state).expect("a valid block");
    // An engine of its own: its second thread must not be busy elsewhere.
    let engine = Engine::new(NonZeroUsize::MIN.saturating_add(1)).expect("the system gives threads");
    let executor = BlockExecutor::new(Arc::clone(&case.chain), engine, case.options(EAGER));
    for _ in 0..10 {
        let gate = Arc::new(Gate::default());
        let moods = [
            (Item::Slot(FIRST, 0), Mood::WaitForRead(Arc::clone(&gate))),
            (Item::Slot(SECOND, 1), Mood::Wait(Arc::clone(&gate), TxIndex(1))),
        ];
        let reader = Arc::new(Moody::new(&case.world.state, moods));
        let ours = executor.execute_probed(&block, reader, &*gate).expect("a valid block");
        assert_eq!(ropewalk_block::first_difference(&ours.outcome, &theirs), None);
        assert!(gate.was_kept(), "nobody ran the second transaction ahead of its turn: this test is about nothing");
    }
}

/// The first transaction's contract: waits for the reader, then acts.
fn acting(action: Code) -> Code {
    Code::new().sload(0).op(op::POP).then(action)
}

#[test]
fn a_balance_observed_before_its_turn_is_judged() {
    let look = Code::new().balance(NOBODY).log_top().sload(1).sload(2).log_top().log_top();
    let world = World::new().funded(FIRST, 10, &acting(Code::new().pay(NOBODY, 5))).contract(SECOND, &look);
    check_overtaken(&world, call(ALICE, FIRST), call(BOB, SECOND));
}

#[test]
fn a_balance_loaded_before_its_turn_and_observed_after_it_is_judged() {
    let size = Code::new().address(NOBODY).op(op::EXTCODESIZE).log_top();
    let look = size.sload(1).sload(2).log_top().log_top().balance(NOBODY).log_top();
    let world = World::new().funded(FIRST, 10, &acting(Code::new().pay(NOBODY, 5))).contract(SECOND, &look);
    check_overtaken(&world, call(ALICE, FIRST), call(BOB, SECOND));
}

#[test]
fn a_payment_decided_before_its_turn_is_judged() {
    let spend = Code::new().call(crate::assembler::CallKind::Call, NOBODY, 8).log_top();
    let spend = spend.sload(1).sload(2).log_top().log_top();
    let world = World::new().funded(FIRST, 10, &acting(Code::new().pay(SECOND, 5))).funded(
        SECOND,
        5,
        &Code::new().op(op::CALLVALUE).op(op::ISZERO).when(spend),
    );
    check_overtaken(&world, call(ALICE, FIRST), call(BOB, SECOND));
}

#[test]
fn room_for_a_payment_is_judged_when_its_turn_has_come() {
    let spend = Code::new().pay(NOBODY, 8).sload(1).sload(2).log_top().log_top();
    let world = World::new()
        .account(NOBODY, 0, U256::MAX - U256::from(9))
        .funded(FIRST, 10, &acting(Code::new().pay(NOBODY, 5)))
        .funded(SECOND, 50, &spend);
    check_overtaken(&world, call(ALICE, FIRST), call(BOB, SECOND));
}

#[test]
fn a_slot_read_before_its_turn_is_judged() {
    let world = World::new()
        .contract(THIRD, &Code::new().increment(5))
        .contract(FIRST, &acting(Code::new().pay(THIRD, 0)))
        .contract(SECOND, &Code::new().pay(THIRD, 0).sload(1).sload(2).log_top().log_top().pay(THIRD, 0));
    check_overtaken(&world, call(ALICE, FIRST), call(BOB, SECOND));
}
