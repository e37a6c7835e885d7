//! Why a block has no outcome.
//!
//! Three families that a caller must tell apart, and cancellation:
//!
//! | [`BlockError`] | means | the caller may |
//! |---|---|---|
//! | [`Invalid`](BlockError::Invalid) | the block breaks a rule of its chain | reject the block |
//! | [`State`](BlockError::State) | the parent state could not be read | repair the source and try again |
//! | [`Broken`](BlockError::Broken) | this program is wrong | report a bug |
//! | [`Cancelled`](BlockError::Cancelled) | the caller asked to stop | |
//!
//! A run in order and a parallel run of the same block must give errors that [agree](BlockError::agrees_with).

use std::{convert::Infallible, error::Error, fmt, sync::Arc};

use alloy_primitives::{Address, B256, Bytes};
use revm::context_interface::result::{EVMError, HaltReason, InvalidHeader, InvalidTransaction};
use ropewalk_state::StateError;

use crate::AccessListFault;

/// Why executing a block gave no outcome.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BlockError {
    /// The block breaks a rule of its chain.
    #[error("block is invalid")]
    Invalid(#[from] InvalidBlock),
    /// The parent state could not be read.
    #[error("state could not be read {position}")]
    State {
        /// What was being executed.
        position: Position,
        /// What the state source said.
        source: StateError,
    },
    /// Something happened that this program holds impossible.
    #[error("an invariant is broken")]
    Broken(#[from] BrokenInvariant),
    /// The caller cancelled the run.
    #[error("execution was cancelled before transaction {before}")]
    Cancelled {
        /// Index of the lowest transaction that was not committed.
        before: usize,
    },
}

/// A part of a block's execution. Transaction `i` is EIP-7928's position `i + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// Position 0: system calls and irregular state changes ahead of the transactions.
    PreBlock,
    /// A transaction, by its index.
    Transaction(usize),
    /// Position n + 1: requests, rewards and withdrawals after the transactions.
    PostBlock,
}

/// The rule that a block breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// A transaction's signature names no sender.
    #[error("transaction {index} has a bad signature")]
    Signature {
        /// Transaction index.
        index: usize,
        /// What is wrong with it.
        #[source]
        fault: SignatureFault,
    },
    /// A transaction may not be part of this block at this place.
    #[error("transaction {index} is invalid")]
    Transaction {
        /// Transaction index.
        index: usize,
        /// What is wrong with it.
        #[source]
        fault: TransactionFault,
    },
    /// The header lacks a field that the EVM needs under the block's fork.
    #[error("header is incomplete")]
    Header(#[source] InvalidHeader),
    /// The header lacks the parent beacon block root that EIP-4788 asks for from Cancun on.
    #[error("parent beacon block root is missing (EIP-4788)")]
    MissingParentBeaconRoot,
    /// A genesis block under Cancun or later has a parent beacon block root other than zero (EIP-4788).
    #[error("parent beacon block root of a genesis block is {found}, not zero (EIP-4788)")]
    GenesisParentBeaconRoot {
        /// The header's root.
        found: B256,
    },
    /// An ommer is not between one and six blocks older than the block.
    #[error("ommer {index} is of block {ommer}, which block {block} cannot reward")]
    OmmerDepth {
        /// Index among the block's ommers.
        index: usize,
        /// The ommer's number.
        ommer: u64,
        /// The block's number.
        block: u64,
    },
    /// A system contract that collects requests is missing or failed (EIP-7002, EIP-7251, EIP-8282).
    #[error("system contract {contract} gave no requests")]
    SystemCall {
        /// Address of the contract.
        contract: Address,
        /// What happened.
        #[source]
        failure: SystemCallFailure,
    },
    /// A log of the deposit contract does not hold a deposit (EIP-6110).
    #[error("a deposit log {} is malformed (EIP-6110)", in_transaction(*.transaction))]
    Deposit {
        /// Index of the transaction that emitted it, where known.
        transaction: Option<usize>,
    },
    /// The access list that came with the block is not the block's (EIP-7928).
    #[error("the access list is not that of the block")]
    AccessList(#[source] Box<AccessListFault>),
    /// The senders given for a block are not one for each transaction.
    #[error("{senders} senders are given for {transactions} transactions")]
    SenderCount {
        /// Number of transactions in the block.
        transactions: usize,
        /// Number of senders given.
        senders: usize,
    },
}

/// Why a signature names no sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// No public key belongs to it.
    #[error("no public key belongs to it")]
    Unrecoverable,
    /// Its `s` is in the upper half of the curve's order, refused since Homestead (EIP-2).
    #[error("s is in the upper half of the curve's order (EIP-2)")]
    HighS,
    /// It commits to a chain id before Spurious Dragon, where only 27 and 28 are values of `v` (EIP-155).
    #[error("it commits to a chain id before EIP-155")]
    ReplayProtected,
}

/// Why a transaction may not be part of a block at its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionFault {
    /// The transaction fails the checks made on the state that it finds.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
    /// The gas it declares is more than what the transactions before it leave of the block's limit.
    #[error("its gas limit of {limit_gas} is more than the {available_gas} gas left in the block")]
    BlockGas {
        /// Gas limit of the transaction.
        limit_gas: u64,
        /// Gas left in the block.
        available_gas: u64,
    },
    /// Its blobs are more than what the transactions before it leave of the block's limit (EIP-4844).
    #[error("its blob gas of {blob_gas} is more than the {available_gas} blob gas left in the block")]
    BlobGas {
        /// Blob gas of the transaction.
        blob_gas: u64,
        /// Blob gas left in the block.
        available_gas: u64,
    },
}

/// Why a system contract gave no requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemCallFailure {
    /// There is no code at its address.
    #[error("it has no code")]
    Missing,
    /// It reverted.
    #[error("it reverted with {output}")]
    Reverted {
        /// What it returned.
        output: Bytes,
    },
    /// It halted.
    #[error("it halted: {reason:?}")]
    Halted {
        /// Why.
        reason: HaltReason,
    },
    /// It reverted or halted; the oracle keeps no more than that.
    #[error("the call failed")]
    Unspecified,
}

/// Something that this program holds impossible, with what is known about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokenInvariant {
    /// The EVM failed in a way that explains itself neither by the block nor by the state. A precompile that an
    /// embedder added and that reports a fatal error ends here too.
    #[error("the EVM failed {position}")]
    Evm {
        /// What was being executed.
        position: Position,
        /// What the EVM said.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// Executing a transaction panicked, with all lower transactions committed.
    #[error("the EVM panicked {position}: {message}")]
    Panic {
        /// What was being executed.
        position: Position,
        /// The panic's message.
        message: String,
    },
    /// An account's code changed to code that is not among the block's changes.
    #[error("account {address} got code {code_hash} that nobody holds")]
    UnknownCode {
        /// Which account.
        address: Address,
        /// Hash of its code after the block.
        code_hash: B256,
    },
}

impl BlockError {
    /// The rule that the block breaks, if that is the reason.
    pub fn as_invalid(&self) -> Option<&InvalidBlock> {
        match self {
            Self::Invalid(rule) => Some(rule),
            Self::State { .. } | Self::Broken(_) | Self::Cancelled { .. } => None,
        }
    }

    /// Whether two runs of one block say the same: the same broken rule, or the same failure of the state source.
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Invalid(ours), Self::Invalid(theirs)) => ours.agrees_with(theirs),
            (Self::State { position, source }, Self::State { position: other_position, source: other_source }) => {
                position == other_position && source.to_string() == other_source.to_string()
            }
            (Self::Cancelled { .. }, Self::Cancelled { .. }) => true,
            _ => false,
        }
    }

    /// Sorts an error of the EVM at `position` into its family. `state` tells what a failed database means.
    pub fn from_evm<D>(error: EVMError<D>, position: Position, state: impl FnOnce(D) -> Self) -> Self {
        let unexplained = |error: EVMError<Infallible>| BrokenInvariant::Evm { position, source: Arc::new(error) };
        match (error, position) {
            (EVMError::Transaction(fault), Position::Transaction(index)) => {
                InvalidBlock::Transaction { index, fault: fault.into() }.into()
            }
            (EVMError::Transaction(fault), _) => unexplained(EVMError::Transaction(fault)).into(),
            (EVMError::Header(fault), _) => InvalidBlock::Header(fault).into(),
            (EVMError::Database(error), _) => state(error),
            (EVMError::Custom(message), _) => unexplained(EVMError::Custom(message)).into(),
            (EVMError::CustomAny(error), _) => unexplained(EVMError::CustomAny(error)).into(),
        }
    }
}

impl From<AccessListFault> for InvalidBlock {
    fn from(fault: AccessListFault) -> Self {
        Self::AccessList(Box::new(fault))
    }
}

impl InvalidBlock {
    /// Whether two runs of one block found the same rule broken. A detail that one of them does not know is not held
    /// against it.
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::SystemCall { contract, failure },
                Self::SystemCall { contract: other_contract, failure: other_failure },
            ) => {
                let unspecified =
                    [failure, other_failure].into_iter().any(|failure| *failure == SystemCallFailure::Unspecified);
                contract == other_contract && (unspecified || failure == other_failure)
            }
            (Self::Deposit { transaction: Some(ours) }, Self::Deposit { transaction: Some(theirs) }) => ours == theirs,
            (Self::Deposit { .. }, Self::Deposit { .. }) => true,
            _ => self == other,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreBlock => f.write_str("before the transactions"),
            Self::Transaction(index) => write!(f, "in transaction {index}"),
            Self::PostBlock => f.write_str("after the transactions"),
        }
    }
}

fn in_transaction(index: Option<usize>) -> String {
    index.map_or_else(|| "of the block".to_owned(), |index| format!("in transaction {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_transaction_names_its_index_and_the_reason_is_its_source() {
        let error = BlockError::from_evm(
            EVMError::<Infallible>::Transaction(InvalidTransaction::NonceTooHigh { tx: 5, state: 4 }),
            Position::Transaction(3),
            |never| match never {},
        );
        let rule = error.source().expect("the broken rule");
        assert_eq!(rule.to_string(), "transaction 3 is invalid");
        assert_eq!(rule.source().expect("the fault").to_string(), "nonce 5 too high, expected 4");
    }

    #[test]
    fn an_unspecified_system_call_failure_agrees_with_any_of_the_same_contract() {
        let at = |contract, failure| BlockError::from(InvalidBlock::SystemCall { contract, failure });
        let contract = Address::with_last_byte(1);
        let reverted = at(contract, SystemCallFailure::Reverted { output: Bytes::new() });
        assert!(reverted.agrees_with(&at(contract, SystemCallFailure::Unspecified)));
        assert!(!reverted.agrees_with(&at(contract, SystemCallFailure::Missing)));
        assert!(!reverted.agrees_with(&at(Address::ZERO, SystemCallFailure::Unspecified)));
    }

    #[test]
    fn families_never_agree_with_each_other() {
        let state =
            BlockError::State { position: Position::Transaction(0), source: StateError::MissingAccount(Address::ZERO) };
        assert!(!state.agrees_with(&BlockError::Cancelled { before: 0 }));
        assert!(!state.agrees_with(&InvalidBlock::MissingParentBeaconRoot.into()));
        assert!(state.agrees_with(&state.clone()));
    }
}
