//! A small assembler: bytecode as a chain of Rust calls, so that a test shows what its contracts do.
//!
//! Everything leaves the stack as its doc says, topmost first. Only instructions of Frontier are used unless a call is
//! named after a later one.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use revm::bytecode::opcode as op;

/// Gas that a caller keeps for itself and for what the call costs: before EIP-150 it may not ask for more than the rest.
const KEPT_GAS: u64 = 40_000;

/// A place in the code that can be jumped to or pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label(usize);

#[derive(Debug, Clone)]
enum Item {
    Bytes(Vec<u8>),
    /// Where the label is.
    Here(Label),
    /// Pushes the label's offset, two bytes wide.
    Push(Label),
}

/// Code that is being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Code {
    items: Vec<Item>,
    labels: usize,
}

/// How a contract is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    Call,
    CallCode,
    DelegateCall,
    StaticCall,
}

impl Code {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> Bytes {
        let width = |item: &Item| match item {
            Item::Bytes(bytes) => bytes.len(),
            Item::Here(_) => 0,
            Item::Push(_) => 3,
        };
        let offset = |label: Label| -> u16 {
            let before = self.items.iter().take_while(|item| !matches!(item, Item::Here(here) if *here == label));
            before.map(width).sum::<usize>().try_into().expect("code of less than 64 KiB")
        };
        let mut code = Vec::new();
        for item in &self.items {
            match item {
                Item::Bytes(bytes) => code.extend(bytes),
                Item::Here(_) => {}
                Item::Push(label) => {
                    code.push(op::PUSH2);
                    code.extend(offset(*label).to_be_bytes());
                }
            }
        }
        code.into()
    }

    /// Appends raw bytes.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.items.push(Item::Bytes(bytes.to_vec()));
        self
    }

    /// Appends one instruction.
    pub(crate) fn op(self, opcode: u8) -> Self {
        self.raw(&[opcode])
    }

    /// Appends more code.
    pub(crate) fn then(mut self, more: Self) -> Self {
        let base = self.labels;
        let moved = more.items.into_iter().map(|item| match item {
            Item::Bytes(bytes) => Item::Bytes(bytes),
            Item::Here(Label(label)) => Item::Here(Label(label + base)),
            Item::Push(Label(label)) => Item::Push(Label(label + base)),
        });
        self.items.extend(moved);
        self.labels += more.labels;
        self
    }

    fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    fn here(mut self, label: Label) -> Self {
        self.items.push(Item::Here(label));
        self
    }

    fn push_label(mut self, label: Label) -> Self {
        self.items.push(Item::Push(label));
        self
    }

    /// Pushes a number.
    pub(crate) fn push(self, number: impl TryInto<U256, Error: std::fmt::Debug>) -> Self {
        let number: U256 = number.try_into().expect("a number of 256 bits");
        let bytes = number.to_be_bytes_trimmed_vec();
        let bytes = if bytes.is_empty() { vec![0] } else { bytes };
        self.raw(&[op::PUSH1 + bytes.len() as u8 - 1]).raw(&bytes)
    }

    /// Pushes an address.
    pub(crate) fn address(self, address: Address) -> Self {
        self.op(op::PUSH20).raw(address.as_slice())
    }

    /// `[] -> []`: stores a constant.
    pub(crate) fn sstore(self, slot: u64, value: u64) -> Self {
        self.push(value).push(slot).op(op::SSTORE)
    }

    /// `[value] -> []`: stores the topmost word.
    pub(crate) fn store(self, slot: u64) -> Self {
        self.push(slot).op(op::SSTORE)
    }

    /// `[] -> [value]`.
    pub(crate) fn sload(self, slot: u64) -> Self {
        self.push(slot).op(op::SLOAD)
    }

    /// `[] -> []`: adds one to a slot.
    pub(crate) fn increment(self, slot: u64) -> Self {
        self.sload(slot).push(1).op(op::ADD).store(slot)
    }

    /// `[] -> [balance]`.
    pub(crate) fn balance(self, address: Address) -> Self {
        self.address(address).op(op::BALANCE)
    }

    /// `[] -> [success]`: a call without input or output. The value counts where the kind carries one.
    pub(crate) fn call(self, kind: CallKind, to: Address, value: impl TryInto<U256, Error: std::fmt::Debug>) -> Self {
        let sized = self.push(0).push(0).push(0).push(0);
        match kind {
            CallKind::Call => sized.push(value).address(to).rest_of_gas().op(op::CALL),
            CallKind::CallCode => sized.push(value).address(to).rest_of_gas().op(op::CALLCODE),
            CallKind::DelegateCall => sized.address(to).rest_of_gas().op(op::DELEGATECALL),
            CallKind::StaticCall => sized.address(to).rest_of_gas().op(op::STATICCALL),
        }
    }

    /// `[] -> [gas]`: what can be passed on.
    fn rest_of_gas(self) -> Self {
        self.push(KEPT_GAS).op(op::GAS).op(op::SUB)
    }

    /// `[] -> []`: pays, whatever comes of it.
    pub(crate) fn pay(self, to: Address, value: impl TryInto<U256, Error: std::fmt::Debug>) -> Self {
        self.call(CallKind::Call, to, value).op(op::POP)
    }

    /// `[value] -> [success]`: pays the topmost word.
    pub(crate) fn pay_top(self, to: Address) -> Self {
        let sized = self.push(0).push(0).push(0).push(0).op(op::SWAP4);
        sized.address(to).rest_of_gas().op(op::CALL)
    }

    /// `[condition] -> []`: one of two branches.
    pub(crate) fn branch(mut self, nonzero: Self, zero: Self) -> Self {
        let (yes, end) = (self.label(), self.label());
        let jump = self.push_label(yes).op(op::JUMPI).then(zero).push_label(end).op(op::JUMP);
        jump.here(yes).op(op::JUMPDEST).then(nonzero).here(end).op(op::JUMPDEST)
    }

    /// `[condition] -> []`: a branch that may not be taken.
    pub(crate) fn when(self, nonzero: Self) -> Self {
        self.branch(nonzero, Self::new())
    }

    /// `[] -> []`: runs `then` when the first byte of the call's input is this one.
    pub(crate) fn on_input(self, first: u8, then: Self) -> Self {
        self.push(0).op(op::CALLDATALOAD).push(0).op(op::BYTE).push(first).op(op::EQ).when(then)
    }

    /// `[] -> []`: a log without topics over nothing.
    pub(crate) fn log(self, topic: u64) -> Self {
        self.push(topic).push(0).push(0).op(op::LOG1)
    }

    /// `[word] -> []`: a log of the topmost word.
    pub(crate) fn log_top(self) -> Self {
        self.push(0).op(op::MSTORE).push(32).push(0).op(op::LOG0)
    }

    /// Ends the call by undoing it.
    pub(crate) fn revert(self) -> Self {
        self.push(0).push(0).op(op::REVERT)
    }

    /// Ends the call by undoing it and taking its gas: what every fork can do.
    pub(crate) fn fail(self) -> Self {
        self.op(op::INVALID)
    }

    /// Ends the call by destroying the contract.
    pub(crate) fn destroy(self, beneficiary: Address) -> Self {
        self.address(beneficiary).op(op::SELFDESTRUCT)
    }

    /// `[] -> [created]`: creates a contract out of init code that is carried along.
    pub(crate) fn create(self, init: &Self, value: u64) -> Self {
        let init = init.bytes();
        self.carry(&init).push(init.len() as u64).push(0).push(value).op(op::CREATE)
    }

    /// `[] -> [created]`: as [`create`](Self::create), at an address that does not depend on the nonce.
    pub(crate) fn create2(self, init: &Self, value: u64, salt: u64) -> Self {
        let init = init.bytes();
        self.carry(&init).push(salt).push(init.len() as u64).push(0).push(value).op(op::CREATE2)
    }

    /// `[] -> []`: writes bytes to the memory at 0, in words.
    fn carry(mut self, bytes: &[u8]) -> Self {
        for (at, word) in bytes.chunks(32).enumerate() {
            let mut padded = [0; 32];
            padded[..word.len()].copy_from_slice(word);
            self = self.push(U256::from_be_bytes(padded)).push(32 * at as u64).op(op::MSTORE);
        }
        self
    }

    /// Init code: runs `self` and leaves `runtime` as the contract's code.
    pub(crate) fn deploying(self, runtime: &Self) -> Self {
        let runtime = runtime.bytes();
        self.carry(&runtime).push(runtime.len() as u64).push(0).op(op::RETURN)
    }

    /// Hash of the bytes.
    pub(crate) fn hash(&self) -> B256 {
        keccak256(self.bytes())
    }
}

/// Where `creator` puts what it creates with this salt and init code (EIP-1014).
pub(crate) fn create2_address(creator: Address, salt: u64, init: &Code) -> Address {
    creator.create2(B256::from(U256::from(salt)), init.hash())
}
