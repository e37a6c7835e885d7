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
