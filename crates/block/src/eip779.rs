//! [EIP-779](https://eips.ethereum.org/EIPS/eip-779): the DAO fork moves what the DAO held to a withdrawal contract.
//!
//! The move is the first thing in its block, ahead of the transactions, as the specification and the clients that ran
//! it have it. alloy-evm makes it the last thing; on mainnet no transaction of that block can tell.

use alloy_evm::eth::dao_fork::{DAO_HARDFORK_ACCOUNTS, DAO_HARDFORK_BENEFICIARY};
use alloy_hardforks::{EthereumHardfork, EthereumHardforks};

use crate::{BlockError, ChainSpec, RecoveredBlock, system_call::CommittedState};

/// In the DAO fork's own block, drains the DAO's accounts in favour of the withdrawal contract.
pub(crate) fn move_dao_funds(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    state: &mut impl CommittedState,
) -> Result<(), BlockError> {
    let dao = chain.ethereum_fork_activation(EthereumHardfork::Dao);
    if !dao.transitions_at_block(block.header.number) {
        return Ok(());
    }
    for account in DAO_HARDFORK_ACCOUNTS {
        let drained_wei = state.drain(account)?;
        if drained_wei > 0 {
            state.credit([(DAO_HARDFORK_BENEFICIARY, drained_wei)])?;
        }
    }
    Ok(())
}
