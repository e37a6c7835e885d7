//! Fixtures from a node, over JSON-RPC.
//!
//! ```text
//! node        typed calls with retries, over a transport that bounds what a node may answer
//! prestate    debug_traceBlockByNumber, merged: where the first transaction that meets something found it
//! remote      the parent's state: what the prestate has, then what the node is asked for one by one
//! recorder    one block: its files in a passing directory, executed over the remote state, checked, put in place
//! ```
//!
//! A prestate of a tracer lacks what no transaction touches: beneficiary, withdrawals, system contracts, hashes of
//! earlier blocks, targets of delegations. The block is therefore executed over the node itself, and everything that was
//! read becomes the fixture, which may then claim to be complete. A node without a tracer is asked for everything.
//!
//! A fixture is called done when it has been read back from disk, executed in order and in parallel, compared with its
//! header and the node's receipts, and only then renamed to its place; a directory that is there is a block that is done.

mod error;
mod node;
mod prestate;
mod recorder;
mod remote;
mod transport;

use std::{
    fs, io,
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use alloy_genesis::Genesis;
use ropewalk_block::{CancelToken, ChainSpec};

pub use error::FetchError;

use crate::{
    arguments::FetchArguments,
    compare::chain_of,
    fetch::{node::Node, recorder::Recorder},
    report::{Progress, counted, print},
    status::Status,
};

/// What is fetched, from where, to where.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// The node's address: `http://` or `https://`.
    pub rpc: String,
    /// Numbers of the blocks.
    pub blocks: RangeInclusive<u64>,
    /// Directory in which each block gets one of its own, named by its number.
    pub out: PathBuf,
    /// Take the state as a witness instead of a prestate.
    pub witness: bool,
    /// A geth genesis file with the chain's rules, for chains that are not built in.
    pub genesis: Option<PathBuf>,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// It was fetched and checked.
    New,
    /// It was there already.
    Present,
}

/// Fetches blocks one after the other, and tells `on_block` what became of each.
///
/// # Errors
/// When the node fails, lacks a method or serves another chain, a block is not there or does not verify, or a file
/// cannot be written. Blocks that are done stay.
pub fn fetch(
    options: &FetchOptions,
    interrupt: &CancelToken,
    mut on_block: impl FnMut(u64, Fetched, &[String]),
) -> Result<(), FetchError> {
    let node = Node::connect(&options.rpc)?;
    fs::create_dir_all(&options.out).map_err(|source| FetchError::Io { path: options.out.clone(), source })?;
    let manifest = manifest(&node, options)?;
    let mut recorder = Recorder::new(&node, options, manifest, interrupt.clone())?;
    for number in options.blocks.clone() {
        if interrupt.is_cancelled() {
            return Err(FetchError::Interrupted);
        }
        if number == 0 {
            return Err(FetchError::Genesis);
        }
        let (fetched, remarks) = recorder.block(number)?;
        on_block(number, fetched, &remarks);
    }
    Ok(())
}

/// What `fixture.json` says about the chain, with the genesis file put where all fixtures of `out` find it.
fn manifest(node: &Node, options: &FetchOptions) -> Result<serde_json::Value, FetchError> {
    let chain_id = node.chain_id()?;
    let Some(genesis) = &options.genesis else {
        return match ChainSpec::by_chain_id(chain_id) {
            Some(_) => Ok(serde_json::json!({ "complete": true, "chain": chain_id.to_string() })),
            None => Err(FetchError::UnknownChain { chain_id }),
        };
    };
    let text = read_bounded(genesis)?;
    let malformed = |source: serde_json::Error| FetchError::GenesisFile { path: genesis.clone(), source };
    let parsed: Genesis = serde_json::from_slice(&text).map_err(malformed)?;
    let spec =
        ChainSpec::from_genesis(&parsed).map_err(|source| FetchError::ChainSpec { path: genesis.clone(), source })?;
    if spec.chain_id() != chain_id {
        return Err(FetchError::OtherChain { node: chain_id, genesis: spec.chain_id() });
    }
    let place = options.out.join("genesis.json");
    fs::write(&place, text).map_err(|source| FetchError::Io { path: place, source })?;
    Ok(serde_json::json!({ "complete": true, "genesis": "../genesis.json" }))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, FetchError> {
    use io::Read;
    const LIMIT_BYTES: u64 = 1 << 28;
    let io = |source| FetchError::Io { path: path.to_owned(), source };
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(io)?;
    file.take(LIMIT_BYTES).read_to_end(&mut text).map_err(io)?;
    Ok(text)
}

/// `ropewalk fetch`.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn command(arguments: &FetchArguments, interrupt: &CancelToken) -> io::Result<Status> {
    let options = arguments.options();
    let count = options.blocks.end().saturating_sub(*options.blocks.start()).saturating_add(1);
    let mut progress = Progress::new(count);
    let (mut new, mut present) = (0_u64, 0_u64);
    let done = fetch(&options, interrupt, |number, fetched, remarks| {
        for remark in remarks {
            progress.say(&format!("note: block {number}: {remark}"));
        }
        match fetched {
            Fetched::New => new += 1,
            Fetched::Present => present += 1,
        }
        progress.advance(0, 1);
    });
    progress.finish();
    let status = match done {
        Ok(()) => Status::Verified,
        Err(FetchError::Interrupted) => Status::Interrupted,
        Err(error) => {
            progress.say(&format!("error: {}", chain_of(&error)));
            if matches!(error, FetchError::NotVerified { .. }) { Status::Mismatch } else { Status::Input }
        }
    };
    let place = options.out.display();
    print(&format!("{} fetched to {place}, {present} already there", counted(new, "block")))?;
    Ok(status)
}

/// Threads that a fetched block is executed on before it is called done.
const CHECK_THREADS: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");
