//! The gas limit moves slowly: Yellow Paper, section 4.4.4.
//!
//! | quantity | formula |
//! |---|---|
//! | bound | parent's limit / 1024; the difference must be smaller |
//! | parent's limit at EIP-1559's first block | doubled, the elasticity multiplier |
//! | lowest, highest | 5000, 2^63 - 1 |

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;

use super::{HeaderFault, eip1559::ELASTICITY_MULTIPLIER};
use crate::ChainSpec;

const BOUND_DIVISOR: u64 = 1024;
/// Lowest gas limit of a block.
const LEAST: u64 = 5000;
/// Highest gas limit of a block: clients count in signed numbers of 64 bits.
const MOST: u64 = i64::MAX as u64;

/// Checks the gas limit against the parent's, and the gas used against the limit.
pub(super) fn check_gas_limit(chain: &ChainSpec, header: &Header, parent: &Header) -> Result<(), HeaderFault> {
    let (used, found) = (header.gas_used, header.gas_limit);
    if !(LEAST..=MOST).contains(&found) {
        return Err(HeaderFault::GasLimitRange { least: LEAST, most: MOST, found });
    }
    let is_first_with_base_fee =
        chain.is_london_active_at_block(header.number) && !chain.is_london_active_at_block(parent.number);
    let elasticity = if is_first_with_base_fee { ELASTICITY_MULTIPLIER } else { 1 };
    let parent = parent.gas_limit.saturating_mul(elasticity);
    let bound = parent / BOUND_DIVISOR;
    if found.abs_diff(parent) >= bound {
        return Err(HeaderFault::GasLimitStep { parent, bound, found });
    }
    match used > found {
        true => Err(HeaderFault::GasUsedAboveLimit { used, limit: found }),
        false => Ok(()),
    }
}
