//! The command line: what can be asked for, and in which form.

mod conformance;
mod db;
mod durability;
mod fetch;
mod import;
mod report;
mod shortcuts;
mod simulate;

use std::{fmt, num::NonZeroUsize, path::PathBuf, str::FromStr, thread};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::generate::{Link, Workload};

pub(crate) use conformance::ConformanceArguments;
pub(crate) use db::{DbArguments, DbCheckpoint, DbCommand, DbExport, DbLoad, DbPlace, DbUnwind};
pub(crate) use durability::DurabilityArgument;
pub(crate) use fetch::FetchArguments;
pub(crate) use import::{ImportArguments, Switch};
pub(crate) use report::PageArguments;
pub(crate) use shortcuts::ShortcutArgument;
pub(crate) use simulate::SimulateArguments;

/// Replays recorded Ethereum blocks on many threads and proves the outcome equal to running them in order.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(name = "ropewalk", version, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 when every block verified, 1 on a mismatch or an invalid block,
2 on input or usage errors (2 wins when both occur), 130 when interrupted.")]
pub(crate) struct Arguments {
    /// What to log to standard error: off, error, warn, info, debug, trace, or target=level,...
    #[arg(long, global = true, value_name = "FILTER", default_value = "warn")]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub(crate) enum Command {
    /// Execute recorded blocks in parallel, check every outcome and commit it to RocksDB
    #[command(long_about = REPLAY_ABOUT)]
    Replay(ReplayArguments),
    /// Measure recorded blocks: in order against each number of threads
    #[command(long_about = BENCH_ABOUT)]
    Bench(BenchArguments),
    /// Foresee how recorded blocks would run on more workers than there are cores
    #[command(long_about = simulate::ABOUT)]
    Simulate(SimulateArguments),
    /// Show recorded blocks on a page: speed-up, timelines, hot locations, conflicts
    #[command(long_about = report::ABOUT)]
    Report(PageArguments),
    /// Make deterministic fixtures from a seed
    Generate(GenerateArguments),
    /// Run the public suites of blockchain and state tests
    #[command(long_about = conformance::ABOUT)]
    Conformance(ConformanceArguments),
    /// Fetch blocks from a node as fixtures, each checked by replaying it
    #[command(long_about = fetch::FETCH_ABOUT)]
    Fetch(FetchArguments),
    /// Import a chain from its genesis into a database, with every header checked
    #[command(long_about = import::ABOUT)]
    Import(ImportArguments),
    /// Look at a database
    Db(DbArguments),
}

/// Arguments of `ropewalk replay`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct ReplayArguments {
    /// Fixtures, or trees of fixtures
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Number of threads; auto is the number of cores available
    #[arg(long, value_name = "auto|N", default_value = "auto")]
    pub threads: Threads,
    /// Execute on many threads, by each block's access list, or in order by the oracle alone
    #[arg(long, value_enum, default_value_t = Mode::Parallel)]
    pub mode: Mode,
    /// Keep the resulting states under this directory, one database for each chain of blocks
    #[arg(long, value_name = "DIR")]
    pub db: Option<PathBuf>,
    /// Execute each block so many times in parallel, checking each time; the middle time is reported
    #[arg(long, value_name = "N", default_value = "1")]
    pub repeat: NonZeroUsize,
    /// Execute blocks whose transactions declare less gas than this on the calling thread [default: the engine's]
    #[arg(long, value_name = "GAS")]
    pub inline_below: Option<u64>,
    /// Order of speculation: normal, or adversarial so that every dependent transaction runs at least twice
    #[arg(long, value_name = "normal|adversarial[:SEED]", default_value = "normal")]
    pub schedule: ScheduleArgument,
    /// Write each verified block's access list (EIP-7928) beside it: access_list.json and access_list.rlp
    #[arg(long)]
    pub write_access_lists: bool,
    /// Write each verified block's witness (debug_executionWitness) beside it, where the state before it is whole
    #[arg(long)]
    pub write_witness: bool,
    /// Write what each worker did when to this file, as a trace for Perfetto (ui.perfetto.dev) or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Write sums over the blocks to this file in Prometheus' text format
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Warn in the log of blocks whose execution takes at least so many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub slow_block: u64,
    /// Print one JSON object per block, and a summary as the last line
    #[arg(long)]
    pub json: bool,
}

const REPLAY_ABOUT: &str = "\
Execute recorded blocks in parallel, check every outcome and commit it to RocksDB

Each block is executed by the oracle (alloy-evm's sequential executor), once by the engine from
the database that the outcome is then committed to, and as often as asked by the engine over the
recorded state in memory. All outcomes are compared field by field, and the oracle's with what the
block's header claims. Only a block of which nothing is wrong is committed.

With --mode access-list each block is executed by the access list beside it: every read finds its
value at once, nothing runs twice, and every position is compared with the list by whoever ran it. A
list that is not the block's own makes the block invalid there. --write-access-lists makes the
lists, for blocks of every fork.

Times are those of execution over the state in memory: senders, environments and analysed code are
ready before, roots are computed after. A single run is a glance: for figures, see bench.

With --json each line holds number, txs, gas_used, threads, ms, sequential_ms, aborts,
reexecuted_gas, receipts_root, changes_hash and checks (each ok, mismatch or unknown), and the last
line a summary. ms is the run asked for, so in sequential mode it is sequential_ms; aborts and
reexecuted_gas belong to the run whose time is reported; changes_hash is Changes::hash of
ropewalk_state. The mean speed-up leaves out blocks without gas.

--trace and --metrics tell of the run whose time is reported; the recorder that they need costs a
little of that time. The trace leaves out what happens between executions. A slow block is executed
once more with a recorder, unless there was one, so that the warning can name the slowest transaction
and the location that most aborts come from. docs/observability.md explains all of it.

A block whose parent is the head of the database in use continues it. Any other block begins a
database of its own from its recorded prestate, <DIR>/<chain>-<number>-<first 8 digits of its hash>.
Without --db the databases are temporary.";

/// Arguments of `ropewalk bench`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct BenchArguments {
    /// Fixtures, or trees of fixtures
    #[arg(required_unless_present_any = ["db", "workload"], conflicts_with = "db", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Measure generated blocks, without files
    #[arg(long, value_enum, conflicts_with = "db")]
    pub workload: Option<Workload>,
    /// Where all keys, amounts and orders of generated blocks come from
    #[arg(long, value_name = "S", default_value_t = 0, requires = "workload")]
    pub seed: u64,
    /// Number of generated blocks
    #[arg(long, value_name = "B", default_value_t = 1, requires = "workload")]
    pub blocks: u64,
    /// Number of transactions in each generated block
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "workload")]
    pub txs: usize,
    /// Share of the generated transactions that touch a hot key, from 0 to 1
    #[arg(long, value_name = "H", default_value_t = 0.0, requires = "workload")]
    pub hot: f64,
    /// Number of generated transactions that depend on each other in a row, at least 1
    #[arg(long, value_name = "D", default_value_t = 1, requires = "workload")]
    pub depth: usize,
    /// Through what they depend on each other
    #[arg(long, value_enum, default_value_t = Link::Value, requires = "workload")]
    pub link: Link,
    /// Let every cold read of the state take so much longer, on both sides
    #[arg(long, value_name = "MICROSECONDS", conflicts_with = "db")]
    pub read_latency: Option<u64>,
    /// Measure the whole path of a chain instead, from execution to the disk, in databases under this directory
    #[arg(long, value_name = "DIR", requires_all = ["genesis", "chain"])]
    pub db: Option<PathBuf>,
    /// Genesis file of the chain
    #[arg(long, value_name = "FILE", requires = "db")]
    pub genesis: Option<PathBuf>,
    /// The chain's blocks in RLP, one after the other
    #[arg(long, value_name = "FILE", requires = "db")]
    pub chain: Option<PathBuf>,
    /// When blocks are safe from a power cut: each, every N blocks, or when the chain ends
    #[arg(long, value_name = "block|N|os", default_value = "block", requires = "db")]
    pub durability: DurabilityArgument,
    /// Most blocks that are executed and not yet committed
    #[arg(long, value_name = "N", default_value = "4", requires = "db")]
    pub backlog: NonZeroUsize,
    /// Numbers of threads to measure; the last is the one of the column speed-up
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [Threads::Count(NonZeroUsize::MIN), Threads::Auto])]
    pub threads: Vec<Threads>,
    /// Samples of each side; those of one round are taken next to each other
    #[arg(long, value_name = "N", default_value = "11")]
    pub runs: NonZeroUsize,
    /// Execute blocks whose transactions declare less gas than this on the calling thread [default: the engine's]
    #[arg(long, value_name = "GAS")]
    pub inline_below: Option<u64>,
    /// Measure the last number of threads by each block's own access list (EIP-7928) too, made before
    #[arg(long, conflicts_with = "db")]
    pub access_list: bool,
    /// Leave out what makes the engine faster, to see what it is worth
    #[arg(long, value_name = "SHORTCUT", value_delimiter = ',', conflicts_with = "db")]
    pub without: Vec<ShortcutArgument>,
    /// Print one JSON object per block, and a summary as the last line
    #[arg(long)]
    pub json: bool,
}

const BENCH_ABOUT: &str = "\
Measure recorded blocks: in order against each number of threads

seq is the oracle: alloy-evm's sequential executor on revm's State, from system calls to the bundle
with reverts. t<N> is the engine with N threads, yielding the same outputs from the same inputs
over the same reader in memory. Both have senders, environments and analysed code ready; neither
computes roots. The outcomes are compared before anything is timed.

A sample repeats the block until 20 ms have passed. Each round takes one sample of every side, in
alternating order. Reported are medians; spread is p90 - p10 as a share of the median.
speedup = seq / t<N> of the last N, overhead = t1 / seq. The column 95 % bounds the median of the
ratios of one round's samples, by bootstrap; a block whose upper bound is below 1 is called slower.

limit is what the block's true dependencies allow that many threads: its time in order over that of
its longest chain, or over its share of a thread. A transaction depends on a lower one when what it
observed would not hold without it, by value, at the engine's grain of locations. share = speedup /
limit. wasted is the gas of attempts that were thrown away over the block's own. Blocks stand worst
share first.

--read-latency makes the state slow to answer, for both sides; a batch of reads takes as long as one.
The engine then chooses by itself to have more workers than cores, unless it has one thread. The
limit knows nothing of that: it counts work, not waiting.

With --access-list each block is executed by its own access list too. list is the time without it
over the time with it, bounded like the speed-up; making the list is not in any time, checking every
position against it is.

With --db a chain of blocks goes the whole way: executed on a RocksDB state, outcome against header,
state root, and written as durably as --durability says. In order means the oracle, then the root,
then the write; the engine takes the last number of threads, with and without the pipeline. Every
round begins with the genesis in an empty database. Every state root is compared with the header's.";

/// Arguments of `ropewalk generate`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct GenerateArguments {
    /// What the transactions do
    #[arg(value_enum)]
    pub workload: Workload,
    /// Where all keys, amounts and orders come from; the same seed gives the same bytes
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Number of blocks
    #[arg(long, value_name = "B", default_value_t = 1)]
    pub blocks: u64,
    /// Number of transactions in each block
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub txs: usize,
    /// Share of the transactions that touch a hot key, from 0 to 1
    #[arg(long, value_name = "H", default_value_t = 0.0)]
    pub hot: f64,
    /// Number of transactions that depend on each other in a row, at least 1
    #[arg(long, value_name = "D", default_value_t = 1)]
    pub depth: usize,
    /// Through what they depend on each other
    #[arg(long, value_enum, default_value_t = Link::Value)]
    pub link: Link,
    /// Directory that the fixtures are written to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write the blocks to this file in RLP, one after the other, and only the genesis to the directory
    #[arg(long, value_name = "FILE")]
    pub chain: Option<PathBuf>,
}

/// How a block is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// By the engine, and by the oracle to compare with.
    Parallel,
    /// By the engine, along the block's access list, and by the oracle to compare with.
    AccessList,
    /// By the oracle alone.
    Sequential,
}

/// A number of threads: `auto`, or a count from 1 to [`Threads::MOST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// As many as there are cores available to the process.
    Auto,
    /// This many.
    Count(NonZeroUsize),
}

/// In which order transactions are speculated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScheduleArgument {
    /// The engine's own order.
    Normal,
    /// The order that provokes most conflicts, varied by a seed.
    Adversarial {
        /// What varies it.
        seed: u64,
    },
}

impl Threads {
    /// Most threads that can be asked for: more than any block can use, and few enough to start.
    pub(crate) const MOST: usize = 1024;

    /// The number of threads that this means here.
    pub(crate) fn count(self) -> NonZeroUsize {
        match self {
            Self::Auto => thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            Self::Count(count) => count,
        }
    }
}

/// A value of an option that means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgumentError {
    /// Neither `auto` nor a usable count.
    #[error("expected auto or a number from 1 to {}", Threads::MOST)]
    Threads,
    /// Neither a block number nor two in order.
    #[error("expected a block number, or FIRST..LAST with both included")]
    Blocks,
    /// Neither `normal` nor `adversarial` with or without a seed.
    #[error("expected normal, adversarial or adversarial:SEED with a whole number")]
    Schedule,
}

impl FromStr for Threads {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let count: NonZeroUsize = text.parse().map_err(|_| ArgumentError::Threads)?;
        if count.get() <= Self::MOST { Ok(Self::Count(count)) } else { Err(ArgumentError::Threads) }
    }
}

impl fmt::Display for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for ScheduleArgument {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "normal" => Ok(Self::Normal),
            None if text == "adversarial" => Ok(Self::Adversarial { seed: 0 }),
            Some(("adversarial", seed)) => {
                Ok(Self::Adversarial { seed: seed.parse().map_err(|_| ArgumentError::Schedule)? })
            }
            _ => Err(ArgumentError::Schedule),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("ropewalk").chain(line.split_whitespace());
        Arguments::try_parse_from(words).map(|arguments| arguments.command)
    }

    fn replay(line: &str) -> ReplayArguments {
        match parse(line) {
            Ok(Command::Replay(arguments)) => arguments,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_says_what_the_figures_mean() {
        for (command, words) in [("replay", "changes_hash"), ("bench", "overhead = t1 / seq")] {
            let error = parse(&format!("{command} --help")).expect_err("help is an early end");
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.exit_code(), 0);
        }
    }

    #[test]
    fn replay_needs_only_a_path() {
        let arguments = replay("replay fixtures");
        assert_eq!(arguments.paths, [PathBuf::from("fixtures")]);
        assert_eq!(arguments.threads, Threads::Auto);
        assert_eq!(arguments.mode, Mode::Parallel);
        assert_eq!(arguments.schedule, ScheduleArgument::Normal);
        assert_eq!((arguments.repeat.get(), arguments.inline_below, arguments.json), (1, None, false));
        assert_eq!((arguments.trace, arguments.metrics, arguments.slow_block), (None, None, 1000));
    }

    #[test]
    fn every_option_of_replay_is_read() {
        let arguments = replay(
            "replay a b --threads 8 --mode sequential --db dir --repeat 100 --inline-below 5000 \
             --schedule adversarial:7 --trace t --metrics m --slow-block 5 --json",
        );
        assert_eq!(arguments.paths.len(), 2);
        assert_eq!(arguments.threads.count().get(), 8);
        assert_eq!(arguments.mode, Mode::Sequential);
        assert_eq!(arguments.db, Some(PathBuf::from("dir")));
        assert_eq!(arguments.schedule, ScheduleArgument::Adversarial { seed: 7 });
        assert_eq!((arguments.repeat.get(), arguments.inline_below, arguments.json), (100, Some(5000), true));
        let files = [arguments.trace, arguments.metrics].map(|file| file.expect("given"));
        assert_eq!((files, arguments.slow_block), (["t", "m"].map(PathBuf::from), 5));
    }

    #[test]
    fn usage_errors_exit_with_2() {
        for line in [
            "",
            "replay",
            "replay a --threads 0",
            "replay a --threads 1025",
            "replay a --threads many",
            "replay a --repeat 0",
            "replay a --schedule odd",
            "replay a --schedule adversarial:x",
            "replay a --mode fast",
            "replay a --slow-block soon",
            "report a",
            "report --out x",
            "bench",
            "bench a --threads 1,,2",
            "generate nothing --out x",
            "generate payments",
            "unknown",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn bench_takes_a_list_of_threads() {
        let Ok(Command::Bench(arguments)) = parse("bench a --threads 1,2,auto --runs 5") else { panic!("it parses") };
        let one_and_two = [1, 2].map(|count| Threads::Count(NonZeroUsize::new(count).expect("not zero")));
        assert_eq!(arguments.threads[..2], one_and_two);
        assert_eq!((arguments.threads[2], arguments.runs.get()), (Threads::Auto, 5));
    }

    #[test]
    fn generate_reads_the_shape_of_the_blocks() {
        let line = "generate erc20 --seed 3 --blocks 4 --txs 50 --hot 0.25 --depth 6 --out dir";
        let Ok(Command::Generate(arguments)) = parse(line) else { panic!("it parses") };
        assert_eq!((arguments.workload, arguments.seed, arguments.blocks), (Workload::Erc20, 3, 4));
        assert_eq!((arguments.txs, arguments.hot, arguments.depth), (50, 0.25, 6));
        assert_eq!((arguments.link, arguments.out), (Link::Value, PathBuf::from("dir")));
    }
}
