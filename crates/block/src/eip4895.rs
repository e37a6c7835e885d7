//! [EIP-4895](https://eips.ethereum.org/EIPS/eip-4895): withdrawals from the beacon chain are credited.

use alloy_hardforks::EthereumHardforks;

use crate::{ChainSpec, RecoveredBlock, positions::Credits};

/// Adds the block's withdrawals, from Shanghai on. The body gives amounts in gwei. A withdrawal of nothing still
/// touches its account.
pub(crate) fn withdrawals(chain: &ChainSpec, block: &RecoveredBlock, credits: &mut Credits) {
    if !chain.is_shanghai_active_at_timestamp(block.header.timestamp) {
        return;
    }
    for withdrawal in block.withdrawals.iter().flat_map(|withdrawals| withdrawals.iter()) {
        credits.add(withdrawal.address, withdrawal.amount_wei().to());
    }
}
