//! Blocks made by the rules, for tests to bend.
//!
//! A block is sealed by what the oracle says of it, so that what is tested against it is not what made it.

use std::collections::HashMap;

use alloy_consensus::{
    Block, BlockBody, EMPTY_OMMER_ROOT_HASH, Header, TxEnvelope, constants::EMPTY_ROOT_HASH,
    proofs::calculate_ommers_root,
};
use alloy_eips::eip4895::Withdrawals;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, B256, Bytes, U256, hex};
use ropewalk_block::{
    ChainSpec,
    import::{Consensus, consensus_after, next_base_fee, next_difficulty},
    oracle, recover,
};
use ropewalk_state::{Account, Completeness, MemoryState};
use serde_json::{Value, json};

/// A block and its hash.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) block: Block<TxEnvelope>,
    pub(crate) hash: B256,
}

/// A chain on which blocks can be put anywhere.
#[derive(Debug)]
pub(crate) struct Chain {
    network: String,
    spec: ChainSpec,
    genesis: Sealed,
    /// State and total difficulty after each block.
    after: HashMap<B256, (MemoryState, U256)>,
}

impl Sealed {
    fn new(block: Block<TxEnvelope>) -> Self {
        Self { hash: block.header.hash_slow(), block }
    }

    /// Another block, with something changed and nothing sealed anew.
    pub(crate) fn bent(&self, bend: impl FnOnce(&mut Block<TxEnvelope>)) -> Self {
        let mut block = self.block.clone();
        bend(&mut block);
        Self::new(block)
    }

    fn rlp(&self) -> String {
        hex::encode_prefixed(alloy_rlp::encode(&self.block))
    }
}

impl Chain {
    /// A chain of a network with a genesis block that has one rich account.
    pub(crate) fn new(network: &str) -> Self {
        let spec = ChainSpec::by_network(network, 1, []).expect("a network");
        let mut state = MemoryState::new(Completeness::Assumed);
        let rich = Account { balance: U256::from(u64::MAX), ..Account::EMPTY };
        state.insert_account(Address::repeat_byte(0x11), Some(rich));
        let is_merged = spec.is_paris_active_at_block(0);
        let is_shanghai = spec.is_shanghai_active_at_timestamp(0);
        let header = Header {
            difficulty: if is_merged { U256::ZERO } else { U256::from(0x20000) },
            gas_limit: 1 << 24,
            state_root: state.state_root(),
            base_fee_per_gas: spec.is_london_active_at_block(0).then_some(7),
            withdrawals_root: is_shanghai.then_some(EMPTY_ROOT_HASH),
            extra_data: Bytes::from_static(&[0x42]),
            ..Default::default()
        };
        let withdrawals = is_shanghai.then(Withdrawals::default);
        let genesis = Sealed::new(Block { header, body: BlockBody { withdrawals, ..Default::default() } });
        state.insert_block_hash(0, genesis.hash);
        let after = HashMap::from([(genesis.hash, (state, genesis.block.header.difficulty))]);
        Self { network: network.to_owned(), spec, genesis, after }
    }

    pub(crate) fn genesis(&self) -> Sealed {
        self.genesis.clone()
    }

    /// A block on top of another one, changed before it is sealed.
    pub(crate) fn block(&mut self, parent: &Sealed, change: impl FnOnce(&mut Block<TxEnvelope>, &Sealed)) -> Sealed {
        let (state, total_difficulty) = self.after[&parent.hash].clone();
        let mut block = self.template(parent, total_difficulty);
        change(&mut block, parent);
        block.header.ommers_hash = calculate_ommers_root(&block.body.ommers);
        let recovered = recover(&self.spec, block.clone(), None).expect("signatures are valid");
        let outcome = oracle::execute(&self.spec, &recovered, &state).expect("a valid block");
        let mut state = state;
        state.apply(&outcome.changes);
        block.header.state_root = state.state_root();
        let sealed = Sealed::new(block);
        state.insert_block_hash(sealed.block.header.number, sealed.hash);
        let total_difficulty = total_difficulty + sealed.block.header.difficulty;
        self.after.insert(sealed.hash, (state, total_difficulty));
        sealed
    }

    /// An empty block by the rules.
    fn template(&self, parent: &Sealed, total_difficulty: U256) -> Block<TxEnvelope> {
        let above = &parent.block.header;
        let (number, timestamp) = (above.number + 1, above.timestamp + 10);
        let is_london = self.spec.is_london_active_at_block(number);
        let is_first_of_london = is_london && !self.spec.is_london_active_at_block(above.number);
        let is_shanghai = self.spec.is_shanghai_active_at_timestamp(timestamp);
        let consensus = consensus_after(&self.spec, number, Some(total_difficulty)).expect("it is known");
        let header = Header {
            parent_hash: parent.hash,
            number,
            timestamp,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: Address::repeat_byte(0xcb),
            difficulty: match consensus {
                Consensus::Work => next_difficulty(&self.spec, above, timestamp),
                Consensus::Stake => U256::ZERO,
            },
            gas_limit: above.gas_limit * if is_first_of_london { 2 } else { 1 },
            base_fee_per_gas: is_london.then(|| next_base_fee(&self.spec, above).expect("the parent has one")),
            withdrawals_root: is_shanghai.then_some(EMPTY_ROOT_HASH),
            ..Default::default()
        };
        let withdrawals = is_shanghai.then(Withdrawals::default);
        Block { header, body: BlockBody { withdrawals, ..Default::default() } }
    }

    /// A block that a test expects to be imported.
    pub(crate) fn valid(&self, sealed: &Sealed) -> Value {
        json!({"rlp": sealed.rlp(), "blockHeader": {"hash": sealed.hash}, "blocknumber": "1", "chainname": "default"})
    }

    /// A block that a test expects to be rejected.
    pub(crate) fn invalid(&self, sealed: &Sealed, reason: &str) -> Value {
        json!({"rlp": sealed.rlp(), "expectException": reason})
    }

    /// A test with these blocks that ends at `head`.
    pub(crate) fn test(&self, head: &Sealed, blocks: impl IntoIterator<Item = Value>) -> Value {
        let accounts = |hash: &B256| {
            let (state, _) = &self.after[hash];
            let account = |(address, account): (Address, Account)| {
                let content = json!({
                    "balance": format!("{:#x}", account.balance), "nonce": format!("{:#x}", account.nonce),
                    "code": "0x", "storage": {},
                });
                (address.to_string().to_lowercase(), content)
            };
            Value::Object(state.iter_accounts().map(account).collect())
        };
        json!({
            "network": self.network, "sealEngine": "NoProof",
            "genesisRLP": self.genesis.rlp(), "genesisBlockHeader": {"hash": self.genesis.hash},
            "pre": accounts(&self.genesis.hash), "postState": accounts(&head.hash),
            "lastblockhash": head.hash, "blocks": blocks.into_iter().collect::<Vec<_>>(),
        })
    }
}
