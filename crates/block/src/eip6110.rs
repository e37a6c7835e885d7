//! [EIP-6110](https://eips.ethereum.org/EIPS/eip-6110): deposits are read from the logs of the deposit contract.

use alloy_consensus::ReceiptEnvelope;
use alloy_evm::eth::{
    eip6110::{MAINNET_DEPOSIT_CONTRACT_ADDRESS, accumulate_deposits_from_logs},
    spec::EthExecutorSpec,
};
use alloy_primitives::Bytes;

use crate::{BlockError, ChainSpec, InvalidBlock};

pub(crate) use alloy_evm::eth::eip6110::DEPOSIT_REQUEST_TYPE;

/// The deposit requests of a block, 192 bytes each, in the order of its logs.
///
/// # Errors
/// When a log of the deposit contract does not hold a deposit; the error names the transaction that emitted it.
pub(crate) fn deposits(chain: &ChainSpec, receipts: &[ReceiptEnvelope]) -> Result<Bytes, BlockError> {
    let contract = chain.deposit_contract_address().unwrap_or(MAINNET_DEPOSIT_CONTRACT_ADDRESS);
    let mut deposits = Vec::new();
    for (index, receipt) in receipts.iter().enumerate() {
        accumulate_deposits_from_logs(contract, receipt.logs(), &mut deposits)
            .map_err(|_| InvalidBlock::Deposit { transaction: Some(index) })?;
    }
    Ok(deposits.into())
}
