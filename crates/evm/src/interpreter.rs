//! The interpreter's loop: the instructions that most of a contract consists of are run in line, the others called.
//!
//! revm calls a function for every instruction, and each loads and stores the same few numbers: where it is, how much gas is
//! left, how deep the stack is. A run of plain instructions keeps them in registers here, and pairs that compilers put
//! together (a constant and the jump to it) are one step.
//!
//! - R1 An instruction is run in line only if all that it needs is there: gas, operands, room on the stack, memory that need
//!   not grow, a place to jump to. Otherwise nothing of it was done, and revm's own instruction is called: every failure and
//!   every order of failures is revm's.
//! - R2 What is run in line costs the same gas in every fork; a fork that does not know it leaves it to revm.

use alloy_primitives::U256;
use revm::{
    bytecode::{JumpTable, opcode},
    interpreter::{
        CallInput, GasTable, Host, InstructionTable, Interpreter, InterpreterAction, SharedMemory,
        interpreter::{EthInterpreter, STACK_LIMIT},
        interpreter_types::{Jumps, LoopControl, ReturnData},
    },
    primitives::hardfork::SpecId,
};

mod words;

use words::Words;

/// Runs a frame until it returns, stops, fails or calls another.
pub(crate) fn run<H: Host + ?Sized>(
    interpreter: &mut Interpreter,
    instructions: &InstructionTable<EthInterpreter, H>,
    gas_table: &GasTable,
    host: &mut H,
) -> InterpreterAction {
    let knows = Knows::of(interpreter.runtime_flag.spec_id);
    let end = loop {
        run_in_line(interpreter, knows);
        if let Err(end) = interpreter.step(instructions, gas_table, host) {
            break end;
        }
    };
    if interpreter.bytecode.action().is_none() {
        interpreter.halt(end);
    }
    interpreter.take_next_action()
}

/// Which instructions a fork knows, of those that came later.
#[derive(Debug, Clone, Copy)]
struct Knows {
    /// EIP-211.
    return_data: bool,
    /// EIP-145.
    shifts: bool,
    /// EIP-3855.
    push0: bool,
}

impl Knows {
    fn of(spec: SpecId) -> Self {
        Self {
            return_data: spec.is_enabled_in(SpecId::BYZANTIUM),
            shifts: spec.is_enabled_in(SpecId::PETERSBURG),
            push0: spec.is_enabled_in(SpecId::SHANGHAI),
        }
    }
}

const BASE: u64 = 2;
const VERY_LOW: u64 = 3;
const LOW: u64 = 5;
const MID: u64 = 8;
const HIGH: u64 = 10;
const JUMPDEST: u64 = 1;

/// Longest constant.
const LONGEST: usize = 32;

/// Runs instructions up to the first that has to be called.
fn run_in_line(interpreter: &mut Interpreter, knows: Knows) {
    let Interpreter { bytecode, gas, stack, memory, input, return_data, .. } = interpreter;
    let Some(jumps) = bytecode.legacy_jump_table() else { return };
    let code = bytecode.bytes_slice();
    // Half as wide as gas: the compiler would put the two into one vector and count both in it, which takes longer.
    let Ok(mut pc) = u32::try_from(bytecode.pc()) else { return };
    let mut left = gas.remaining();
    let Some(mut stack) = Words::of(stack.data_mut(), STACK_LIMIT) else { return };

    // Each of these leaves the loop before anything is changed.
    macro_rules! operands {
        ($cost:expr, $operands:expr) => {{
            if left < $cost || stack.depth() < $operands {
                break;
            }
        }};
    }
    macro_rules! unary {
        ($cost:expr, |$value:ident| $result:expr) => {{
            operands!($cost, 1);
            let $value = stack.get(0);
            stack.set(0, $result);
            left -= $cost;
            pc += 1;
        }};
    }
    macro_rules! binary {
        ($cost:expr, |$first:ident, $second:ident| $result:expr) => {{
            operands!($cost, 2);
            let ($first, $second) = (stack.get(0), stack.get(1));
            stack.set(1, $result);
            stack.pop(1);
            left -= $cost;
            pc += 1;
        }};
    }
    macro_rules! push {
        ($cost:expr, $length:expr, $value:expr) => {{
            if left < $cost || stack.is_full() {
                break;
            }
            left -= $cost;
            let value = $value;
            stack.push(value);
            pc += $length;
        }};
    }
    macro_rules! constant {
        ($length:expr) => {{
            let Some(value) = constant::<$length>(code, pc as usize) else { break };
            push!(VERY_LOW, 1 + $length, value);
        }};
    }
    macro_rules! duplicate {
        ($depth:expr) => {{
            operands!(VERY_LOW, $depth);
            push!(VERY_LOW, 1, stack.get($depth - 1));
        }};
    }
    macro_rules! swap {
        ($depth:expr) => {{
            operands!(VERY_LOW, $depth + 1);
            let (first, second) = (stack.get(0), stack.get($depth));
            stack.set(0, second);
            stack.set($depth, first);
            left -= VERY_LOW;
            pc += 1;
        }};
    }
    // Lands behind the destination where there is gas for it.
    macro_rules! land {
        ($target:expr) => {{
            pc = $target as u32;
            if left >= JUMPDEST {
                left -= JUMPDEST;
                pc += 1;
            }
        }};
    }

    while let Some(instruction) = code.get(pc as usize) {
        match *instruction {
            opcode::ADD => binary!(VERY_LOW, |a, b| a.wrapping_add(b)),
            opcode::MUL => binary!(LOW, |a, b| a.wrapping_mul(b)),
            opcode::SUB => binary!(VERY_LOW, |a, b| a.wrapping_sub(b)),
            opcode::DIV => binary!(LOW, |a, b| divided(a, b)),
            opcode::LT => binary!(VERY_LOW, |a, b| U256::from(a < b)),
            opcode::GT => binary!(VERY_LOW, |a, b| U256::from(a > b)),
            opcode::SLT => binary!(VERY_LOW, |a, b| U256::from(is_less_signed(a, b))),
            opcode::SGT => binary!(VERY_LOW, |a, b| U256::from(is_less_signed(b, a))),
            opcode::EQ => binary!(VERY_LOW, |a, b| U256::from(is_zero(a ^ b))),
            opcode::ISZERO => unary!(VERY_LOW, |a| U256::from(is_zero(a))),
            opcode::AND => binary!(VERY_LOW, |a, b| a & b),
            opcode::OR => binary!(VERY_LOW, |a, b| a | b),
            opcode::XOR => binary!(VERY_LOW, |a, b| a ^ b),
            opcode::NOT => unary!(VERY_LOW, |a| !a),
            opcode::SHL if knows.shifts => binary!(VERY_LOW, |by, a| shifted_left(a, by)),
            opcode::SHR if knows.shifts => binary!(VERY_LOW, |by, a| shifted_right(a, by)),
            opcode::ADDRESS => push!(BASE, 1, input.target_address.into_word().into()),
            opcode::CALLER => push!(BASE, 1, input.caller_address.into_word().into()),
            opcode::CALLVALUE => push!(BASE, 1, input.call_value),
            opcode::CALLDATALOAD => unary!(VERY_LOW, |at| word_of_input(&input.input, memory, at)),
            opcode::CALLDATASIZE => push!(BASE, 1, U256::from(input.input.len())),
            opcode::RETURNDATASIZE if knows.return_data => {
                push!(BASE, 1, U256::from(return_data.buffer().len()));
            }
            opcode::POP => {
                operands!(BASE, 1);
                stack.pop(1);
                left -= BASE;
                pc += 1;
            }
            opcode::MLOAD => {
                operands!(VERY_LOW, 1);
                let Some(at) = place_of_word(stack.get(0), memory) else { break };
                stack.set(0, memory.get_u256(at));
                left -= VERY_LOW;
                pc += 1;
            }
            opcode::MSTORE => {
                operands!(VERY_LOW, 2);
                let Some(at) = place_of_word(stack.get(0), memory) else { break };
                memory.set_u256(at, stack.get(1));
                stack.pop(2);
                left -= VERY_LOW;
                pc += 1;
            }
            opcode::JUMP => {
                operands!(MID, 1);
                let Some(target) = destination(stack.get(0), jumps) else { break };
                stack.pop(1);
                left -= MID;
                land!(target);
            }
            opcode::JUMPI => {
                operands!(HIGH, 2);
                if is_zero(stack.get(1)) {
                    pc += 1;
                    left -= HIGH;
                } else {
                    let Some(target) = destination(stack.get(0), jumps) else { break };
                    left -= HIGH;
                    land!(target);
                }
                stack.pop(2);
            }
            opcode::GAS => push!(BASE, 1, U256::from(left)),
            opcode::JUMPDEST => {
                if left < JUMPDEST {
                    break;
                }
                left -= JUMPDEST;
                pc += 1;
            }
            opcode::PUSH0 if knows.push0 => push!(BASE, 1, U256::ZERO),
            opcode::PUSH1 => {
                let Some(value) = code.get(pc as usize + 1) else { break };
                push!(VERY_LOW, 2, U256::from(*value));
            }
            opcode::PUSH2 => {
                let Some([high, low, next]) = code.get(pc as usize + 1..pc as usize + 4) else { break };
                let value = usize::from(u16::from_be_bytes([*high, *low]));
                match *next {
                    opcode::JUMP if left >= VERY_LOW + MID && !stack.is_full() && jumps.is_valid(value) => {
                        left -= VERY_LOW + MID;
                        land!(value);
                    }
                    opcode::JUMPI if left >= VERY_LOW + HIGH && !stack.is_full() && stack.depth() > 0 => {
                        if is_zero(stack.get(0)) {
                            pc += 4;
                            left -= VERY_LOW + HIGH;
                        } else if jumps.is_valid(value) {
                            left -= VERY_LOW + HIGH;
                            land!(value);
                        } else {
                            break;
                        }
                        stack.pop(1);
                    }
                    _ => push!(VERY_LOW, 3, U256::from(value)),
                }
            }
            opcode::PUSH3 => constant!(3),
            opcode::PUSH4 => constant!(4),
            opcode::PUSH5 => constant!(5),
            opcode::PUSH6 => constant!(6),
            opcode::PUSH7 => constant!(7),
            opcode::PUSH8 => constant!(8),
            opcode::PUSH9 => constant!(9),
            opcode::PUSH10 => constant!(10),
            opcode::PUSH11 => constant!(11),
            opcode::PUSH12 => constant!(12),
            opcode::PUSH13 => constant!(13),
            opcode::PUSH14 => constant!(14),
            opcode::PUSH15 => constant!(15),
            opcode::PUSH16 => constant!(16),
            opcode::PUSH17 => constant!(17),
            opcode::PUSH18 => constant!(18),
            opcode::PUSH19 => constant!(19),
            opcode::PUSH20 => constant!(20),
            opcode::PUSH21 => constant!(21),
            opcode::PUSH22 => constant!(22),
            opcode::PUSH23 => constant!(23),
            opcode::PUSH24 => constant!(24),
            opcode::PUSH25 => constant!(25),
            opcode::PUSH26 => constant!(26),
            opcode::PUSH27 => constant!(27),
            opcode::PUSH28 => constant!(28),
            opcode::PUSH29 => constant!(29),
            opcode::PUSH30 => constant!(30),
            opcode::PUSH31 => constant!(31),
            opcode::PUSH32 => constant!(32),
            opcode::DUP1 => duplicate!(1),
            opcode::DUP2 => duplicate!(2),
            opcode::DUP3 => duplicate!(3),
            opcode::DUP4 => duplicate!(4),
            opcode::DUP5 => duplicate!(5),
            opcode::DUP6 => duplicate!(6),
            opcode::DUP7 => duplicate!(7),
            opcode::DUP8 => duplicate!(8),
            opcode::DUP9 => duplicate!(9),
            opcode::DUP10 => duplicate!(10),
            opcode::DUP11 => duplicate!(11),
            opcode::DUP12 => duplicate!(12),
            opcode::DUP13 => duplicate!(13),
            opcode::DUP14 => duplicate!(14),
            opcode::DUP15 => duplicate!(15),
            opcode::DUP16 => duplicate!(16),
            opcode::SWAP1 => swap!(1),
            opcode::SWAP2 => swap!(2),
            opcode::SWAP3 => swap!(3),
            opcode::SWAP4 => swap!(4),
            opcode::SWAP5 => swap!(5),
            opcode::SWAP6 => swap!(6),
            opcode::SWAP7 => swap!(7),
            opcode::SWAP8 => swap!(8),
            opcode::SWAP9 => swap!(9),
            opcode::SWAP10 => swap!(10),
            opcode::SWAP11 => swap!(11),
            opcode::SWAP12 => swap!(12),
            opcode::SWAP13 => swap!(13),
            opcode::SWAP14 => swap!(14),
            opcode::SWAP15 => swap!(15),
            opcode::SWAP16 => swap!(16),
            _ => break,
        }
    }
    stack.close();
    gas.set_remaining(left);
    bytecode.absolute_jump(pc as usize);
}

/// The constant of so many bytes behind an instruction, where code goes on far enough behind it.
fn constant<const LENGTH: usize>(code: &[u8], pc: usize) -> Option<U256> {
    let behind = code.get(pc + 1..)?;
    if LENGTH <= 8 {
        return Some(U256::from(u64::from_be_bytes(*behind.first_chunk()?) >> (8 * (8 - LENGTH))));
    }
    Some(U256::from_be_bytes(*behind.first_chunk::<LONGEST>()?) >> (8 * (LONGEST - LENGTH)))
}

/// Without a detour over wide registers: limbs arrive one by one.
fn is_zero(word: U256) -> bool {
    let [a, b, c, d] = word.into_limbs();
    a | b | c | d == 0
}

fn divided(dividend: U256, divisor: U256) -> U256 {
    if divisor.is_zero() { U256::ZERO } else { dividend.wrapping_div(divisor) }
}

/// Two's complement.
fn is_less_signed(a: U256, b: U256) -> bool {
    match (a.bit(255), b.bit(255)) {
        (true, false) => true,
        (false, true) => false,
        _ => a < b,
    }
}

fn shifted_left(value: U256, by: U256) -> U256 {
    usize::try_from(by).ok().filter(|by| *by < 256).map_or(U256::ZERO, |by| value << by)
}

fn shifted_right(value: U256, by: U256) -> U256 {
    usize::try_from(by).ok().filter(|by| *by < 256).map_or(U256::ZERO, |by| value >> by)
}

/// Where a jump leads, if it may.
fn destination(target: U256, jumps: &JumpTable) -> Option<usize> {
    usize::try_from(target).ok().filter(|target| jumps.is_valid(*target))
}

/// Where a word is in memory, if memory need not grow for it.
fn place_of_word(at: U256, memory: &SharedMemory) -> Option<usize> {
    let at = usize::try_from(at).ok()?;
    (at.checked_add(32)? <= memory.len()).then_some(at)
}

/// Behind the end of the input is zero.
fn word_of_input(input: &CallInput, memory: &SharedMemory, at: U256) -> U256 {
    let Ok(at) = usize::try_from(at) else { return U256::ZERO };
    let input = &*input.as_bytes_memory(memory);
    let Some(rest) = input.get(at..) else { return U256::ZERO };
    if let Some(word) = rest.first_chunk::<32>() {
        return U256::from_be_bytes(*word);
    }
    let mut word = [0; 32];
    word[..rest.len()].copy_from_slice(rest);
    U256::from_be_bytes(word)
}

#[cfg(test)]
mod tests;
