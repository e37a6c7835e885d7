//! An outcome against the header that claims it.

use alloy_consensus::Header;
use alloy_primitives::B256;

use super::OutcomeFault;
use crate::{BlockOutcome, ChainSpec, Check, Claims, validate};

/// Checks an outcome against everything that its header claims. `state_root` is the root after the outcome's changes.
/// `receipts_root` is the one of receipts with an intermediate state root each, which blocks before Byzantium have; from
/// Byzantium on the outcome's own receipts are used.
///
/// # Errors
/// Names the first claim that does not hold.
pub fn check_outcome(
    chain: &ChainSpec,
    header: &Header,
    outcome: &BlockOutcome,
    receipts_root: Option<B256>,
    state_root: B256,
) -> Result<(), OutcomeFault> {
    let checks = validate(chain, header, &Claims::of(header), outcome, Some(state_root));
    if let Check::Mismatch { expected, found } = checks.gas_used {
        return Err(OutcomeFault::GasUsed { expected, found });
    }
    let early_receipts = match (checks.receipts_root, receipts_root) {
        (Check::Unknown, Some(found)) if found != header.receipts_root => {
            Check::Mismatch { expected: header.receipts_root, found }
        }
        (check, _) => check,
    };
    if let Check::Mismatch { expected, found } = early_receipts {
        return Err(OutcomeFault::ReceiptsRoot { expected, found });
    }
    if let Check::Mismatch { expected, found } = checks.logs_bloom {
        return Err(OutcomeFault::LogsBloom { expected: Box::new(expected), found: Box::new(found) });
    }
    if let Check::Mismatch { expected, found } = checks.requests_hash {
        return Err(OutcomeFault::RequestsHash { expected, found });
    }
    if let Check::Mismatch { expected, found } = checks.blob_gas_used {
        return Err(OutcomeFault::BlobGasUsed { expected, found });
    }
    match checks.state_root {
        Check::Mismatch { expected, found } => Err(OutcomeFault::StateRoot { expected, found }),
        Check::Ok | Check::Unknown => Ok(()),
    }
}
