//! `ropewalk import`: a chain from files into a database, every header checked.
//!
//! ```text
//! source     files -> blocks: era1 archives, then RLP         e2store, era1, accumulator; chain_file
//! prepare    body checked, senders recovered                  a thread of its own, a few blocks ahead
//! ancestry   header and ommers against the blocks before
//! run        executed in parallel, outcome against the header
//! database   state root, then one atomic batch                whole blocks, whatever happens
//! summary    progress, lines of JSON, what was done
//! ```
//!
//! An import goes on where the database is. The blocks that it holds already are read again, because the first new one
//! is checked against them; that they are the same is seen from their hashes.
//!
//! Nothing in a file is believed. What cannot be read ends the import with the place in the file; what is read and
//! breaks a rule ends it with the block and the rule; the blocks before it stay.

mod accumulator;
mod ancestry;
mod chain_file;
mod database;
mod e2store;
mod era1;
mod error;
mod genesis;
mod prepare;
mod receipts;
mod run;
mod source;
mod summary;

use std::io;

use ropewalk_block::CancelToken;

pub(crate) use self::{error::HistoryError, genesis::GenesisBlock, prepare::read_chain};
use self::{run::Run, summary::Summary};
use crate::{arguments::ImportArguments, status::Status};

/// Imports what the arguments say.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn import(arguments: &ImportArguments, interrupt: &CancelToken) -> io::Result<Status> {
    let mut summary = Summary::new(arguments.json);
    let ended = match Run::new(arguments, interrupt) {
        Ok(run) => run.blocks(&mut summary)?,
        Err(error) => Err(error),
    };
    summary.finish(ended.as_ref().err())
}
