//! The state that positions 0 and n + 1 work on, and calls of system contracts.
//!
//! The rules around the transactions run in order, one after the other, on committed state. They see it through
//! [`CommittedState`], which knows nothing of them, and so each of them is a file that a recording fake can test.

use alloy_primitives::{Address, Bytes};
use revm::context_interface::result::{ExecutionResult, HaltReason};

use crate::{BlockError, InvalidBlock, SystemCallFailure};

/// Positions 0 and n + 1: rules that run in order on committed state.
pub(crate) trait CommittedState {
    /// Calls `contract` as `SYSTEM_ADDRESS` with 30 million gas and no value, and keeps what the call changes.
    ///
    /// The caller and the beneficiary are neither charged nor touched. Where there is no code the call succeeds
    /// without output and changes nothing.
    ///
    /// # Errors
    /// When the state cannot be read or the EVM fails; a reverted or halted call is a result.
    fn system_call(&mut self, contract: Address, input: Bytes) -> Result<ExecutionResult<HaltReason>, BlockError>;

    /// Whether there is no code at `address`.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn code_is_empty(&mut self, address: Address) -> Result<bool, BlockError>;

    /// Adds to balances, in wei, creating accounts where there are none; balances saturate. No account is named twice.
    ///
    /// After the transactions it is the last that happens.
    ///
    /// A credit of zero is a touch: an account that exists and is empty is deleted, an absent one stays absent
    /// (EIP-161).
    ///
    /// # Errors
    /// When the state cannot be read.
    fn credit(&mut self, amounts_wei: impl IntoIterator<Item = (Address, u128)>) -> Result<(), BlockError>;

    /// Takes the whole balance in wei. The account stays, empty if nothing else is in it: draining is older than
    /// EIP-161.
    ///
    /// # Errors
    /// When the state cannot be read.
    fn drain(&mut self, address: Address) -> Result<u128, BlockError>;
}

/// What it means that a contract which collects requests has no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RequestContracts {
    /// The block is invalid, as EIP-7002 and EIP-7251 demand.
    Required,
    /// It collected nothing. Recorded states hold only what transactions touched, and alloy-evm, the oracle, does not
    /// check.
    #[default]
    Assumed,
}

/// Calls a contract that answers with the requests it collected during the block.
pub(crate) fn collect_requests(
    state: &mut impl CommittedState,
    contract: Address,
    contracts: RequestContracts,
) -> Result<Bytes, BlockError> {
    if contracts == RequestContracts::Required && state.code_is_empty(contract)? {
        return Err(InvalidBlock::SystemCall { contract, failure: SystemCallFailure::Missing }.into());
    }
    let failure = match state.system_call(contract, Bytes::new())? {
        ExecutionResult::Success { output, .. } => return Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => SystemCallFailure::Reverted { output },
        ExecutionResult::Halt { reason, .. } => SystemCallFailure::Halted { reason },
    };
    Err(InvalidBlock::SystemCall { contract, failure }.into())
}
