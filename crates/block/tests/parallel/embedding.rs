//! Trap 23 and what an embedder adds: precompiles that look at the state, inspectors, an end from outside.

use std::{
    any::Any,
    sync::{Arc, Mutex},
};

use alloy_evm::precompiles::{DynPrecompile, PrecompileInput, PrecompilesMap};
use alloy_primitives::{Address, Bytes, Log, U256, address};
use revm::{
    Inspector,
    bytecode::opcode as op,
    interpreter::{CallInputs, CallOutcome, Interpreter, interpreter::EthInterpreter},
    precompile::{PrecompileError, PrecompileId, PrecompileOutput, PrecompileResult},
    primitives::hardfork::SpecId,
};
use ropewalk_block::{
    BlockError, CancelToken, Event, EvmContext, EvmSettings, ExecutorOptions, Incarnation, InspectorFactory, Position,
    PrecompileCustomizer, Probe, TransactionInspector, TxIndex, first_difference,
};

use crate::{
    assembler::{CallKind, Code},
    case::{BLIND, Case, Way},
    sources::{Item, Mood, Moody},
    transaction::{call, pay},
    world::*,
};

const CUSTOM: Address = address!("0x00000000000000000000000000000000000c0de0");

/// Adds a precompile at [`CUSTOM`].
#[derive(Debug)]
struct Custom(fn(PrecompileInput<'_>) -> PrecompileResult);

impl PrecompileCustomizer for Custom {
    fn customize(&self, _: SpecId, precompiles: &mut PrecompilesMap) {
        let run = self.0;
        let custom = DynPrecompile::new_stateful(PrecompileId::Custom("custom".into()), run);
        precompiles.apply_precompile(&CUSTOM, |_| Some(custom));
    }
}

fn with_precompile(case: Case, run: fn(PrecompileInput<'_>) -> PrecompileResult) -> Case {
    Case { evm: EvmSettings { precompiles: Some(Arc::new(Custom(run))), ..EvmSettings::default() }, ..case }
}

fn word(word: U256) -> PrecompileResult {
    Ok(PrecompileOutput::new(100, word.to_be_bytes_vec().into(), 0))
}

fn unreadable(_: impl std::fmt::Debug) -> PrecompileError {
    PrecompileError::Fatal("the state could not be read".to_owned())
}

/// Calls the precompile and logs what it says.
fn asking() -> Code {
    Code::new().push(32).push(0).push(0).push(0).push(0).address(CUSTOM).push(200_000).op(op::CALL).log_top_of_call()
}

impl Code {
    /// `[success] -> []`, with the answer at 0 in memory: logs both.
    fn log_top_of_call(self) -> Self {
        self.push(0).op(op::MLOAD).op(op::SWAP1).log_top().log_top()
    }
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<U256> {
    numbers.into_iter().map(U256::from).collect()
}

#[test]
fn a_precompile_sees_balances_as_the_transactions_before_left_them() {
    let look = |mut input: PrecompileInput<'_>| {
        let balance = input.internals_mut().load_account(NOBODY).map_err(unreadable)?.info.balance;
        word(balance)
    };
    let world = World::new().contract(FIRST, &asking());
    let transactions =
        [call(ALICE, FIRST), pay(BOB, NOBODY, 5), call(CAROL, FIRST), pay(DAVE, NOBODY, 6), call(ALICE, FIRST)];
    let checked = with_precompile(Case::new(Fork::Prague, &world, &transactions), look).check_without_oracle();
    let checked = checked.somebody_conflicts();
    assert_eq!([0, 2, 4].map(|index| checked.logged(index)), [[1, 0], [1, 5], [1, 11]].map(numbers));
}

#[test]
fn a_precompile_that_asks_the_database_itself_gets_the_same_answer_each_time() {
    let look = |mut input: PrecompileInput<'_>| {
        use revm::Database;
        let journal = input.internals_mut().load_account(NOBODY).map_err(unreadable)?.info.balance;
        let database = input.internals_mut().db_mut().basic(NOBODY).map_err(unreadable)?.unwrap_or_default();
        let code = input.internals_mut().db_mut().code_by_hash(database.code_hash).map_err(unreadable)?;
        word(journal + database.balance + U256::from(code.len()))
    };
    let world = World::new().contract(FIRST, &asking().pay(NOBODY, 0));
    let transactions =
        [call(ALICE, FIRST), pay(BOB, NOBODY, 5), call(CAROL, FIRST), pay(DAVE, NOBODY, 6), call(ALICE, FIRST)];
    let checked = with_precompile(Case::new(Fork::Prague, &world, &transactions), look).check_without_oracle();
    assert_eq!([0, 2, 4].map(|index| checked.logged(index)), [[1, 0], [1, 10], [1, 22]].map(numbers));
    assert_eq!(checked.balance(NOBODY), U256::from(11));
}

#[test]
fn a_precompile_moves_balances_and_slots() {
    let act = |mut input: PrecompileInput<'_>| {
        let internals = input.internals_mut();
        internals.transfer(SECOND, NOBODY, U256::from(3)).map_err(unreadable)?;
        let count = internals.sload(THIRD, U256::from(1)).map_err(unreadable)?.data + U256::ONE;
        internals.sstore(THIRD, U256::from(1), count).map_err(unreadable)?;
        word(count)
    };
    let world =
        World::new().contract(FIRST, &asking()).contract(SECOND, &Code::new().log(1)).contract(THIRD, &Code::new());
    let world = world.account(SECOND, 0, 7);
    let transactions = [call(ALICE, FIRST), call(BOB, FIRST), call(CAROL, FIRST), pay(DAVE, SECOND, 10)];
    let checked = with_precompile(Case::new(Fork::Prague, &world, &transactions), act).check_without_oracle();
    let checked = checked.somebody_conflicts();
    assert_eq!([0, 1, 2].map(|index| checked.logged(index)), [[1, 1], [1, 2], [1, 3]].map(numbers));
    assert_eq!((checked.balance(NOBODY), checked.balance(SECOND)), (U256::from(6), U256::from(11)));
}

/// A precompile may make a result of what was an interrupt; the attempt counts as interrupted all the same.
#[test]
fn a_precompile_that_hides_a_failing_source_does_not_hide_it_from_the_block() {
    let look = |mut input: PrecompileInput<'_>| match input.internals_mut().load_account(NOBODY) {
        Ok(account) => word(account.info.balance),
        Err(_) => word(U256::from(99)),
    };
    let careful = Code::new().on_input(1, Code::new().sstore(0, 1).op(op::STOP)).sload(0).op(op::ISZERO).when(asking());
    let world = World::new().contract(FIRST, &careful);
    let fails = || Arc::new(Moody::new(&world.state, [(Item::Account(NOBODY), Mood::Fail)]));
    let harmless = [call(ALICE, FIRST).input([1]), call(BOB, FIRST)];
    let harmless = with_precompile(Case::new(Fork::Prague, &world, &harmless), look);
    let needed = with_precompile(Case::new(Fork::Prague, &world, &[pay(ALICE, BOB, 1), call(BOB, FIRST)]), look);
    for way in Way::all(0..2) {
        let outcome = harmless.execute(way, &harmless.block(), fails()).expect("a valid block").outcome;
        assert!(alloy_consensus::TxReceipt::logs(&outcome.receipts[1]).is_empty(), "{way:?}");
        let failed = needed.execute(way, &needed.block(), fails()).expect_err("a source that fails");
        assert!(matches!(failed, BlockError::State { position: Position::Transaction(1), .. }), "{way:?}: {failed:?}");
    }
}

#[test]
fn a_precompile_that_gives_up_on_stale_state_has_another_chance() {
    let look = |mut input: PrecompileInput<'_>| {
        let balance = input.internals_mut().load_account(NOBODY).map_err(unreadable)?.info.balance;
        if balance.is_zero() { Err(PrecompileError::Fatal("nothing there".to_owned())) } else { word(balance) }
    };
    let world = World::new().contract(FIRST, &asking());
    let case = Case::new(Fork::Prague, &world, &[pay(ALICE, NOBODY, 5), call(BOB, FIRST)]);
    let checked = with_precompile(case, look).check_without_oracle().somebody_conflicts();
    assert_eq!(checked.logged(1), numbers([1, 5]));
    let case = with_precompile(Case::new(Fork::Prague, &world, &[pay(ALICE, BOB, 5), call(BOB, FIRST)]), look);
    for way in Way::all(0..2) {
        let failed = case.execute(way, &case.block(), case.reader()).expect_err("a precompile that gives up");
        assert!(matches!(failed, BlockError::Broken(_)), "{way:?}: {failed:?}");
    }
}

/// Watches one attempt, and tells everybody what it saw.
#[derive(Debug)]
struct Watch {
    index: TxIndex,
    calls: usize,
    steps: usize,
    logs: Vec<Bytes>,
    dropped: Arc<Mutex<usize>>,
}

#[derive(Debug, Default)]
struct Watches {
    made: Mutex<usize>,
    dropped: Arc<Mutex<usize>>,
}

impl InspectorFactory for Watches {
    fn inspector(&self, index: TxIndex, _: Incarnation) -> Box<dyn TransactionInspector> {
        *self.made.lock().expect("nobody panics") += 1;
        let dropped = Arc::clone(&self.dropped);
        Box::new(Watch { index, calls: 0, steps: 0, logs: Vec::new(), dropped })
    }
}

impl Inspector<EvmContext, EthInterpreter> for Watch {
    fn step(&mut self, _: &mut Interpreter<EthInterpreter>, _: &mut EvmContext) {
        self.steps += 1;
    }

    fn log(&mut self, _: &mut EvmContext, log: Log) {
        self.logs.push(log.data.data);
    }

    fn call(&mut self, _: &mut EvmContext, _: &mut CallInputs) -> Option<CallOutcome> {
        self.calls += 1;
        None
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.dropped.lock().expect("nobody panics") += 1;
    }
}

#[test]
fn inspectors_of_committed_attempts_come_out_in_block_order_and_no_others() {
    let twice = Code::new().increment(1).sload(1).log_top().call(CallKind::Call, SECOND, 0).op(op::POP);
    let world = World::new().contract(FIRST, &twice).contract(SECOND, &Code::new().op(op::STOP));
    let transactions = [
        call(ALICE, FIRST),
        pay(BOB, NOBODY, 1),
        call(CAROL, FIRST),
        pay(DAVE, NOBODY, 1).nonce(77),
        call(BOB, FIRST),
        call(ALICE, FIRST),
    ];
    let plain = Case::new(Fork::Prague, &world, &transactions).skipping();
    let expected = plain.check().outcome;
    for way in Way::all(0..3) {
        let watches = Arc::new(Watches::default());
        let inspectors: Arc<dyn InspectorFactory> = Arc::<Watches>::clone(&watches);
        let evm = EvmSettings { inspectors: Some(inspectors), ..EvmSettings::default() };
        let case = Case { evm, ..plain.clone() };
        let execution = case.execute(way, &case.block(), case.reader()).expect("a valid block");
        assert_eq!(first_difference(&execution.outcome, &expected), None, "{way:?}");
        let kept = execution.inspectors.len();
        let seen: Vec<_> = execution
            .inspectors
            .iter()
            .map(|inspector| {
                let any: &dyn Any = &**inspector;
                let watch = any.downcast_ref::<Watch>().expect("a watch");
                let logs: Vec<_> = watch.logs.iter().map(|data| U256::from_be_slice(data)).collect();
                (watch.index.at(), watch.calls, logs, watch.steps > 0)
            })
            .collect();
        let counted = |index, count: u64| (index, 2, numbers([count]).to_vec(), true);
        let paid = |index| (index, 1, Vec::new(), false);
        assert_eq!(seen, [counted(0, 1), paid(1), counted(2, 2), counted(4, 3), counted(5, 4)], "{way:?}");
        let made = *watches.made.lock().expect("nobody panics");
        assert!(made >= transactions.len(), "{way:?}");
        let dropped = *watches.dropped.lock().expect("nobody panics");
        assert_eq!(made, dropped + kept, "{way:?}: an aborted attempt's inspector is somewhere");
    }
}

#[test]
fn an_inspector_is_shown_what_the_attempt_that_counts_saw() {
    // The balance is looked at by the inspector alone.
    #[derive(Debug)]
    struct Balances(Vec<U256>);
    impl Inspector<EvmContext, EthInterpreter> for Balances {
        fn call(&mut self, context: &mut EvmContext, inputs: &mut CallInputs) -> Option<CallOutcome> {
            let account = context.journaled_state.inner.state.get(&inputs.target_address);
            self.0.push(account.map_or(U256::ZERO, |account| account.info.balance));
            None
        }
    }
    #[derive(Debug)]
    struct Factory;
    impl InspectorFactory for Factory {
        fn inspector(&self, _: TxIndex, _: Incarnation) -> Box<dyn TransactionInspector> {
            Box::new(Balances(Vec::new()))
        }
    }
    let transactions = [pay(ALICE, NOBODY, 1), pay(BOB, NOBODY, 2), pay(CAROL, NOBODY, 4), pay(DAVE, NOBODY, 8)];
    let case = Case::new(Fork::Prague, &World::new(), &transactions);
    let case = Case { evm: EvmSettings { inspectors: Some(Arc::new(Factory)), ..EvmSettings::default() }, ..case };
    for way in Way::all(0..3) {
        let execution = case.execute(way, &case.block(), case.reader()).expect("a valid block");
        let shown = execution.inspectors.iter().flat_map(|inspector| {
            let any: &dyn Any = &**inspector;
            any.downcast_ref::<Balances>().expect("of this kind").0.clone()
        });
        assert_eq!(shown.collect::<Vec<_>>(), numbers([0, 1, 3, 7]), "{way:?}");
    }
}

/// Cancels when a transaction is committed.
struct CancelAfter(CancelToken, usize);

impl Probe for CancelAfter {
    fn event(&self, _: usize, event: Event) {
        if matches!(event, Event::Committed { index } if index.at() == self.1) {
            self.0.cancel();
        }
    }
}

#[test]
fn a_cancelled_execution_ends_at_the_next_transaction() {
    let world = World::new().contract(FIRST, &Code::new().increment(1));
    let transactions: Vec<_> = (0..200).map(|_| call(ALICE, FIRST)).collect();
    let case = Case::new(Fork::Prague, &world, &transactions);
    let block = case.block();
    for way in Way::all(0..2) {
        for after in [0, 5, 50] {
            let token = CancelToken::new();
            let options = ExecutorOptions { cancel: Some(token.clone()), ..case.options(way) };
            let executor = case.executor_with(way, options);
            let ended = executor.execute_probed(&block, case.reader(), &CancelAfter(token, after));
            match ended.expect_err("a cancelled run") {
                // Whoever holds the commit role may go on to the next commit before it looks.
                BlockError::Cancelled { before } => {
                    assert!((after + 1..after + 4).contains(&before), "{way:?} {before}");
                }
                other => panic!("{way:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_execution_cancelled_beforehand_commits_nothing() {
    let case = Case::new(Fork::Prague, &World::new(), &[pay(ALICE, NOBODY, 1), pay(BOB, NOBODY, 1)]);
    for way in Way::all(0..2) {
        let token = CancelToken::new();
        token.cancel();
        let options = ExecutorOptions { cancel: Some(token), ..case.options(way) };
        let ended = case.executor_with(way, options).execute(&case.block(), case.reader());
        assert!(matches!(ended, Err(BlockError::Cancelled { before: 0 })), "{way:?}: {ended:?}");
    }
    // The engine is none the worse for it.
    case.execute(BLIND, &case.block(), case.reader()).expect("a valid block");
}
