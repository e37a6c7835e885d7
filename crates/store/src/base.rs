//! A whole state as one load, guarded by a marker; and its removal.
//!
//! A base state may be larger than any batch, so a load is many batches between two marks:
//!
//! ```text
//! loading mark, synced | entries | .. | trie nodes | .. | head, loading mark removed
//! ```
//!
//! Where the base has a state root, the entries are a whole state: once all are written its tries are built from them,
//! in the order of their keys, and the root is compared.
//!
//! While the mark is there the content is no block's state and the store refuses to work with it, in this process and
//! at the next open. The last batch makes head and content valid together.

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use rocksdb::WriteBatch;
use ropewalk_state::{Account, trie::Nibbles};

use crate::{
    StoreError,
    commit::put_head,
    database::Database,
    flat::{self, Visitor},
    layout::{
        self, BLOCK_HASHES_KEPT, BlockMeta, Column, HEAD_KEY, Head, LOADING_KEY, LONGEST_KEY, StorageIncarnation,
        account_key, block_key, storage_key, storage_prefix,
    },
    nodes::Trie,
    probe::{Step, Told},
    reader::View,
    tuning,
};

/// Size at which a batch of entries is written, in bytes.
const BATCH_BYTES: usize = 4 << 20;

/// One piece of a base state. The order of entries does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseEntry {
    /// An account that exists.
    Account {
        /// Which account.
        address: Address,
        /// What it holds.
        account: Account,
    },
    /// The value of a slot; zero says nothing. The account should be an entry of its own.
    Slot {
        /// Whose storage.
        address: Address,
        /// Which slot.
        slot: U256,
        /// Its value.
        value: U256,
    },
    /// Code that accounts refer to by its Keccak-256 hash.
    Code(Bytes),
    /// Hash of the base block or of one before it. Of those only the 256 latest are kept.
    BlockHash {
        /// Number of the block.
        number: u64,
        /// Its hash.
        hash: B256,
    },
}

/// Writes `entries` as the state of `base` into an empty database.
///
/// # Errors
/// When the database cannot be written or what the entries say contradicts `base`. The loading mark stays then.
pub(crate) fn load(
    database: &Database,
    base: &Head,
    entries: impl IntoIterator<Item = BaseEntry>,
    told: &Told,
) -> Result<(), StoreError> {
    let marks = database.family(Column::Head);
    let mut batch = WriteBatch::default();
    batch.put_cf(marks, LOADING_KEY, base.encode());
    database.write(batch, &tuning::mark_write())?;
    told.reached(Step::LoadMarked);

    let mut batch = WriteBatch::default();
    for entry in entries {
        put_entry(database, base, &entry, &mut batch)?;
        if batch.size_in_bytes() >= BATCH_BYTES {
            database.write(std::mem::take(&mut batch), &tuning::part_write())?;
        }
    }
    if let Some(expected) = base.state_root {
        database.write(std::mem::take(&mut batch), &tuning::part_write())?;
        batch = build_tries(database, base.number, expected)?;
        told.reached(Step::TriesBuilt);
    }
    let meta = BlockMeta { hash: base.hash, parent_hash: None, state_root: base.state_root };
    put_head(database, base, &meta, &mut batch);
    batch.delete_cf(marks, LOADING_KEY);
    database.write(batch, &tuning::mark_write())
}

/// Writes the nodes that the flat state makes, and returns the last of them, still to be written.
fn build_tries(database: &Database, number: u64, expected: B256) -> Result<WriteBatch, StoreError> {
    let mut nodes = NodeWriter { database, batch: WriteBatch::default() };
    let found = flat::state_root(&View::new(database), &mut nodes)?;
    if found != expected {
        return Err(StoreError::WrongStateRoot { number, expected, found });
    }
    Ok(nodes.batch)
}

struct NodeWriter<'db> {
    database: &'db Database,
    batch: WriteBatch,
}

impl Visitor for NodeWriter<'_> {
    fn node(&mut self, trie: &Trie, path: &Nibbles, rlp: &[u8]) -> Result<(), StoreError> {
        self.batch.put_cf(self.database.family(trie.column()), trie.key(path), rlp);
        if self.batch.size_in_bytes() < BATCH_BYTES {
            return Ok(());
        }
        self.database.write(std::mem::take(&mut self.batch), &tuning::part_write())
    }

    fn account(&mut self, _: &B256, _: &B256, _: &Trie, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Removes everything but the layout version, in one atomic batch however much there is.
///
/// # Errors
/// When the database cannot be written. Everything is still there then.
pub(crate) fn clear(database: &Database) -> Result<(), StoreError> {
    // The end of a range does not belong to it, so it has to be longer than any key.
    let (from, to) = (&[0; 0][..], &[0xff; LONGEST_KEY + 1][..]);
    let mut batch = WriteBatch::default();
    for column in Column::ALL.into_iter().filter(|column| *column != Column::Head) {
        batch.delete_range_cf(database.family(column), from, to);
    }
    let marks = database.family(Column::Head);
    batch.delete_cf(marks, HEAD_KEY);
    batch.delete_cf(marks, LOADING_KEY);
    database.write(batch, &tuning::mark_write())
}

fn put_entry(database: &Database, base: &Head, entry: &BaseEntry, batch: &mut WriteBatch) -> Result<(), StoreError> {
    match entry {
        BaseEntry::Account { address, account } => {
            batch.put_cf(database.family(Column::Accounts), account_key(address), layout::encode_account(account));
        }
        BaseEntry::Slot { address, slot, value } => {
            let Some(value) = layout::encode_slot(value) else { return Ok(()) };
            let prefix = storage_prefix(&account_key(address), StorageIncarnation::default());
            batch.put_cf(database.family(Column::Storage), storage_key(&prefix, slot), value);
        }
        BaseEntry::Code(code) => {
            let hash = keccak256(code);
            if hash != KECCAK256_EMPTY {
                batch.put_cf(database.family(Column::Code), hash, code);
            }
        }
        BaseEntry::BlockHash { number, hash } => {
            if *number > base.number || (*number == base.number && *hash != base.hash) {
                return Err(StoreError::UnexpectedBlockHash { number: *number, hash: *hash, base: Box::new(*base) });
            }
            if base.number - number < BLOCK_HASHES_KEPT {
                batch.put_cf(database.family(Column::BlockHashes), block_key(*number), hash);
            }
        }
    }
    Ok(())
}
