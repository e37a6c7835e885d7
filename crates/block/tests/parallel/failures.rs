//! Traps 22 and 25: a state source that fails or panics on the way of an attempt that comes to nothing has no effect;
//! where the block really needs it, the error names the transaction.

use std::sync::Arc;

use alloy_primitives::{Address, B256, keccak256};
use revm::bytecode::opcode as op;
use ropewalk_block::{BlockError, BrokenInvariant, InvalidBlock, Position, first_difference};
use ropewalk_state::{Completeness, StateError};

use crate::{
    assembler::{CallKind, Code},
    case::{Case, Way},
    sources::{Item, Mood, Moody},
    transaction::{Tx, call, pay},
    world::*,
};

/// Acts only while its switch is off.
fn careful(action: Code) -> Code {
    Code::new().on_input(1, Code::new().sstore(0, 1).op(op::STOP)).sload(0).op(op::ISZERO).when(action).increment(1)
}

/// Ways of looking at something that a source may not be able to show.
fn looks() -> Vec<(Item, Code)> {
    let code = Code::new().log(7);
    vec![
        (Item::Account(NOBODY), Code::new().balance(NOBODY).op(op::POP)),
        (Item::Account(NOBODY), Code::new().pay(NOBODY, 0)),
        (Item::Account(NOBODY), Code::new().destroy(NOBODY)),
        (Item::Slot(FIRST, 40), Code::new().sload(40).op(op::POP)),
        (Item::Slot(FIRST, 40), Code::new().sstore(40, 2)),
        (Item::Code(keccak256(code.bytes())), Code::new().pay(SECOND, 0)),
        (Item::Code(keccak256(code.bytes())), Code::new().call(CallKind::CallCode, SECOND, 0).op(op::POP)),
        (Item::BlockHash(NUMBER - 1), Code::new().push(NUMBER - 1).op(op::BLOCKHASH).op(op::POP)),
    ]
}

fn world(look: &Code) -> World {
    World::new().contract(FIRST, &careful(look.clone())).contract(SECOND, &Code::new().log(7))
}

fn each_mood() -> [Mood; 2] {
    [Mood::Fail, Mood::Panic]
}

/// Runs the block over a moody source in every way.
fn run(case: &Case, moods: &[(Item, Mood)], mut judge: impl FnMut(Way, Result<ropewalk_block::Execution, BlockError>)) {
    // A panic in an attempt is caught; its message is of no use here.
    let block = case.block();
    for way in Way::all(0..2) {
        let reader = Arc::new(Moody::new(&case.world.state, moods.iter().cloned()));
        judge(way, case.execute(way, &block, reader));
    }
}

#[test]
fn what_only_an_aborted_attempt_reads_may_fail_or_panic() {
    for (item, look) in looks() {
        let world = world(&look).block_hash(NUMBER - 1, B256::ZERO);
        let transactions = [call(ALICE, FIRST).input([1]), call(BOB, FIRST), pay(CAROL, DAVE, 1), call(DAVE, FIRST)];
        let case = Case::new(Fork::Shanghai, &world, &transactions);
        let theirs = case.oracle(&case.block(), &world.state).expect("a valid block");
        for mood in each_mood() {
            run(&case, &[(item, mood)], |way, ours| {
                let ours = ours.unwrap_or_else(|error| panic!("{way:?} {item:?}: {error:?}"));
                assert_eq!(first_difference(&ours.outcome, &theirs), None, "{way:?} {item:?}");
            });
        }
    }
}

#[test]
fn what_the_block_needs_fails_it_at_the_transaction_that_needs_it() {
    for (item, look) in looks() {
        let world = world(&look);
        let transactions = [pay(CAROL, DAVE, 1), call(ALICE, DAVE), call(BOB, FIRST), call(DAVE, FIRST)];
        let case = Case::new(Fork::Shanghai, &world, &transactions);
        let reader = Moody::new(&world.state, [(item, Mood::Fail)]);
        let theirs = case.oracle(&case.block(), &reader).expect_err("a source that fails");
        run(&case, &[(item, Mood::Fail)], |way, ours| {
            let ours = ours.expect_err("a source that fails");
            assert!(ours.agrees_with(&theirs), "{way:?} {item:?}: {ours:?}, not {theirs:?}");
            assert!(matches!(ours, BlockError::State { position: Position::Transaction(2), .. }), "{ours:?}");
        });
        run(&case, &[(item, Mood::Panic)], |way, ours| match ours.expect_err("a source that panics") {
            BlockError::Broken(BrokenInvariant::Panic { position, message }) => {
                assert_eq!((position, message.as_str()), (Position::Transaction(2), "the source panics"), "{way:?}");
            }
            other => panic!("{way:?} {item:?}: {other:?}"),
        });
    }
}

#[test]
fn a_builder_does_not_skip_what_a_source_cannot_show() {
    let world = world(&Code::new().balance(NOBODY).op(op::POP));
    let transactions = [pay(ALICE, DAVE, 1).nonce(9), call(BOB, FIRST), pay(CAROL, DAVE, 1)];
    let case = Case::new(Fork::Shanghai, &world, &transactions).skipping();
    run(&case, &[(Item::Account(NOBODY), Mood::Fail)], |way, ours| match ours.expect_err("a source that fails") {
        BlockError::State { position, source: StateError::MissingAccount(NOBODY) } => {
            assert_eq!(position, Position::Transaction(1), "{way:?}");
        }
        other => panic!("{way:?}: {other:?}"),
    });
}

#[test]
fn a_lower_invalid_transaction_comes_before_a_failing_source_and_the_other_way_round() {
    let world = world(&Code::new().balance(NOBODY).op(op::POP));
    let moods = [(Item::Account(NOBODY), Mood::Fail)];
    let first: [Tx; 2] = [pay(ALICE, DAVE, 1).nonce(9), call(BOB, FIRST)];
    run(&Case::new(Fork::Shanghai, &world, &first), &moods, |way, ours| {
        let index = match ours.expect_err("an invalid block") {
            BlockError::Invalid(InvalidBlock::Transaction { index, .. }) => index,
            other => panic!("{way:?}: {other:?}"),
        };
        assert_eq!(index, 0);
    });
    let second = [call(BOB, FIRST), pay(ALICE, DAVE, 1).nonce(9)];
    run(&Case::new(Fork::Shanghai, &world, &second), &moods, |way, ours| {
        let failed = ours.expect_err("a source that fails");
        assert!(matches!(failed, BlockError::State { position: Position::Transaction(0), .. }), "{way:?}: {failed:?}");
    });
}

#[test]
fn block_gas_comes_before_a_failing_source() {
    let world = world(&Code::new().balance(NOBODY).op(op::POP));
    let transactions = [pay(ALICE, DAVE, 1), call(BOB, FIRST)];
    let case = Case::new(Fork::Shanghai, &world, &transactions).gas_limit(1_020_999);
    run(&case, &[(Item::Account(NOBODY), Mood::Fail)], |way, ours| {
        let refused = ours.expect_err("an invalid block");
        assert!(
            matches!(refused, BlockError::Invalid(InvalidBlock::Transaction { index: 1, .. })),
            "{way:?}: {refused:?}"
        );
    });
}

#[test]
fn a_beneficiary_or_a_sender_that_cannot_be_read_fails_the_first_transaction_that_needs_it() {
    let transactions = [pay(ALICE, DAVE, 1), pay(BOB, DAVE, 1), pay(CAROL, DAVE, 1)];
    let case = Case::new(Fork::Shanghai, &World::new(), &transactions);
    for (address, index) in [(MINER, 0), (BOB, 1), (CAROL, 2), (DAVE, 0)] {
        let reader = Moody::new(&case.world.state, [(Item::Account(address), Mood::Fail)]);
        let theirs = case.oracle(&case.block(), &reader).expect_err("a source that fails");
        run(&case, &[(Item::Account(address), Mood::Fail)], |way, ours| {
            let ours = ours.expect_err("a source that fails");
            assert!(ours.agrees_with(&theirs), "{way:?}: {ours:?}, not {theirs:?}");
            assert!(matches!(ours, BlockError::State { position: Position::Transaction(at), .. } if at == index));
        });
    }
}

/// Of several things that are wrong with a transaction the block names the one that running it in order comes to first.
#[test]
fn an_invalid_payment_to_somebody_who_cannot_be_read_is_invalid() {
    let payments = [
        pay(BOB, NOBODY, 1).nonce(99),
        pay(BOB, NOBODY, 2 * RICH),
        pay(BOB, NOBODY, 1).gas(20_000),
        pay(BOB, NOBODY, 1).price(1),
        pay(BOB, NOBODY, 1),
    ];
    for payment in payments {
        let case = Case::new(Fork::London, &World::new(), &[pay(ALICE, DAVE, 1), payment]);
        for unreadable in [vec![NOBODY], vec![MINER, NOBODY], vec![NOBODY, BOB]] {
            let moods: Vec<_> = unreadable.iter().map(|address| (Item::Account(*address), Mood::Fail)).collect();
            let reader = Moody::new(&case.world.state, moods.clone());
            let theirs = case.oracle(&case.block(), &reader).expect_err("something is wrong");
            run(&case, &moods, |way, ours| {
                let ours = ours.expect_err("something is wrong");
                assert!(ours.agrees_with(&theirs), "{way:?} {unreadable:?}: {ours:?}, not {theirs:?}");
            });
        }
    }
}

#[test]
fn before_and_after_the_transactions_a_failing_source_is_named_with_the_position() {
    let transactions = [pay(ALICE, DAVE, 1), pay(BOB, DAVE, 1)];
    let case = Case::new(Fork::Prague, &World::new(), &transactions).withdrawals(&[(NOBODY, 5)]);
    let cases = [
        (alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS, Position::PreBlock),
        (alloy_eips::eip4788::BEACON_ROOTS_ADDRESS, Position::PreBlock),
        (alloy_eips::eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, Position::PostBlock),
        (NOBODY, Position::PostBlock),
    ];
    for (address, expected) in cases {
        run(&case, &[(Item::Account(address), Mood::Fail)], |way, ours| match ours.expect_err("a source that fails") {
            BlockError::State { position, source: StateError::MissingAccount(missing) } => {
                assert_eq!((position, missing), (expected, address), "{way:?}");
            }
            other => panic!("{way:?}: {other:?}"),
        });
    }
}

/// The stale attempt reads a slot whose base value nobody needs, because it takes the account for destroyed and laid
/// again. To judge that observation takes the base value, and the source cannot show it.
#[test]
fn a_slot_that_only_the_judgement_of_an_attempt_would_read_may_fail() {
    // Dies unless the switch is on. What is laid in its place reads slot 40, which this one never does.
    let mortal = Code::new().on_input(1, Code::new().sstore(0, 1).op(op::STOP)).sload(0).op(op::ISZERO);
    let mortal = mortal.when(Code::new().destroy(DAVE));
    let egg = Code::new().deploying(&Code::new().sload(40).log_top());
    let nest = Code::new().create2(&egg, 0, 5).log_top();
    let bird = crate::assembler::create2_address(SECOND, 5, &egg);
    let world = World::new().contract(SECOND, &nest).contract(bird, &mortal);
    let transactions = [call(ALICE, bird).input([1]), call(BOB, bird), call(CAROL, SECOND), call(DAVE, bird)];
    let case = Case::new(Fork::Shanghai, &world, &transactions);
    let theirs = case.oracle(&case.block(), &world.state).expect("a valid block");
    for mood in each_mood() {
        for way in Way::all(0..40) {
            let reader = Arc::new(Moody::new(&world.state, [(Item::Slot(bird, 40), mood.clone())]));
            let ours = case.execute(way, &case.block(), reader);
            let ours = ours.unwrap_or_else(|error| panic!("{way:?}: {error:?}"));
            assert_eq!(first_difference(&ours.outcome, &theirs), None, "{way:?}");
        }
    }
}

/// What is read and not recorded is an error that names it, never a silent zero.
#[test]
fn a_recording_that_claims_to_be_complete_names_what_it_lacks() {
    let full = World::new().contract(FIRST, &Code::new().balance(NOBODY).log_top().sload(3).log_top());
    let transactions = [pay(ALICE, BOB, 1), call(CAROL, FIRST)];
    let recorded = |addresses: &[Address], slots: &[u64]| {
        let mut world = full.clone();
        world.state = ropewalk_state::MemoryState::new(Completeness::Claimed);
        for address in addresses {
            let account = ropewalk_state::StateReader::account(&full.state, address).expect("known");
            world.state.insert_account(*address, account);
        }
        world.state.insert_code(Code::new().balance(NOBODY).log_top().sload(3).log_top().bytes());
        slots.iter().for_each(|slot| world = world.clone().slot(FIRST, *slot, 0));
        world
    };
    let all = [ALICE, BOB, CAROL, FIRST, NOBODY, MINER];
    Case::new(Fork::London, &recorded(&all, &[3]), &transactions).check();
    for lacking in [recorded(&all[..4], &[3]), recorded(&all[1..], &[3]), recorded(&all, &[])] {
        let case = Case::new(Fork::London, &lacking, &transactions);
        let theirs = case.oracle(&case.block(), &lacking.state).expect_err("something is not recorded");
        run(&case, &[], |way, ours| {
            let ours = ours.expect_err("something is not recorded");
            assert!(ours.agrees_with(&theirs), "{way:?}: {ours:?}, not {theirs:?}");
        });
    }
}
