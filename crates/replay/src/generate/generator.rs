//! The generated chain, block by block.
//!
//! A header's results are only known once the block has been executed, so each block is made twice: *open*, with all
//! that is settled before execution, and *closed*, with what the oracle found. Nothing that a transaction can observe
//! differs between the two.

use std::{collections::HashMap, fmt};

use alloy_consensus::{
    Block, BlockBody, Header,
    proofs::{calculate_transaction_root, calculate_withdrawals_root},
};
use alloy_eips::{
    eip1559::BaseFeeParams,
    eip4895::{Withdrawal, Withdrawals},
};
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, Bytes};
use alloy_rlp::Encodable;
use ropewalk_block::{BlockOutcome, ChainSpec, RecoveredBlock, oracle, recover};
use ropewalk_state::{MemoryState, trie::StateTrie};

use super::{
    GenerateError, GenerateOptions, GeneratedBlock,
    draw::Draw,
    genesis,
    plan::{Plan, Round, interleave},
    recording::Recording,
    sign::sign,
    wallet,
};

/// Seconds between two blocks.
const BLOCK_TIME: u64 = 12;
/// Withdrawals in each block, each to an account that may not exist yet.
const WITHDRAWALS: u64 = 4;
/// Accounts that take turns in receiving withdrawals.
const WITHDRAWERS: u64 = 64;
/// Largest size of a block in RLP (EIP-7934: 10 MiB without a margin of 2 MiB).
const LIMIT_BLOCK_BYTES: usize = 8 << 20;

/// Yields the blocks of a generated chain, from block 1 on.
///
/// After an error there are no more blocks.
pub struct Generator {
    options: GenerateOptions,
    plan: Box<dyn Plan>,
    genesis: Genesis,
    chain: ChainSpec,
    /// State after the last block.
    state: MemoryState,
    /// Its tries, so that a block's root costs what the block changes.
    trie: StateTrie,
    parent: Header,
    parent_hash: B256,
    /// Nonces after the last block, of those who have sent or delegated.
    nonces: HashMap<Address, u64>,
    /// Number of blocks still to be made.
    left: u64,
    limit_block_bytes: usize,
}

impl Generator {
    /// Makes the genesis block. The blocks after it are made as they are asked for.
    ///
    /// # Errors
    /// When the options contradict themselves.
    pub fn new(options: GenerateOptions) -> Result<Self, GenerateError> {
        options.check()?;
        let plan = options.plan();
        let genesis = genesis::genesis(options.seed, &*plan);
        let state = genesis::state(&genesis);
        let trie = StateTrie::of(&state);
        let header = genesis::header(&genesis, trie.root());
        Ok(Self {
            chain: ChainSpec::from_genesis(&genesis)?,
            parent_hash: header.hash_slow(),
            parent: header,
            nonces: HashMap::new(),
            left: options.blocks,
            limit_block_bytes: LIMIT_BLOCK_BYTES,
            options,
            plan,
            genesis,
            state,
            trie,
        })
    }

    /// What the blocks are made from.
    pub fn options(&self) -> &GenerateOptions {
        &self.options
    }

    /// Rules and first state of the chain, as geth's genesis file has them.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The chain's rules.
    pub fn chain_spec(&self) -> &ChainSpec {
        &self.chain
    }

    /// The whole state after the last block that was yielded; before the first, that of genesis.
    pub fn state(&self) -> &MemoryState {
        &self.state
    }

    /// Hash of the last block that was yielded; before the first, that of the genesis block.
    pub fn head_hash(&self) -> B256 {
        self.parent_hash
    }

    /// Allows smaller blocks only, so that a test need not make one that is really too large.
    #[cfg(test)]
    pub(crate) fn with_limit_block_bytes(mut self, limit_block_bytes: usize) -> Self {
        self.limit_block_bytes = limit_block_bytes;
        self
    }

    fn next_block(&mut self) -> Result<GeneratedBlock, GenerateError> {
        let block = self.open_block();
        let number = block.header.number;
        let size_bytes = block.length();
        if size_bytes > self.limit_block_bytes {
            return Err(GenerateError::BlockTooLarge { number, size_bytes, limit_bytes: self.limit_block_bytes });
        }
        let invalid = |source| GenerateError::Block { number, source };
        let mut block = recover(&self.chain, block, None).map_err(invalid)?;
        self.state.insert_block_hash(self.parent.number, self.parent_hash);
        let recording = Recording::new(&self.state);
        let outcome = oracle::execute(&self.chain, &block, &recording).map_err(invalid)?;
        recording.read_codes()?;
        let reads = recording.finish();
        self.close(&mut block, &outcome)?;
        self.parent = block.header.clone();
        self.parent_hash = block.hash;
        Ok(GeneratedBlock { block, reads })
    }

    /// The next block without the results of its execution.
    fn open_block(&mut self) -> Block<alloy_consensus::TxEnvelope> {
        let mut header = self.open_header();
        let mut draw = Draw::new(self.options.seed, "block", header.number);
        let base_fee_wei = header.base_fee_per_gas.unwrap_or_default().into();
        let mut round = Round { base_fee_wei, draw: &mut draw, nonces: &self.nonces };
        let chains = self.plan.chains(&mut round);
        let transactions = sign(interleave(chains, &mut draw), &mut self.nonces);
        let withdrawals = self.withdrawals(header.number, &mut draw);
        header.transactions_root = calculate_transaction_root(&transactions);
        header.withdrawals_root = Some(calculate_withdrawals_root(&withdrawals));
        Block { header, body: BlockBody { transactions, ommers: Vec::new(), withdrawals: Some(withdrawals) } }
    }

    /// What follows from the parent and the seed.
    fn open_header(&self) -> Header {
        let parent = &self.parent;
        let (seed, number, timestamp) = (self.options.seed, parent.number + 1, parent.timestamp + BLOCK_TIME);
        let blob_params = self.chain.blob_params(timestamp);
        Header {
            parent_hash: self.parent_hash,
            beneficiary: genesis::beneficiary(seed),
            number,
            gas_limit: parent.gas_limit,
            timestamp,
            extra_data: Bytes::from_static(b"ropewalk"),
            mix_hash: wallet::label(seed, "mix hash", number),
            base_fee_per_gas: parent.next_block_base_fee(BaseFeeParams::ethereum()),
            excess_blob_gas: blob_params.and_then(|params| parent.next_block_excess_blob_gas(params)),
            parent_beacon_block_root: Some(wallet::label(seed, "beacon root", number)),
            ..Header::default()
        }
    }

    fn withdrawals(&self, number: u64, draw: &mut Draw) -> Withdrawals {
        let withdrawal = |offset| {
            let index = (number - 1) * WITHDRAWALS + offset;
            let validator_index = index % WITHDRAWERS;
            let address = wallet::address(self.options.seed, "withdrawer", validator_index);
            Withdrawal { index, validator_index, address, amount: draw.between(1, 20_000_000) }
        };
        Withdrawals::new((0..WITHDRAWALS).map(withdrawal).collect())
    }

    /// Fills in what execution found, and moves the state on.
    fn close(&mut self, block: &mut RecoveredBlock, outcome: &BlockOutcome) -> Result<(), GenerateError> {
        self.state.apply(&outcome.changes);
        let header = &mut block.header;
        header.gas_used = outcome.gas_used;
        header.blob_gas_used = Some(outcome.blob_gas_used);
        header.receipts_root = outcome.receipts_root();
        header.logs_bloom = outcome.logs_bloom();
        header.requests_hash = Some(outcome.requests_hash());
        header.state_root = self.trie.apply(&outcome.changes)?;
        block.hash = header.hash_slow();
        Ok(())
    }
}

impl Iterator for Generator {
    type Item = Result<GeneratedBlock, GenerateError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let block = self.next_block();
        if block.is_err() {
            self.left = 0;
        }
        Some(block)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, usize::try_from(self.left).ok())
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("options", &self.options)
            .field("head", &self.parent.number)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
