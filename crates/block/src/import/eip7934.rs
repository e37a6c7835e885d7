//! [EIP-7934](https://eips.ethereum.org/EIPS/eip-7934): a block in RLP has at most 8 MiB, from Osaka on.

use alloy_hardforks::EthereumHardforks;

use super::{BodyFault, DecodedBlock};
use crate::ChainSpec;

/// Most bytes of a block: 10 MiB, less 2 MiB that the consensus layer's part of it may take.
const MOST_BYTES: usize = (10 << 20) - (2 << 20);

/// Checks the size of a block.
pub(super) fn check_size(chain: &ChainSpec, decoded: &DecodedBlock) -> Result<(), BodyFault> {
    let (found, timestamp) = (decoded.size_bytes, decoded.block.header.timestamp);
    match chain.is_osaka_active_at_timestamp(timestamp) && found > MOST_BYTES {
        true => Err(BodyFault::Size { most: MOST_BYTES, found }),
        false => Ok(()),
    }
}
