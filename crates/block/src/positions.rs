//! What a block does besides its transactions, in order.
//!
//! ```text
//! position 0       DAO move (EIP-779), parent hash (EIP-2935), parent beacon root (EIP-4788)
//! positions 1..n   transactions
//! position n + 1   deposits (EIP-6110), withdrawal requests (EIP-7002), consolidation requests (EIP-7251),
//!                  builder requests (EIP-8282), then rewards and withdrawals (EIP-4895)
//! ```
//!
//! The order within a position is alloy-evm's, so that of two broken rules both executors name the same one; the DAO
//! move alone is elsewhere, see its file. Each rule decides by itself whether its fork is active.

use std::collections::BTreeMap;

use alloy_consensus::ReceiptEnvelope;
use alloy_eips::eip7685::Requests;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, U256};

use crate::{
    BlockError, ChainSpec, RecoveredBlock, RequestContracts, eip779, eip2935, eip4788, eip4895, eip6110, eip7002,
    eip7251, eip8282, rewards, slow_reads::Looks, system_call::CommittedState,
};

/// Position 0: runs what comes before the transactions.
///
/// # Errors
/// When the state fails, or the header lacks what a rule needs.
pub(crate) fn pre_block(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    state: &mut impl CommittedState,
) -> Result<(), BlockError> {
    let chain = &*chain.for_block(&block.header);
    eip779::move_dao_funds(chain, block, state)?;
    eip2935::store_parent_hash(chain, block, state)?;
    eip4788::store_parent_beacon_root(chain, block, state)
}

/// Position n + 1: runs what comes after the transactions and returns the requests that they and the system contracts
/// made (EIP-7685); there are none before Prague.
///
/// # Errors
/// When the state fails, a log or a system contract breaks its rule, or an ommer cannot be rewarded.
pub(crate) fn post_block(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    receipts: &[ReceiptEnvelope],
    contracts: RequestContracts,
    state: &mut impl CommittedState,
) -> Result<Requests, BlockError> {
    let chain = &*chain.for_block(&block.header);
    let requests = collect_requests(chain, block.header.timestamp, receipts, contracts, state)?;

    let mut credits = Credits::default();
    rewards::rewards(chain, block, &mut credits)?;
    eip4895::withdrawals(chain, block, &mut credits);
    state.credit(credits.0)?;
    Ok(requests)
}

fn collect_requests(
    chain: &ChainSpec,
    timestamp: u64,
    receipts: &[ReceiptEnvelope],
    contracts: RequestContracts,
    state: &mut impl CommittedState,
) -> Result<Requests, BlockError> {
    let mut requests = Requests::default();
    if !chain.is_prague_active_at_timestamp(timestamp) {
        return Ok(requests);
    }
    requests.push_request_with_type(eip6110::DEPOSIT_REQUEST_TYPE, eip6110::deposits(chain, receipts)?);
    requests.push_request_with_type(eip7002::WITHDRAWAL_REQUEST_TYPE, eip7002::withdrawal_requests(state, contracts)?);
    requests.push_request_with_type(
        eip7251::CONSOLIDATION_REQUEST_TYPE,
        eip7251::consolidation_requests(state, contracts)?,
    );
    if chain.is_amsterdam_active_at_timestamp(timestamp) {
        requests.push_request_with_type(
            eip8282::BUILDER_DEPOSIT_REQUEST_TYPE,
            eip8282::builder_deposits(state, contracts)?,
        );
        requests.push_request_with_type(eip8282::BUILDER_EXIT_REQUEST_TYPE, eip8282::builder_exits(state, contracts)?);
    }
    Ok(requests)
}

/// What both positions look at for all that can be known before the block runs: of a request contract, its counts and the
/// ends of its queue.
pub(crate) fn looks(chain: &ChainSpec, block: &RecoveredBlock) -> Looks {
    let (header, mut looks) = (&block.header, Looks::default());
    looks.addresses.insert(header.beneficiary);
    looks.addresses.extend(block.ommers.iter().map(|ommer| ommer.beneficiary));
    looks.addresses.extend(block.withdrawals.iter().flat_map(|all| all.iter()).map(|withdrawal| withdrawal.address));
    if chain.is_cancun_active_at_timestamp(header.timestamp) {
        looks.add(eip4788::CONTRACT, eip4788::slots(header));
    }
    if chain.is_prague_active_at_timestamp(header.timestamp) {
        looks.add(eip2935::CONTRACT, eip2935::slot(header));
        looks.add(eip7002::CONTRACT, QUEUE);
        looks.add(eip7251::CONTRACT, QUEUE);
    }
    if chain.is_amsterdam_active_at_timestamp(header.timestamp) {
        eip8282::CONTRACTS.into_iter().for_each(|contract| looks.add(contract, QUEUE));
    }
    looks
}

/// Slots of a contract that collects requests (EIP-7002, EIP-7251, EIP-8282): excess, count, head and tail of the queue.
const QUEUE: [U256; 4] = [U256::ZERO, U256::ONE, U256::from_limbs([2, 0, 0, 0]), U256::from_limbs([3, 0, 0, 0])];

/// Balances that grow at the end of the block, in wei by account: one sum each, however many reasons there are.
#[derive(Debug, Default)]
pub(crate) struct Credits(BTreeMap<Address, u128>);

impl Credits {
    /// Adds to what `address` gets. Rewards are some ether and withdrawals fit 64 bits of gwei, so 128 bits hold the
    /// sum of more than ten thousand million of them.
    pub(crate) fn add(&mut self, address: Address, amount_wei: u128) {
        let sum = self.0.entry(address).or_default();
        *sum = sum.saturating_add(amount_wei);
    }
}

#[cfg(test)]
mod tests;
