//! What can be wrong with an access list, and where.

use std::fmt;

use alloy_eip7928::{BlockAccessListGasError, BlockAccessListValidationError};
use alloy_primitives::{Address, B256, U256};

/// Why an access list is not that of its block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessListFault {
    /// It is not the list that the header names.
    #[error("the access list hashes to {found}, the header has {expected}")]
    Hash {
        /// The header's hash.
        expected: B256,
        /// The list's.
        found: B256,
    },
    /// Its entries are out of order, occur twice or name positions that the block does not have.
    #[error("the access list is malformed")]
    Malformed(#[from] BlockAccessListValidationError),
    /// It names more than the block's gas limit can pay for (EIP-7928).
    #[error("the access list is too large")]
    GasLimit(#[from] BlockAccessListGasError),
    /// It names more than any block of that gas limit can have looked at.
    #[error("the access list has {items} items, a block of this gas limit has {most} at most")]
    TooManyItems {
        /// Accounts and slots in the list.
        items: u64,
        /// Most there can be.
        most: u64,
    },
    /// A list of this fork says too little without an extension.
    #[error("an access list of a {fork} block cannot say that storage was cleared, and has no extension that does")]
    MissingExtension {
        /// The block's fork.
        fork: &'static str,
    },
    /// An entry of the extension is out of order, occurs twice or names a position that the block does not have.
    #[error("the extension of the access list is out of order at account {address}, position {position}")]
    ExtensionDisorder {
        /// The entry's account.
        address: Address,
        /// The entry's position.
        position: u32,
    },
    /// Something was looked at that the list does not name.
    #[error("position {position} looks at {}, which the access list does not name", place(address, slot))]
    MissingAccess {
        /// EIP-7928's position.
        position: u32,
        /// Which account.
        address: Address,
        /// Which of its slots; `None` where it is the account itself.
        slot: Option<U256>,
    },
    /// Something was changed and the list does not say so.
    #[error("position {position} changes {part} of account {address}, the access list does not say so")]
    MissingChange {
        /// EIP-7928's position.
        position: u32,
        /// Which account.
        address: Address,
        /// What of it, with its value after the position.
        part: AccessListPart,
    },
    /// The list names a change that does not happen.
    #[error("the access list says that position {position} changes {part} of account {address}, which it does not")]
    UnfoundedChange {
        /// EIP-7928's position.
        position: u32,
        /// Which account.
        address: Address,
        /// What of it, with the listed value.
        part: AccessListPart,
    },
    /// The list has another value than the one that the position leaves.
    #[error("position {position} of account {address}: the access list has {listed}, execution gives {found}")]
    WrongValue {
        /// EIP-7928's position.
        position: u32,
        /// Which account.
        address: Address,
        /// The list's value.
        listed: Box<AccessListPart>,
        /// The value that execution gave.
        found: Box<AccessListPart>,
    },
    /// The list names an account or a slot that nothing in the block looks at.
    #[error("the access list names {}, which nothing in the block looks at", place(address, slot))]
    Superfluous {
        /// Which account.
        address: Address,
        /// Which of its slots; `None` where it is the account itself.
        slot: Option<U256>,
    },
}

/// A part of an account with a value, in the order in which lists are compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessListPart {
    /// A slot's value.
    Slot {
        /// Which slot.
        slot: U256,
        /// Its value.
        value: U256,
    },
    /// Balance in wei.
    Balance(U256),
    /// The nonce.
    Nonce(u64),
    /// Hash of the code.
    Code(B256),
    /// The storage was cleared.
    StorageCleared,
    /// Whether the account exists, where that does not follow from the rest.
    Existence(bool),
}

impl AccessListPart {
    /// Whether both speak of the same part, whatever its value.
    pub(super) fn is_same_part(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Slot { slot, .. }, Self::Slot { slot: other, .. }) => slot == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for AccessListPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot { slot, value } => write!(f, "slot {slot:#x} ({value:#x})"),
            Self::Balance(balance) => write!(f, "the balance ({balance} wei)"),
            Self::Nonce(nonce) => write!(f, "the nonce ({nonce})"),
            Self::Code(hash) => write!(f, "the code (hash {hash})"),
            Self::StorageCleared => f.write_str("the storage (cleared)"),
            Self::Existence(true) => f.write_str("the existence (exists)"),
            Self::Existence(false) => f.write_str("the existence (does not exist)"),
        }
    }
}

fn place(address: &Address, slot: &Option<U256>) -> String {
    match slot {
        Some(slot) => format!("slot {slot:#x} of account {address}"),
        None => format!("account {address}"),
    }
}
