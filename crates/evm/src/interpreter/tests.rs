use std::ops::RangeInclusive;

use alloy_primitives::{Address, Bytes};
use proptest::{collection::vec, prelude::*, sample::select};
use revm::{
    bytecode::Bytecode,
    context_interface::host::DummyHost,
    interpreter::{
        CallInput, InputsImpl,
        instructions::{gas_table_spec, instruction_table},
        interpreter::ExtBytecode,
    },
};

use super::*;

const FORKS: [SpecId; 5] =
    [SpecId::FRONTIER, SpecId::BYZANTIUM, SpecId::PETERSBURG, SpecId::SHANGHAI, SpecId::AMSTERDAM];

/// A frame, about to begin.
fn frame(code: &[u8], spec: SpecId, gas: u64, input: &[u8], in_memory: bool) -> Interpreter {
    let mut memory = SharedMemory::new();
    let mut call_input = CallInput::Bytes(Bytes::copy_from_slice(input));
    if in_memory {
        // As a call gets it that a contract makes.
        memory.resize(input.len());
        memory.set(0, input);
        call_input = CallInput::SharedBuffer(0..input.len());
        memory = memory.new_child_context();
    }
    let inputs = InputsImpl {
        target_address: Address::repeat_byte(0xa1),
        caller_address: Address::repeat_byte(0xc2),
        call_value: U256::from(0x1234_5678_u64),
        input: call_input,
        ..InputsImpl::default()
    };
    let code = ExtBytecode::new(Bytecode::new_legacy(Bytes::copy_from_slice(code)));
    let mut frame = Interpreter::new(memory, code, inputs, false, spec, gas);
    frame.return_data.0 = Bytes::from_static(&[7; 5]);
    frame
}

/// Runs a frame both ways, and compares all that is left of it.
fn compare(code: &[u8], spec: SpecId, gas: u64, input: &[u8], in_memory: bool) {
    let (table, gas_table) = (instruction_table::<EthInterpreter, DummyHost>(), gas_table_spec(spec));
    let [mut ours, mut revms] = [0; 2].map(|_| frame(code, spec, gas, input, in_memory));
    let action = run(&mut ours, &table, &gas_table, &mut DummyHost::new(spec));
    let expected = revms.run_plain(&table, &gas_table, &mut DummyHost::new(spec));
    assert_eq!(action, expected, "{spec:?}, {gas} gas");
    assert_eq!((ours.gas, ours.bytecode.pc()), (revms.gas, revms.bytecode.pc()), "{spec:?}, {gas} gas");
    assert_eq!(ours.stack.data(), revms.stack.data(), "{spec:?}, {gas} gas");
    assert_eq!(*ours.memory.context_memory(), *revms.memory.context_memory(), "{spec:?}, {gas} gas");
}

/// revm's dummy host has no answer to DIFFICULTY.
fn answered(byte: u8) -> u8 {
    if byte == opcode::DIFFICULTY { opcode::NUMBER } else { byte }
}

/// A piece of a contract: most do something that can go on, some anything at all.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let plain: Vec<RangeInclusive<u8>> = vec![
        opcode::ADD..=opcode::SIGNEXTEND,
        opcode::LT..=opcode::SAR,
        opcode::POP..=opcode::SSTORE,
        opcode::JUMP..=opcode::JUMPDEST,
        opcode::DUP1..=opcode::SWAP16,
        opcode::ADDRESS..=opcode::CODESIZE,
        opcode::RETURNDATASIZE..=opcode::RETURNDATASIZE,
    ];
    let plain: Vec<u8> = plain.into_iter().flatten().collect();
    let push = (opcode::PUSH0..=opcode::PUSH32, vec(any::<u8>(), 32)).prop_map(|(push, bytes)| {
        let length = usize::from(push - opcode::PUSH0);
        [&[push], &bytes[..length]].concat()
    });
    let small = (0..130_u8).prop_map(|number| vec![opcode::PUSH1, number]);
    let jump = (0..2_u8, 0..90_u8, any::<bool>()).prop_map(|(condition, target, always)| {
        let jump = if always { opcode::JUMP } else { opcode::JUMPI };
        vec![opcode::PUSH1, condition, opcode::PUSH2, 0, target, jump]
    });
    let pairs = (0..8_usize, 0..90_u8, 0..4_u8).prop_map(|(pair, target, other)| {
        let branch = [opcode::PUSH2, 0, target, opcode::JUMPI];
        match pair {
            0 => [&[opcode::ISZERO][..], &branch].concat(),
            1 => [&[opcode::LT + other % 2][..], &branch].concat(),
            2 => [&[opcode::DUP1, opcode::DUP1 + other, opcode::EQ][..], &branch].concat(),
            3 => [&[opcode::DUP1, opcode::PUSH4, 0, 0, 0, other, opcode::EQ][..], &branch].concat(),
            4 => vec![opcode::SWAP1 + other, opcode::POP],
            5 => vec![opcode::POP; usize::from(other)],
            6 => vec![opcode::PUSH1, other, opcode::ADD],
            _ => vec![opcode::EQ, opcode::PUSH2, 0, target],
        }
    });
    prop_oneof![
        4 => pairs,
        8 => select(plain).prop_map(|op| vec![op]),
        3 => push,
        6 => small,
        2 => jump,
        2 => Just(vec![opcode::JUMPDEST]),
        1 => any::<u8>().prop_map(|op| vec![op]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn frame_ends_as_it_does_in_revm(
        operands in vec(any::<[u8; 32]>(), 0..20),
        pieces in vec(piece(), 0..60),
        gas in prop_oneof![0..400_u64, Just(5_000)],
        spec in select(&FORKS[..]),
        input in vec(any::<u8>(), 0..80),
        in_memory: bool,
    ) {
        // Small numbers, so that places in memory and input are met as often as not.
        let operand = |bytes: [u8; 32]| match bytes[0] % 4 {
            0 => [&[opcode::PUSH32][..], &bytes].concat(),
            _ => vec![opcode::PUSH1, bytes[1]],
        };
        let code: Vec<u8> = operands.into_iter().map(operand).chain(pieces).flatten().map(answered).collect();
        compare(&code, spec, gas, &input, in_memory);
    }
}

#[test]
fn what_is_run_in_line_costs_the_same_in_every_fork() {
    let ops: Vec<u8> = (0..=u8::MAX).filter(|op| is_in_line(*op)).collect();
    assert!(ops.len() > 80, "{ops:?}");
    for spec in FORKS {
        for op in &ops {
            assert_eq!(gas_table_spec(spec)[usize::from(*op)], gas_table_spec(SpecId::FRONTIER)[usize::from(*op)]);
        }
    }
}

/// Whether an instruction that finds all it needs is run in line.
fn is_in_line(op: u8) -> bool {
    let mut code = [&[opcode::PUSH1, 36].repeat(17)[..], &[op, 0, opcode::JUMPDEST]].concat();
    code.resize(code.len() + 40, 0);
    let mut frame = frame(&code, SpecId::AMSTERDAM, 1_000, &[1; 40], false);
    frame.memory.resize(128);
    run_in_line(&mut frame, Knows::of(SpecId::AMSTERDAM));
    frame.bytecode.pc() != 34
}

#[test]
fn stack_that_is_full_or_empty_fails_as_in_revm() {
    for op in (0..=u8::MAX).map(answered) {
        for depth in [0, 1, 2, 1022, 1023, 1024] {
            let code = [&[opcode::PUSH1, 1].repeat(depth)[..], &[op, 0, 6, opcode::JUMPI, opcode::JUMPDEST]].concat();
            compare(&code, SpecId::SHANGHAI, 10_000, &[1; 40], false);
        }
    }
}

#[test]
fn gas_that_ends_in_a_pair_of_instructions_ends_where_it_does_in_revm() {
    use opcode::*;
    let ends: [&[u8]; 8] = [
        &[PUSH2, 0, 60, JUMP],
        &[PUSH2, 0, 60, JUMPI],
        &[ISZERO, PUSH2, 0, 60, JUMPI],
        &[LT, PUSH2, 0, 60, JUMPI],
        &[EQ, PUSH2, 0, 61, JUMPI],
        &[PUSH4, 0, 0, 0, 0, EQ, PUSH2, 0, 60, JUMPI],
        &[SWAP2, POP, POP, POP],
        &[PUSH1, 7, ADD],
    ];
    for end in ends {
        for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut code = [&[PUSH1, 1, PUSH1, first, PUSH1, second][..], end].concat();
            code.resize(60, STOP);
            code.push(JUMPDEST);
            for gas in 0..50 {
                compare(&code, SpecId::SHANGHAI, gas, &[], false);
            }
            // Nothing below the operands, or not all of them.
            for missing in [2, 4, 6] {
                compare(&code[missing..], SpecId::SHANGHAI, 1_000, &[], false);
            }
        }
    }
}
