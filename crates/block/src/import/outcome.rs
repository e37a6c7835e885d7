//! An outcome against the header that claims it.

use alloy_consensus::Header;

use super::OutcomeFault;
use crate::{BlockOutcome, ChainSpec, Check, Claims, Computed, validate};

/// Checks an outcome, and what was computed besides, against everything that its header claims. What was not computed is
/// not checked.
///
/// # Errors
/// Names the first claim that does not hold.
pub fn check_outcome(
    chain: &ChainSpec,
    header: &Header,
    outcome: &BlockOutcome,
    computed: &Computed,
) -> Result<(), OutcomeFault> {
    let checks = validate(chain, header, &Claims::of(header), outcome, computed);
    if let Check::Mismatch { expected, found } = checks.gas_used {
        return Err(OutcomeFault::GasUsed { expected, found });
    }
    if let Check::Mismatch { expected, found } = checks.receipts_root {
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
    if let Check::Mismatch { expected, found } = checks.access_list_hash {
        return Err(OutcomeFault::AccessListHash { expected, found });
    }
    match checks.state_root {
        Check::Mismatch { expected, found } => Err(OutcomeFault::StateRoot { expected, found }),
        Check::Ok | Check::Unknown => Ok(()),
    }
}
