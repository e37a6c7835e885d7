//! A body against its own header.

use alloy_consensus::proofs::{calculate_ommers_root, calculate_transaction_root, calculate_withdrawals_root};

use super::{BodyFault, DecodedBlock, eip4844, eip7934};
use crate::ChainSpec;

/// Most ommers of a block.
const MOST_OMMERS: usize = 2;

/// Checks that the body is the one that the header commits to, and the rules that need nothing else.
///
/// # Errors
/// Names the first rule that the body breaks.
pub fn check_body(chain: &ChainSpec, decoded: &DecodedBlock) -> Result<(), BodyFault> {
    let (header, body) = (&decoded.block.header, &decoded.block.body);
    eip7934::check_size(chain, decoded)?;
    if body.ommers.len() > MOST_OMMERS {
        return Err(BodyFault::TooManyOmmers { most: MOST_OMMERS, found: body.ommers.len() });
    }
    let expected = calculate_ommers_root(&body.ommers);
    if header.ommers_hash != expected {
        return Err(BodyFault::OmmersHash { expected, found: header.ommers_hash });
    }
    let expected = calculate_transaction_root(&body.transactions);
    if header.transactions_root != expected {
        return Err(BodyFault::TransactionsRoot { expected, found: header.transactions_root });
    }
    match (&body.withdrawals, header.withdrawals_root) {
        (Some(withdrawals), Some(found)) => {
            let expected = calculate_withdrawals_root(withdrawals);
            if found != expected {
                return Err(BodyFault::WithdrawalsRoot { expected, found });
            }
        }
        (None, Some(_)) => return Err(BodyFault::MissingWithdrawals),
        (Some(_), None) => return Err(BodyFault::UnexpectedWithdrawals),
        (None, None) => {}
    }
    eip4844::check_blobs(header, body)
}
