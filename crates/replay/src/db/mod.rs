//! `ropewalk db`: what a database holds, and whether it is right.

mod stat;
mod verify;

use std::{io, path::Path};

use alloy_primitives::B256;
use ropewalk_block::CancelToken;
use ropewalk_store::{Head, Store, StoreError, StoreOptions};
use serde::Serialize;

use crate::{
    arguments::{DbArguments, DbCommand},
    compare::chain_of,
    report::Progress,
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
        DbCommand::Verify(place) => open(&place.db).and_then(|store| verify::verify(&store, place, interrupt)),
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
    if !path.join("CURRENT").exists() {
        return Err(DbError::Missing(path.display().to_string()));
    }
    Ok(Store::open(path, &StoreOptions::default())?)
}
