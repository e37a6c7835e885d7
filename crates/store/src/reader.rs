//! Snapshots: a state as of one block, whatever is committed meanwhile.

use std::{collections::BTreeMap, fmt, sync::Arc};

use alloy_primitives::{Address, B256, Bytes, U256};
use rocksdb::{ColumnFamily, DBPinnableSlice, DBRawIteratorWithThreadMode, ReadOptions, SnapshotWithThreadMode};
use ropewalk_state::{Account, StateError, StateReader};
use self_cell::self_cell;

use crate::{
    StoreError,
    absent::Absent,
    commit::decode_incarnation,
    database::{Database, RocksDb, malformed},
    flat::Rows,
    layout::{
        BlockMeta, Column, DecodeError, Head, STORAGE_PREFIX_LENGTH, StorageIncarnation, account_key, block_key,
        decode_account, decode_hash, decode_slot, storage_key, storage_prefix,
    },
    tuning,
};

self_cell!(
    /// A view together with the database that it borrows from, so that a reader can be owned.
    struct OwnedView {
        owner: Arc<Database>,
        #[covariant]
        dependent: View,
    }
);

/// A state as of one block, readable from many threads while later blocks are committed.
///
/// Cheap to clone; clones share the snapshot, and what was found absent from it. The database stays open, and locked, until the last reader is gone.
///
/// What is not in the store does not exist: an account that was never committed or loaded is absent, and a slot zero.
#[derive(Clone)]
pub struct StoreReader {
    view: Arc<OwnedView>,
    head: Option<Head>,
    absent: Arc<Absent>,
}

/// A snapshot with what every read of it needs.
pub(crate) struct View<'db> {
    database: &'db Database,
    families: [&'db ColumnFamily; Column::ALL.len()],
    /// Refers to the snapshot, and is made once because making one allocates.
    read: ReadOptions,
    snapshot: SnapshotWithThreadMode<'db, RocksDb>,
}

impl StoreReader {
    /// A snapshot of the present state, which is that of `head`.
    pub(crate) fn new(database: Arc<Database>, head: Option<Head>) -> Self {
        let view = Arc::new(OwnedView::new(database, |database| View::new(database)));
        Self { view, head, absent: Arc::default() }
    }

    /// The block whose state this is; `None` for a store that has none yet.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// What the store remembers of block `number`; `None` where it knows no such block.
    ///
    /// # Errors
    /// When the store cannot be read, or the value is malformed.
    pub fn block(&self, number: u64) -> Result<Option<BlockMeta>, StoreError> {
        self.view().get(Column::Blocks, &block_key(number), BlockMeta::decode)
    }

    /// Hands out every row of the database as bytes, by the name of its column family, its key and its value: families in
    /// the order of [`layout`](crate::layout), keys ascending. Two stores hold the same if and only if their rows are
    /// equal.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn for_each_row(&self, mut visit: impl FnMut(&'static str, &[u8], &[u8])) -> Result<(), StoreError> {
        for column in Column::ALL {
            let mut rows = Rows::new(self.view(), column, &[], tuning::scan());
            while let Some((key, value)) = rows.next()? {
                visit(column.name(), key, value);
            }
        }
        Ok(())
    }

    pub(crate) fn view(&self) -> &View<'_> {
        self.view.borrow_dependent()
    }
}

impl<'db> View<'db> {
    pub(crate) fn new(database: &'db Database) -> Self {
        let snapshot = database.rocksdb().snapshot();
        let mut read = ReadOptions::default();
        read.set_snapshot(&snapshot);
        Self { database, families: Column::ALL.map(|column| database.family(column)), read, snapshot }
    }

    fn family(&self, column: Column) -> &'db ColumnFamily {
        self.families[column as usize]
    }

    /// Reads and decodes one value.
    pub(crate) fn get<T>(
        &self,
        column: Column,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, StoreError> {
        let value = self.database.rocksdb().get_pinned_cf_opt(self.family(column), key, &self.read);
        let value = value.map_err(|error| self.database.failed(error))?;
        value.map(|bytes| decode(&bytes).map_err(|source| malformed(column, key, source))).transpose()
    }

    /// Whether there is such a key.
    pub(crate) fn holds(&self, column: Column, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(column, key, |_| Ok(()))?.is_some())
    }

    /// Whether a key begins with `prefix`. The family must have prefixes of that length.
    pub(crate) fn has_prefix(&self, column: Column, prefix: &[u8]) -> Result<bool, StoreError> {
        let mut read = tuning::prefix_read();
        read.set_snapshot(&self.snapshot);
        self.database.has_prefix(column, prefix, read)
    }

    /// The rows of a family, read as `read` says.
    pub(crate) fn rows(&self, column: Column, mut read: ReadOptions) -> DBRawIteratorWithThreadMode<'_, RocksDb> {
        read.set_snapshot(&self.snapshot);
        self.database.rocksdb().raw_iterator_cf_opt(self.family(column), read)
    }

    /// Gives an error of RocksDB its type.
    pub(crate) fn failed(&self, error: rocksdb::Error) -> StoreError {
        self.database.failed(error)
    }

    /// Reads many values of one family at once, in the order of `keys`.
    pub(crate) fn get_many<K: AsRef<[u8]>>(
        &self,
        column: Column,
        keys: &[K],
    ) -> Result<Vec<Option<DBPinnableSlice<'_>>>, StoreError> {
        let rocksdb = self.database.rocksdb();
        let values = rocksdb.batched_multi_get_cf_opt(self.family(column), keys, false, &self.read);
        values.into_iter().map(|value| value.map_err(|error| self.database.failed(error))).collect()
    }

    pub(crate) fn incarnation(&self, account: &B256) -> Result<StorageIncarnation, StoreError> {
        let stored = self.get(Column::Incarnations, account.as_slice(), StorageIncarnation::decode)?;
        Ok(stored.unwrap_or_default())
    }

    fn slot(&self, address: &Address, slot: &U256) -> Result<U256, StoreError> {
        let account = account_key(address);
        let prefix = storage_prefix(&account, self.incarnation(&account)?);
        Ok(self.get(Column::Storage, &storage_key(&prefix, slot), decode_slot)?.unwrap_or_default())
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StoreError> {
        let account = account_key(address);
        let prefix = storage_prefix(&account, self.incarnation(&account)?);
        Ok(!self.has_prefix(Column::Storage, &prefix)?)
    }

    fn accounts(&self, addresses: &[Address]) -> Result<Vec<Option<Account>>, StoreError> {
        let keys: Vec<B256> = addresses.iter().map(account_key).collect();
        let values = self.get_many(Column::Accounts, &keys)?;
        let decode = |(key, value): (&B256, Option<DBPinnableSlice<'_>>)| {
            let account = value.map(|bytes| decode_account(&bytes)).transpose();
            account.map_err(|source| malformed(Column::Accounts, key.as_slice(), source))
        };
        keys.iter().zip(values).map(decode).collect()
    }

    fn slots(&self, slots: &[(Address, U256)]) -> Result<Vec<U256>, StoreError> {
        let prefixes = self.prefixes(slots.iter().map(|(address, _)| *address))?;
        let keys: Vec<_> = slots.iter().map(|(address, slot)| storage_key(&prefixes[address], slot)).collect();
        let values = self.get_many(Column::Storage, &keys)?;
        let decode = |(key, value): (&[u8; _], Option<DBPinnableSlice<'_>>)| {
            let value = value.map(|bytes| decode_slot(&bytes)).transpose();
            value.map(Option::unwrap_or_default).map_err(|source| malformed(Column::Storage, key, source))
        };
        keys.iter().zip(values).map(decode).collect()
    }

    /// What the keys of each account's slots begin with.
    fn prefixes(
        &self,
        addresses: impl Iterator<Item = Address>,
    ) -> Result<BTreeMap<Address, [u8; STORAGE_PREFIX_LENGTH]>, StoreError> {
        let mut prefixes: BTreeMap<_, _> = addresses.map(|address| (address, [0; STORAGE_PREFIX_LENGTH])).collect();
        let accounts: Vec<B256> = prefixes.keys().map(account_key).collect();
        let stored = self.get_many(Column::Incarnations, &accounts)?;
        for ((prefix, account), stored) in prefixes.values_mut().zip(&accounts).zip(stored) {
            *prefix = storage_prefix(account, decode_incarnation(account, stored.as_deref())?);
        }
        Ok(prefixes)
    }
}

impl StateReader for StoreReader {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        if self.absent.contains(&(*address, None)) {
            return Ok(None);
        }
        let account = self.view().get(Column::Accounts, account_key(address).as_slice(), decode_account)?;
        if account.is_none() {
            self.absent.insert((*address, None));
        }
        Ok(account)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        if self.absent.contains(&(*address, Some(*slot))) {
            return Ok(U256::ZERO);
        }
        let value = self.view().slot(address, slot)?;
        if value.is_zero() {
            self.absent.insert((*address, Some(*slot)));
        }
        Ok(value)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        Ok(self.view().storage_is_empty(address)?)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        let code = self.view().get(Column::Code, hash.as_slice(), |bytes| Ok(Bytes::copy_from_slice(bytes)))?;
        code.ok_or(StateError::MissingCode(*hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        let hash = self.view().get(Column::BlockHashes, &block_key(number), decode_hash)?;
        hash.ok_or(StateError::MissingBlockHash(number))
    }

    fn accounts(&self, addresses: &[Address]) -> Result<Vec<Option<Account>>, StateError> {
        let accounts = self.view().accounts(addresses)?;
        let absent = addresses.iter().zip(&accounts).filter(|(_, account)| account.is_none());
        absent.for_each(|(address, _)| self.absent.insert((*address, None)));
        Ok(accounts)
    }

    fn storages(&self, slots: &[(Address, U256)]) -> Result<Vec<U256>, StateError> {
        let values = self.view().slots(slots)?;
        let absent = slots.iter().zip(&values).filter(|(_, value)| value.is_zero());
        absent.for_each(|((address, slot), _)| self.absent.insert((*address, Some(*slot))));
        Ok(values)
    }
}

impl fmt::Debug for StoreReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreReader").field("head", &self.head).finish_non_exhaustive()
    }
}
