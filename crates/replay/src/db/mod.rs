//! `ropewalk db`: what a database holds, whether it is right, and how it is taken back, copied and moved.

mod change;
mod stat;
mod transfer;
mod verify;

use std::{fs, io, path::Path};

use alloy_primitives::B256;
use ropewalk_block::CancelToken;
use ropewalk_store::{ExportError, Head, LostBlocks, Store, StoreError, StoreOptions};
use serde::Serialize;

use crate::{
    arguments::{DbArguments, DbCommand, DbPlace},
    compare::chain_of,
    report::{Progress, print, print_json},
    status::Status,
};

/// Why a database could not be looked at.
#[derive(Debug, thiserror::Error)]
enum DbError {
    /// There is nothing at the path.
    #[error("there is no database at {0}")]
    Missing(String),
    /// It cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A state cannot be exported, or an export cannot be loaded.
    #[error("{path}")]
    Export {
        /// The file.
        path: String,
        /// Why.
        source: Box<ExportError>,
    },
    /// A file or a directory cannot be made or opened.
    #[error("cannot use {path}")]
    File {
        /// Which one.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The user wants the run to end.
    #[error("interrupted")]
    Interrupted,
    /// Standard output is closed or full.
    #[error("cannot write standard output")]
    Output(#[from] io::Error),
}

/// The head of a database, as JSON has it.
#[derive(Debug, Clone, Copy, Serialize)]
struct HeadLine {
    number: u64,
    hash: B256,
    state_root: Option<B256>,
}

impl From<Head> for HeadLine {
    fn from(Head { number, hash, state_root }: Head) -> Self {
        Self { number, hash, state_root }
    }
}

/// Does what the arguments say.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn db(arguments: &DbArguments, interrupt: &CancelToken) -> io::Result<Status> {
    let done = match &arguments.command {
        DbCommand::Stat(place) => open(&place.db).and_then(|store| stat::stat(&store, place)),
        DbCommand::Verify(place) => unconfirmed(&place.db).and_then(|store| verify::verify(&store, place, interrupt)),
        DbCommand::Unwind(arguments) => change::unwind(arguments),
        DbCommand::Rebuild(place) => change::rebuild(place),
        DbCommand::Export(arguments) => transfer::export(arguments),
        DbCommand::Load(arguments) => transfer::load(arguments),
        DbCommand::Checkpoint(arguments) => transfer::checkpoint(arguments),
    };
    match done {
        Ok(status) => Ok(status),
        Err(DbError::Interrupted) => Ok(Status::Interrupted),
        Err(DbError::Output(error)) => Err(error),
        Err(error) => {
            Progress::new(0).say(&format!("error: {}", chain_of(&error)));
            Ok(Status::Input)
        }
    }
}

/// Opens a database that is there: looking at one must not make one.
fn open(path: &Path) -> Result<Store, DbError> {
    must_exist(path)?;
    let store = Store::open(path, &StoreOptions::default())?;
    if let Some(LostBlocks { first, last, hash }) = store.lost_blocks() {
        let blocks = format!("blocks {first} to {last} ({hash}) were committed here and are lost");
        Progress::new(0).say(&format!("note: {}: {blocks}", path.display()));
    }
    Ok(store)
}

/// The same, whether or not its tries are there.
fn unconfirmed(path: &Path) -> Result<Store, DbError> {
    must_exist(path)?;
    Ok(Store::open_unconfirmed(path, &StoreOptions::default())?)
}

fn must_exist(path: &Path) -> Result<(), DbError> {
    let is_there = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    match is_there && (path.join("CURRENT").exists() || path.join("ropewalk.lock").exists()) {
        true => Ok(()),
        false => Err(DbError::Missing(path.display().to_string())),
    }
}

/// Says what the head is now.
fn print_head(store: &Store, place: &DbPlace, done: &str) -> Result<Status, DbError> {
    let head = store.head().map(HeadLine::from);
    match (place.json, head) {
        (true, head) => print_json(&HeadReport { head })?,
        (false, Some(HeadLine { number, hash, .. })) => print(&format!("{done}: block {number} ({hash})"))?,
        (false, None) => print(&format!("{done}: empty"))?,
    }
    Ok(Status::Verified)
}

/// A head alone, as JSON has it.
#[derive(Debug, Serialize)]
struct HeadReport {
    head: Option<HeadLine>,
}
