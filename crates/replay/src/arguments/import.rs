//! Arguments of `ropewalk import`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, ValueEnum};
use ropewalk_block::pipeline::PipelineOptions;

use super::{DurabilityArgument, Threads};

/// Arguments of `ropewalk import`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct ImportArguments {
    /// Genesis file in geth's form: rules, first state
    #[arg(long, value_name = "FILE")]
    pub genesis: PathBuf,
    /// era1 archives, in the order of their blocks
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "chain")]
    pub era1: Vec<PathBuf>,
    /// File of blocks in RLP, one after the other; plain or .gz. Comes after the archives
    #[arg(long, value_name = "FILE")]
    pub chain: Option<PathBuf>,
    /// Database that the blocks are committed to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub db: PathBuf,
    /// Number of threads; auto is the number of cores available
    #[arg(long, value_name = "auto|N", default_value = "auto")]
    pub threads: Threads,
    /// Execute blocks while those before them are committed
    #[arg(long, value_enum, value_name = "on|off", default_value_t = Switch::On)]
    pub pipeline: Switch,
    /// Most blocks that are executed and not yet committed
    #[arg(long, value_name = "N", default_value = "4")]
    pub backlog: NonZeroUsize,
    /// When blocks are safe from a power cut: each, every N blocks, or when the import ends
    #[arg(long, value_name = "block|N|os", default_value = "os")]
    pub durability: DurabilityArgument,
    /// Print one JSON object per block, and a summary as the last line
    #[arg(long)]
    pub json: bool,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

impl ImportArguments {
    /// How the pipeline runs.
    pub(crate) fn pipeline_options(&self) -> PipelineOptions {
        PipelineOptions { backlog: self.backlog }
    }
}

pub(super) const ABOUT: &str = "\
Import a chain from its genesis into a database, with every header checked

Blocks come from era1 archives, from a file of blocks in RLP as other clients export it, or both. Each
is checked as a node does: header against its parent, body and ommers, then, executed in parallel, gas
used, receipts root, logs bloom, requests and state root. An archive's receipts, total difficulties and
accumulator are checked as well. Seals of proof of work are not.

An import goes on from the head of the database: give the same files again after it was interrupted. A
process that is killed leaves the state of a whole block. The first block that is wrong ends the import;
those before it stay.

With --json each line holds number, hash, txs, gas_used, state_root and ms, or number, hash and error; the
last line is a summary. docs/import.md describes both.";
