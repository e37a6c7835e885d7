//! The block that a chain begins with, out of a genesis file in geth's form.
//!
//! The file gives rules, state and some fields of the header. The others follow from the rules: a field is there when its
//! fork is active in block 0, and then says that the block is empty.

use std::{path::Path, sync::Arc};

use alloy_consensus::{EMPTY_ROOT_HASH, Header};
use alloy_eip7928::constants::EMPTY_BLOCK_ACCESS_LIST_HASH;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_genesis::Genesis;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{B256, U256};
use ropewalk_block::ChainSpec;
use ropewalk_state::{AccountChange, Changes, MemoryState, SlotChange};
use serde::de::IgnoredAny;

use super::error::{GenesisFault, HistoryError};
use crate::{fixture::read_json, generate::genesis_state};

/// Base fee of a genesis block under London that does not name one (EIP-1559).
const INITIAL_BASE_FEE_WEI: u64 = 1_000_000_000;

/// What a genesis file must name, as geth has it. Without them any object would be a chain that holds nothing.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "that the fields are there is all that is asked")]
struct Required {
    gas_limit: IgnoredAny,
    difficulty: IgnoredAny,
    alloc: IgnoredAny,
}

/// Block 0 with its state.
#[derive(Debug, Clone)]
pub(crate) struct GenesisBlock {
    pub(crate) chain: Arc<ChainSpec>,
    pub(crate) header: Header,
    pub(crate) hash: B256,
    pub(crate) state: MemoryState,
}

impl GenesisBlock {
    /// Reads a genesis file. Its state root is computed on the rayon pool that this is called in.
    ///
    /// # Errors
    /// When the file cannot be read or no chain can begin with it.
    pub(super) fn read(path: &Path) -> Result<Self, HistoryError> {
        let unreadable = HistoryError::GenesisFile;
        let Required { .. } = read_json(path.to_owned()).map_err(unreadable)?;
        let genesis: Genesis = read_json(path.to_owned()).map_err(unreadable)?;
        Self::of(&genesis).map_err(|fault| HistoryError::Genesis { path: path.to_owned(), fault })
    }

    /// The block that a genesis describes. Its state root is computed on the rayon pool that this is called in.
    ///
    /// # Errors
    /// When no chain can begin with it.
    pub(crate) fn of(genesis: &Genesis) -> Result<Self, GenesisFault> {
        let chain = ChainSpec::from_genesis(genesis).map_err(GenesisFault::Chain)?;
        let state = genesis_state(genesis);
        let header = header(&chain, genesis, state.state_root())?;
        Ok(Self { chain: Arc::new(chain), hash: header.hash_slow(), header, state })
    }

    /// The state as what block 0 changes in nothing.
    pub(crate) fn changes(&self) -> Changes {
        let account = |(address, account)| {
            let slot = |(slot, after)| SlotChange { slot, before: U256::ZERO, after };
            let slots = self.state.iter_slots(&address).map(slot).collect();
            AccountChange { address, before: None, after: Some(account), storage_cleared: false, slots }
        };
        let accounts = self.state.iter_accounts().map(account).collect();
        let mut changes = Changes { accounts, codes: self.state.iter_codes().collect() };
        changes.normalize();
        changes
    }
}

fn header(chain: &ChainSpec, genesis: &Genesis, state_root: B256) -> Result<Header, GenesisFault> {
    if let Some(number) = genesis.number.filter(|number| *number != 0) {
        return Err(GenesisFault::Number(number));
    }
    let time = genesis.timestamp;
    let base_fee_wei = match genesis.base_fee_per_gas {
        Some(fee) => u64::try_from(fee).map_err(|_| GenesisFault::BaseFee(fee))?,
        None => INITIAL_BASE_FEE_WEI,
    };
    let (shanghai, cancun) = (chain.is_shanghai_active_at_timestamp(time), chain.is_cancun_active_at_timestamp(time));
    let (prague, amsterdam) = (chain.is_prague_active_at_timestamp(time), chain.is_amsterdam_active_at_timestamp(time));
    Ok(Header {
        parent_hash: genesis.parent_hash.unwrap_or_default(),
        beneficiary: genesis.coinbase,
        state_root,
        difficulty: genesis.difficulty,
        gas_limit: genesis.gas_limit,
        timestamp: time,
        extra_data: genesis.extra_data.clone(),
        mix_hash: genesis.mix_hash,
        nonce: genesis.nonce.to_be_bytes().into(),
        base_fee_per_gas: chain.is_london_active_at_block(0).then_some(base_fee_wei),
        withdrawals_root: shanghai.then_some(EMPTY_ROOT_HASH),
        blob_gas_used: cancun.then(|| genesis.blob_gas_used.unwrap_or_default()),
        excess_blob_gas: cancun.then(|| genesis.excess_blob_gas.unwrap_or_default()),
        parent_beacon_block_root: cancun.then_some(B256::ZERO),
        requests_hash: prague.then_some(EMPTY_REQUESTS_HASH),
        block_access_list_hash: amsterdam.then_some(EMPTY_BLOCK_ACCESS_LIST_HASH),
        slot_number: amsterdam.then(|| genesis.slot_number.unwrap_or_default()),
        ..Header::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{GenerateOptions, Generator, Workload};

    #[test]
    fn a_generated_chain_begins_with_the_block_that_its_genesis_file_describes() {
        let generator = Generator::new(GenerateOptions::new(Workload::Mixed)).expect("valid options");
        let genesis = GenesisBlock::of(generator.genesis()).expect("a genesis");
        assert_eq!(genesis.hash, generator.head_hash());
    }

    #[test]
    fn a_block_in_the_middle_of_a_chain_is_no_genesis() {
        let generator = Generator::new(GenerateOptions::new(Workload::Payments)).expect("valid options");
        let genesis = Genesis { number: Some(5), ..generator.genesis().clone() };
        assert!(matches!(GenesisBlock::of(&genesis), Err(GenesisFault::Number(5))));
        let genesis = Genesis { base_fee_per_gas: Some(1 << 64), ..generator.genesis().clone() };
        assert!(matches!(GenesisBlock::of(&genesis), Err(GenesisFault::BaseFee(_))));
    }
}
