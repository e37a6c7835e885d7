//! How far back blocks can be unwound, and what goes once they cannot.
//!
//! Each block's batch adds its changeset and removes those that are no longer kept, together with the slots and nodes of
//! storages that were cleared in their blocks: nothing can lead back to those any more. A batch removes a few blocks'
//! worth at most, so that a store opened with a smaller number of changesets to keep gets there over several blocks.

use alloy_primitives::B256;
use rocksdb::{ReadOptions, WriteBatch};

use crate::{
    StoreError,
    changeset::Changeset,
    database::{Database, malformed},
    layout::{
        Column, Head, StorageIncarnation, account_key, after_prefix, block_key, block_of_key, cleared_key,
        decode_cleared, storage_prefix,
    },
};

/// Most changesets that one batch removes.
const MOST_PRUNED: u64 = 64;

/// Which blocks can be unwound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History {
    /// How many changesets are kept, of the latest blocks.
    pub(crate) kept: u64,
    /// Number of the first block that has a changeset; the one after the head where none has.
    pub(crate) first: u64,
}

impl History {
    /// What a database that was opened at `head` has.
    pub(crate) fn read(database: &Database, kept: u64, head: Option<&Head>) -> Result<Self, StoreError> {
        let after_head = head.map_or(0, |head| head.number.saturating_add(1));
        let mut rows = database.rows(Column::Changesets, ReadOptions::default());
        rows.seek_to_first();
        let first = rows.key().map(block_of_key).transpose();
        rows.status().map_err(|error| database.failed(error))?;
        let first = first.map_err(|source| malformed(Column::Changesets, rows.key().unwrap_or_default(), source))?;
        Ok(Self { kept, first: first.map_or(after_head, |first| first.min(after_head)) })
    }

    /// The same after everything up to block `number` became what a chain begins with.
    pub(crate) fn from(self, number: u64) -> Self {
        Self { first: number.saturating_add(1), ..self }
    }

    /// The same after block `number` was unwound.
    pub(crate) fn without(self, number: u64) -> Self {
        Self { first: self.first.min(number), ..self }
    }

    /// Puts the changeset of block `number` into its batch and removes what is no longer kept.
    pub(crate) fn put(
        self,
        database: &Database,
        number: u64,
        changeset: &Changeset,
        batch: &mut WriteBatch,
    ) -> Result<Self, StoreError> {
        batch.put_cf(database.family(Column::Changesets), block_key(number), changeset.encode());
        let first_kept = number.saturating_add(1).saturating_sub(self.kept);
        let first = first_kept.min(self.first.saturating_add(MOST_PRUNED)).max(self.first);
        for pruned in self.first..first {
            batch.delete_cf(database.family(Column::Changesets), block_key(pruned));
        }
        if first > self.first {
            remove_cleared(database, self.first, first, batch)?;
        }
        if first > number {
            // This block is not in the database yet, and nothing of it is kept.
            let cleared = changeset.accounts.iter().filter_map(|account| Some((account.address, account.incarnation?)));
            for (address, incarnation) in cleared {
                remove_storage(database, number, &account_key(&address), incarnation, batch);
            }
        }
        Ok(Self { first, ..self })
    }
}

/// Removes the storages that the blocks from `first` to the one before `end` cleared.
fn remove_cleared(database: &Database, first: u64, end: u64, batch: &mut WriteBatch) -> Result<(), StoreError> {
    let mut rows = database.rows(Column::Cleared, ReadOptions::default());
    rows.seek(block_key(first));
    while let Some((key, value)) = rows.item() {
        let (number, account, incarnation) =
            decode_cleared(key, value).map_err(|source| malformed(Column::Cleared, key, source))?;
        if number >= end {
            break;
        }
        remove_storage(database, number, &account, incarnation, batch);
        rows.next();
    }
    rows.status().map_err(|error| database.failed(error))
}

/// Removes the slots and the nodes of a storage that block `number` cleared, however many, by one tombstone each.
fn remove_storage(
    database: &Database,
    number: u64,
    account: &B256,
    incarnation: StorageIncarnation,
    batch: &mut WriteBatch,
) {
    let prefix = storage_prefix(account, incarnation);
    // Only a key of nothing but ones has no successor, and no hash is that.
    if let Some(end) = after_prefix(&prefix) {
        for column in [Column::Storage, Column::StorageNodes] {
            batch.delete_range_cf(database.family(column), &prefix[..], &end[..]);
        }
    }
    batch.delete_cf(database.family(Column::Cleared), cleared_key(number, account));
}
