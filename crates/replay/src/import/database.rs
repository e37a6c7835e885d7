//! Where imported blocks end up: one database, which begins with a genesis block.
//!
//! Each block is one atomic batch, so a process that is killed leaves the state of a whole block. Blocks reach the disk
//! when the operating system sees fit, and all of them when the import ends: what a power cut costs is imported again.

use std::{path::Path, sync::Arc};

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::B256;
use ropewalk_block::{
    BlockOutcome, ChainSpec, Computed, Record, RecoveredBlock,
    import::{OutcomeFault, check_outcome},
};
use ropewalk_state::{BlockCommit, StateError, StateReader, trie::StateTrie};
use ropewalk_store::{Durability, Head, Store, StoreOptions};

use super::{error::HistoryError, genesis::GenesisBlock};
use crate::flat_trie::Nodes;

/// The database of an import.
#[derive(Debug)]
pub(super) struct Database {
    store: Store,
    head: Head,
    /// The tries of the head's state.
    trie: StateTrie<Nodes>,
}

impl Database {
    /// Opens the database in `path`, or begins one with `genesis`.
    ///
    /// # Errors
    /// When the database cannot be used, holds another chain, or its state has not the root that its head says.
    pub(super) fn open(path: &Path, genesis: &GenesisBlock) -> Result<Self, HistoryError> {
        let options = StoreOptions { durability: Durability::OperatingSystem, ..StoreOptions::default() };
        let mut store = Store::open(path, &options)?;
        if store.head().is_none() {
            let &GenesisBlock { hash, header: Header { state_root, parent_hash, .. }, .. } = genesis;
            let changes = genesis.changes();
            store.commit_block(&BlockCommit { number: 0, hash, parent_hash, state_root, changes: &changes })?;
        }
        let not_from_genesis = || HistoryError::NotFromGenesis { path: path.to_owned() };
        let head = store.head().ok_or_else(not_from_genesis)?;
        let expected = head.state_root.ok_or_else(not_from_genesis)?;
        let first = store.reader().block(0)?.ok_or_else(not_from_genesis)?;
        if first.hash != genesis.hash {
            let (expected, found) = (genesis.hash, first.hash);
            return Err(HistoryError::AnotherChain { path: path.to_owned(), number: 0, expected, found });
        }
        let (nodes, found) = Nodes::of(&store.reader())?;
        if found != expected {
            return Err(HistoryError::DamagedState { path: path.to_owned(), number: head.number, expected, found });
        }
        Ok(Self { store, head, trie: StateTrie::new(nodes, found) })
    }

    /// The block committed last.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Hash of the block `number`, if the database holds it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn hash_of(&self, number: u64) -> Result<Option<B256>, HistoryError> {
        Ok(self.store.reader().block(number)?.map(|meta| meta.hash))
    }

    /// The head's state, which the next block is executed on.
    pub(super) fn state(&self) -> Arc<dyn StateReader> {
        Arc::new(self.store.reader())
    }

    /// Checks an executed block's outcome, the state root included, and commits it.
    ///
    /// # Errors
    /// When the database cannot be read or written. What is wrong with the block itself is in the result.
    pub(super) fn commit(
        &mut self,
        chain: &ChainSpec,
        block: &RecoveredBlock,
        outcome: &BlockOutcome,
        record: Option<&Record>,
    ) -> Result<Result<(), OutcomeFault>, HistoryError> {
        let &Header { number, parent_hash, state_root, timestamp, .. } = &block.header;
        // A clone is cheap, and given up where the block is not what it claims to be.
        let mut trie = self.trie.clone();
        let early = record.filter(|_| !chain.is_byzantium_active_at_block(number));
        let transaction_roots = match early {
            Some(record) => Some(transaction_roots(&mut trie, record)?),
            None => trie.apply(&outcome.changes).map(|_| None)?,
        };
        let has_list = chain.is_amsterdam_active_at_timestamp(timestamp);
        let access_list_hash = record.filter(|_| has_list).map(|record| record.access_list().hash());
        let computed = Computed { state_root: Some(trie.root()), transaction_roots, access_list_hash };
        if let Err(fault) = check_outcome(chain, &block.header, outcome, &computed) {
            return Ok(Err(fault));
        }
        let (hash, changes) = (block.hash, &outcome.changes);
        self.store.commit_block(&BlockCommit { number, hash, parent_hash, state_root, changes })?;
        self.head = Head { number, hash, state_root: Some(state_root) };
        self.trie = trie;
        Ok(Ok(()))
    }

    /// Waits until every block is on the disk.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub(super) fn sync(&self) -> Result<(), HistoryError> {
        Ok(self.store.sync()?)
    }
}

/// Applies a block position by position, and gives the root after each transaction, which receipts before Byzantium hold.
fn transaction_roots(trie: &mut StateTrie<Nodes>, record: &Record) -> Result<Vec<B256>, StateError> {
    let transactions = record.positions.len().saturating_sub(2);
    let mut roots = Vec::with_capacity(transactions);
    for (position, done) in record.positions.iter().enumerate() {
        let root = trie.apply(&done.changes)?;
        if (1..=transactions).contains(&position) {
            roots.push(root);
        }
    }
    Ok(roots)
}
