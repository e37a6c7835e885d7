//! State tests: one transaction by itself.
//!
//! The transaction runs as a block of its own, through the same executor as any block. What a state test expects is the
//! state behind the transaction alone: of the block's record only the transaction's position is applied, so neither a
//! reward nor what else belongs to a block is in it.

use std::{fmt, sync::Arc};

use alloy_consensus::{Block, BlockBody, Header, TxEnvelope, TxReceipt};
use alloy_eips::eip2718::Decodable2718;
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_rlp::Encodable;
use ropewalk_block::{
    BlockError, ChainSpec, RecoveredBlock, RequestContracts, first_difference,
    import::{ImportError, MalformedBlock},
    recover,
};
use ropewalk_state::{MemoryState, StateReader};

use super::{
    accounts,
    blockchain::{beside_oracle, chain_of_network},
    executors::{Engines, Sequential},
    reasons,
    state_suite::{Environment, Indexes, Post, StateTest},
    suite::Number,
    tree::{Execute, Executed},
    verdict::{Failure, Verdict},
};

/// Hashes of so many blocks before the environment's own can be asked for.
const BLOCK_HASHES: u64 = 256;

/// A transaction on one network.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant<'a> {
    pub(super) network: &'a str,
    post: &'a Post,
}

/// All variants of a test on all networks.
pub(super) fn variants(test: &StateTest) -> impl Iterator<Item = Variant<'_>> {
    test.posts.iter().flat_map(|(network, posts)| posts.iter().map(move |post| Variant { network, post }))
}

/// Runs one variant with every engine.
pub(super) fn run(test: &StateTest, variant: Variant<'_>, engines: &Engines) -> (Verdict, Vec<String>) {
    let chain = match chain_of_network(variant.network, &test.configuration) {
        Ok(chain) => Arc::new(chain),
        Err(reason) => return (Verdict::Skipped { reason }, Vec::new()),
    };
    let single = match Single::of(test, variant.post, &chain) {
        Ok(single) => single,
        Err(failure) => return (Verdict::Failed { threads: None, failure }, Vec::new()),
    };
    let mut remarks = Vec::new();
    let executors = engines.executors(&chain, RequestContracts::Assumed, engines.lists());
    for (place, executor) in executors.enumerate() {
        let executed = single.execute(&executor);
        if let Err(ImportError::Execution(BlockError::Cancelled { .. })) = executed {
            return (Verdict::Interrupted, remarks);
        }
        if let (0, Ok(block), Ok(executed)) = (place, &single.block, &executed) {
            remarks.extend(beside_oracle(&chain, block, &single.state, Ok(executed)));
        }
        if let Some(failure) = single.check(variant.post, executed).map(Box::new) {
            let verdict = match single.oracle_agrees(&chain, &executor) {
                true => Verdict::OracleFails { failure },
                false => Verdict::Failed { threads: Some(executor.threads), failure },
            };
            return (verdict, remarks);
        }
    }
    (Verdict::Passed, remarks)
}

/// A transaction, ready to be executed in a block of its own.
struct Single {
    /// The block, or why the transaction cannot be in one.
    block: Result<RecoveredBlock, ImportError>,
    state: Arc<MemoryState>,
}

impl Single {
    fn of(test: &StateTest, post: &Post, chain: &ChainSpec) -> Result<Self, Box<Failure>> {
        let unusable = || Box::new(Failure::Unusable("a number of the environment has more than 64 bits".to_owned()));
        let header = header(&test.environment, chain).ok_or_else(unusable)?;
        let mut state = accounts::state_of(&test.pre).map_err(|address| Box::new(Failure::Nonce(address)))?;
        for number in header.number.saturating_sub(BLOCK_HASHES)..header.number {
            state.insert_block_hash(number, keccak256(number.to_string()));
        }
        let block = match &post.txbytes {
            Some(bytes) => signed(bytes).and_then(|transaction| {
                let body = BlockBody { transactions: vec![transaction], ..Default::default() };
                Ok(recover(chain, Block { header, body }, None)?)
            }),
            None => {
                let problem = "the transaction has neither bytes nor a sender, or a number that does not fit";
                let missing = || Box::new(Failure::Unusable(problem.to_owned()));
                let (transaction, sender) =
                    test.transaction.variant(post.indexes, chain.chain_id()).ok_or_else(missing)?;
                let body = BlockBody { transactions: vec![transaction], ..Default::default() };
                RecoveredBlock::with_senders(Block { header, body }, vec![sender], None).map_err(ImportError::from)
            }
        };
        Ok(Self { block, state: Arc::new(state) })
    }

    fn execute(&self, executor: &impl Execute) -> Result<Executed, ImportError> {
        let block = self.block.as_ref().map_err(Clone::clone)?;
        let parent = Arc::clone(&self.state) as Arc<dyn StateReader>;
        Ok(executor.execute(block, parent, None)?)
    }

    /// What is not as the test expects.
    fn check(&self, post: &Post, executed: Result<Executed, ImportError>) -> Option<Failure> {
        let names: Option<Vec<&str>> = post.expected.as_ref().map(|names| names.split('|').map(str::trim).collect());
        match (executed, names) {
            (Ok(executed), None) => self.check_outcome(post, &executed),
            (Ok(_), Some(names)) => Some(Failure::Imported { block: 0, expected: owned(&names) }),
            (Err(error), None) => Some(Failure::Rejected { block: 0, error, difference: None }),
            (Err(error), Some(names)) if !reasons::is_expected(&error, &names) => {
                Some(Failure::OtherReason { block: 0, expected: owned(&names), error })
            }
            (Err(_), Some(_)) => root_failure(&self.state, post),
        }
    }

    fn check_outcome(&self, post: &Post, executed: &Executed) -> Option<Failure> {
        if let Some(objection) = &executed.objection {
            return Some(Failure::Broken(format!("block 0 {objection}")));
        }
        let mut state = MemoryState::clone(&self.state);
        let transaction = executed.record.as_ref().and_then(|record| record.positions.get(1));
        transaction.into_iter().for_each(|position| state.apply(&position.changes));
        let mut logs = Vec::new();
        let receipt = executed.outcome.receipts.first();
        receipt.map(TxReceipt::logs).unwrap_or_default().to_vec().encode(&mut logs);
        let (found, expected) = (keccak256(logs), post.logs);
        root_failure(&state, post).or_else(|| (found != expected).then_some(Failure::Logs { found, expected }))
    }

    /// Under Amsterdam the EVM in use is ahead of the suites; where the oracle says what we say, the rules differ.
    fn oracle_agrees(&self, chain: &ChainSpec, executor: &impl Execute) -> bool {
        if !chain.is_amsterdam_active_at_timestamp(u64::MAX) {
            return false;
        }
        match (self.execute(executor), self.execute(&Sequential { chain })) {
            (Ok(ours), Ok(theirs)) => first_difference(&ours.outcome, &theirs.outcome).is_none(),
            (Err(ImportError::Execution(ours)), Err(ImportError::Execution(theirs))) => ours.agrees_with(&theirs),
            _ => false,
        }
    }
}

fn root_failure(state: &MemoryState, post: &Post) -> Option<Failure> {
    let (found, expected) = (state.state_root(), post.hash);
    if found == expected {
        return None;
    }
    let difference = post.state.as_ref().and_then(|post| accounts::first_difference(state, post));
    Some(Failure::StateRoot { found, expected, difference })
}

fn signed(mut bytes: &[u8]) -> Result<TxEnvelope, ImportError> {
    let tx_type = bytes.first().copied().filter(|first| *first < alloy_rlp::EMPTY_LIST_CODE);
    let malformed = |source| MalformedBlock::Transaction { index: 0, tx_type, source };
    let decoded = TxEnvelope::decode_2718(&mut bytes);
    let decoded = decoded.map_err(|_| malformed(alloy_rlp::Error::Custom("not a transaction")))?;
    match bytes.is_empty() {
        true => Ok(decoded),
        false => Err(malformed(alloy_rlp::Error::UnexpectedLength).into()),
    }
}

/// The header of a block around the transaction; `None` where a number does not fit.
fn header(environment: &Environment, chain: &ChainSpec) -> Option<Header> {
    let fits = |number: Option<Number>| number.map_or(Some(None), |number| number.to_u64().map(Some));
    let (number, timestamp) = (environment.current_number.to_u64()?, environment.current_timestamp.to_u64()?);
    let is_merged = chain.is_paris_active_at_block(number);
    let cancun = chain.is_cancun_active_at_timestamp(timestamp).then_some(());
    let random = environment.current_random.map_or(U256::ZERO, |random| random.0);
    Some(Header {
        number,
        timestamp,
        parent_hash: environment.previous_hash.unwrap_or_default(),
        beneficiary: environment.current_coinbase,
        gas_limit: environment.current_gas_limit.to_u64()?,
        difficulty: if is_merged { U256::ZERO } else { environment.current_difficulty.0 },
        mix_hash: if is_merged { B256::from(random) } else { B256::ZERO },
        base_fee_per_gas: match chain.is_london_active_at_block(number) {
            true => Some(fits(environment.current_base_fee)?.unwrap_or_default()),
            false => None,
        },
        blob_gas_used: cancun.map(|()| 0),
        excess_blob_gas: match cancun {
            Some(()) => Some(fits(environment.current_excess_blob_gas)?.unwrap_or_default()),
            None => None,
        },
        parent_beacon_block_root: cancun.map(|()| B256::ZERO),
        slot_number: fits(environment.slot_number)?,
        extra_data: Bytes::new(),
        ..Default::default()
    })
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl fmt::Display for Variant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Indexes { data, gas, value } = self.post.indexes;
        write!(f, "[{}-d{data}-g{gas}-v{value}]", self.network)
    }
}
