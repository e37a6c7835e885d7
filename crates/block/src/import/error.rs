//! Why a block is not imported.
//!
//! One enum for each step, so that a caller knows how far the block came; values are what the block says (`found`) and
//! what the rule wants (`expected`).

use std::fmt;

use alloy_primitives::{B64, B256, Bloom, Bytes, U256};

use crate::BlockError;

/// Why a block is not imported.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImportError {
    /// Its bytes are not a block.
    #[error("block is malformed")]
    Malformed(#[from] MalformedBlock),
    /// It extends a block that nobody knows.
    #[error("parent {hash} is unknown")]
    UnknownParent {
        /// The parent's hash.
        hash: B256,
    },
    /// Its header breaks a rule that its parent and its fork set.
    #[error("header is invalid")]
    Header(#[from] HeaderFault),
    /// Its body is not the one that the header commits to, or breaks a rule by itself.
    #[error("body is invalid")]
    Body(#[from] BodyFault),
    /// An ommer may not be included.
    #[error("ommer {index} is invalid")]
    Ommer {
        /// Index among the block's ommers.
        index: usize,
        /// What is wrong with it.
        #[source]
        fault: OmmerFault,
    },
    /// Executing it gave no outcome.
    #[error(transparent)]
    Execution(#[from] BlockError),
    /// Executing it gave another outcome than the header claims.
    #[error("outcome is not what the header claims")]
    Outcome(#[from] OutcomeFault),
}

/// Which part of a block's bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedBlock {
    /// The block is not one list of header, transactions, ommers and perhaps withdrawals.
    #[error("the block is not a list of its parts")]
    Structure(#[source] alloy_rlp::Error),
    /// Bytes follow the block, or a part follows its last part.
    #[error("{extra_bytes} bytes follow the last part")]
    TrailingBytes {
        /// How many.
        extra_bytes: usize,
    },
    /// The header cannot be read.
    #[error("the header cannot be read")]
    Header(#[source] alloy_rlp::Error),
    /// A transaction cannot be read.
    #[error("transaction {index} cannot be read")]
    Transaction {
        /// Transaction index.
        index: usize,
        /// The type byte of EIP-2718; `None` for a legacy transaction, or where there is none.
        tx_type: Option<u8>,
        /// What is wrong with its bytes.
        #[source]
        source: alloy_rlp::Error,
    },
    /// A blob transaction comes with its blobs, as it is sent between nodes; a block holds it without them (EIP-4844).
    #[error("transaction {index} comes with its blobs (EIP-4844)")]
    TransactionWithBlobs {
        /// Transaction index.
        index: usize,
    },
    /// An ommer cannot be read.
    #[error("ommer {index} cannot be read")]
    Ommer {
        /// Index among the ommers.
        index: usize,
        /// What is wrong with its bytes.
        #[source]
        source: alloy_rlp::Error,
    },
    /// The withdrawals cannot be read.
    #[error("the withdrawals cannot be read")]
    Withdrawals(#[source] alloy_rlp::Error),
}

/// A rule that a header breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Another block is its parent.
    #[error("parent hash is {found}, the parent is {expected}")]
    ParentHash {
        /// Hash of the block it was checked against.
        expected: B256,
        /// The header's.
        found: B256,
    },
    /// The number is not the one after the parent's.
    #[error("number is {found}, not {expected}")]
    Number {
        /// The parent's number and one.
        expected: U256,
        /// The header's.
        found: u64,
    },
    /// The timestamp is not after the parent's.
    #[error("timestamp {found} is not after the parent's {parent}")]
    Timestamp {
        /// The parent's timestamp in seconds.
        parent: u64,
        /// The header's.
        found: u64,
    },
    /// The gas limit is too far from the parent's.
    #[error("gas limit {found} is not within {bound} of the parent's {parent}")]
    GasLimitStep {
        /// The parent's gas limit, doubled where EIP-1559 becomes active.
        parent: u64,
        /// The difference must be smaller than this.
        bound: u64,
        /// The header's.
        found: u64,
    },
    /// The gas limit is lower or higher than any block's may be.
    #[error("gas limit {found} is not from {least} to {most}")]
    GasLimitRange {
        /// Lowest gas limit.
        least: u64,
        /// Highest gas limit.
        most: u64,
        /// The header's.
        found: u64,
    },
    /// More gas is used than the limit allows.
    #[error("gas used {used} is above the gas limit {limit}")]
    GasUsedAboveLimit {
        /// Gas used.
        used: u64,
        /// Gas limit.
        limit: u64,
    },
    /// The base fee is not the one that follows from the parent (EIP-1559).
    #[error("base fee is {found} wei, not {expected} wei (EIP-1559)")]
    BaseFee {
        /// What follows from the parent, in wei.
        expected: u64,
        /// The header's, in wei.
        found: u64,
    },
    /// The extra data is too long.
    #[error("extra data has {found} bytes, at most {most}")]
    ExtraDataSize {
        /// Most bytes.
        most: usize,
        /// The header's.
        found: usize,
    },
    /// One of the first ten blocks of the DAO fork does not say so in its extra data (EIP-779).
    #[error("extra data is {found}, not the DAO fork's (EIP-779)")]
    DaoExtraData {
        /// The header's.
        found: Bytes,
    },
    /// The difficulty is not the one that follows from the parent.
    #[error("difficulty is {found}, not {expected}")]
    Difficulty {
        /// What follows from the parent; zero under proof of stake (EIP-3675).
        expected: U256,
        /// The header's.
        found: U256,
    },
    /// A block of proof of work follows a terminal block (EIP-3675).
    #[error("a block of proof of work, difficulty {found}, follows the terminal total difficulty (EIP-3675)")]
    WorkAfterMerge {
        /// The header's difficulty.
        found: U256,
    },
    /// A block of proof of stake follows one that has not reached the terminal total difficulty (EIP-3675).
    #[error("a block of proof of stake at total difficulty {found}, before {terminal} is reached (EIP-3675)")]
    StakeBeforeMerge {
        /// Terminal total difficulty.
        terminal: U256,
        /// The parent's total difficulty.
        found: U256,
    },
    /// The nonce is not zero under proof of stake (EIP-3675).
    #[error("nonce is {found}, not zero (EIP-3675)")]
    Nonce {
        /// The header's.
        found: B64,
    },
    /// There are ommers under proof of stake (EIP-3675).
    #[error("ommers hash is {found}, not that of no ommers (EIP-3675)")]
    OmmersAfterMerge {
        /// The header's.
        found: B256,
    },
    /// A field that the fork has is not there.
    #[error("{0} is missing")]
    MissingField(HeaderField),
    /// A field is there that the fork does not have.
    #[error("{0} does not exist in this fork")]
    UnexpectedField(HeaderField),
    /// The blob gas used is not that of whole blobs (EIP-4844).
    #[error("blob gas used {found} is not a multiple of {blob} (EIP-4844)")]
    BlobGasNotWhole {
        /// Gas of one blob.
        blob: u64,
        /// The header's.
        found: u64,
    },
    /// More blob gas is used than a block may (EIP-4844).
    #[error("blob gas used {found} is above {most} (EIP-4844)")]
    BlobGasAboveLimit {
        /// Most blob gas of a block.
        most: u64,
        /// The header's.
        found: u64,
    },
    /// The excess blob gas is not the one that follows from the parent (EIP-4844, EIP-7918).
    #[error("excess blob gas is {found}, not {expected} (EIP-4844)")]
    ExcessBlobGas {
        /// What follows from the parent.
        expected: u64,
        /// The header's.
        found: u64,
    },
}

/// A header's field that only some forks have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderField {
    /// Base fee per gas, from London on (EIP-1559).
    BaseFee,
    /// Root of the withdrawals, from Shanghai on (EIP-4895).
    WithdrawalsRoot,
    /// Blob gas used, from Cancun on (EIP-4844).
    BlobGasUsed,
    /// Excess blob gas, from Cancun on (EIP-4844).
    ExcessBlobGas,
    /// Root of the parent beacon block, from Cancun on (EIP-4788).
    ParentBeaconRoot,
    /// Hash of the requests, from Prague on (EIP-7685).
    RequestsHash,
    /// Hash of the block access list, from Amsterdam on (EIP-7928).
    AccessListHash,
    /// Number of the slot, from Amsterdam on (EIP-7843).
    SlotNumber,
}

/// A rule that a body breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The transactions are others than those that the header commits to.
    #[error("transactions root is {found} in the header, {expected} of the body")]
    TransactionsRoot {
        /// Root of the body's transactions.
        expected: B256,
        /// The header's.
        found: B256,
    },
    /// The ommers are others than those that the header commits to.
    #[error("ommers hash is {found} in the header, {expected} of the body")]
    OmmersHash {
        /// Hash of the body's ommers.
        expected: B256,
        /// The header's.
        found: B256,
    },
    /// The withdrawals are others than those that the header commits to (EIP-4895).
    #[error("withdrawals root is {found} in the header, {expected} of the body (EIP-4895)")]
    WithdrawalsRoot {
        /// Root of the body's withdrawals.
        expected: B256,
        /// The header's.
        found: B256,
    },
    /// There is no list of withdrawals, and the header commits to one (EIP-4895).
    #[error("withdrawals are missing (EIP-4895)")]
    MissingWithdrawals,
    /// There is a list of withdrawals, and the header commits to none (EIP-4895).
    #[error("withdrawals do not exist in this fork (EIP-4895)")]
    UnexpectedWithdrawals,
    /// The transactions carry another amount of blobs than the header claims (EIP-4844).
    #[error("blob gas used is {found} in the header, {expected} of the transactions (EIP-4844)")]
    BlobGasUsed {
        /// Blob gas of the body's transactions.
        expected: u64,
        /// The header's.
        found: u64,
    },
    /// The block is larger than a block may be (EIP-7934).
    #[error("block has {found} bytes, at most {most} (EIP-7934)")]
    Size {
        /// Most bytes of a block in RLP.
        most: usize,
        /// The block's.
        found: usize,
    },
    /// There are more ommers than a block may have.
    #[error("{found} ommers, at most {most}")]
    TooManyOmmers {
        /// Most ommers of a block.
        most: usize,
        /// The block's.
        found: usize,
    },
}

/// Why an ommer may not be included.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OmmerFault {
    /// It was included before, by an ancestor or by this block.
    #[error("{hash} is included already")]
    Duplicate {
        /// The ommer's hash.
        hash: B256,
    },
    /// It is an ancestor of the block.
    #[error("{hash} is an ancestor")]
    Ancestor {
        /// The ommer's hash.
        hash: B256,
    },
    /// Its parent is the block's own parent: it is a sibling of the block.
    #[error("its parent {parent} is the block's own")]
    Sibling {
        /// The common parent's hash.
        parent: B256,
    },
    /// Its parent is not an ancestor that is recent enough.
    #[error("its parent {parent} is not among the last seven ancestors")]
    UnknownParent {
        /// The ommer's parent's hash.
        parent: B256,
    },
    /// Its own header breaks a rule.
    #[error("its header is invalid")]
    Header(#[from] HeaderFault),
}

/// In what an outcome differs from its header's claim. `found` is what execution gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeFault {
    /// Gas used.
    #[error("the header says gas used {expected}, execution gives {found}")]
    GasUsed {
        /// The header's.
        expected: u64,
        /// Execution's.
        found: u64,
    },
    /// Root of the receipts.
    #[error("the header says receipts root {expected}, execution gives {found}")]
    ReceiptsRoot {
        /// The header's.
        expected: B256,
        /// Execution's.
        found: B256,
    },
    /// Bloom of the logs.
    #[error("the header's logs bloom is not that of the logs")]
    LogsBloom {
        /// The header's.
        expected: Box<Bloom>,
        /// Execution's.
        found: Box<Bloom>,
    },
    /// Hash of the requests (EIP-7685).
    #[error("the header says requests hash {expected}, execution gives {found}")]
    RequestsHash {
        /// The header's.
        expected: B256,
        /// Execution's.
        found: B256,
    },
    /// Blob gas used (EIP-4844).
    #[error("the header says blob gas used {expected}, execution gives {found}")]
    BlobGasUsed {
        /// The header's.
        expected: u64,
        /// Execution's.
        found: u64,
    },
    /// Hash of the block access list (EIP-7928).
    #[error("the header says access list hash {expected}, execution gives {found}")]
    AccessListHash {
        /// The header's.
        expected: B256,
        /// Execution's.
        found: B256,
    },
    /// Root of the state.
    #[error("the header says state root {expected}, execution gives {found}")]
    StateRoot {
        /// The header's.
        expected: B256,
        /// Execution's.
        found: B256,
    },
}

impl fmt::Display for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BaseFee => "base fee (EIP-1559)",
            Self::WithdrawalsRoot => "withdrawals root (EIP-4895)",
            Self::BlobGasUsed => "blob gas used (EIP-4844)",
            Self::ExcessBlobGas => "excess blob gas (EIP-4844)",
            Self::ParentBeaconRoot => "parent beacon block root (EIP-4788)",
            Self::RequestsHash => "requests hash (EIP-7685)",
            Self::AccessListHash => "block access list hash (EIP-7928)",
            Self::SlotNumber => "slot number (EIP-7843)",
        })
    }
}
