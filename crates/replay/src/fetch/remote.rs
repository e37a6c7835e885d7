//! The state before a block as a node has it.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use ropewalk_state::{Account, StateError, StateReader};

use super::{error::FetchError, node::Node, prestate::Known};

/// Reads what is known, and asks the node for the rest.
pub(super) struct Remote<'n> {
    node: &'n Node,
    /// Number of the block whose state it is.
    parent: u64,
    known: Mutex<Known>,
}

impl<'n> Remote<'n> {
    pub(super) fn new(node: &'n Node, parent: u64, known: Known) -> Self {
        Self { node, parent, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic between two insertions leaves maps that are still maps.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An account without anything is taken as absent: a node does not tell the two apart.
    fn ask_account(&self, address: Address) -> Result<Option<Account>, FetchError> {
        let code = self.node.code(address, self.parent)?;
        let code_hash = if code.is_empty() { KECCAK256_EMPTY } else { keccak256(&code) };
        let (nonce, balance) = (self.node.nonce(address, self.parent)?, self.node.balance(address, self.parent)?);
        let account = Account { nonce, balance, code_hash };
        self.known().codes.insert(code_hash, code);
        Ok((!account.is_empty()).then_some(account))
    }
}

impl fmt::Debug for Remote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("parent", &self.parent).finish_non_exhaustive()
    }
}

impl StateReader for Remote<'_> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        if let Some(account) = self.known().accounts.get(address) {
            return Ok(*account);
        }
        let account = self.ask_account(*address).map_err(StateError::source_failed)?;
        self.known().accounts.insert(*address, account);
        Ok(account)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        if let Some(value) = self.known().slots.get(&(*address, *slot)) {
            return Ok(*value);
        }
        let value = self.node.slot(*address, *slot, self.parent).map_err(StateError::source_failed)?;
        self.known().slots.insert((*address, *slot), value);
        Ok(value)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        let root = self.node.storage_root(*address, self.parent).map_err(StateError::source_failed)?;
        // Some nodes answer with zero for an account that is not there.
        Ok(root == EMPTY_ROOT_HASH || root.is_zero())
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.known().codes.get(hash).cloned().ok_or(StateError::MissingCode(*hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        if let Some(hash) = self.known().block_hashes.get(&number) {
            return Ok(*hash);
        }
        let hash = self.node.block_hash(number).map_err(StateError::source_failed)?;
        let hash = hash.ok_or(StateError::MissingBlockHash(number))?;
        self.known().block_hashes.insert(number, hash);
        Ok(hash)
    }
}
