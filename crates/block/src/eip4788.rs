//! [EIP-4788](https://eips.ethereum.org/EIPS/eip-4788): the parent's beacon block root goes into the beacon roots
//! contract.

use alloy_consensus::Header;
pub(crate) use alloy_eips::eip4788::BEACON_ROOTS_ADDRESS as CONTRACT;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::U256;

use crate::{BlockError, ChainSpec, InvalidBlock, RecoveredBlock, system_call::CommittedState};

/// From Cancun on, calls the beacon roots contract with the header's parent beacon block root. A call that reverts, or
/// finds no contract, has no effect.
///
/// # Errors
/// The header must have the root; a genesis block makes no call and its root must be zero.
pub(crate) fn store_parent_beacon_root(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    state: &mut impl CommittedState,
) -> Result<(), BlockError> {
    let header = &block.header;
    if !chain.is_cancun_active_at_timestamp(header.timestamp) {
        return Ok(());
    }
    let root = header.parent_beacon_block_root.ok_or(InvalidBlock::MissingParentBeaconRoot)?;
    if header.number == 0 {
        if root.is_zero() {
            return Ok(());
        }
        return Err(InvalidBlock::GenesisParentBeaconRoot { found: root }.into());
    }
    state.system_call(CONTRACT, root.0.into())?;
    Ok(())
}

/// Roots that the contract keeps.
const KEPT: u64 = 8191;

/// The slots that the call writes to: the time's and the root's.
pub(crate) fn slots(header: &Header) -> [U256; 2] {
    let at = header.timestamp % KEPT;
    [U256::from(at), U256::from(at + KEPT)]
}
