//! Why a state could not be read or written.

use std::{error::Error, sync::Arc};

use alloy_primitives::{Address, B256, U256};
use alloy_trie::Nibbles;

/// A state source failed, or does not hold what was asked of it.
///
/// This is never a verdict about a block: absence that a source can vouch for is `Ok(None)` or zero.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateError {
    /// The source claims to be complete for its block and does not know this account.
    #[error("account {0} is not in the recorded state")]
    MissingAccount(Address),
    /// The source claims to be complete for its block and does not know this slot.
    #[error("slot {slot:#x} of account {address} is not in the recorded state")]
    MissingSlot {
        /// Whose storage.
        address: Address,
        /// Which slot.
        slot: U256,
    },
    /// An account refers to code that the source does not hold.
    #[error("code {0} is not in the recorded state")]
    MissingCode(B256),
    /// The source cannot tell the hash of this block.
    #[error("hash of block {0} is not recorded")]
    MissingBlockHash(u64),
    /// A trie node on the way to a key is not there.
    #[error("trie node at path {path:?} of {} is missing", trie_name(.account))]
    MissingNode {
        /// Hash of the account's address for a storage trie, `None` for the account trie.
        account: Option<B256>,
        /// Path from that trie's root.
        path: Nibbles,
    },
    /// A trie node is not valid RLP, or not a node that can stand there.
    #[error("trie node at path {path:?} of {} is malformed", trie_name(.account))]
    MalformedNode {
        /// Hash of the account's address for a storage trie, `None` for the account trie.
        account: Option<B256>,
        /// Path from that trie's root.
        path: Nibbles,
    },
    /// A block was to be committed that does not extend the block that was committed last.
    #[error("block {number} extends {found}, but the state is that of block {expected}")]
    WrongParent {
        /// Number of the block that was refused.
        number: u64,
        /// Hash of the block committed last.
        expected: B256,
        /// Parent hash of the block that was refused.
        found: B256,
    },
    /// A block's changes lead to another state root than its header claims, so the block was refused.
    #[error("the state of block {number} has root {found}, its header claims {expected}")]
    WrongStateRoot {
        /// Number of the block that was refused.
        number: u64,
        /// The root that its header claims.
        expected: B256,
        /// The root that its changes lead to.
        found: B256,
    },
    /// The source itself failed: disk, network, database.
    #[error("state source failed")]
    Source(#[source] Arc<dyn Error + Send + Sync>),
}

impl StateError {
    /// Wraps an error of the underlying source.
    pub fn source_failed(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Source(Arc::new(error))
    }
}

fn trie_name(account: &Option<B256>) -> String {
    match account {
        Some(hash) => format!("the storage trie of account hash {hash}"),
        None => "the account trie".to_owned(),
    }
}
