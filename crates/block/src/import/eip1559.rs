//! [EIP-1559](https://eips.ethereum.org/EIPS/eip-1559): the base fee follows from how full the parent was.
//!
//! | quantity | formula |
//! |---|---|
//! | target | parent's gas limit / 2 |
//! | fuller | fee + max(fee * (used - target) / target / 8, 1) |
//! | emptier | fee - fee * (target - used) / target / 8 |
//! | first block | 1 gwei |

use std::cmp::Ordering;

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;

use super::{HeaderFault, HeaderField};
use crate::ChainSpec;

/// A block may use this many times its target of gas.
pub(super) const ELASTICITY_MULTIPLIER: u64 = 2;
const MAX_CHANGE_DENOMINATOR: u128 = 8;
const INITIAL_BASE_FEE_WEI: u64 = 1_000_000_000;

/// The base fee in wei of the block after `parent`, in which EIP-1559 is active. It saturates where 64 bits end.
///
/// # Errors
/// When EIP-1559 is active in the parent and it has no base fee.
pub fn next_base_fee(chain: &ChainSpec, parent: &Header) -> Result<u64, HeaderFault> {
    if !chain.is_london_active_at_block(parent.number) {
        return Ok(INITIAL_BASE_FEE_WEI);
    }
    let fee_wei = parent.base_fee_per_gas.ok_or(HeaderFault::MissingField(HeaderField::BaseFee))?;
    let target = parent.gas_limit / ELASTICITY_MULTIPLIER;
    if target == 0 {
        return Ok(fee_wei);
    }
    // A product of two numbers of 64 bits.
    let step = |gas: u64| u128::from(fee_wei) * u128::from(gas) / u128::from(target) / MAX_CHANGE_DENOMINATOR;
    let limited = |step: u128| u64::try_from(step).unwrap_or(u64::MAX);
    Ok(match parent.gas_used.cmp(&target) {
        Ordering::Equal => fee_wei,
        Ordering::Greater => fee_wei.saturating_add(limited(step(parent.gas_used - target)).max(1)),
        Ordering::Less => fee_wei.saturating_sub(limited(step(target - parent.gas_used))),
    })
}

/// Checks the base fee of a block in which EIP-1559 is active.
pub(super) fn check_base_fee(chain: &ChainSpec, header: &Header, parent: &Header) -> Result<(), HeaderFault> {
    let Some(found) = header.base_fee_per_gas else { return Ok(()) };
    let expected = next_base_fee(chain, parent)?;
    if found == expected { Ok(()) } else { Err(HeaderFault::BaseFee { expected, found }) }
}

#[cfg(test)]
mod tests {
    use alloy_eips::eip1559::BaseFeeParams;

    use super::*;

    fn parent(fee: u64, used: u64, limit: u64) -> Header {
        Header {
            number: 20_000_000,
            base_fee_per_gas: Some(fee),
            gas_used: used,
            gas_limit: limit,
            ..Default::default()
        }
    }

    #[test]
    fn base_fee_is_alloys_wherever_alloy_can_count() {
        let mainnet = ChainSpec::mainnet();
        for fee in [0, 1, 7, 8, 1_000_000_000, 12_345_678_901, u64::MAX / 16] {
            for (used, limit) in [(0, 1), (0, 5000), (5000, 5000), (2500, 5000), (2501, 5000), (1, 30_000_000)] {
                let parent = parent(fee, used, limit);
                let theirs = parent.next_block_base_fee(BaseFeeParams::ethereum());
                assert_eq!(next_base_fee(&mainnet, &parent).ok(), theirs, "{fee} {used} {limit}");
            }
        }
    }

    #[test]
    fn the_first_base_fee_is_one_gwei_and_the_largest_does_not_overflow() {
        let mainnet = ChainSpec::mainnet();
        let last_without = Header { number: 12_964_999, ..Default::default() };
        assert_eq!(next_base_fee(&mainnet, &last_without), Ok(1_000_000_000));
        assert_eq!(next_base_fee(&mainnet, &parent(u64::MAX, 5000, 5000)), Ok(u64::MAX));
        let without = Header { base_fee_per_gas: None, ..parent(0, 0, 5000) };
        assert_eq!(next_base_fee(&mainnet, &without), Err(HeaderFault::MissingField(HeaderField::BaseFee)));
    }
}
