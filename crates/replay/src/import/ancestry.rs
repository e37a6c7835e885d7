//! The blocks before the next one, as far as its checks look back.

use std::collections::VecDeque;

use alloy_consensus::Header;
use alloy_primitives::{B256, U256};
use ropewalk_block::{
    ChainSpec,
    import::{Ancestor, DecodedBlock, ImportError, MOST_ANCESTORS, Parent, check_header, check_ommers},
};

use super::{error::FileFault, genesis::GenesisBlock};

/// The last blocks of the chain, the latest last.
#[derive(Debug)]
pub(super) struct Ancestry {
    blocks: VecDeque<Past>,
    /// Sum of the difficulties from genesis to the last block, where it is known.
    total_difficulty: Option<U256>,
}

#[derive(Debug)]
struct Past {
    hash: B256,
    header: Header,
    ommers: Vec<Header>,
}

impl Past {
    fn as_ancestor(&self) -> Ancestor<'_> {
        Ancestor { hash: self.hash, header: &self.header, ommers: &self.ommers }
    }
}

impl Ancestry {
    /// The beginning of a chain.
    pub(super) fn new(genesis: &GenesisBlock) -> Self {
        let header = genesis.header.clone();
        let total_difficulty = Some(header.difficulty);
        Self { blocks: VecDeque::from([Past { hash: genesis.hash, header, ommers: Vec::new() }]), total_difficulty }
    }

    /// Number of the last block.
    pub(super) fn number(&self) -> u64 {
        self.blocks.back().map_or(0, |last| last.header.number)
    }

    /// Total difficulty of a block of `difficulty` that follows, where it is known.
    pub(super) fn total_difficulty_with(&self, difficulty: U256) -> Option<U256> {
        self.total_difficulty.map(|total| total.saturating_add(difficulty))
    }

    /// Checks a block's header and ommers against the blocks before it.
    ///
    /// # Errors
    /// Names the first rule that the block breaks.
    pub(super) fn check(&self, chain: &ChainSpec, decoded: &DecodedBlock) -> Result<(), ImportError> {
        let header = &decoded.block.header;
        let Some(parent) = self.blocks.back() else {
            return Err(ImportError::UnknownParent { hash: header.parent_hash });
        };
        let parent = Parent { hash: parent.hash, header: &parent.header, total_difficulty: self.total_difficulty };
        check_header(chain, header, &parent)?;
        let ancestors: Vec<Ancestor<'_>> = self.blocks.iter().rev().map(Past::as_ancestor).collect();
        check_ommers(chain, decoded, &ancestors)
    }

    /// Whether everything is known that the block's ommers are checked against.
    ///
    /// # Errors
    /// Names the first block that is missing.
    pub(super) fn reaches_back_for(&self, decoded: &DecodedBlock) -> Result<(), FileFault> {
        let first = self.blocks.front().map_or(0, |first| first.header.number);
        let number = decoded.block.header.number;
        let first_missing = number.saturating_sub(MOST_ANCESTORS as u64);
        match decoded.block.body.ommers.is_empty() || first <= first_missing {
            true => Ok(()),
            false => Err(FileFault::MissingAncestors { number, first_missing }),
        }
    }

    /// Takes in the block that follows.
    pub(super) fn push(&mut self, decoded: &DecodedBlock, total_difficulty: Option<U256>) {
        let header = decoded.block.header.clone();
        self.total_difficulty = total_difficulty.or_else(|| self.total_difficulty_with(header.difficulty));
        if self.blocks.len() == MOST_ANCESTORS {
            self.blocks.pop_front();
        }
        self.blocks.push_back(Past { hash: decoded.hash, header, ommers: decoded.block.body.ommers.clone() });
    }

    /// Goes on from a block in the middle of the chain, whose ancestors are not at hand.
    pub(super) fn begin_with(&mut self, decoded: &DecodedBlock, total_difficulty: Option<U256>) {
        self.blocks.clear();
        self.total_difficulty = None;
        self.push(decoded, total_difficulty);
    }
}
