//! Sorted runs: what is loaded goes into files in RocksDB's own form, beside the log and the memtables.
//!
//! A run is collected in memory, sorted, and written as a file in a directory of its own. All files of a column family
//! become part of the database at once. Input that comes in the order of keys makes files that do not overlap, which are
//! never written again; other input makes overlapping ones, which are merged later.

use std::{fs, io, path::PathBuf};

use rocksdb::{IngestExternalFileOptions, SstFileWriter};

use crate::{
    StoreError,
    database::Database,
    layout::Column,
    probe::{Step, Told},
    tuning,
};

/// Size at which a run is written, in bytes of keys and values.
const RUN_BYTES: usize = 64 << 20;

/// Directory of the files, in that of the store.
const DIRECTORY: &str = "load";

/// The runs of one column family.
pub(super) struct Runs<'a> {
    database: &'a Database,
    told: &'a Told,
    column: Column,
    /// Keys and values behind each other, and where each key begins and ends and its value ends.
    bytes: Vec<u8>,
    rows: Vec<(usize, usize, usize)>,
    files: Vec<PathBuf>,
}

impl<'a> Runs<'a> {
    pub(super) fn new(database: &'a Database, told: &'a Told, column: Column) -> Self {
        Self { database, told, column, bytes: Vec::new(), rows: Vec::new(), files: Vec::new() }
    }

    /// Adds a row. A later one with the same key takes its place.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.rows.push((begin, begin + key.len(), self.bytes.len()));
    }

    /// Ends the run if it is large enough. A run that ends where all keys to come are greater makes a file that overlaps
    /// with no other.
    pub(super) fn cut(&mut self) -> Result<(), StoreError> {
        if self.bytes.len() < RUN_BYTES { Ok(()) } else { self.write() }
    }

    /// Ends the run wherever it is, if it is so large that waiting for a better place would take too much memory.
    pub(super) fn cut_anywhere(&mut self) -> Result<(), StoreError> {
        if self.bytes.len() < 2 * RUN_BYTES { Ok(()) } else { self.write() }
    }

    /// Makes everything part of the database.
    pub(super) fn ingest(mut self) -> Result<(), StoreError> {
        self.write()?;
        if self.files.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let (database, files) = (self.database, self.files);
        let family = database.family(self.column);
        let ingested = database.rocksdb().ingest_external_file_cf_opts(family, &options, files);
        ingested.map_err(|error| database.failed(error))?;
        self.told.reached(Step::RunsIngested);
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let failed = |error| self.database.failed(error);
        let path =
            self.database.path().join(DIRECTORY).join(format!("{}-{}.sst", self.column.name(), self.files.len()));
        let bytes = &self.bytes;
        let key = |row: &(usize, usize, usize)| &bytes[row.0..row.1];
        // A stable order, so that of equal keys the latest stands last.
        self.rows.sort_by(|left, right| key(left).cmp(key(right)));
        let options = tuning::run_options(self.column);
        let mut writer = SstFileWriter::create(&options);
        writer.open(&path).map_err(failed)?;
        for (at, row) in self.rows.iter().enumerate() {
            let is_replaced = self.rows.get(at + 1).is_some_and(|next| key(next) == key(row));
            if !is_replaced {
                writer.put(key(row), &bytes[row.1..row.2]).map_err(failed)?;
            }
        }
        writer.finish().map_err(failed)?;
        self.files.push(path);
        self.rows.clear();
        self.bytes.clear();
        self.told.reached(Step::RunWritten);
        Ok(())
    }
}

/// Makes the directory for runs, empty: what an interrupted load left there is of no use.
pub(super) fn begin(database: &Database) -> Result<(), StoreError> {
    end(database)?;
    let path = database.path().join(DIRECTORY);
    fs::create_dir(&path).map_err(|error| StoreError::from_io(database.path(), error))
}

/// Removes the directory for runs.
pub(super) fn end(database: &Database) -> Result<(), StoreError> {
    match fs::remove_dir_all(database.path().join(DIRECTORY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::from_io(database.path(), error)),
        _ => Ok(()),
    }
}
