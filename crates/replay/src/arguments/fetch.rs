//! Arguments of `ropewalk fetch`.

use std::{ops::RangeInclusive, path::PathBuf, str::FromStr};

use clap::Args;

use super::ArgumentError;
use crate::fetch::FetchOptions;

pub(super) const FETCH_ABOUT: &str = "\
Fetch blocks from a node as fixtures, each checked by replaying it

The block, its receipts and uncles are those of eth_getBlockByNumber, eth_getBlockReceipts and
eth_getUncleByBlockNumberAndIndex. The state before it comes from debug_traceBlockByNumber with
prestateTracer; what no transaction touches, and all of it where the node has no tracer, is asked
for account by account and slot by slot while the block is executed. With --witness the state is
debug_executionWitness's.

A fixture appears in DIR only after it was executed in order and in parallel and compared with its
header and receipts. Calls that fail in passing are made again, with growing pauses. A block that is
there is left alone, so an interrupted run goes on where it ended.";

/// Arguments of `ropewalk fetch`.
#[derive(Debug, Clone, PartialEq, Args)]
pub(crate) struct FetchArguments {
    /// Address of the node, http:// or https://
    #[arg(long, value_name = "URL")]
    pub rpc: String,
    /// Number of the block, or the first and the last of several
    #[arg(value_name = "BLOCK[..BLOCK]")]
    pub blocks: BlockRange,
    /// Directory that the fixtures are written to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Take the state as a witness, with proofs, instead of a prestate
    #[arg(long)]
    pub witness: bool,
    /// A geth genesis file with the rules of a chain that is not built in
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
}

/// One block, or all from one to another, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockRange(pub(crate) RangeInclusive<u64>);

impl FetchArguments {
    /// The same as options.
    pub(crate) fn options(&self) -> FetchOptions {
        let Self { rpc, blocks: BlockRange(blocks), out, witness, genesis } = self.clone();
        FetchOptions { rpc, blocks, out, witness, genesis }
    }
}

impl FromStr for BlockRange {
    type Err = ArgumentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| ArgumentError::Blocks);
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        if first <= last { Ok(Self(first..=last)) } else { Err(ArgumentError::Blocks) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_its_ends() {
        assert_eq!("7".parse(), Ok(BlockRange(7..=7)));
        assert_eq!("7..9".parse(), Ok(BlockRange(7..=9)));
        for wrong in ["", "..", "7..", "..9", "9..7", "-1", "0x7", "7...9", "7..9..11"] {
            assert_eq!(wrong.parse::<BlockRange>(), Err(ArgumentError::Blocks), "{wrong}");
        }
    }
}
