//! [EIP-8282](https://eips.ethereum.org/EIPS/eip-8282): requests of builders, deposits and exits, are collected by two
//! system contracts from Amsterdam on.

use alloy_evm::block::{BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS};
use alloy_primitives::{Address, Bytes};

use crate::{
    BlockError, RequestContracts,
    system_call::{CommittedState, collect_requests},
};

pub(crate) use alloy_evm::block::{BUILDER_DEPOSIT_REQUEST_TYPE, BUILDER_EXIT_REQUEST_TYPE};

/// The contracts, of deposits and of exits.
pub(crate) const CONTRACTS: [Address; 2] =
    [BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS];

/// The builder deposit requests that the block's transactions filed.
///
/// # Errors
/// When the contract fails, or is missing where it is required.
pub(crate) fn builder_deposits(
    state: &mut impl CommittedState,
    contracts: RequestContracts,
) -> Result<Bytes, BlockError> {
    collect_requests(state, BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, contracts)
}

/// The builder exit requests that the block's transactions filed.
///
/// # Errors
/// When the contract fails, or is missing where it is required.
pub(crate) fn builder_exits(state: &mut impl CommittedState, contracts: RequestContracts) -> Result<Bytes, BlockError> {
    collect_requests(state, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS, contracts)
}
