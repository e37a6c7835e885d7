//! How much a store holds.

use rocksdb::ReadOptions;

use crate::{
    Store, StoreError, StoreReader,
    database::malformed,
    flat::Rows,
    layout::{self, Column, storage_prefix},
    tuning,
};

/// How many entries of each kind a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accounts that exist.
    pub accounts: u64,
    /// Slots of these accounts that are not zero.
    pub slots: u64,
    /// Codes, whether or not an account still refers to them.
    pub codes: u64,
    /// Blocks that are remembered.
    pub blocks: u64,
}

/// How many bytes a column family takes in sorted files, and about how many keys it has there and in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilySize {
    /// The family's name.
    pub name: &'static str,
    /// Bytes in sorted files; what is in the log and not in them yet does not count.
    pub bytes: u64,
    /// Keys, as RocksDB estimates them.
    pub keys: u64,
}

impl Store {
    /// How large each column family is.
    ///
    /// # Errors
    /// When RocksDB cannot say.
    pub fn sizes(&self) -> Result<Vec<FamilySize>, StoreError> {
        let size = |column: Column| {
            let bytes = self.database().property(column, "rocksdb.live-sst-files-size")?;
            let keys = self.database().property(column, "rocksdb.estimate-num-keys")?;
            Ok(FamilySize { name: column.name(), bytes, keys })
        };
        Column::ALL.into_iter().map(size).collect()
    }
}

impl StoreReader {
    /// Counts everything, by looking at every key: exact, and as slow as the store is large.
    ///
    /// # Errors
    /// When the store cannot be read, or a key is malformed.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let mut counts =
            Counts { codes: self.count(Column::Code)?, blocks: self.count(Column::Blocks)?, ..Counts::default() };
        let mut rows = Rows::new(self.view(), Column::Accounts, &[], ReadOptions::default());
        while let Some((key, _)) = rows.next()? {
            let account = layout::decode_hash(key).map_err(|source| malformed(Column::Accounts, key, source))?;
            let prefix = storage_prefix(&account, self.view().incarnation(&account)?);
            let mut slots = Rows::new(self.view(), Column::Storage, &prefix, tuning::prefix_read());
            while slots.next()?.is_some() {
                counts.slots += 1;
            }
            counts.accounts += 1;
        }
        Ok(counts)
    }

    fn count(&self, column: Column) -> Result<u64, StoreError> {
        let mut rows = Rows::new(self.view(), column, &[], ReadOptions::default());
        let mut count = 0;
        while rows.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}
