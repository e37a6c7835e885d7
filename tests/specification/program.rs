//! What contracts do, as trees of actions that can be drawn, made smaller and turned into bytecode.
//!
//! An action leaves the stack as it found it, so that any of them can be left out. What it does hangs on slots,
//! balances and code that other transactions of the block change.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use revm::bytecode::opcode as op;

/// Gas that a caller keeps: before EIP-150 a call may not ask for more than there is.
const KEPT_GAS: u64 = 40_000;

/// How a contract is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    CallCode,
    DelegateCall,
    StaticCall,
}

/// How much gas a call is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GasFor {
    /// All but what the caller keeps.
    Rest,
    /// This much.
    Fixed(u64),
}

/// Something that other transactions decide.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    OddSlot(u64),
    OddBalance(Address),
    Poorer(Address, u64),
    HasCode(Address),
    OddInput,
    Paid,
}

/// One thing that a contract does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Increment(u64),
    Store(u64, u64),
    LogSlot(u64),
    LogBalance(Address),
    LogOwnBalance,
    LogCodeSize(Address),
    LogCodeHash(Address),
    LogCode(Address),
    LogGas,
    LogOp(u8),
    LogBlockHash(u64),
    LogReturned,
    /// Pays on what came with the call.
    PassOn(Address),
    /// Pays all that the contract has.
    PayAll(Address),
    Call {
        kind: Kind,
        to: Address,
        value: u64,
        gas: GasFor,
    },
    Create {
        init: usize,
        value: u64,
    },
    Create2 {
        init: usize,
        value: u64,
        salt: u64,
    },
    /// Reads and writes transient storage (EIP-1153).
    Transient,
    /// Takes memory up to this byte.
    Grow(u64),
    Branch(Condition, Vec<Action>, Vec<Action>),
    Return,
    Revert,
    Fail,
    /// Runs until no gas is left.
    Loop,
    Destroy(Address),
}

/// How init code ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By leaving the runtime code.
    Deploy,
    /// By leaving code that EIP-3541 refuses.
    DeployInvalid,
    /// By leaving nothing.
    Stop,
    Fail,
    Destroy(Address),
}

/// The code that creates a contract.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Init {
    pub(crate) setup: Vec<Action>,
    pub(crate) ending: Ending,
    pub(crate) runtime: Vec<Action>,
}

impl Init {
    /// The bytes. What it creates itself, it creates with empty init code: init codes do not contain each other.
    pub(crate) fn bytes(&self) -> Bytes {
        let mut code = Code::default();
        code.actions(&self.setup, &[]);
        match self.ending {
            Ending::Deploy => {
                let runtime = bytecode(&self.runtime, &[]);
                code.carry(&runtime);
                code.push(runtime.len() as u64).push(0).op(op::RETURN);
            }
            Ending::DeployInvalid => {
                code.push(0xef).push(0).op(op::MSTORE8).push(1).push(0).op(op::RETURN);
            }
            Ending::Stop => {
                code.op(op::STOP);
            }
            Ending::Fail => {
                code.op(op::INVALID);
            }
            Ending::Destroy(heir) => {
                code.address(heir).op(op::SELFDESTRUCT);
            }
        }
        code.0.into()
    }
}

/// The bytecode of a contract whose creations use these init codes.
pub(crate) fn bytecode(actions: &[Action], inits: &[Init]) -> Bytes {
    let mut code = Code::default();
    code.actions(actions, inits);
    code.0.into()
}

/// Where `creator` puts what it creates with this salt and init code (EIP-1014).
pub(crate) fn create2_address(creator: Address, salt: u64, init: &[u8]) -> Address {
    creator.create2(B256::from(U256::from(salt)), keccak256(init))
}

/// Bytes that are being written.
#[derive(Debug, Default)]
struct Code(Vec<u8>);

impl Code {
    fn op(&mut self, opcode: u8) -> &mut Self {
        self.0.push(opcode);
        self
    }

    fn push(&mut self, number: u64) -> &mut Self {
        self.push_word(U256::from(number))
    }

    fn push_word(&mut self, number: U256) -> &mut Self {
        let bytes = number.to_be_bytes_trimmed_vec();
        let bytes = if bytes.is_empty() { vec![0] } else { bytes };
        self.op(op::PUSH1 + bytes.len() as u8 - 1).0.extend(bytes);
        self
    }

    fn address(&mut self, address: Address) -> &mut Self {
        self.op(op::PUSH20).0.extend(address);
        self
    }

    /// `[] -> []`: writes bytes to the memory at 0, in words.
    fn carry(&mut self, bytes: &[u8]) {
        for (at, word) in bytes.chunks(32).enumerate() {
            let mut padded = [0; 32];
            padded[..word.len()].copy_from_slice(word);
            self.push_word(U256::from_be_bytes(padded)).push(32 * at as u64).op(op::MSTORE);
        }
    }

    /// `[word] -> []`
    fn log_top(&mut self) -> &mut Self {
        self.push(0).op(op::MSTORE).push(32).push(0).op(op::LOG0)
    }

    fn actions(&mut self, actions: &[Action], inits: &[Init]) {
        for action in actions {
            self.action(action, inits);
        }
    }

    fn action(&mut self, action: &Action, inits: &[Init]) {
        match action {
            Action::Increment(slot) => {
                self.push(*slot).op(op::SLOAD).push(1).op(op::ADD).push(*slot).op(op::SSTORE);
            }
            Action::Store(slot, value) => {
                self.push(*value).push(*slot).op(op::SSTORE);
            }
            Action::LogSlot(slot) => {
                self.push(*slot).op(op::SLOAD).log_top();
            }
            Action::LogBalance(of) => {
                self.address(*of).op(op::BALANCE).log_top();
            }
            Action::LogOwnBalance => {
                self.op(op::ADDRESS).op(op::BALANCE).log_top();
            }
            Action::LogCodeSize(of) => {
                self.address(*of).op(op::EXTCODESIZE).log_top();
            }
            Action::LogCodeHash(of) => {
                self.address(*of).op(op::EXTCODEHASH).log_top();
            }
            Action::LogCode(of) => {
                self.push(32).push(0).push(0).address(*of).op(op::EXTCODECOPY);
                self.push(32).push(0).op(op::LOG0);
            }
            Action::LogGas => {
                self.op(op::GAS).log_top();
            }
            Action::LogOp(opcode) => {
                self.op(*opcode).log_top();
            }
            Action::LogBlockHash(number) => {
                self.push(*number).op(op::BLOCKHASH).log_top();
            }
            Action::LogReturned => {
                self.op(op::RETURNDATASIZE).push(0).push(0).op(op::RETURNDATACOPY);
                self.op(op::RETURNDATASIZE).push(0).op(op::LOG0);
            }
            Action::PassOn(to) => {
                self.op(op::CALLVALUE).pay_top(*to);
            }
            Action::PayAll(to) => {
                self.op(op::ADDRESS).op(op::BALANCE).pay_top(*to);
            }
            Action::Call { kind, to, value, gas } => self.call(*kind, *to, *value, *gas),
            Action::Create { init, value } => {
                let length = self.carry_init(inits.get(*init));
                self.push(length).push(0).push(*value).op(op::CREATE).log_top();
            }
            Action::Create2 { init, value, salt } => {
                let length = self.carry_init(inits.get(*init));
                self.push(*salt).push(length).push(0).push(*value).op(op::CREATE2).log_top();
            }
            Action::Transient => {
                self.push(1).op(op::TLOAD).log_top();
                self.push(9).push(1).op(op::TSTORE);
            }
            Action::Grow(to) => {
                self.push(*to).op(op::MLOAD).op(op::POP);
            }
            Action::Branch(condition, yes, no) => self.branch(condition, yes, no, inits),
            Action::Return => {
                self.push(32).push(0).op(op::RETURN);
            }
            Action::Revert => {
                self.push(32).push(0).op(op::REVERT);
            }
            Action::Fail => {
                self.op(op::INVALID);
            }
            Action::Loop => {
                let start = self.0.len() as u64;
                self.op(op::JUMPDEST).push(0).op(op::SLOAD).op(op::POP).push(start).op(op::JUMP);
            }
            Action::Destroy(heir) => {
                self.address(*heir).op(op::SELFDESTRUCT);
            }
        }
    }

    fn carry_init(&mut self, init: Option<&Init>) -> u64 {
        let init = init.map(Init::bytes).unwrap_or_default();
        self.carry(&init);
        init.len() as u64
    }

    /// `[value] -> []`: pays the topmost word and logs whether it went through.
    fn pay_top(&mut self, to: Address) {
        self.push(0).push(0).push(0).push(0).op(op::SWAP4);
        self.address(to).gas_for(GasFor::Rest).op(op::CALL).log_top();
    }

    fn call(&mut self, kind: Kind, to: Address, value: u64, gas: GasFor) {
        self.push(0).push(0).push(1).push(0);
        let (opcode, carries_value) = match kind {
            Kind::Call => (op::CALL, true),
            Kind::CallCode => (op::CALLCODE, true),
            Kind::DelegateCall => (op::DELEGATECALL, false),
            Kind::StaticCall => (op::STATICCALL, false),
        };
        if carries_value {
            self.push(value);
        }
        self.address(to).gas_for(gas).op(opcode).log_top();
    }

    fn gas_for(&mut self, gas: GasFor) -> &mut Self {
        match gas {
            GasFor::Rest => self.push(KEPT_GAS).op(op::GAS).op(op::SUB),
            GasFor::Fixed(gas) => self.push(gas),
        }
    }

    fn branch(&mut self, condition: &Condition, yes: &[Action], no: &[Action], inits: &[Init]) {
        match condition {
            Condition::OddSlot(slot) => self.push(*slot).op(op::SLOAD).push(1).op(op::AND),
            Condition::OddBalance(of) => self.address(*of).op(op::BALANCE).push(1).op(op::AND),
            Condition::Poorer(who, than) => self.push(*than).address(*who).op(op::BALANCE).op(op::LT),
            Condition::HasCode(who) => self.address(*who).op(op::EXTCODESIZE),
            Condition::OddInput => self.push(0).op(op::CALLDATALOAD).push(0).op(op::BYTE).push(1).op(op::AND),
            Condition::Paid => self.op(op::CALLVALUE),
        };
        let to_yes = self.push_place();
        self.op(op::JUMPI).actions(no, inits);
        let to_end = self.push_place();
        self.op(op::JUMP);
        self.land(to_yes);
        self.actions(yes, inits);
        self.land(to_end);
    }

    /// Pushes an offset of two bytes that [`land`](Self::land) fills in.
    fn push_place(&mut self) -> usize {
        self.op(op::PUSH2).0.extend([0, 0]);
        self.0.len() - 2
    }

    fn land(&mut self, place: usize) {
        let here = u16::try_from(self.0.len()).expect("code of less than 64 KiB");
        self.0[place..place + 2].copy_from_slice(&here.to_be_bytes());
        self.op(op::JUMPDEST);
    }
}
