//! The state before a block, and the forks that blocks are of.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, U256};
use ropewalk_block::ChainSpec;
use ropewalk_state::{Account, Completeness, MemoryState};
use serde_json::{Map, Value, json};

use crate::assembler::Code;

/// Senders that every world has, each with a hundred ether.
pub(crate) const ALICE: Address = Address::repeat_byte(0xa1);
pub(crate) const BOB: Address = Address::repeat_byte(0xb2);
pub(crate) const CAROL: Address = Address::repeat_byte(0xc3);
pub(crate) const DAVE: Address = Address::repeat_byte(0xd4);
/// Who gets the fees, unless a test says otherwise.
pub(crate) const MINER: Address = Address::repeat_byte(0x99);
/// Contracts, to be given code.
pub(crate) const FIRST: Address = Address::repeat_byte(0x51);
pub(crate) const SECOND: Address = Address::repeat_byte(0x52);
pub(crate) const THIRD: Address = Address::repeat_byte(0x53);
/// Accounts that are not there.
pub(crate) const NOBODY: Address = Address::repeat_byte(0xe5);
pub(crate) const NEWCOMER: Address = Address::repeat_byte(0xe6);

pub(crate) const ETHER: u128 = 1_000_000_000_000_000_000;
pub(crate) const RICH: u128 = 100 * ETHER;

/// Number of the block that is executed.
pub(crate) const NUMBER: u64 = 300;
/// Price of a unit of gas from London on, in wei.
pub(crate) const BASE_FEE: u64 = 7;

/// The rules that a block follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fork {
    Frontier,
    Homestead,
    Tangerine,
    SpuriousDragon,
    Byzantium,
    Petersburg,
    Istanbul,
    Berlin,
    London,
    Paris,
    Shanghai,
    Cancun,
    Prague,
    Osaka,
}

impl Fork {
    pub(crate) const ALL: [Self; 14] = [
        Self::Frontier,
        Self::Homestead,
        Self::Tangerine,
        Self::SpuriousDragon,
        Self::Byzantium,
        Self::Petersburg,
        Self::Istanbul,
        Self::Berlin,
        Self::London,
        Self::Paris,
        Self::Shanghai,
        Self::Cancun,
        Self::Prague,
        Self::Osaka,
    ];

    /// All forks from this one on.
    pub(crate) fn onwards(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |fork| *fork >= self)
    }

    /// All forks before this one.
    pub(crate) fn earlier(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |fork| *fork < self)
    }

    /// A chain that has been at this fork from its first block on, from a genesis file.
    pub(crate) fn chain(self) -> Arc<ChainSpec> {
        let activations = [
            (Self::Homestead, "homesteadBlock"),
            (Self::Tangerine, "eip150Block"),
            (Self::SpuriousDragon, "eip155Block"),
            (Self::SpuriousDragon, "eip158Block"),
            (Self::Byzantium, "byzantiumBlock"),
            (Self::Petersburg, "constantinopleBlock"),
            (Self::Petersburg, "petersburgBlock"),
            (Self::Istanbul, "istanbulBlock"),
            (Self::Berlin, "berlinBlock"),
            (Self::London, "londonBlock"),
            (Self::Paris, "terminalTotalDifficulty"),
            (Self::Shanghai, "shanghaiTime"),
            (Self::Cancun, "cancunTime"),
            (Self::Prague, "pragueTime"),
            (Self::Osaka, "osakaTime"),
        ];
        let active = activations.iter().filter(|(fork, _)| *fork <= self);
        let mut config: Map<String, Value> = active.map(|(_, key)| ((*key).to_owned(), json!(0))).collect();
        config.insert("chainId".to_owned(), json!(1));
        let genesis = serde_json::from_value(json!({ "config": config })).expect("a genesis file");
        Arc::new(ChainSpec::from_genesis(&genesis).expect("a consistent chain"))
    }

    /// A header as this fork has it.
    pub(crate) fn header(self) -> Header {
        let from = |fork: Self| self >= fork;
        Header {
            number: NUMBER,
            timestamp: 10_000,
            gas_limit: 60_000_000,
            beneficiary: MINER,
            difficulty: if from(Self::Paris) { U256::ZERO } else { U256::from(131_072) },
            base_fee_per_gas: from(Self::London).then_some(BASE_FEE),
            excess_blob_gas: from(Self::Cancun).then_some(0),
            blob_gas_used: from(Self::Cancun).then_some(0),
            parent_beacon_block_root: from(Self::Cancun).then_some(B256::repeat_byte(0x4b)),
            ..Header::default()
        }
    }
}

/// The state before a block.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) state: MemoryState,
}

impl World {
    /// A state with the usual senders.
    pub(crate) fn new() -> Self {
        let mut world = Self { state: MemoryState::new(Completeness::Assumed) };
        for (sender, nonce) in [(ALICE, 0), (BOB, 7), (CAROL, 0), (DAVE, 1)] {
            world = world.account(sender, nonce, RICH);
        }
        world
    }

    /// An account without code.
    pub(crate) fn account(
        mut self,
        address: Address,
        nonce: u64,
        balance: impl TryInto<U256, Error: std::fmt::Debug>,
    ) -> Self {
        let balance = balance.try_into().expect("a balance of 256 bits");
        self.state.insert_account(address, Some(Account { nonce, balance, ..Account::EMPTY }));
        self
    }

    /// A contract without balance.
    pub(crate) fn contract(self, address: Address, code: &Code) -> Self {
        self.funded(address, 0, code)
    }

    /// A contract with a balance.
    pub(crate) fn funded(
        mut self,
        address: Address,
        balance: impl TryInto<U256, Error: std::fmt::Debug>,
        code: &Code,
    ) -> Self {
        let code_hash = self.state.insert_code(code.bytes());
        let balance = balance.try_into().expect("a balance of 256 bits");
        self.state.insert_account(address, Some(Account { nonce: 1, balance, code_hash }));
        self
    }

    /// An account that exists and is empty, as there were before EIP-161.
    pub(crate) fn empty(mut self, address: Address) -> Self {
        self.state.insert_account(address, Some(Account::EMPTY));
        self
    }

    /// A slot that is not zero.
    pub(crate) fn slot(mut self, address: Address, slot: u64, value: u64) -> Self {
        self.state.insert_slot(address, U256::from(slot), U256::from(value));
        self
    }

    /// An account that has delegated to `target` (EIP-7702).
    pub(crate) fn delegated(mut self, address: Address, nonce: u64, target: Address) -> Self {
        let code_hash = self.state.insert_code([&[0xef, 0x01, 0x00], target.as_slice()].concat().into());
        self.state.insert_account(address, Some(Account { nonce, balance: U256::from(RICH), code_hash }));
        self
    }

    /// The hash of an earlier block.
    pub(crate) fn block_hash(mut self, number: u64, hash: B256) -> Self {
        self.state.insert_block_hash(number, hash);
        self
    }
}
