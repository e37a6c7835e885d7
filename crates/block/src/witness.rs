//! What it takes to execute a block without its state: made from the block's [`Record`], over a state that is whole.
//!
//! A witness holds what committed transactions and the rules around them looked at, and what the root after the block
//! needs: nothing that an aborted incarnation came by finds its way in (I6), so the witness of a block is the same
//! whatever the schedule.

use std::collections::BTreeSet;

use alloy_primitives::{B256, Bytes, U256};
use ropewalk_state::{Account, Changes, StateError, StateReader, trie};

use crate::Record;

/// The part of the parent state, with proofs, that is enough to execute a block and to compute the root after it: the
/// content of `debug_executionWitness`, without the headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionWitness {
    /// RLP nodes of the account trie and of storage tries, ascending by hash.
    pub state: Vec<Bytes>,
    /// Codes that ran or were looked at, and were there before the block, ascending by hash.
    pub codes: Vec<Bytes>,
    /// What was looked at: addresses (20 bytes), each followed by its slots (32 bytes), ascending.
    pub keys: Vec<Bytes>,
    /// Number of the oldest block whose hash was asked for: the headers from there to the parent prove it.
    pub oldest_block_hash: Option<u64>,
}

impl Record {
    /// The witness of the block that this is the record of. `nodes` and `parent` are the state before the block, of which
    /// `root` is the root; `changes` are what the block did to it.
    ///
    /// # Errors
    /// When a node or a code of what the block looked at is not there: the state is not whole.
    pub fn witness(
        &self,
        nodes: &impl trie::NodeReader,
        root: B256,
        parent: &dyn StateReader,
        changes: &Changes,
    ) -> Result<ExecutionWitness, StateError> {
        let accesses = self.accesses();
        let reads = accesses.accounts.iter().map(|access| (access.address, access.slots.iter().copied()));
        let state = trie::prove(nodes, root, reads, changes)?;

        let looked_into: Vec<_> =
            accesses.accounts.iter().filter(|access| access.code).map(|access| access.address).collect();
        let accounts = parent.accounts(&looked_into)?;
        let hashes: BTreeSet<B256> =
            accounts.into_iter().flatten().filter(Account::has_code).map(|account| account.code_hash).collect();
        let codes = hashes.iter().map(|hash| parent.code(hash)).collect::<Result<_, _>>()?;

        let mut keys = Vec::new();
        for access in &accesses.accounts {
            keys.push(Bytes::copy_from_slice(access.address.as_slice()));
            keys.extend(access.slots.iter().map(|slot: &U256| Bytes::from(slot.to_be_bytes::<32>())));
        }
        Ok(ExecutionWitness { state, codes, keys, oldest_block_hash: accesses.oldest_block_hash })
    }
}
