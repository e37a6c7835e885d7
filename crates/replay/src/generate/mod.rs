//! Blocks made from a seed: the same options give the same bytes, on every machine.
//!
//! A [`Workload`] says what the transactions do; two numbers shape how they depend on each other. The *hot share* is
//! the part of them that touches one hot key (one recipient, one token holder, one pool). The others form *chains* of
//! `depth` transactions, each of which depends on the one before it; [`Link`] says through what. With a hot share of 0
//! and a depth of 1 no transaction depends on another.
//!
//! ```text
//! Workload::plan ─> Plan::allocate ─> genesis state
//!                   Plan::chains   ─> interleave ─> sign ─> oracle ─> header     (once per block)
//! ```
//!
//! [`Generator`] yields the blocks one by one, each with its *prestate*: what the oracle read of the state before the
//! block, and nothing else, claimed to be complete. The headers are right in every field, since the oracle has filled
//! them in; a chain begins at a genesis block on which all forks up to Osaka are active. Block n depends on the seed and
//! on the options without `blocks`, so a longer chain begins like a shorter one.
//!
//! [`fixture::write_chain`](crate::fixture::write_chain) puts a generated chain on disk.

mod contract;
mod draw;
mod erc20;
mod exchange;
mod generator;
mod genesis;
mod mixed;
mod payments;
mod plan;
mod rare;
mod recording;
mod sign;
mod wallet;

use ropewalk_block::{BlockError, ChainSpecError, RecoveredBlock};
use ropewalk_state::{MemoryState, StateError};

use self::plan::{Plan, Shape};
pub use self::{generator::Generator, recording::Recorded};
pub(crate) use self::{
    genesis::state as genesis_state,
    recording::{RecordedAccount, Recording},
};

/// What the transactions of generated blocks do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Payments of ether between accounts without code.
    Payments,
    /// Transfers of one ERC-20 token.
    Erc20,
    /// Swaps on constant-product pools.
    Exchange,
    /// All of these, with creations, failures and rare forms of transactions.
    Mixed,
}

/// Through what a transaction depends on the one before it in its chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// It spends what the other one paid, or trades at the price that the other one left.
    #[default]
    Value,
    /// Both have the same sender.
    Nonce,
}

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateOptions {
    /// What the transactions do.
    pub workload: Workload,
    /// Where all keys, amounts and orders come from.
    pub seed: u64,
    /// Number of blocks after the genesis block.
    pub blocks: u64,
    /// Number of transactions in each block.
    pub txs: usize,
    /// Share of the transactions that touch a hot key, from 0 to 1.
    pub hot: f64,
    /// Number of transactions in each chain, at least 1. The last chain of a block may be shorter.
    pub depth: usize,
    /// Through what the transactions of a chain depend on each other.
    pub link: Link,
}

impl GenerateOptions {
    /// One block of 100 independent transactions from seed 0.
    pub const fn new(workload: Workload) -> Self {
        Self { workload, seed: 0, blocks: 1, txs: 100, hot: 0.0, depth: 1, link: Link::Value }
    }

    fn check(&self) -> Result<(), GenerateError> {
        if !(0.0..=1.0).contains(&self.hot) {
            return Err(GenerateError::HotShare(self.hot));
        }
        if self.depth == 0 {
            return Err(GenerateError::NoDepth);
        }
        if self.txs > MOST_TXS {
            return Err(GenerateError::TooManyTransactions { txs: self.txs, most: MOST_TXS });
        }
        Ok(())
    }

    fn plan(&self) -> Box<dyn Plan> {
        let &Self { workload, seed, txs, hot, depth, link, .. } = self;
        let shape = Shape::new(txs, hot, depth, link);
        match workload {
            Workload::Payments => Box::new(payments::Payments::new(seed, shape)),
            Workload::Erc20 => Box::new(erc20::Erc20::new(seed, shape)),
            Workload::Exchange => Box::new(exchange::Exchange::new(seed, shape)),
            Workload::Mixed => Box::new(mixed::Mixed::new(seed, txs, hot, depth, link)),
        }
    }
}

/// More transactions than a block can hold: the smallest take 100 bytes, and EIP-7934 allows 8 MiB.
const MOST_TXS: usize = 83_886;

/// A generated block with the part of the state before it that its execution reads.
#[derive(Debug, Clone)]
pub struct GeneratedBlock {
    /// The block, senders known, every header field right.
    pub block: RecoveredBlock,
    /// What in-order execution reads of the state before the block.
    pub reads: Recorded,
}

impl GeneratedBlock {
    /// A state that answers what in-order execution asks, and claims to be complete.
    pub fn prestate(&self) -> MemoryState {
        self.reads.to_state()
    }
}

/// Why blocks could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The hot share is not a share.
    #[error("hot share {0} is not between 0 and 1")]
    HotShare(f64),
    /// Chains of no transactions.
    #[error("depth 0: a chain has at least one transaction")]
    NoDepth,
    /// More transactions than any block can hold.
    #[error("{txs} transactions in a block are more than the {most} that fit into one")]
    TooManyTransactions {
        /// How many were asked for.
        txs: usize,
        /// Upper bound of what fits.
        most: usize,
    },
    /// The transactions make a block larger than EIP-7934 allows.
    #[error("block {number} has {size_bytes} bytes, more than the {limit_bytes} allowed; ask for fewer transactions")]
    BlockTooLarge {
        /// Number of the block.
        number: u64,
        /// Its size in RLP.
        size_bytes: usize,
        /// Largest size allowed.
        limit_bytes: usize,
    },
    /// The chain's own rules are not understood, which is a fault of the generator.
    #[error("the generated chain's rules are not valid")]
    Chain(#[from] ChainSpecError),
    /// The oracle does not accept a block, which is a fault of the generator.
    #[error("generated block {number} is not valid")]
    Block {
        /// Number of the block.
        number: u64,
        /// What the oracle says.
        source: BlockError,
    },
    /// The state in memory failed, which is a fault of the generator.
    #[error("state of the generated chain")]
    State(#[from] StateError),
}

/// Generates all blocks that `options` ask for. [`Generator`] yields them one by one instead.
///
/// # Errors
/// When the options cannot be met.
pub fn blocks(options: &GenerateOptions) -> Result<Vec<GeneratedBlock>, GenerateError> {
    Generator::new(*options)?.collect()
}

#[cfg(test)]
mod tests;
