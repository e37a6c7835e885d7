//! The generated chain's beginning: its rules, its first state, its first header.
//!
//! A chain of our own, on which every fork up to Osaka has been active since block 0. The system contracts are there
//! from the start (EIP-4788, EIP-2935, EIP-7002, EIP-7251), so every block does all that a mainnet block does.

use std::collections::BTreeMap;

use alloy_consensus::{EMPTY_ROOT_HASH, Header};
use alloy_eips::{eip2935, eip4788, eip7002, eip7251, eip7685::EMPTY_REQUESTS_HASH, eip7840::BlobParams};
use alloy_genesis::{ChainConfig, Genesis, GenesisAccount};
use alloy_primitives::{Address, B256, Bytes, U256, bytes};
use ropewalk_state::{Account, Completeness, MemoryState};

use super::{contract::Contract, plan::Plan, wallet};

/// Identifies the generated chain.
pub(crate) const CHAIN_ID: u64 = 1337;
/// Time of the genesis block, in seconds.
const GENESIS_TIME: u64 = 1_750_000_000;
/// Base fee of the genesis block. Blocks use less gas than their target, so it only falls from there.
const GENESIS_BASE_FEE_WEI: u64 = 1_000_000_000;
/// Least gas limit of a block, that of mainnet at the time of Osaka.
const LEAST_LIMIT_GAS: u64 = 60_000_000;
/// What each funded account has at genesis: a million ether.
const FUNDS_WEI: u128 = 1_000_000_000_000_000_000_000_000;

/// The account that receives the priority fees of every block.
pub(crate) fn beneficiary(seed: u64) -> Address {
    wallet::address(seed, "beneficiary", 0)
}

/// Accounts of the genesis state.
#[derive(Debug, Default)]
pub(crate) struct Alloc(BTreeMap<Address, GenesisAccount>);

impl Alloc {
    /// Gives an account plenty of ether.
    pub(crate) fn fund(&mut self, address: Address) {
        self.0.entry(address).or_default().balance = U256::from(FUNDS_WEI);
    }

    /// Puts an instance of `contract` at `address`.
    pub(crate) fn contract(&mut self, address: Address, contract: &Contract) {
        self.code(address, &contract.runtime);
    }

    /// Writes a storage slot.
    pub(crate) fn store(&mut self, address: Address, slot: U256, value: U256) {
        let storage = self.0.entry(address).or_default().storage.get_or_insert_default();
        storage.insert(slot.into(), value.into());
    }

    /// Contracts start with nonce 1 (EIP-161).
    fn code(&mut self, address: Address, code: &Bytes) {
        let account = self.0.entry(address).or_default();
        account.nonce = Some(1);
        account.code = Some(code.clone());
    }
}

/// The genesis of a chain that follows `plan`, in geth's form.
pub(crate) fn genesis(seed: u64, plan: &dyn Plan) -> Genesis {
    let mut alloc = Alloc::default();
    alloc.code(eip4788::BEACON_ROOTS_ADDRESS, &eip4788::BEACON_ROOTS_CODE);
    alloc.code(eip2935::HISTORY_STORAGE_ADDRESS, &eip2935::HISTORY_STORAGE_CODE);
    alloc.code(eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE);
    alloc.code(eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE);
    plan.allocate(&mut alloc);
    Genesis {
        config: config(),
        timestamp: GENESIS_TIME,
        extra_data: bytes!("726f706577616c6b"),
        gas_limit: LEAST_LIMIT_GAS.max(2 * plan.declared_gas()),
        mix_hash: wallet::label(seed, "mix hash", 0),
        coinbase: beneficiary(seed),
        alloc: alloc.0,
        base_fee_per_gas: Some(GENESIS_BASE_FEE_WEI.into()),
        excess_blob_gas: Some(0),
        blob_gas_used: Some(0),
        number: Some(0),
        parent_hash: Some(B256::ZERO),
        ..Genesis::default()
    }
}

/// Every fork up to Osaka from block 0.
fn config() -> ChainConfig {
    let (block, time) = (Some(0), Some(0));
    ChainConfig {
        chain_id: CHAIN_ID,
        homestead_block: block,
        eip150_block: block,
        eip155_block: block,
        eip158_block: block,
        byzantium_block: block,
        constantinople_block: block,
        petersburg_block: block,
        istanbul_block: block,
        muir_glacier_block: block,
        berlin_block: block,
        london_block: block,
        arrow_glacier_block: block,
        gray_glacier_block: block,
        shanghai_time: time,
        cancun_time: time,
        prague_time: time,
        osaka_time: time,
        terminal_total_difficulty: Some(U256::ZERO),
        terminal_total_difficulty_passed: true,
        blob_schedule: [
            ("cancun".to_owned(), BlobParams::cancun()),
            ("prague".to_owned(), BlobParams::prague()),
            ("osaka".to_owned(), BlobParams::osaka()),
        ]
        .into(),
        ..ChainConfig::default()
    }
}

/// The whole state that `genesis` allocates.
pub(crate) fn state(genesis: &Genesis) -> MemoryState {
    let mut state = MemoryState::new(Completeness::Assumed);
    for (address, account) in &genesis.alloc {
        let code_hash = account.code.as_ref().map(|code| state.insert_code(code.clone()));
        let nonce = account.nonce.unwrap_or_default();
        let code_hash = code_hash.unwrap_or(Account::EMPTY.code_hash);
        state.insert_account(*address, Some(Account { nonce, balance: account.balance, code_hash }));
        for (slot, value) in account.storage.iter().flatten() {
            state.insert_slot(*address, (*slot).into(), (*value).into());
        }
    }
    state
}

/// Header of block 0.
pub(crate) fn header(genesis: &Genesis, state_root: B256) -> Header {
    Header {
        state_root,
        beneficiary: genesis.coinbase,
        gas_limit: genesis.gas_limit,
        timestamp: genesis.timestamp,
        extra_data: genesis.extra_data.clone(),
        mix_hash: genesis.mix_hash,
        base_fee_per_gas: Some(GENESIS_BASE_FEE_WEI),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: genesis.blob_gas_used,
        excess_blob_gas: genesis.excess_blob_gas,
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}
