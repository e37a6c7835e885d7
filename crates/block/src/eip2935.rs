//! [EIP-2935](https://eips.ethereum.org/EIPS/eip-2935): the parent's hash goes into the history contract.

use alloy_consensus::Header;
use alloy_eips::eip2935::HISTORY_SERVE_WINDOW;
pub(crate) use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS as CONTRACT;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::U256;

use crate::{BlockError, ChainSpec, RecoveredBlock, system_call::CommittedState};

/// From Prague on, calls the history contract with the parent's hash. A genesis block has no parent. A call that
/// reverts, or finds no contract, has no effect.
pub(crate) fn store_parent_hash(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    state: &mut impl CommittedState,
) -> Result<(), BlockError> {
    let header = &block.header;
    if !chain.is_prague_active_at_timestamp(header.timestamp) || header.number == 0 {
        return Ok(());
    }
    state.system_call(CONTRACT, header.parent_hash.0.into())?;
    Ok(())
}

/// The slot that the call writes to, if there is one.
pub(crate) fn slot(header: &Header) -> Option<U256> {
    Some(U256::from(header.number.checked_sub(1)? % HISTORY_SERVE_WINDOW as u64))
}
