//! Instructions that look at accounts, wrapped to note what they saw; and the one that hashes, wrapped to remember.
//!
//! Each wrapper runs revm's own instruction between a look at its operands and the note. An account that was not loaded
//! in the end (the gas did not suffice) leaves no note: what decided then was gas.

use alloy_primitives::{Address, U256};
use revm::{
    bytecode::opcode,
    context_interface::Cfg,
    interpreter::{
        Host, Instruction, InstructionContext, InstructionExecResult,
        instructions::{contract, host, system},
        interpreter::EthInterpreter,
        interpreter_types::{InputsTr, MemoryTr},
    },
    primitives::hardfork::SpecId,
    state::AccountInfo,
};

use crate::{
    handler::{observe_balance, observe_callee, observe_emptiness},
    hashes::LONGEST,
    machine::{EvmContext, Instructions},
};

type Scope<'a> = InstructionContext<'a, EvmContext, EthInterpreter>;

/// revm's instructions of a fork, with notes.
pub(crate) fn observing_instructions(spec: SpecId) -> Instructions {
    let mut instructions = Instructions::new_mainnet_with_spec(spec);
    let table = instructions.instruction_table_mut();
    let wrapped: [(u8, Instruction<EthInterpreter, EvmContext>); 13] = [
        (opcode::KECCAK256, Instruction::new(keccak256)),
        (opcode::BALANCE, Instruction::new(balance)),
        (opcode::SELFBALANCE, Instruction::new(selfbalance)),
        (opcode::EXTCODESIZE, Instruction::new(extcodesize)),
        (opcode::EXTCODECOPY, Instruction::new(extcodecopy)),
        (opcode::EXTCODEHASH, Instruction::new(extcodehash)),
        (opcode::CALL, Instruction::new(call)),
        (opcode::CALLCODE, Instruction::new(callcode)),
        (opcode::DELEGATECALL, Instruction::new(delegatecall)),
        (opcode::STATICCALL, Instruction::new(staticcall)),
        (opcode::CREATE, Instruction::new(create::<false>)),
        (opcode::CREATE2, Instruction::new(create::<true>)),
        (opcode::SELFDESTRUCT, Instruction::new(selfdestruct)),
    ];
    for (opcode, instruction) in wrapped {
        table[usize::from(opcode)] = instruction;
    }
    instructions
}

/// The operand `below` the top of the stack.
fn operand(scope: &Scope<'_>, below: usize) -> Option<U256> {
    scope.interpreter.stack.peek(below).ok()
}

fn address_operand(scope: &Scope<'_>, below: usize) -> Option<Address> {
    operand(scope, below).map(|word| Address::from_word(word.into()))
}

/// The same scope, lent.
fn lend<'a>(scope: &'a mut Scope<'_>) -> Scope<'a> {
    InstructionContext { interpreter: scope.interpreter, host: scope.host }
}

/// Hashes what is short by the worker's memory of hashes. Whatever else there is to it (memory that grows, gas that does
/// not suffice) is left to revm's own instruction.
fn keccak256(scope: Scope<'_>) -> InstructionExecResult {
    let (from, length) = (operand(&scope, 0), operand(&scope, 1));
    let range = from.zip(length).and_then(|(from, length)| {
        let (from, length) = (usize::try_from(from).ok()?, usize::try_from(length).ok()?);
        let end = from.checked_add(length)?;
        let is_short = length > 0 && length <= LONGEST && end <= scope.interpreter.memory.len();
        is_short.then_some(from..end)
    });
    let Some(range) = range else { return system::keccak256(scope) };
    let cost = scope.host.gas_params().keccak256_cost(range.len());
    if scope.interpreter.gas.remaining() < cost || !scope.interpreter.gas.record_regular_cost(cost) {
        return system::keccak256(scope);
    }
    let hash = scope.host.journaled_state.database.hashes.keccak256(&scope.interpreter.memory.slice(range));
    let stack = scope.interpreter.stack.data_mut();
    stack.pop();
    if let Some(top) = stack.last_mut() {
        *top = hash.into();
    }
    Ok(())
}

fn balance(mut scope: Scope<'_>) -> InstructionExecResult {
    let address = address_operand(&scope, 0);
    let result = host::balance(lend(&mut scope));
    if let Some(address) = address {
        observe_balance(scope.host, address);
    }
    result
}

fn selfbalance(mut scope: Scope<'_>) -> InstructionExecResult {
    let result = host::selfbalance(lend(&mut scope));
    observe_balance(scope.host, scope.interpreter.input.target_address());
    result
}

fn extcodesize(mut scope: Scope<'_>) -> InstructionExecResult {
    let address = address_operand(&scope, 0);
    let result = host::extcodesize(lend(&mut scope));
    if let Some(address) = address {
        observe_code(scope.host, address);
    }
    result
}

fn extcodecopy(mut scope: Scope<'_>) -> InstructionExecResult {
    let address = address_operand(&scope, 0);
    let result = host::extcodecopy(lend(&mut scope));
    if let Some(address) = address {
        observe_code(scope.host, address);
    }
    result
}

fn extcodehash(mut scope: Scope<'_>) -> InstructionExecResult {
    let address = address_operand(&scope, 0);
    let result = host::extcodehash(lend(&mut scope));
    if let Some(address) = address {
        observe_code(scope.host, address);
        observe_vacancy(scope.host, address);
    }
    result
}

fn call(mut scope: Scope<'_>) -> InstructionExecResult {
    let (address, value) = (address_operand(&scope, 1), operand(&scope, 2));
    let result = contract::call::<{ opcode::CALL }, _, _>(lend(&mut scope));
    if let Some(address) = address {
        observe_callee(scope.host, address);
        // Whether the call makes a new account is priced: always before EIP-161, then only where value goes.
        let priced = !after(scope.host, SpecId::SPURIOUS_DRAGON) || value.is_some_and(|value| !value.is_zero());
        if priced {
            observe_vacancy(scope.host, address);
        }
    }
    result
}

fn callcode(mut scope: Scope<'_>) -> InstructionExecResult {
    let address = address_operand(&scope, 1);
    let result = contract::call::<{ opcode::CALLCODE }, _, _>(lend(&mut scope));
    if let Some(address) = address {
        observe_callee(scope.host, address);
    }
    result
}

fn delegatecall(mut scope: Scope<'_>) -> InstructionExecResult {
    let address = address_operand(&scope, 1);
    let result = contract::call::<{ opcode::DELEGATECALL }, _, _>(lend(&mut scope));
    if let Some(address) = address {
        observe_callee(scope.host, address);
    }
    result
}

fn staticcall(mut scope: Scope<'_>) -> InstructionExecResult {
    let address = address_operand(&scope, 1);
    let result = contract::call::<{ opcode::STATICCALL }, _, _>(lend(&mut scope));
    if let Some(address) = address {
        observe_callee(scope.host, address);
    }
    result
}

/// The frame's initialisation observes what decides a creation. Only where the instruction itself is priced by state
/// (EIP-8037) does it look first; when it then fails, what it looked at is hard to tell, so all of it counts.
fn create<const IS_CREATE2: bool>(mut scope: Scope<'_>) -> InstructionExecResult {
    let creator = scope.interpreter.input.target_address();
    let result = contract::create::<IS_CREATE2, _, _>(lend(&mut scope));
    if scope.host.cfg.is_amsterdam_eip8037_enabled() {
        observe_balance(scope.host, creator);
        let journal = &mut scope.host.journaled_state;
        if let Some(loaded) = journal.database.loaded(&creator) {
            loaded.observe_nonce();
        }
        journal.database.observe_all_emptiness(&journal.inner.state);
    }
    result
}

/// The whole balance moves, and whether the recipient is a new account is priced as it was before.
fn selfdestruct(mut scope: Scope<'_>) -> InstructionExecResult {
    let address = scope.interpreter.input.target_address();
    let recipient = address_operand(&scope, 0);
    let former = recipient.and_then(|recipient| journal_info(scope.host, &recipient));
    let moved = journal_info(scope.host, &address).map_or(U256::ZERO, |info| info.balance);
    let result = host::selfdestruct(lend(&mut scope));
    observe_balance(scope.host, address);
    let Some(recipient) = recipient else { return result };
    let before_eip161 = !after(scope.host, SpecId::SPURIOUS_DRAGON);
    if let Some(loaded) = scope.host.journaled_state.database.loaded(&recipient) {
        if before_eip161 {
            loaded.observe_existence();
        }
        let former = former.unwrap_or_else(|| AccountInfo {
            balance: loaded.balance,
            nonce: loaded.nonce,
            code_hash: loaded.code_hash,
            ..AccountInfo::default()
        });
        loaded.observe_emptiness(&former);
        if recipient != address {
            loaded.observe_room(former.balance, moved);
        }
    }
    result
}

fn journal_info(host: &EvmContext, address: &Address) -> Option<AccountInfo> {
    host.journaled_state.inner.state.get(address).map(|account| account.info.clone())
}

fn observe_code(host: &mut EvmContext, address: Address) {
    if let Some(loaded) = host.journaled_state.database.loaded(&address) {
        loaded.observe_code();
    }
}

/// Whether the address is free as its fork sees it: empty, or before EIP-161 not there.
fn observe_vacancy(host: &mut EvmContext, address: Address) {
    if after(host, SpecId::SPURIOUS_DRAGON) {
        observe_emptiness(host, address);
    } else if let Some(loaded) = host.journaled_state.database.loaded(&address) {
        loaded.observe_existence();
    }
}

fn after(host: &EvmContext, fork: SpecId) -> bool {
    host.cfg.spec().is_enabled_in(fork)
}
