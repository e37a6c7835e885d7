//! A whole state as one load, guarded by a marker; and its removal.
//!
//! A base state may be larger than any batch, so a load stands between two marks:
//!
//! ```text
//! loading mark, synced | entries as sorted runs | .. | trie nodes as sorted runs | .. | head, loading mark removed
//! ```
//!
//! Where the base has a state root, the entries are a whole state: once all are there its tries are built from them,
//! in the order of their keys, and the root is compared.
//!
//! While the mark is there the content is no block's state and the store refuses to work with it, in this process and
//! at the next open. The last batch makes head and content valid together.

mod runs;
mod tries;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use rocksdb::WriteBatch;
use ropewalk_state::Account;

pub(crate) use self::tries::rebuild;
use self::{runs::Runs, tries::build};
use crate::{
    StoreError,
    commit::put_head,
    database::Database,
    layout::{
        self, BLOCK_HASHES_KEPT, BlockMeta, Column, HEAD_KEY, Head, LOADING_KEY, LONGEST_KEY, STORAGE_PREFIX_LENGTH,
        StorageIncarnation, account_key, block_key, slot_key, storage_prefix,
    },
    probe::{Step, Told},
};

/// One piece of a base state. The order of entries does not matter, except that of two that say different things of the
/// same the later one counts, and that entries in the order of their hashes are loaded with less work.
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
    /// An account by the hash of its address, as an export has it.
    HashedAccount {
        /// Keccak-256 hash of the address.
        key: B256,
        /// What it holds.
        account: Account,
    },
    /// The value of a slot by hashes, as an export has it; zero says nothing.
    HashedSlot {
        /// Keccak-256 hash of the address of the account whose storage it is.
        account: B256,
        /// Keccak-256 hash of the slot's key.
        slot: B256,
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
pub(crate) fn load<E>(
    database: &Database,
    base: &Head,
    entries: impl IntoIterator<Item = Result<BaseEntry, E>>,
    told: &Told,
) -> Result<(), E>
where
    E: From<StoreError>,
{
    let marks = database.family(Column::Head);
    let mut batch = WriteBatch::default();
    batch.put_cf(marks, LOADING_KEY, base.encode());
    database.write(batch, true)?;
    runs::begin(database)?;
    told.reached(Step::LoadMarked);

    let mut loading = Loading::new(database, base, told);
    for entry in entries {
        loading.put(&entry?)?;
    }
    let mut batch = loading.finish()?;
    if let Some(expected) = base.state_root {
        build(database, base.number, expected, told)?;
        told.reached(Step::TriesBuilt);
    }
    runs::end(database)?;
    let meta = BlockMeta { hash: base.hash, parent_hash: None, state_root: base.state_root };
    put_head(database, base, &meta, &mut batch);
    batch.delete_cf(marks, LOADING_KEY);
    Ok(database.write(batch, true)?)
}

/// The entries of a load on their way into the database.
struct Loading<'a> {
    database: &'a Database,
    base: &'a Head,
    accounts: Runs<'a>,
    storage: Runs<'a>,
    codes: Runs<'a>,
    /// Block hashes: a few.
    rest: WriteBatch,
}

impl<'a> Loading<'a> {
    fn new(database: &'a Database, base: &'a Head, told: &'a Told) -> Self {
        let runs = |column| Runs::new(database, told, column);
        Self {
            database,
            base,
            accounts: runs(Column::Accounts),
            storage: runs(Column::Storage),
            codes: runs(Column::Code),
            rest: WriteBatch::default(),
        }
    }

    fn put(&mut self, entry: &BaseEntry) -> Result<(), StoreError> {
        match entry {
            BaseEntry::Account { address, account } => self.put_account(&account_key(address), account),
            BaseEntry::HashedAccount { key, account } => self.put_account(key, account),
            BaseEntry::Slot { address, slot, value } => self.put_slot(&account_key(address), &slot_key(slot), value),
            BaseEntry::HashedSlot { account, slot, value } => self.put_slot(account, slot, value),
            BaseEntry::Code(code) => {
                let hash = keccak256(code);
                if hash != KECCAK256_EMPTY {
                    self.codes.put(hash.as_slice(), code);
                }
                self.codes.cut()
            }
            BaseEntry::BlockHash { number, hash } => self.put_block_hash(*number, hash),
        }
    }

    fn put_account(&mut self, key: &B256, account: &Account) -> Result<(), StoreError> {
        self.accounts.put(key.as_slice(), &layout::encode_account(account));
        self.accounts.cut()
    }

    fn put_slot(&mut self, account: &B256, slot: &B256, value: &U256) -> Result<(), StoreError> {
        let Some(value) = layout::encode_slot(value) else { return Ok(()) };
        let mut key = [0; STORAGE_PREFIX_LENGTH + 32];
        key[..STORAGE_PREFIX_LENGTH].copy_from_slice(&storage_prefix(account, StorageIncarnation::default()));
        key[STORAGE_PREFIX_LENGTH..].copy_from_slice(slot.as_slice());
        self.storage.put(&key, &value);
        self.storage.cut()
    }

    fn put_block_hash(&mut self, number: u64, hash: &B256) -> Result<(), StoreError> {
        let base = self.base;
        if number > base.number || (number == base.number && *hash != base.hash) {
            return Err(StoreError::UnexpectedBlockHash { number, hash: *hash, base: Box::new(*base) });
        }
        if base.number - number < BLOCK_HASHES_KEPT {
            self.rest.put_cf(self.database.family(Column::BlockHashes), block_key(number), hash);
        }
        Ok(())
    }

    /// Makes all entries part of the database, but for what is still to be written.
    fn finish(self) -> Result<WriteBatch, StoreError> {
        self.accounts.ingest()?;
        self.storage.ingest()?;
        self.codes.ingest()?;
        Ok(self.rest)
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
    database.write(batch, true)?;
    runs::end(database)
}
