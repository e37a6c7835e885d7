//! Arguments of `ropewalk conformance`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;

use super::{ScheduleArgument, ShortcutArgument, Threads};

/// Arguments of `ropewalk conformance`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct ConformanceArguments {
    /// Test files, trees of them, or archives (.tar, .tar.zst)
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Numbers of threads; each test runs at each of them
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [Threads::Auto])]
    pub threads: Vec<Threads>,
    /// Run only the tests of this network
    #[arg(long, value_name = "NAME")]
    pub fork: Option<String>,
    /// Run only the tests whose file or name holds this text
    #[arg(long, value_name = "SUBSTRING")]
    pub filter: Option<String>,
    /// Order of speculation: normal, or adversarial so that every dependent transaction runs at least twice
    #[arg(long, value_name = "normal|adversarial[:SEED]", default_value = "adversarial")]
    pub schedule: ScheduleArgument,
    /// Execute every block by its own access list too (EIP-7928), and compare
    #[arg(long)]
    pub access_lists: bool,
    /// Join so many tests of one fork with one transaction each into one block, and compare with the oracle
    #[arg(long, value_name = "K")]
    pub pack: Option<NonZeroUsize>,
    /// Leave out what makes the engine faster and nothing else
    #[arg(long, value_name = "SHORTCUT", value_delimiter = ',')]
    pub without: Vec<ShortcutArgument>,
    /// Print one JSON object per test, and a summary as the last line
    #[arg(long)]
    pub json: bool,
}

pub(super) const ABOUT: &str = "\
Run the public suites of blockchain and state tests

Each blockchain test is a genesis and some blocks as RLP. The blocks are imported one by one, with every
rule of headers, bodies and ommers checked; a valid block must be imported and an invalid one rejected for
the expected reason, without a trace. In the end the head and its state must be the expected ones. State
tests run as blocks of one transaction.

Blocks are executed by the engine, never inline, at each number of threads. The oracle is run beside it:
where a test and the oracle differ the test is right, and that they differ is remarked.

With --json each line holds file, test, fork, status (passed, failed, oracle_fails, skipped) and what there is to
say of it; the last line is a summary by fork. docs/conformance.md describes both.";
