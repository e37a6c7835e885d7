//! A block on a state, in the form that both sides read and that can be kept as a file.

use std::collections::BTreeMap;

use alloy_consensus::{Block, BlockBody, Header, TxEnvelope};
use alloy_eips::{
    eip2718::{Decodable2718, Encodable2718},
    eip4895::{Withdrawal, Withdrawals},
};
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use ropewalk_state::{Account, Completeness, MemoryState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    fork::{Fork, NUMBER},
    theirs::Answer,
};

/// An account before the block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CaseAccount {
    pub(crate) nonce: U64,
    pub(crate) balance: U256,
    pub(crate) code: Bytes,
    pub(crate) storage: BTreeMap<B256, B256>,
}

/// An ommer, of which only what is rewarded matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ommer {
    pub(crate) number: u64,
    pub(crate) coinbase: Address,
}

/// A block on a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) fork: Fork,
    pub(crate) beneficiary: Address,
    pub(crate) gas_limit: u64,
    /// In wei; counts from London on.
    pub(crate) base_fee: u64,
    /// Counts from Cancun on.
    pub(crate) excess_blob_gas: u64,
    pub(crate) ommers: Vec<Ommer>,
    /// Count from Shanghai on.
    pub(crate) withdrawals: Vec<Withdrawal>,
    pub(crate) alloc: BTreeMap<Address, CaseAccount>,
    /// As EIP-2718 encodes them.
    pub(crate) transactions: Vec<Bytes>,
}

/// A case that is kept, with what the specification says about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) case: Case,
    pub(crate) expected: Answer,
}

/// Seconds.
const TIMESTAMP: u64 = 10_000;
const DIFFICULTY: u64 = 131_072;
/// Earlier blocks whose hashes are known.
const KNOWN_HASHES: u64 = 3;

fn block_hash(number: u64) -> B256 {
    keccak256(number.to_be_bytes())
}

impl Case {
    pub(crate) fn decoded_transactions(&self) -> Vec<TxEnvelope> {
        let decode = |bytes: &Bytes| TxEnvelope::decode_2718_exact(bytes).expect("transactions of a case are valid");
        self.transactions.iter().map(decode).collect()
    }

    /// The block as it would be imported.
    pub(crate) fn block(&self) -> Block<TxEnvelope> {
        let from = |fork: Fork| self.fork >= fork;
        let header = Header {
            parent_hash: block_hash(NUMBER - 1),
            number: NUMBER,
            timestamp: TIMESTAMP,
            gas_limit: self.gas_limit,
            beneficiary: self.beneficiary,
            difficulty: if from(Fork::Paris) { U256::ZERO } else { U256::from(DIFFICULTY) },
            mix_hash: B256::repeat_byte(0x2a),
            base_fee_per_gas: from(Fork::London).then_some(self.base_fee),
            excess_blob_gas: from(Fork::Cancun).then_some(self.excess_blob_gas),
            blob_gas_used: from(Fork::Cancun).then_some(0),
            parent_beacon_block_root: from(Fork::Cancun).then_some(B256::repeat_byte(0x4b)),
            ..Header::default()
        };
        let ommer = |ommer: &Ommer| Header { number: ommer.number, beneficiary: ommer.coinbase, ..Header::default() };
        let withdrawals = from(Fork::Shanghai).then(|| Withdrawals::new(self.withdrawals.clone()));
        let ommers = self.ommers.iter().map(ommer).collect();
        Block { header, body: BlockBody { transactions: self.decoded_transactions(), ommers, withdrawals } }
    }

    /// The state before the block.
    pub(crate) fn state(&self) -> MemoryState {
        let mut state = MemoryState::new(Completeness::Assumed);
        for (address, account) in &self.alloc {
            let code_hash = if account.code.is_empty() {
                Account::EMPTY.code_hash
            } else {
                state.insert_code(account.code.clone())
            };
            let CaseAccount { nonce, balance, storage, .. } = account;
            state.insert_account(*address, Some(Account { nonce: nonce.to(), balance: *balance, code_hash }));
            for (slot, value) in storage {
                state.insert_slot(*address, (*slot).into(), (*value).into());
            }
        }
        for number in NUMBER - KNOWN_HASHES..NUMBER {
            state.insert_block_hash(number, block_hash(number));
        }
        state
    }

    /// The block as the specification's driver takes it.
    pub(crate) fn for_specification(&self, wants_alloc: bool) -> Value {
        let hashes: BTreeMap<String, B256> =
            (NUMBER - KNOWN_HASHES..NUMBER).map(|number| (format!("{number:#x}"), block_hash(number))).collect();
        let hex = |number: u64| format!("{number:#x}");
        json!({
            "fork": self.fork,
            "wants_alloc": wants_alloc,
            "env": {
                "currentCoinbase": self.beneficiary,
                "currentGasLimit": hex(self.gas_limit),
                "currentNumber": hex(NUMBER),
                "currentTimestamp": hex(TIMESTAMP),
                "currentDifficulty": hex(DIFFICULTY),
                "currentRandom": B256::repeat_byte(0x2a),
                "currentBaseFee": hex(self.base_fee),
                "currentExcessBlobGas": hex(self.excess_blob_gas),
                "parentBeaconBlockRoot": B256::repeat_byte(0x4b),
                "blockHashes": hashes,
                "withdrawals": self.withdrawals,
            },
            "alloc": self.alloc,
            "ommers": self.ommers,
            "txs": Bytes::from(alloy_rlp::encode(self.decoded_transactions())),
        })
    }
}

/// A transaction as a case holds it.
pub(crate) fn encoded(transaction: &TxEnvelope) -> Bytes {
    transaction.encoded_2718().into()
}
