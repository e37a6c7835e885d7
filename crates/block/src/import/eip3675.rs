//! [EIP-3675](https://eips.ethereum.org/EIPS/eip-3675): proof of stake takes over at a terminal total difficulty.
//!
//! A block is one of proof of stake when its parent's total difficulty has reached the terminal one. Its difficulty and
//! nonce are zero and it has no ommers. Where the number of the first such block is known, it decides.

use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks, ForkCondition};
use alloy_primitives::{B64, U256};

use super::HeaderFault;
use crate::ChainSpec;

/// What makes a block one of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consensus {
    /// Proof of work: difficulty and ommers.
    Work,
    /// Proof of stake.
    Stake,
}

/// Which consensus the block `number` belongs to, when its parent has this total difficulty (the sum of the difficulties
/// from genesis to the parent). `None` where nobody can tell: the number of the first block of proof of stake is not
/// known, nor the total difficulty.
pub fn consensus_after(chain: &ChainSpec, number: u64, total_difficulty: Option<U256>) -> Option<Consensus> {
    let merge = chain.ethereum_fork_activation(EthereumHardfork::Paris);
    let is_stake = match (merge, total_difficulty) {
        (ForkCondition::TTD { activation_block_number, total_difficulty: terminal, .. }, found) => {
            if activation_block_number != ChainSpec::UNKNOWN_MERGE_BLOCK {
                number >= activation_block_number
            } else {
                found? >= terminal
            }
        }
        (merge, _) => merge.active_at_block(number),
    };
    Some(if is_stake { Consensus::Stake } else { Consensus::Work })
}

/// Checks what a header of proof of stake has instead of work.
pub(super) fn check_stake(header: &Header) -> Result<(), HeaderFault> {
    if !header.difficulty.is_zero() {
        return Err(HeaderFault::WorkAfterMerge { found: header.difficulty });
    }
    if header.nonce != B64::ZERO {
        return Err(HeaderFault::Nonce { found: header.nonce });
    }
    match header.ommers_hash == EMPTY_OMMER_ROOT_HASH {
        true => Ok(()),
        false => Err(HeaderFault::OmmersAfterMerge { found: header.ommers_hash }),
    }
}

/// Refuses a header of proof of stake where the parent has not reached the terminal total difficulty.
pub(super) fn check_not_early(
    chain: &ChainSpec,
    header: &Header,
    total_difficulty: Option<U256>,
) -> Result<(), HeaderFault> {
    let merge = chain.ethereum_fork_activation(EthereumHardfork::Paris);
    match (merge.ttd(), total_difficulty) {
        (Some(terminal), Some(found)) if header.difficulty.is_zero() && found < terminal => {
            Err(HeaderFault::StakeBeforeMerge { terminal, found })
        }
        _ => Ok(()),
    }
}
