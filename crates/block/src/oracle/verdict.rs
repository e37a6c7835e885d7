//! alloy-evm's errors in this crate's terms, so that they compare with the parallel executor's.

use std::sync::Arc;

use alloy_eips::{eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS};
use alloy_evm::block::{
    BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS, BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS, BlockExecutionError,
    BlockValidationError, InternalBlockExecutionError,
};
use alloy_primitives::Address;
use revm::{context_interface::result::EVMError, database_interface::bal::EvmDatabaseError};
use ropewalk_state::StateError;

use super::adapter::ReadFailed;
use crate::{BlockError, BrokenInvariant, InvalidBlock, Position, SystemCallFailure, TransactionFault};

/// What alloy-evm's error at `position` means. A failure of the state explains whatever came of it.
pub(super) fn block_error(error: BlockExecutionError, position: Position, failure: Option<StateError>) -> BlockError {
    if let Some(source) = failure {
        return BlockError::State { position, source };
    }
    if let (Some(fault), Position::Transaction(index)) = (transaction_fault(&error), position) {
        return InvalidBlock::Transaction { index, fault }.into();
    }
    let broken_rule = match &error {
        BlockExecutionError::Validation(error) => broken_rule(error),
        BlockExecutionError::Internal(error) => header_fault(error),
    };
    match broken_rule {
        Some(rule) => rule.into(),
        None => BrokenInvariant::Evm { position, source: Arc::new(error) }.into(),
    }
}

/// What is wrong with the transaction, if that is what the error says.
pub(super) fn transaction_fault(error: &BlockExecutionError) -> Option<TransactionFault> {
    match error.as_validation()? {
        BlockValidationError::InvalidTx { error, .. } => error.as_invalid_tx_err().cloned().map(TransactionFault::from),
        BlockValidationError::TransactionGasLimitMoreThanAvailableBlockGas {
            transaction_gas_limit,
            block_available_gas,
        } => {
            Some(TransactionFault::BlockGas { limit_gas: *transaction_gas_limit, available_gas: *block_available_gas })
        }
        BlockValidationError::Other(error) => error.downcast_ref::<TransactionFault>().cloned(),
        _ => None,
    }
}

/// The error that says of a transaction what [`transaction_fault`] reads from it.
pub(super) fn refusal(fault: TransactionFault) -> BlockExecutionError {
    BlockValidationError::Other(Box::new(fault)).into()
}

fn broken_rule(error: &BlockValidationError) -> Option<InvalidBlock> {
    let failed = |contract: Address| InvalidBlock::SystemCall { contract, failure: SystemCallFailure::Unspecified };
    match error {
        BlockValidationError::MissingParentBeaconBlockRoot => Some(InvalidBlock::MissingParentBeaconRoot),
        BlockValidationError::CancunGenesisParentBeaconBlockRootNotZero { parent_beacon_block_root } => {
            Some(InvalidBlock::GenesisParentBeaconRoot { found: *parent_beacon_block_root })
        }
        BlockValidationError::WithdrawalRequestsContractCall { .. } => {
            Some(failed(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS))
        }
        BlockValidationError::ConsolidationRequestsContractCall { .. } => {
            Some(failed(CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS))
        }
        BlockValidationError::BuilderDepositRequestsContractCall { .. } => {
            Some(failed(BUILDER_DEPOSIT_REQUEST_PREDEPLOY_ADDRESS))
        }
        BlockValidationError::BuilderExitRequestsContractCall { .. } => {
            Some(failed(BUILDER_EXIT_REQUEST_PREDEPLOY_ADDRESS))
        }
        BlockValidationError::DepositRequestDecode(_) => Some(InvalidBlock::Deposit { transaction: None }),
        _ => None,
    }
}

fn header_fault(error: &InternalBlockExecutionError) -> Option<InvalidBlock> {
    match error.downcast_evm::<EVMError<EvmDatabaseError<ReadFailed>>>()? {
        EVMError::Header(fault) => Some(InvalidBlock::Header(*fault)),
        _ => None,
    }
}
