//! [EIP-4844](https://eips.ethereum.org/EIPS/eip-4844): blob gas has a limit, and a price that follows from the excess
//! over a target. [EIP-7892](https://eips.ethereum.org/EIPS/eip-7892) lets both change between forks,
//! [EIP-7918](https://eips.ethereum.org/EIPS/eip-7918) keeps the excess from falling while blobs are cheaper than the
//! execution they need.
//!
//! | quantity | formula |
//! |---|---|
//! | sum | parent's excess + parent's blob gas used |
//! | excess, sum below target | 0 |
//! | excess, reserve price above blob price (EIP-7918) | parent's excess + used * (max - target) / max |
//! | excess, otherwise | sum - target |
//! | reserve price above blob price | 2^13 * parent's base fee > 2^17 * blob price at the parent's excess |

use alloy_consensus::{BlockBody, Header, Transaction, TxEnvelope};
use alloy_eips::{eip4844::DATA_GAS_PER_BLOB, eip7840::BlobParams};
use alloy_primitives::U256;

use super::{BodyFault, HeaderFault};
use crate::ChainSpec;

/// The excess blob gas of a block with these parameters after `parent`. A parent from before Cancun has no blobs.
pub fn next_excess_blob_gas(params: &BlobParams, parent: &Header) -> u64 {
    let excess = parent.excess_blob_gas.unwrap_or_default();
    let used = parent.blob_gas_used.unwrap_or_default();
    let target = U256::from(params.target_blob_count) * U256::from(DATA_GAS_PER_BLOB);
    let sum = U256::from(excess) + U256::from(used);
    if sum < target {
        return 0;
    }
    let reserve_price = U256::from(params.blob_base_cost) * U256::from(parent.base_fee_per_gas.unwrap_or_default());
    let blob_price = U256::from(DATA_GAS_PER_BLOB) * U256::from(params.calc_blob_fee(excess));
    let next = if reserve_price > blob_price {
        let above_target = U256::from(params.max_blob_count.saturating_sub(params.target_blob_count));
        U256::from(excess) + U256::from(used) * above_target / U256::from(params.max_blob_count.max(1))
    } else {
        sum - target
    };
    next.saturating_to()
}

/// Checks a header's blob gas. Whether the fields may be there at all is checked elsewhere.
pub(super) fn check_blob_gas(chain: &ChainSpec, header: &Header, parent: &Header) -> Result<(), HeaderFault> {
    let Some(params) = chain.blob_params(header.timestamp) else { return Ok(()) };
    let (Some(used), Some(excess)) = (header.blob_gas_used, header.excess_blob_gas) else { return Ok(()) };
    if !used.is_multiple_of(DATA_GAS_PER_BLOB) {
        return Err(HeaderFault::BlobGasNotWhole { blob: DATA_GAS_PER_BLOB, found: used });
    }
    let most = params.max_blob_gas_per_block();
    if used > most {
        return Err(HeaderFault::BlobGasAboveLimit { most, found: used });
    }
    let expected = next_excess_blob_gas(&params, parent);
    if excess == expected { Ok(()) } else { Err(HeaderFault::ExcessBlobGas { expected, found: excess }) }
}

/// Checks that the header counts the body's blobs.
pub(super) fn check_blobs(header: &Header, body: &BlockBody<TxEnvelope>) -> Result<(), BodyFault> {
    let Some(found) = header.blob_gas_used else { return Ok(()) };
    let blob_gas = body.transactions.iter().filter_map(Transaction::blob_gas_used);
    let expected = blob_gas.fold(0, u64::saturating_add);
    if found == expected { Ok(()) } else { Err(BodyFault::BlobGasUsed { expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(excess: u64, used: u64, base_fee: u64) -> Header {
        Header {
            excess_blob_gas: Some(excess),
            blob_gas_used: Some(used),
            base_fee_per_gas: Some(base_fee),
            ..Default::default()
        }
    }

    #[test]
    fn excess_is_alloys_wherever_alloy_can_count() {
        let blob = DATA_GAS_PER_BLOB;
        for params in [BlobParams::cancun(), BlobParams::prague(), BlobParams::osaka(), BlobParams::bpo2()] {
            for excess in [0, 1, blob, 3 * blob, 100 * blob, 1000 * blob] {
                for used in [0, blob, 6 * blob, 9 * blob] {
                    for base_fee in [7, 1_000_000_000, 50_000_000_000] {
                        let theirs = params.next_block_excess_blob_gas_osaka(excess, used, base_fee);
                        let ours = next_excess_blob_gas(&params, &parent(excess, used, base_fee));
                        assert_eq!(ours, theirs, "{params:?} {excess} {used} {base_fee}");
                    }
                }
            }
        }
    }

    #[test]
    fn hostile_excess_does_not_overflow() {
        let next = next_excess_blob_gas(&BlobParams::osaka(), &parent(u64::MAX, u64::MAX, u64::MAX));
        assert_eq!(next, u64::MAX);
    }
}
