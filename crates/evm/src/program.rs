//! The engine's program: Ethereum accounts and slots as keys, transactions as what runs.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use alloy_primitives::{Address, Bloom, U256};
use revm::{
    context::TxEnv,
    context_interface::result::{ExecutionResult, HaltReason, InvalidHeader, InvalidTransaction},
    primitives::hardfork::SpecId,
};
use ropewalk_engine::{Delta, Fields, Observation, Program, TxIndex};
use ropewalk_state::StateError;

use crate::{
    Accesses, AccountDelta, AccountObservation, AccountValue, Places, TransactionInspector,
    calls::{called, words},
};

/// Bits of the fields that make up the values.
pub mod field {
    use ropewalk_engine::Fields;

    /// An account's balance.
    pub const BALANCE: Fields = 1;
    /// An account's nonce.
    pub const NONCE: Fields = 1 << 1;
    /// An account's code.
    pub const CODE: Fields = 1 << 2;
    /// Whether an account exists.
    pub const EXISTENCE: Fields = 1 << 3;
    /// An account's storage as a whole: cleared, or empty before the block.
    pub const STORAGE: Fields = 1 << 4;
    /// A slot's value.
    pub const SLOT: Fields = 1 << 5;

    /// What the field of each bit is called, from the lowest.
    pub const NAMES: [&str; 6] = ["balance", "nonce", "code", "existence", "storage", "slot"];
}

/// Ethereum transactions.
#[derive(Debug, Clone, Copy)]
pub struct EvmProgram;

/// What is read and written together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvmKey {
    /// An account without its storage.
    Account(Address),
    /// Whether an account had no storage before the block (EIP-7610). Shadowed by the account.
    StorageEmpty(Address),
    /// One storage slot. Shadowed by the account: creation and destruction clear it.
    Slot(Address, U256),
}

/// Word by word: a hasher takes a slice of bytes with a loop and a length, and keys are hashed at every access.
impl Hash for EvmKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (kind, Self::Account(address) | Self::StorageEmpty(address) | Self::Slot(address, _)) = (self.kind(), self);
        words(address, kind.into()).into_iter().for_each(|word| state.write_u64(word));
        if let Self::Slot(_, slot) = self {
            slot.as_limbs().iter().for_each(|limb| state.write_u64(*limb));
        }
    }
}

impl EvmKey {
    fn kind(&self) -> u8 {
        match self {
            Self::Account(_) => 0,
            Self::StorageEmpty(_) => 1,
            Self::Slot(..) => 2,
        }
    }
}

impl fmt::Display for EvmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(address) => write!(f, "{address}"),
            Self::StorageEmpty(address) => write!(f, "storage of {address}"),
            Self::Slot(address, slot) => write!(f, "slot {slot:#x} of {address}"),
        }
    }
}

/// The value of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum EvmValue {
    /// Of an account. Boxed: most values are those of slots, and every cell has room for two.
    Account(Box<AccountValue>),
    /// Whether the storage is empty.
    StorageEmpty(bool),
    /// Of a slot.
    Slot(U256),
}

impl Clone for EvmValue {
    fn clone(&self) -> Self {
        match self {
            Self::Account(value) => Self::Account(value.clone()),
            Self::StorageEmpty(empty) => Self::StorageEmpty(*empty),
            Self::Slot(value) => Self::Slot(*value),
        }
    }

    /// An account takes the place of another without a new box.
    fn clone_from(&mut self, source: &Self) {
        match (self, source) {
            (Self::Account(value), Self::Account(source)) => value.clone_from(source),
            (value, source) => *value = source.clone(),
        }
    }
}

/// What a transaction does to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvmDelta {
    /// To an account.
    Account(AccountDelta),
    /// To a slot: its new value.
    Slot(U256),
}

/// What an attempt learnt about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvmObservation {
    /// About an account.
    Account(AccountObservation),
    /// Whether the storage was empty.
    StorageEmpty(bool),
    /// A slot's value.
    Slot(U256),
}

/// One transaction, ready to run.
#[derive(Debug, Clone)]
pub struct Transaction {
    env: Arc<TxEnv>,
    effort: u64,
    follows: Option<TxIndex>,
    meets: Option<Box<EvmKey>>,
}

impl Transaction {
    /// A transaction to be run under the rules of `spec`. `env` is revm's environment of it, authorities of EIP-7702
    /// recovered.
    pub fn new(env: Arc<TxEnv>, spec: SpecId) -> Self {
        let effort = expected_effort(&env, spec);
        Self { env, effort, follows: None, meets: None }
    }

    /// The same transaction, which is expected to find wrong what it reads before a lower one is done: at this key, where that
    /// is known.
    #[must_use]
    pub fn following(mut self, lower: TxIndex, at: Option<EvmKey>) -> Self {
        (self.follows, self.meets) = (Some(lower), at.map(Box::new));
        self
    }

    /// The same transaction, whose like took so many nanoseconds.
    #[must_use]
    pub fn taking(mut self, ns: u64) -> Self {
        self.effort = ns.max(1);
        self
    }

    /// The same transaction over a state that takes `read_ns` nanoseconds to answer. What a payment reads can be known
    /// before it runs, so it is taken to be read by then.
    #[must_use]
    pub fn reading(mut self, read_ns: u64) -> Self {
        if self.effort > 0 {
            self.effort = self.effort.saturating_add(read_ns.saturating_mul(READS));
        }
        self
    }

    /// The contract and the selector that it calls. Creations call none, and neither does what can only be a payment.
    pub fn called(&self) -> Option<(&Address, &[u8; 4])> {
        called(&self.env)
    }

    /// revm's environment of it.
    pub fn env(&self) -> &Arc<TxEnv> {
        &self.env
    }
}

/// Reads of the state that a call makes, at least.
const READS: u64 = 2;

/// Nanoseconds that a transaction is expected to take. A payment is over before another thread has heard of it. Calls
/// are taken to use half of their gas limit, and gas to take as long as it took on recorded blocks of the time: repricings
/// (EIP-150, EIP-2929) have made it slower.
fn expected_effort(env: &TxEnv, spec: SpecId) -> u64 {
    if env.data.is_empty() && env.kind.is_call() {
        return 0;
    }
    let gas_per_ns = match spec {
        _ if spec.is_enabled_in(SpecId::BERLIN) => 5,
        _ if spec.is_enabled_in(SpecId::TANGERINE) => 16,
        _ => 32,
    };
    env.gas_limit / gas_per_ns
}

/// What an attempt yields besides its write set.
#[derive(Debug)]
pub struct TxOutput {
    /// What the EVM says; the failure of a transaction that must not be in a block.
    pub result: Result<ExecutionResult<HaltReason>, ExecutionFailure>,
    /// Bloom filter of its logs; `None` where there are none. Boxed: results are handed from thread to thread, and a payment has
    /// no logs.
    pub bloom: Option<Box<Bloom>>,
    /// The attempt's own inspector, if there is one.
    pub inspector: Option<Box<dyn TransactionInspector>>,
    /// What the attempt looked at, where that was asked for.
    pub accesses: Option<Box<Accesses>>,
    /// The same, by where known writes name it, where that was asked for.
    pub places: Option<Box<Places>>,
}

/// Why a transaction has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutionFailure {
    /// It may not be included where it stands.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// The block's header lacks what its fork needs.
    #[error(transparent)]
    Header(#[from] InvalidHeader),
    /// The EVM gave up for a reason of its own, as a custom precompile can make it.
    #[error("{0}")]
    Fatal(Arc<str>),
}

impl TxOutput {
    /// Whether the transaction did what it was to do.
    pub fn succeeds(&self) -> bool {
        self.result.as_ref().is_ok_and(|result| result.is_success())
    }

    /// Gas that the attempt used, after refunds; zero for a transaction without result.
    pub fn gas_used(&self) -> u64 {
        self.result.as_ref().map_or(0, |result| result.gas().tx_gas_used())
    }
}

impl Program for EvmProgram {
    type Key = EvmKey;
    type Value = EvmValue;
    type Delta = EvmDelta;
    type Observation = EvmObservation;
    type Transaction = Transaction;
    type Output = TxOutput;
    type Fault = StateError;

    fn shadow(key: &EvmKey) -> Option<EvmKey> {
        match key {
            EvmKey::Account(_) => None,
            EvmKey::StorageEmpty(address) | EvmKey::Slot(address, _) => Some(EvmKey::Account(*address)),
        }
    }

    fn hidden(key: &EvmKey) -> EvmValue {
        match key {
            EvmKey::Account(_) => EvmValue::Account(Box::new(AccountValue::ABSENT)),
            EvmKey::StorageEmpty(_) => EvmValue::StorageEmpty(true),
            EvmKey::Slot(..) => EvmValue::Slot(U256::ZERO),
        }
    }

    /// An account that does not exist has no storage.
    fn hides(before: &EvmValue) -> bool {
        matches!(before, EvmValue::Account(account) if !account.exists)
    }

    /// Its gas limit: no attempt can use more.
    fn weight(transaction: &Transaction) -> u64 {
        transaction.env.gas_limit
    }

    fn effort(transaction: &Transaction) -> u64 {
        transaction.effort
    }

    fn cost(output: &TxOutput) -> u64 {
        output.gas_used()
    }

    fn follows(transaction: &Transaction) -> Option<TxIndex> {
        transaction.follows
    }

    fn meets(transaction: &Transaction) -> Option<&EvmKey> {
        transaction.meets.as_deref()
    }

    /// Transactions of one sender follow each other by nonce.
    fn lane(transaction: &Transaction) -> Option<u64> {
        let [.., a, b, c, d, e, f, g, h] = transaction.env.caller.0.0;
        Some(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl Delta<EvmValue> for EvmDelta {
    fn is_bounded(&self) -> bool {
        matches!(self, Self::Account(_))
    }

    fn fits(&self, value: &EvmValue) -> bool {
        match (self, value) {
            (Self::Account(delta), EvmValue::Account(value)) => delta.fits(value),
            _ => true,
        }
    }

    fn apply(&self, value: &mut EvmValue) {
        match (self, value) {
            (Self::Account(delta), EvmValue::Account(value)) => delta.apply(value),
            (Self::Slot(new), EvmValue::Slot(value)) => *value = *new,
            (delta, value) => unreachable!("{delta:?} was written to the key of {value:?}"),
        }
    }

    fn fields(&self) -> Fields {
        match self {
            Self::Account(delta) => delta.fields(),
            Self::Slot(_) => field::SLOT,
        }
    }

    fn sets(&self) -> Fields {
        match self {
            Self::Account(delta) => delta.sets(),
            Self::Slot(_) => field::SLOT,
        }
    }

    fn is_absolute(&self) -> bool {
        match self {
            Self::Account(delta) => delta.is_absolute(),
            Self::Slot(_) => true,
        }
    }

    fn clears_shadowed(&self) -> bool {
        match self {
            Self::Account(AccountDelta { clears_storage, .. }) => *clears_storage,
            Self::Slot(_) => false,
        }
    }
}

impl Observation<EvmValue> for EvmObservation {
    fn exact(value: &EvmValue) -> Self {
        match value {
            EvmValue::Account(value) => Self::Account(AccountObservation::exact(value)),
            EvmValue::StorageEmpty(empty) => Self::StorageEmpty(*empty),
            EvmValue::Slot(value) => Self::Slot(*value),
        }
    }

    fn holds(&self, value: &EvmValue) -> bool {
        match (self, value) {
            (Self::Account(observation), EvmValue::Account(value)) => observation.holds(value),
            (Self::StorageEmpty(observed), EvmValue::StorageEmpty(empty)) => observed == empty,
            (Self::Slot(observed), EvmValue::Slot(value)) => observed == value,
            (observation, value) => unreachable!("{observation:?} was made of the key of {value:?}"),
        }
    }

    fn fields(&self) -> Fields {
        match self {
            Self::Account(observation) => observation.fields(),
            Self::StorageEmpty(_) => field::STORAGE,
            Self::Slot(_) => field::SLOT,
        }
    }

    /// Code stays what it is, but for what is created or destroyed.
    fn is_volatile(&self) -> bool {
        self.fields() != field::CODE
    }

    fn parts(&self) -> Vec<Self> {
        match self {
            Self::Account(observation) => observation.parts().into_iter().map(Self::Account).collect(),
            Self::StorageEmpty(_) | Self::Slot(_) => vec![self.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_engine::Memory;

    use super::*;

    /// Most of what a block's last part and a transaction without company take is waiting for memory.
    #[test]
    fn a_key_takes_three_cache_lines() {
        assert_eq!(Memory::<EvmProgram>::BYTES_PER_KEY, 3 * 64);
    }

    #[test]
    fn a_change_takes_a_line_and_a_quarter() {
        assert_eq!(size_of::<EvmDelta>(), 80);
    }
}
