//! Arguments of `ropewalk db`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `ropewalk db`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct DbArguments {
    /// What to do with it.
    #[command(subcommand)]
    pub command: DbCommand,
}

/// What to do with a database.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub(crate) enum DbCommand {
    /// Show the head of a database, what it holds and how large it is
    Stat(DbPlace),
    /// Recompute the state root from every account and slot, and compare it with the head's
    Verify(DbPlace),
    /// Go back to the state of an earlier block
    Unwind(DbUnwind),
    /// Write the whole state of the head into a file, to be loaded elsewhere
    Export(DbExport),
    /// Load an exported state into an empty database
    Load(DbLoad),
    /// Copy a database into a new directory; files are shared where the file system can do that
    Checkpoint(DbCheckpoint),
    /// Make the tries of the head's state anew from accounts and slots
    Rebuild(DbPlace),
}

/// Which database.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct DbPlace {
    /// The database
    #[arg(long, value_name = "DIR")]
    pub db: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `ropewalk db unwind`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct DbUnwind {
    /// The database
    #[command(flatten)]
    pub place: DbPlace,
    /// Number of the block to go back to
    #[arg(long, value_name = "BLOCK")]
    pub to: u64,
}

/// Arguments of `ropewalk db export`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct DbExport {
    /// The database
    #[command(flatten)]
    pub place: DbPlace,
    /// File to write; it must not exist, and appears when all is written
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Arguments of `ropewalk db load`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct DbLoad {
    /// The database
    #[command(flatten)]
    pub place: DbPlace,
    /// File that `db export` wrote
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

/// Arguments of `ropewalk db checkpoint`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct DbCheckpoint {
    /// The database
    #[command(flatten)]
    pub place: DbPlace,
    /// Directory to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
