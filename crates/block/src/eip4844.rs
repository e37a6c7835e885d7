//! [EIP-4844](https://eips.ethereum.org/EIPS/eip-4844): the blobs of a block's transactions share a limit.
//!
//! alloy-evm leaves this to the header, which claims the sum. A builder has no such header yet, and must know at the
//! transaction that no longer fits.

use alloy_consensus::{Transaction, TxEnvelope};

use crate::{ChainSpec, TransactionFault};

/// Most blob gas of a block at `timestamp` (seconds); `None` before Cancun.
pub(crate) fn blob_limit(chain: &ChainSpec, timestamp: u64) -> Option<u64> {
    chain.blob_params(timestamp).map(|params| params.max_blob_gas_per_block())
}

/// Why the transaction's blobs do not fit after `used` blob gas, if they do not.
pub(crate) fn refusal(transaction: &TxEnvelope, used: u64, limit: Option<u64>) -> Option<TransactionFault> {
    let (blob_gas, limit) = (transaction.blob_gas_used()?, limit?);
    let available_gas = limit.saturating_sub(used);
    (blob_gas > available_gas).then_some(TransactionFault::BlobGas { blob_gas, available_gas })
}
