//! `ropewalk db export`, `load` and `checkpoint`: a state moved, a database copied.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::Path,
};

use ropewalk_store::{Export, ExportError, Store, StoreError, StoreOptions};

use super::{DbError, open, print_head};
use crate::{
    arguments::{DbCheckpoint, DbExport, DbLoad},
    report::Progress,
    status::Status,
};

/// Size of the buffers around files, in bytes.
const BUFFER: usize = 1 << 20;

/// The store speaks of shares of a state in 65,536ths.
const WHOLE: u64 = 1 << 16;

/// Writes the whole state into a file, which appears when all of it is on the disk.
pub(super) fn export(arguments: &DbExport) -> Result<Status, DbError> {
    let store = open(&arguments.place.db)?;
    let out = arguments.out.as_path();
    if out.exists() {
        return Err(file(out, io::ErrorKind::AlreadyExists.into()));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part = tempfile::NamedTempFile::new_in(folder).map_err(|error| file(out, error))?;
    let progress = Progress::of_bytes(WHOLE);
    let mut writer = BufWriter::with_capacity(BUFFER, part.as_file());
    let exported = store.reader().export(&mut writer, &mut |share| progress.reach(share.into(), "exported".to_owned()));
    progress.finish();
    exported.map_err(|source| DbError::Export { path: out.display().to_string(), source: Box::new(source) })?;
    writer.flush().map_err(|error| file(out, error))?;
    drop(writer);
    part.as_file().sync_all().map_err(|error| file(out, error))?;
    part.persist_noclobber(out).map_err(|error| file(out, error.error))?;
    print_head(&store, &arguments.place, "exported the state of")
}

/// Loads an exported state into an empty database.
pub(super) fn load(arguments: &DbLoad) -> Result<Status, DbError> {
    let from = arguments.from.as_path();
    let failed = |source| DbError::Export { path: from.display().to_string(), source: Box::new(source) };
    let reader = BufReader::with_capacity(BUFFER, File::open(from).map_err(|error| file(from, error))?);
    // What is no export must not make a database.
    let export = Export::open(reader).map_err(failed)?;
    let mut store = Store::open(&arguments.place.db, &StoreOptions::default())?;
    match store.load_export(export) {
        Ok(_) => print_head(&store, &arguments.place, "loaded the state of"),
        Err(ExportError::Store(error @ StoreError::NotEmpty { .. })) => Err(error.into()),
        Err(error) => Err(failed(error)),
    }
}

/// Copies a database.
pub(super) fn checkpoint(arguments: &DbCheckpoint) -> Result<Status, DbError> {
    let store = open(&arguments.place.db)?;
    if arguments.out.exists() {
        return Err(file(&arguments.out, io::ErrorKind::AlreadyExists.into()));
    }
    if let Some(parent) = arguments.out.parent() {
        fs::create_dir_all(parent).map_err(|error| file(parent, error))?;
    }
    store.checkpoint(&arguments.out)?;
    print_head(&store, &arguments.place, "copied the database at")
}

fn file(path: &Path, source: io::Error) -> DbError {
    DbError::File { path: path.display().to_string(), source }
}
