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
use ropewalk_state::{BlockCommit, StateReader, trie::StateTrie};
use ropewalk_store::{Durability, Head, Store, StoreError, StoreOptions};

use super::{error::HistoryError, genesis::GenesisBlock};

/// The database of an import.
#[derive(Debug)]
pub(super) struct Database {
    store: Store,
    head: Head,
}

impl Database {
    /// Opens the database in `path`, or begins one with `genesis`.
    ///
    /// # Errors
    /// When the database cannot be used or holds another chain.
    pub(super) fn open(path: &Path, genesis: &GenesisBlock) -> Result<Self, HistoryError> {
        let options = StoreOptions { durability: Durability::OperatingSystem, ..StoreOptions::default() };
        let mut store = Store::open(path, &options)?;
        if store.head().is_none() {
            let &GenesisBlock { hash, header: Header { state_root, parent_hash, .. }, .. } = genesis;
            let changes = genesis.changes();
            store.commit_block(&BlockCommit { number: 0, hash, parent_hash, state_root, changes: &changes })?;
        }
        let not_from_genesis = || HistoryError::NotFromGenesis { path: path.to_owned() };
        let head = store.head().filter(|head| head.state_root.is_some()).ok_or_else(not_from_genesis)?;
        let first = store.reader().block(0)?.ok_or_else(not_from_genesis)?;
        if first.hash != genesis.hash {
            let (expected, found) = (genesis.hash, first.hash);
            return Err(HistoryError::AnotherChain { path: path.to_owned(), number: 0, expected, found });
        }
        Ok(Self { store, head })
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
        let early = record.filter(|_| !chain.is_byzantium_active_at_block(number));
        let transaction_roots = early.map(|record| self.transaction_roots(record)).transpose()?;
        let has_list = chain.is_amsterdam_active_at_timestamp(timestamp);
        let access_list_hash = record.filter(|_| has_list).map(|record| record.access_list().hash());
        // The store computes the state root itself and compares it.
        let computed = Computed { state_root: None, transaction_roots, access_list_hash };
        if let Err(fault) = check_outcome(chain, &block.header, outcome, &computed) {
            return Ok(Err(fault));
        }
        let (hash, changes) = (block.hash, &outcome.changes);
        match self.store.commit_block(&BlockCommit { number, hash, parent_hash, state_root, changes }) {
            Ok(()) => {
                self.head = Head { number, hash, state_root: Some(state_root) };
                Ok(Ok(()))
            }
            Err(StoreError::WrongStateRoot { expected, found, .. }) => {
                Ok(Err(OutcomeFault::StateRoot { expected, found }))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The root after each transaction, which receipts before Byzantium hold.
    fn transaction_roots(&self, record: &Record) -> Result<Vec<B256>, HistoryError> {
        let transactions = record.positions.len().saturating_sub(2);
        let mut roots = Vec::with_capacity(transactions);
        if transactions == 0 {
            return Ok(roots);
        }
        let mut trie = StateTrie::new(self.store.reader(), self.head.state_root.unwrap_or_default());
        for (position, done) in record.positions[..=transactions].iter().enumerate() {
            let root = trie.apply(&done.changes)?;
            if position > 0 {
                roots.push(root);
            }
        }
        Ok(roots)
    }

    /// Waits until every block is on the disk.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub(super) fn sync(&mut self) -> Result<(), HistoryError> {
        Ok(self.store.sync()?)
    }
}
