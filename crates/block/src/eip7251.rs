//! [EIP-7251](https://eips.ethereum.org/EIPS/eip-7251): consolidation requests are collected by a system contract.

use alloy_primitives::Bytes;

use crate::{
    BlockError, RequestContracts,
    system_call::{CommittedState, collect_requests},
};

pub(crate) use alloy_eips::eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS as CONTRACT, CONSOLIDATION_REQUEST_TYPE};

/// The consolidation requests that the block's transactions filed.
///
/// # Errors
/// When the contract fails, or is missing where it is required.
pub(crate) fn consolidation_requests(
    state: &mut impl CommittedState,
    contracts: RequestContracts,
) -> Result<Bytes, BlockError> {
    collect_requests(state, CONTRACT, contracts)
}
