//! When an attempt comes to each account and slot: an inspector with a clock.
//!
//! What a simulation needs to know of a transaction besides what it reads and writes is when it does so. Inspecting slows
//! the EVM down, every instruction alike, so that times are told as parts of the whole.

use std::{collections::HashSet, sync::Arc, time::Instant};

use alloy_primitives::{Address, U256};
use revm::{
    Inspector,
    bytecode::opcode,
    interpreter::{
        CallInputs, CallOutcome, CreateInputs, CreateOutcome, Interpreter,
        interpreter::EthInterpreter,
        interpreter_types::{InputsTr, Jumps},
    },
};
use ropewalk_engine::{Incarnation, TxIndex};

use crate::{EvmContext, EvmKey, InspectorFactory, TransactionInspector};

/// Notes when a transaction comes to each key for the first time.
#[derive(Debug)]
pub struct Arrivals {
    /// The transaction.
    pub index: TxIndex,
    begun: Instant,
    /// When the outermost frame was over.
    ended: Instant,
    known: HashSet<EvmKey, foldhash::fast::RandomState>,
    first: Vec<(EvmKey, Instant)>,
}

impl Arrivals {
    /// The keys in the order first come to, each with the part of the transaction's time that had passed, from 0 to 1. What
    /// is looked at before the first frame and after the last is not among them.
    pub fn by_time(&self) -> impl Iterator<Item = (EvmKey, f64)> + '_ {
        let whole = (self.ended - self.begun).as_secs_f64();
        self.first.iter().map(move |(key, at)| {
            let passed = (*at - self.begun).as_secs_f64();
            (*key, if whole > 0.0 { (passed / whole).clamp(0.0, 1.0) } else { 0.0 })
        })
    }

    fn arrive(&mut self, key: EvmKey) {
        if self.known.insert(key) {
            self.first.push((key, Instant::now()));
        }
    }
}

impl Inspector<EvmContext, EthInterpreter> for Arrivals {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _: &mut EvmContext) {
        let word = |depth: usize| -> Option<U256> {
            let stack = interpreter.stack.data();
            stack.len().checked_sub(depth + 1).map(|at| stack[at])
        };
        let address = |depth: usize| word(depth).map(|word| Address::from_word(word.into()));
        let key = match interpreter.bytecode.opcode() {
            opcode::SLOAD | opcode::SSTORE => {
                word(0).map(|slot| EvmKey::Slot(interpreter.input.target_address(), slot))
            }
            opcode::BALANCE
            | opcode::EXTCODESIZE
            | opcode::EXTCODECOPY
            | opcode::EXTCODEHASH
            | opcode::SELFDESTRUCT => address(0).map(EvmKey::Account),
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL => {
                address(1).map(EvmKey::Account)
            }
            _ => None,
        };
        if let Some(key) = key {
            self.arrive(key);
        }
    }

    fn call(&mut self, _: &mut EvmContext, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.arrive(EvmKey::Account(inputs.target_address));
        None
    }

    fn call_end(&mut self, _: &mut EvmContext, _: &CallInputs, _: &mut CallOutcome) {
        self.ended = Instant::now();
    }

    fn create_end(&mut self, _: &mut EvmContext, _: &CreateInputs, outcome: &mut CreateOutcome) {
        if let Some(created) = outcome.address {
            self.arrive(EvmKey::Account(created));
        }
        self.ended = Instant::now();
    }
}

/// Makes [`Arrivals`] for every attempt.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArrivalTimes;

impl ArrivalTimes {
    /// Ready for [`EvmSettings`](crate::EvmSettings).
    pub fn shared() -> Arc<dyn InspectorFactory> {
        Arc::new(Self)
    }
}

impl InspectorFactory for ArrivalTimes {
    fn inspector(&self, index: TxIndex, _: Incarnation) -> Box<dyn TransactionInspector> {
        let now = Instant::now();
        Box::new(Arrivals { index, begun: now, ended: now, known: HashSet::default(), first: Vec::new() })
    }
}
