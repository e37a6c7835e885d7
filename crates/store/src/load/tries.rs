//! The tries of a flat state, made in one pass and written as sorted runs.

use alloy_primitives::B256;
use rocksdb::WriteBatch;
use ropewalk_state::trie::Nibbles;

use super::runs::{self, Runs};
use crate::{
    StoreError,
    database::{Database, malformed},
    flat::{self, Rows, Visitor},
    layout::{self, Column, Head, LONGEST_KEY, storage_prefix},
    nodes::Trie,
    probe::{Step, Told},
    reader::View,
    tuning,
};

/// Nodes above this depth come last and are kept apart: what is below one of them is complete before the next begins.
const UPPER_DEPTH: usize = 3;

/// Size of a batch of removals, in bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Writes the nodes that the flat state makes.
///
/// # Errors
/// When the database cannot be read or written, or the flat state has another root.
pub(super) fn build(database: &Database, number: u64, expected: B256, told: &Told) -> Result<(), StoreError> {
    let mut nodes = NodeRuns {
        upper: Runs::new(database, told, Column::AccountNodes),
        accounts: Runs::new(database, told, Column::AccountNodes),
        storage: Runs::new(database, told, Column::StorageNodes),
    };
    let found = flat::state_root(&View::new(database), &mut nodes)?;
    if found != expected {
        return Err(StoreError::WrongStateRoot { number, expected, found });
    }
    nodes.storage.ingest()?;
    nodes.accounts.ingest()?;
    // The root is among these: without it the head is not confirmed.
    nodes.upper.ingest()
}

/// Makes the tries of the head's state anew from accounts and slots, whatever nodes there are.
///
/// # Errors
/// When the database cannot be read or written, or the flat state is not the head's: then nothing was changed.
pub(crate) fn rebuild(database: &Database, head: &Head, told: &Told) -> Result<(), StoreError> {
    let expected = head.state_root.ok_or(StoreError::NotWhole { head: *head })?;
    let (number, found) = (head.number, flat::state_root(&View::new(database), &mut flat::Nobody)?);
    if found != expected {
        return Err(StoreError::WrongStateRoot { number, expected, found });
    }
    runs::begin(database)?;
    // From here on the root is missing, and so the head is not confirmed, until all nodes are there.
    let (from, to) = (&[0; 0][..], &[0xff; LONGEST_KEY + 1][..]);
    let mut batch = WriteBatch::default();
    batch.delete_range_cf(database.family(Column::AccountNodes), from, to);
    database.write(batch, true)?;
    remove_storage_nodes(database)?;
    build(database, number, expected, told)?;
    told.reached(Step::TriesBuilt);
    runs::end(database)
}

/// Removes the nodes of every storage that an account has now. Those of former incarnations stay: an unwind may want them.
fn remove_storage_nodes(database: &Database) -> Result<(), StoreError> {
    let view = View::new(database);
    let mut batch = WriteBatch::default();
    let mut rows = Rows::new(&view, Column::StorageNodes, &[], tuning::scan());
    while let Some((key, _)) = rows.next()? {
        let split = layout::split_storage_prefix(key);
        let (account, incarnation) = split.map_err(|source| malformed(Column::StorageNodes, key, source))?;
        let prefix = storage_prefix(&account, incarnation);
        let Some(end) = layout::after_prefix(&prefix) else { break };
        if incarnation == view.incarnation(&account)? {
            batch.delete_range_cf(database.family(Column::StorageNodes), &prefix[..], &end[..]);
        }
        if batch.size_in_bytes() > BATCH_BYTES {
            database.write(std::mem::take(&mut batch), false)?;
        }
        rows.skip_to(&end);
    }
    database.write(batch, false)
}

struct NodeRuns<'a> {
    /// Nodes of the account trie near the root.
    upper: Runs<'a>,
    accounts: Runs<'a>,
    storage: Runs<'a>,
}

impl Visitor for NodeRuns<'_> {
    fn node(&mut self, trie: &Trie, path: &Nibbles, rlp: &[u8]) -> Result<(), StoreError> {
        let key = trie.key(path);
        match trie {
            Trie::Accounts if path.len() < UPPER_DEPTH => {
                self.upper.put(&key, rlp);
                Ok(())
            }
            Trie::Accounts => {
                self.accounts.put(&key, rlp);
                if path.len() == UPPER_DEPTH { self.accounts.cut() } else { self.accounts.cut_anywhere() }
            }
            Trie::Storage(_) => {
                self.storage.put(&key, rlp);
                self.storage.cut_anywhere()
            }
        }
    }

    fn account(&mut self, _: &B256, _: &B256, _: &Trie, _: u64) -> Result<(), StoreError> {
        self.storage.cut()
    }
}
