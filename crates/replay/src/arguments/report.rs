//! Arguments of `ropewalk report`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;

use super::Threads;

/// Arguments of `ropewalk report`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct PageArguments {
    /// Fixtures, or trees of fixtures
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// File that the page is written to
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Number of threads; auto is the number of cores available
    #[arg(long, value_name = "auto|N", default_value = "auto")]
    pub threads: Threads,
    /// Samples of each side; those of one round are taken next to each other
    #[arg(long, value_name = "N", default_value = "5")]
    pub runs: NonZeroUsize,
    /// Show the timelines and conflicts of so many blocks, those furthest from what they allow
    #[arg(long, value_name = "N", default_value = "8")]
    pub details: usize,
    /// Execute blocks whose transactions declare less gas than this on the calling thread [default: the engine's]
    #[arg(long, value_name = "GAS")]
    pub inline_below: Option<u64>,
}

pub(super) const ABOUT: &str = "\
Show recorded blocks on a page: speed-up, timelines, hot locations, conflicts

Each block is measured as bench measures it, executed once more with a recorder on every worker, and
once more to find what its transactions truly depend on. The page is one HTML file that loads
nothing: speed-up by block with the limit that the block's dependencies set, worst first; the
accounts and slots that most aborts and dependencies come from; and for the blocks furthest from
their limit what each worker did when, and which transaction depends on which.

Blocks whose outcome is not the oracle's are refused, and the page is written of the others.";
