//! Why blocks could not be fetched.

use std::{io, path::PathBuf};

use alloy_transport::TransportError;
use ropewalk_block::ChainSpecError;
use ropewalk_state::StateError;

use crate::fixture::{FixtureError, WriteError};

/// Blocks could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address of the node is not one.
    #[error("{address:?} is not an address of a node: http://HOST:PORT or https://HOST")]
    Address {
        /// What was given.
        address: String,
    },
    /// What talks to the node or executes its blocks cannot be set up.
    #[error("cannot begin")]
    Setup(#[source] io::Error),
    /// The node does not answer, or not with what was asked for.
    #[error("{method}")]
    Call {
        /// The method that was called.
        method: &'static str,
        /// What came of it, after all retries.
        #[source]
        source: Box<TransportError>,
    },
    /// The node does not know the method.
    #[error("the node lacks {method}, which is needed {needed}")]
    MissingMethod {
        /// The method.
        method: &'static str,
        /// What it is needed for.
        needed: &'static str,
    },
    /// The node's answer is not of the shape that the method has.
    #[error("the answer to {method} is malformed")]
    Malformed {
        /// The method that was called.
        method: &'static str,
        /// Where it is malformed.
        #[source]
        source: serde_json::Error,
    },
    /// The node does not have the block.
    #[error("the node does not have block {number}")]
    NoBlock {
        /// The block's number.
        number: u64,
    },
    /// The block changed while it was fetched.
    #[error("block {number} was replaced by another while it was fetched; a later run gets the new one")]
    Replaced {
        /// The block's number.
        number: u64,
    },
    /// A genesis block has no state before it.
    #[error("a genesis block cannot be executed; the first block that can be fetched is 1")]
    Genesis,
    /// The chain is not built in.
    #[error("the node serves chain {chain_id}, which is not built in; --genesis names a file with its rules")]
    UnknownChain {
        /// The chain's id.
        chain_id: u64,
    },
    /// The genesis file is that of another chain.
    #[error("the node serves chain {node}, the genesis file describes chain {genesis}")]
    OtherChain {
        /// Id of the node's chain.
        node: u64,
        /// Id in the genesis file.
        genesis: u64,
    },
    /// The genesis file is not one.
    #[error("{}", path.display())]
    GenesisFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The genesis file describes no chain that can be executed.
    #[error("{}", path.display())]
    ChainSpec {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ChainSpecError,
    },
    /// A file or a directory could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of a fixture could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What was fetched is not a fixture that can be replayed.
    #[error("block {number} as the node gives it cannot be replayed")]
    Fixture {
        /// The block's number.
        number: u64,
        /// Why not.
        #[source]
        source: Box<FixtureError>,
    },
    /// The state before the block could not be read.
    #[error("the state before block {number}")]
    State {
        /// The block's number.
        number: u64,
        /// Why not.
        #[source]
        source: StateError,
    },
    /// The block was fetched and does not come to what its header or its receipts say.
    #[error("block {number} does not verify: {reason}")]
    NotVerified {
        /// The block's number.
        number: u64,
        /// What is wrong.
        reason: String,
    },
    /// The user ended the run.
    #[error("interrupted")]
    Interrupted,
}
