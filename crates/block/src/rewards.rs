//! Rewards for the block and for its ommers under proof of work: Yellow Paper, section 11.3.
//!
//! | who | gets |
//! |---|---|
//! | beneficiary | R + R / 32 for each ommer |
//! | beneficiary of an ommer d blocks older | R * (8 - d) / 8 |
//!
//! R is 5 ether, 3 from Byzantium on (EIP-649), 2 from Constantinople on (EIP-1234), and nothing under proof of stake.

use alloy_evm::block::calc::{base_block_reward, block_reward, ommer_reward};

use crate::{ChainSpec, InvalidBlock, RecoveredBlock, positions::Credits};

/// Ommers may be at most this many blocks older than the block that includes them.
const MAX_OMMER_DEPTH: u64 = 6;

/// Adds the rewards of the block and its ommers.
///
/// # Errors
/// As [`check_ommers`].
pub(crate) fn rewards(chain: &ChainSpec, block: &RecoveredBlock, credits: &mut Credits) -> Result<(), InvalidBlock> {
    let number = block.header.number;
    let Some(base_wei) = base_block_reward(chain, number) else { return Ok(()) };
    check_ommers(block)?;
    for ommer in &block.ommers {
        credits.add(ommer.beneficiary, ommer_reward(base_wei, number, ommer.number));
    }
    credits.add(block.header.beneficiary, block_reward(base_wei, block.ommers.len()));
    Ok(())
}

/// Checks that each ommer is of an age for which the reward is defined.
///
/// # Errors
/// Names the first ommer that is too old, or not older than the block.
pub(crate) fn check_ommers(block: &RecoveredBlock) -> Result<(), InvalidBlock> {
    let number = block.header.number;
    let rewardable = |ommer: u64| number.checked_sub(ommer).is_some_and(|depth| (1..=MAX_OMMER_DEPTH).contains(&depth));
    match block.ommers.iter().enumerate().find(|(_, ommer)| !rewardable(ommer.number)) {
        Some((index, ommer)) => Err(InvalidBlock::OmmerDepth { index, ommer: ommer.number, block: number }),
        None => Ok(()),
    }
}
