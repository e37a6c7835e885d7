//! Arguments of `ropewalk simulate`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::Args;

/// Arguments of `ropewalk simulate`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct SimulateArguments {
    /// Fixtures, or trees of fixtures
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Numbers of workers to simulate; the last is the one of the table
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    pub workers: Vec<Workers>,
    /// Samples of each side; those of one round are taken next to each other
    #[arg(long, value_name = "N", default_value = "7")]
    pub runs: NonZeroUsize,
    /// Draw speed-up by number of workers to this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print one JSON object per block, and a summary as the last line
    #[arg(long)]
    pub json: bool,
}

/// A number of workers that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Workers(pub NonZeroUsize);

/// Most workers: each has a thread of its own, though they take turns.
const MOST: usize = 256;

impl std::str::FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: NonZeroUsize = text.parse().map_err(|error| format!("{error}"))?;
        if number.get() > MOST { Err(format!("at most {MOST} workers can be simulated")) } else { Ok(Self(number)) }
    }
}

pub(super) const ABOUT: &str = "\
Foresee how recorded blocks would run on more workers than there are cores

Each block is measured in order and on two threads, with a recorder on every worker that tells what
each transaction and each step of the engine takes. Then the engine itself, scheduler, workers and
multi-version memory, executes the block's recorded reads and writes by a virtual clock: of many
workers the one whose time is least goes on. Beside it stand what the block's dependencies allow
(the limit of bench) and Block-STM as its paper has it, by the same costs.

What is measured at two workers stands beside what is foreseen of them: the difference is what the
simulation can be trusted with. docs/simulation.md says what it leaves out.";
