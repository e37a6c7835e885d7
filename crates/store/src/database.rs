//! One open database: the lock on its directory, its column families, and its errors made typed.
//!
//! Opening asks in this order, so that nothing is written into a directory before it is known to be ours:
//!
//! ```text
//! directory    created where absent; with content that is neither RocksDB's nor ours -> NotAStore
//! lock         lock file taken                                                       -> Locked
//! families     more or fewer than this layout's: another version's store -> Layout, no store at all -> NotAStore
//!              none because the list of files is gone                                -> Incomplete
//!              no file with content yet: the creation was interrupted, and is completed
//! RocksDB      opened, missing families created                                      -> Damaged, DiskFull, ...
//! layout       recorded where the store is new, compared or taken over where not     -> Layout
//! ```
//!
//! RocksDB has a lock of its own, which tells a second opener only in prose, and cannot tell a full disk from a foreign
//! directory before it has written to it. The lock file is asked first, through the standard library's typed errors.
//! RocksDB's own lock file is never touched here: closing any handle on it would drop the process's POSIX lock.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use alloy_primitives::Bytes;
use rocksdb::{
    ColumnFamily, DBPinnableSlice, DBRawIteratorWithThreadMode, DBWithThreadMode, Options, ReadOptions, SingleThreaded,
    WriteBatch,
    checkpoint::Checkpoint,
    properties::{BACKGROUND_ERRORS, IS_WRITE_STOPPED, NUM_RUNNING_COMPACTIONS, NUM_RUNNING_FLUSHES, PropName},
};

use crate::{
    StoreError, StoreOptions,
    layout::{Column, DecodeError, FORMER_LAYOUT, HEAD_KEY, LAYOUT_KEY, LAYOUT_VERSION, decode_layout_version},
    tuning,
};

/// RocksDB with its families fixed at open; named in full because a feature of the crate changes what `DB` means.
pub(crate) type RocksDb = DBWithThreadMode<SingleThreaded>;

/// The file whose lock keeps others out. It is empty and stays when the store is closed.
const LOCK_FILE: &str = "ropewalk.lock";

/// The file by which RocksDB knows a database.
const CURRENT_FILE: &str = "CURRENT";

/// The family that RocksDB creates in each database; empty here.
const DEFAULT_FAMILY: &str = "default";

/// How often a writer that RocksDB has stopped looks whether it may go on.
const CATCHING_UP: Duration = Duration::from_millis(5);
/// How long nobody need be at work on what a writer waits for before it is given up. RocksDB starts such work within
/// milliseconds, and tries again every five seconds after it has failed for lack of space.
const MOST_PATIENCE: Duration = Duration::from_millis(500);

/// An open database.
pub(crate) struct Database {
    /// Closed before the lock is given up: fields drop in order.
    rocksdb: RocksDb,
    path: PathBuf,
    _lock: File,
}

impl Database {
    /// Opens the database in `path`, or creates one.
    pub(crate) fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let (is_listed, has_content) = (path.join(CURRENT_FILE).exists(), has_content(path)?);
        let open = |database: &Options| {
            let opened = RocksDb::open_cf_descriptors(database, path, tuning::column_descriptors(options));
            opened.map_err(|error| StoreError::from_rocksdb(path, error))
        };
        match (is_listed, has_content) {
            (true, true) => check_families(path)?,
            (true, false) => {
                check_families(path)?;
                // RocksDB does not verify logs where there is none, and makes one now.
                drop(open(&tuning::creation_options(options))?);
            }
            (false, true) => {
                // RocksDB would begin a new database over it.
                return Err(StoreError::Incomplete { path: path.to_owned(), missing: CURRENT_FILE });
            }
            (false, false) => {}
        }
        let rocksdb = open(&tuning::database_options(options))?;
        let database = Self { rocksdb, path: path.to_owned(), _lock: lock };
        database.check_layout()?;
        Ok(database)
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// RocksDB itself, to take snapshots of.
    pub(crate) fn rocksdb(&self) -> &RocksDb {
        &self.rocksdb
    }

    /// The handle of a column family.
    pub(crate) fn family(&self, column: Column) -> &ColumnFamily {
        self.rocksdb.cf_handle(column.name()).expect("every family is opened with the database")
    }

    /// The latest value of a key.
    pub(crate) fn get(&self, column: Column, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StoreError> {
        self.rocksdb.get_pinned_cf(self.family(column), key).map_err(|error| self.failed(error))
    }

    /// The latest values of several keys of one family.
    pub(crate) fn get_many<'a, K: AsRef<[u8]> + 'a>(
        &self,
        column: Column,
        keys: impl IntoIterator<Item = &'a K>,
    ) -> Result<Vec<Option<DBPinnableSlice<'_>>>, StoreError> {
        let values = self.rocksdb.batched_multi_get_cf(self.family(column), keys, false);
        values.into_iter().map(|value| value.map_err(|error| self.failed(error))).collect()
    }

    /// Whether a key begins with `prefix`, as `read` sees it. The family must have prefixes of that length.
    pub(crate) fn has_prefix(&self, column: Column, prefix: &[u8], read: ReadOptions) -> Result<bool, StoreError> {
        let mut keys = self.rocksdb.raw_iterator_cf_opt(self.family(column), read);
        keys.seek(prefix);
        let found = keys.key().is_some_and(|key| key.starts_with(prefix));
        keys.status().map_err(|error| self.failed(error))?;
        Ok(found)
    }

    /// The rows of a family as they are now, to be positioned by the caller.
    pub(crate) fn rows(&self, column: Column, read: ReadOptions) -> DBRawIteratorWithThreadMode<'_, RocksDb> {
        self.rocksdb.raw_iterator_cf_opt(self.family(column), read)
    }

    /// Writes a batch, whole or not at all; with `sync`, onto the disk.
    ///
    /// RocksDB makes a writer wait while it catches up with sorting what was written before. Where it cannot, for lack of
    /// space, it would have the writer wait until there is some; here that is an error.
    pub(crate) fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), StoreError> {
        // RocksDB takes the batch, whatever it does with it.
        let bytes = batch.data().to_vec();
        let (mut batch, mut waits, mut stuck_for) = (batch, false, Duration::ZERO);
        loop {
            let error = match self.rocksdb.write_opt(batch, &tuning::write_options(sync, waits)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.kind() != rocksdb::ErrorKind::Incomplete {
                return Err(self.failed(error));
            }
            let [is_stopped, errors, at_work] = self.catching_up()?;
            // While nothing has ever failed, being slowed down ends by itself.
            waits = is_stopped == 0 && errors == 0;
            stuck_for = if errors == 0 || at_work > 0 { Duration::ZERO } else { stuck_for + CATCHING_UP };
            if stuck_for > MOST_PATIENCE {
                return Err(StoreError::from_io(&self.path, io::Error::new(io::ErrorKind::StorageFull, error)));
            }
            if !waits {
                thread::sleep(CATCHING_UP);
            }
            batch = WriteBatch::from_data(&bytes);
        }
    }

    /// Whether RocksDB has stopped writes, how often work of its own has failed, and how many such works are under way.
    fn catching_up(&self) -> Result<[u64; 3], StoreError> {
        let says = |name: &PropName| {
            let value = self.rocksdb.property_int_value(name).map_err(|error| self.failed(error))?;
            Ok(value.unwrap_or_default())
        };
        let at_work = says(NUM_RUNNING_FLUSHES)? + says(NUM_RUNNING_COMPACTIONS)?;
        Ok([says(IS_WRITE_STOPPED)?, says(BACKGROUND_ERRORS)?, at_work])
    }

    /// Waits until everything written is on the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.rocksdb.flush_wal(true).map_err(|error| self.failed(error))
    }

    /// What RocksDB says of a family under a name of its own; 0 where it says nothing.
    pub(crate) fn property(&self, column: Column, name: &str) -> Result<u64, StoreError> {
        let value =
            self.rocksdb.property_int_value_cf(self.family(column), name).map_err(|error| self.failed(error))?;
        Ok(value.unwrap_or_default())
    }

    /// Makes a copy in `path`.
    pub(crate) fn checkpoint(&self, path: &Path) -> Result<(), StoreError> {
        let made = Checkpoint::new(&self.rocksdb).and_then(|checkpoint| checkpoint.create_checkpoint(path));
        made.map_err(|error| StoreError::from_rocksdb(path, error))
    }

    /// Gives an error of RocksDB its type.
    pub(crate) fn failed(&self, error: rocksdb::Error) -> StoreError {
        StoreError::from_rocksdb(&self.path, error)
    }

    fn check_layout(&self) -> Result<(), StoreError> {
        if let Some(bytes) = self.get(Column::Head, LAYOUT_KEY)? {
            let found = decode_layout_version(&bytes).map_err(|source| malformed(Column::Head, LAYOUT_KEY, source))?;
            supported(&self.path, found)?;
            if found == LAYOUT_VERSION {
                return Ok(());
            }
        } else if self.get(Column::Head, HEAD_KEY)?.is_some() {
            return Err(StoreError::NotAStore { path: self.path.clone() });
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(Column::Head), LAYOUT_KEY, LAYOUT_VERSION.to_be_bytes());
        self.write(batch, true)
    }
}

/// The error for a value that its decoder refused.
pub(crate) fn malformed(column: Column, key: &[u8], source: DecodeError) -> StoreError {
    StoreError::Malformed { column: column.name(), key: Bytes::copy_from_slice(key), source }
}

/// Creates the directory where it is absent, and takes its lock.
fn lock(path: &Path) -> Result<File, StoreError> {
    let failed = |error: io::Error| StoreError::from_io(path, error);
    fs::create_dir_all(path).map_err(failed)?;
    let lock_path = path.join(LOCK_FILE);
    let ours = lock_path.exists() || path.join(CURRENT_FILE).exists();
    if !ours && fs::read_dir(path).map_err(failed)?.next().is_some() {
        return Err(StoreError::NotAStore { path: path.to_owned() });
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(lock_path).map_err(failed)?;
    if !ours {
        // A power cut during creation must not leave files without the one that says whose they are.
        file.sync_all().and_then(|()| File::open(path)?.sync_all()).map_err(failed)?;
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Whether there is a log or a sorted file. An interrupted creation leaves neither: they come after the list of files.
fn has_content(path: &Path) -> Result<bool, StoreError> {
    let failed = |error: io::Error| StoreError::from_io(path, error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "sst" || extension == "log") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks at a database's families before anything is written to it.
///
/// A part of ours is what an interrupted creation leaves, or an older layout's. Others beside ours are a newer layout's.
fn check_families(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::from_rocksdb(path, error);
    let options = tuning::look_options();
    let families = RocksDb::list_cf(&options, path).map_err(failed)?;
    let ours = |name: &String| name == DEFAULT_FAMILY || Column::ALL.iter().any(|column| column.name() == name);
    let is_part = families.iter().all(ours);
    // RocksDB's own family comes on top of ours.
    if is_part && families.len() > Column::ALL.len() {
        return Ok(());
    }
    let foreign = || StoreError::NotAStore { path: path.to_owned() };
    if is_part && !families.iter().any(|name| name == Column::Head.name()) {
        return Ok(());
    }
    if !families.iter().any(|name| name == Column::Head.name()) {
        return Err(foreign());
    }
    let other =
        RocksDb::open_cf_for_read_only(&options, path, [DEFAULT_FAMILY, Column::Head.name()], false).map_err(failed)?;
    let head = other.cf_handle(Column::Head.name()).expect("the family was opened above");
    let found = other.get_cf(head, LAYOUT_KEY).map_err(failed)?;
    if let Some(found) = &found {
        supported(path, decode_layout_version(found).map_err(|_| foreign())?)?;
    }
    if is_part { Ok(()) } else { Err(foreign()) }
}

/// Whether a layout can be worked with: this version's, or one that becomes it by adding families without content.
fn supported(path: &Path, found: u32) -> Result<(), StoreError> {
    if found == LAYOUT_VERSION || found == FORMER_LAYOUT {
        return Ok(());
    }
    Err(StoreError::Layout { path: path.to_owned(), found, supported: LAYOUT_VERSION })
}
