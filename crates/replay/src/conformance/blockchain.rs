//! One blockchain test: genesis, blocks one by one, the head and its state in the end.

use std::sync::Arc;

use alloy_consensus::Header;
use alloy_eips::{
    eip7840::BlobParams,
    eip8282::{BUILDER_DEPOSIT_CONTRACT_ADDRESS, BUILDER_EXIT_CONTRACT_ADDRESS},
};
use alloy_hardforks::EthereumHardforks;
use alloy_primitives::{Address, B256};
use ropewalk_block::{
    BlockError, ChainSpec, ChainSpecError, NetworkError, RecoveredBlock, RequestContracts,
    import::{ImportError, decode_block},
    oracle,
};
use ropewalk_state::{MemoryState, StateReader};

use super::{
    accounts::{self, StateDifference},
    executors::{Engines, Lists, Parallel, Sequential},
    lists, reasons,
    suite::{BlobEntry, BlockchainTest, Configuration, RecordedBlock},
    tree::{BlockTree, Execute, Executed, Snapshot},
    verdict::{Failure, Verdict},
};
use crate::compare::{self, chain_of};

/// The contracts that collect requests of builders, deposits and exits (EIP-8282).
const BUILDER_CONTRACTS: [Address; 2] = [BUILDER_DEPOSIT_CONTRACT_ADDRESS, BUILDER_EXIT_CONTRACT_ADDRESS];

/// What is worth saying of a test that passed.
pub(super) type Remark = String;

/// Runs a test with every engine.
pub(super) fn run(test: &BlockchainTest, engines: &Engines) -> (Verdict, Vec<Remark>) {
    let chain = match chain_of_network(&test.network, &test.configuration) {
        Ok(chain) => Arc::new(chain),
        Err(reason) => return (Verdict::Skipped { reason }, Vec::new()),
    };
    let genesis = match Genesis::of(test) {
        Ok(genesis) => genesis,
        Err(failure) => return (Verdict::Failed { threads: None, failure }, Vec::new()),
    };
    let mut remarks = Vec::new();
    let request_contracts = genesis.request_contracts(&chain);
    for (place, executor) in engines.executors(&chain, request_contracts, engines.lists()).enumerate() {
        // The oracle's word does not depend on our threads.
        let beside = if place == 0 { Beside::Oracle } else { Beside::Nothing };
        match genesis.run(test, &chain, &executor, beside) {
            Ok(found) => remarks.extend(found),
            Err(Stop::Interrupted) => return (Verdict::Interrupted, remarks),
            Err(Stop::Failure(failure)) => {
                let plain = engines.executors(&chain, request_contracts, Lists::None).nth(place);
                return (judged(test, &chain, &genesis, plain, failure), remarks);
            }
        }
    }
    (Verdict::Passed, remarks)
}

/// Under Amsterdam the EVM in use is ahead of the suites: what the oracle fails in the same way is its rule, not ours. The
/// ways are compared without the lists that a test gives, which the oracle does not take.
fn judged(
    test: &BlockchainTest,
    chain: &Arc<ChainSpec>,
    genesis: &Genesis,
    plain: Option<Parallel>,
    failure: Box<Failure>,
) -> Verdict {
    let threads = plain.as_ref().map(|executor| executor.threads);
    if let Some(plain) = plain.filter(|_| chain.is_amsterdam_active_at_timestamp(u64::MAX)) {
        let ours = genesis.run(test, chain, &plain, Beside::Nothing);
        let theirs = genesis.run(test, chain, &Sequential { chain }, Beside::Nothing);
        if let (Err(Stop::Failure(ours)), Err(Stop::Failure(theirs))) = (ours, theirs)
            && ours.to_string() == theirs.to_string()
        {
            // Two hashes of lists say nothing; where the list that the test gives parts from execution says it.
            let of_list = ours.is_about_access_list_hash();
            return Verdict::OracleFails { failure: if of_list { failure } else { ours } };
        }
    }
    Verdict::Failed { threads, failure }
}

/// The chain of a network, or why there is none.
///
/// # Errors
/// Says why the network's tests are not run.
pub(super) fn chain_of_network(network: &str, configuration: &Configuration) -> Result<ChainSpec, String> {
    let chain_id = configuration.chainid.and_then(|id| id.to_u64()).unwrap_or(1);
    let entry = |(name, entry): (&String, &BlobEntry)| Some((ChainSpec::fork_by_name(name)?, blob_params(entry)?));
    let blob_params = configuration.blob_schedule.iter().filter_map(entry);
    ChainSpec::by_network(network, chain_id, blob_params).map_err(|error| match error {
        NetworkError::Chain(ChainSpecError::PlainConstantinople { .. }) => {
            "the EVM in use does not model Constantinople without Petersburg".to_owned()
        }
        other => chain_of(&other),
    })
}

fn blob_params(entry: &BlobEntry) -> Option<BlobParams> {
    let update_fraction = u128::try_from(entry.base_fee_update_fraction.0).ok()?;
    let (target_blob_count, max_blob_count) = (entry.target.to_u64()?, entry.max.to_u64()?);
    Some(BlobParams { target_blob_count, max_blob_count, update_fraction, ..BlobParams::cancun() })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Every valid block is executed by the oracle too, and the outcomes are compared.
    Oracle,
    Nothing,
}

enum Stop {
    Failure(Box<Failure>),
    Interrupted,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

/// The block that a test begins with, and its state.
struct Genesis {
    hash: B256,
    header: Header,
    snapshot: Snapshot,
}

impl Genesis {
    fn of(test: &BlockchainTest) -> Result<Self, Box<Failure>> {
        let decoded = decode_block(&test.genesis_rlp).map_err(|error| Box::new(Failure::Genesis(chain_of(&error))))?;
        let (hash, header) = (decoded.hash, decoded.block.header);
        if let Some(expected) = test.genesis_hash.filter(|expected| *expected != hash) {
            return Err(Box::new(Failure::Genesis(format!("its hash is {hash}, expected {expected}"))));
        }
        let state = accounts::state_of(&test.pre).map_err(|address| Box::new(Failure::Nonce(address)))?;
        let snapshot = Snapshot::new(state);
        let (root, expected) = (snapshot.root(), header.state_root);
        if root != expected {
            let problem = format!("the pre-state has the root {root}, its header says {expected}");
            return Err(Box::new(Failure::Genesis(problem)));
        }
        Ok(Self { hash, header, snapshot })
    }

    /// Whether blocks are invalid without the contracts that collect requests. Suites that were written for Amsterdam before
    /// EIP-8282 was part of it have no such contracts of builders, and expect none.
    fn request_contracts(&self, chain: &ChainSpec) -> RequestContracts {
        let has_code = |contract: Address| {
            self.snapshot.state().account(&contract).ok().flatten().is_some_and(|account| account.has_code())
        };
        let is_older = chain.is_amsterdam_active_at_timestamp(0) && !BUILDER_CONTRACTS.into_iter().any(has_code);
        if is_older { RequestContracts::Assumed } else { RequestContracts::Required }
    }

    fn run(
        &self,
        test: &BlockchainTest,
        chain: &Arc<ChainSpec>,
        executor: &impl Execute,
        beside: Beside,
    ) -> Result<Vec<Remark>, Stop> {
        let tree = BlockTree::new(Arc::clone(chain), self.hash, self.header.clone(), self.snapshot.clone());
        let mut run = Run { test, tree, executor, beside, remarks: Vec::new(), objection: None };
        for (place, block) in test.blocks.iter().enumerate() {
            run.block(place, block)?;
        }
        run.end()?;
        Ok(run.remarks)
    }
}

/// One run of a test.
struct Run<'a, E> {
    test: &'a BlockchainTest,
    tree: BlockTree,
    executor: &'a E,
    beside: Beside,
    remarks: Vec<Remark>,
    /// What another way of executing a block said differently.
    objection: Option<String>,
}

impl<E: Execute> Run<'_, E> {
    fn block(&mut self, place: usize, block: &RecordedBlock) -> Result<(), Stop> {
        let head = self.tree.head();
        let imported = self.import(place, block);
        if let Err(ImportError::Execution(BlockError::Cancelled { .. })) = imported {
            return Err(Stop::Interrupted);
        }
        if let Some(objection) = self.objection.take() {
            return Err(Failure::Broken(format!("block {place} {objection}")).into());
        }
        match (imported, block.expected_on(&self.test.network)) {
            (Ok(found), None) => match block.hash.filter(|expected| *expected != found) {
                Some(expected) => Err(Failure::BlockHash { block: place, found, expected }.into()),
                None => Ok(()),
            },
            (Ok(_), Some(names)) => Err(Failure::Imported { block: place, expected: owned(&names) }.into()),
            (Err(error), None) => {
                let difference = self.expected_difference(place, block);
                Err(Failure::Rejected { block: place, error, difference }.into())
            }
            (Err(error), Some(names)) if !reasons::is_expected(&error, &names) => {
                Err(Failure::OtherReason { block: place, expected: owned(&names), error }.into())
            }
            (Err(_), Some(_)) => self.check_no_trace(place, head),
        }
    }

    fn import(&mut self, place: usize, block: &RecordedBlock) -> Result<B256, ImportError> {
        let Self { tree, executor, beside, remarks, objection, .. } = self;
        let chain = Arc::clone(tree.chain());
        let must_be_valid = block.expected_on(&self.test.network).is_none();
        let list = block.access_list.as_ref().and_then(lists::read).map(Arc::new);
        tree.import(&block.rlp, list.as_ref(), *executor, |block, parent, ours| {
            if let Some(found) = ours.ok().and_then(|executed| executed.objection.clone()) {
                objection.get_or_insert(found);
            }
            if *beside == Beside::Oracle && must_be_valid {
                let difference = beside_oracle(&chain, block, parent, ours);
                remarks.extend(difference.map(|difference| format!("block {place}: {difference}")));
            }
        })
    }

    fn head_state(&mut self) -> Result<Arc<MemoryState>, Stop> {
        self.tree.head_state().map_err(|error| Failure::Broken(chain_of(&error)).into())
    }

    /// A block that was rejected must leave the head, and the state after it, as they were.
    fn check_no_trace(&mut self, place: usize, head: B256) -> Result<(), Stop> {
        let state = self.head_state()?;
        let is_as_before = self.tree.head() == head && state.state_root() == self.tree.head_root();
        if is_as_before { Ok(()) } else { Err(Failure::Trace { block: place }.into()) }
    }

    /// Where the state of a rejected block parts from the one that the test expects in the end, if it is the end.
    fn expected_difference(&mut self, place: usize, block: &RecordedBlock) -> Option<StateDifference> {
        let is_last = self.test.blocks[place + 1..].iter().all(|later| later.hash.is_none());
        let expected = self.test.post_state.as_ref().filter(|_| is_last)?;
        let state = self.tree.state_of_refused(&block.rlp, self.executor)?;
        accounts::first_difference(&state, expected)
    }

    fn end(&mut self) -> Result<(), Stop> {
        let (found, expected) = (self.tree.head(), self.test.last_block_hash);
        if found != expected {
            return Err(Failure::Head { found, expected }.into());
        }
        let state = self.head_state()?;
        let post_state = self.test.post_state.as_ref();
        if let Some(difference) = post_state.and_then(|expected| accounts::first_difference(&state, expected)) {
            return Err(Failure::State(difference).into());
        }
        match self.test.post_state_hash.map(|expected| (state.state_root(), expected)) {
            Some((found, expected)) if found != expected => {
                Err(Failure::StateRoot { found, expected, difference: None }.into())
            }
            _ => Ok(()),
        }
    }
}

/// What the oracle says differently about a block. Where suite and oracle part the suite is right; that they do is
/// worth a remark.
pub(super) fn beside_oracle(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    parent: &Arc<MemoryState>,
    ours: Result<&Executed, &BlockError>,
) -> Option<String> {
    let theirs = oracle::execute(chain, block, &**parent);
    match (ours, &theirs) {
        (Ok(ours), Ok(theirs)) => compare::results(Ok(&ours.outcome), Ok(theirs))
            .map(|difference| format!("the oracle differs: {difference}")),
        (Ok(_), Err(error)) => Some(format!("the oracle rejects it: {}", chain_of(error))),
        (Err(_), _) => None,
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
