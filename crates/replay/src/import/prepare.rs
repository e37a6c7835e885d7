//! Blocks made ready on a thread of their own, a few ahead of execution: read, unpacked, decoded, the body checked and
//! the senders recovered. None of that needs a state.

use std::{path::Path, sync::mpsc::SyncSender};

use rayon::ThreadPool;
use ropewalk_block::{
    ChainSpec, RecoveredBlock,
    import::{ImportError, check_body},
    recover,
};

use super::{
    database::refused,
    error::HistoryError,
    genesis::GenesisBlock,
    source::{Source, SourceBlock, SourceFile},
};

/// Blocks that are ready and wait for execution, at most.
pub(super) const READY_BLOCKS: usize = 16;

/// A block, ready to be executed.
#[derive(Debug)]
pub(super) struct ReadyBlock {
    pub(super) source: SourceBlock,
    /// The block with its senders, or the rule that it breaks by itself. `None` for blocks that are not executed.
    pub(super) recovered: Option<Result<RecoveredBlock, ImportError>>,
}

/// Sends all blocks of `source`, or those up to the first error. Blocks up to `known` are not made ready for execution.
pub(super) fn prepare_all(
    source: Source,
    chain: &ChainSpec,
    known: u64,
    pool: &ThreadPool,
    ready: &SyncSender<Result<ReadyBlock, HistoryError>>,
) {
    for block in source {
        let block = block.map(|source| {
            let is_new = source.decoded.block.header.number > known;
            let recovered = is_new.then(|| pool.install(|| recovered(chain, &source)));
            ReadyBlock { source, recovered }
        });
        // Nobody takes blocks any more when the import has ended.
        if ready.send(block).is_err() {
            return;
        }
    }
}

fn recovered(chain: &ChainSpec, source: &SourceBlock) -> Result<RecoveredBlock, ImportError> {
    let decoded = &source.decoded;
    check_body(chain, decoded)?;
    Ok(recover(chain, decoded.block.clone(), Some(decoded.hash))?)
}

/// A genesis and all blocks of a file that follow it, ready to be executed, on the rayon pool this is called from. That
/// the blocks follow each other is for whoever executes them to see.
///
/// # Errors
/// When a file cannot be read or a block is wrong by itself.
pub(crate) fn read_chain(genesis: &Path, file: &Path) -> Result<(GenesisBlock, Vec<RecoveredBlock>), HistoryError> {
    let genesis = GenesisBlock::read(genesis)?;
    let source = Source::new(std::iter::once(SourceFile::Chain(file.to_owned())))?;
    let block = |source: Result<SourceBlock, HistoryError>| {
        let source = source?;
        recovered(&genesis.chain, &source).map_err(|fault| refused(&source, None, fault))
    };
    let blocks = source.map(block).collect::<Result<Vec<_>, _>>()?;
    Ok((genesis, blocks))
}
