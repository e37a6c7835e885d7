//! [EIP-7002](https://eips.ethereum.org/EIPS/eip-7002): withdrawal requests are collected by a system contract.

use alloy_primitives::Bytes;

use crate::{
    BlockError, RequestContracts,
    system_call::{CommittedState, collect_requests},
};

pub(crate) use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS as CONTRACT, WITHDRAWAL_REQUEST_TYPE};

/// The withdrawal requests that the block's transactions filed.
///
/// # Errors
/// When the contract fails, or is missing where it is required.
pub(crate) fn withdrawal_requests(
    state: &mut impl CommittedState,
    contracts: RequestContracts,
) -> Result<Bytes, BlockError> {
    collect_requests(state, CONTRACT, contracts)
}
