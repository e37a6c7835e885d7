//! What blocks are executed by: the engine on so many threads, or the oracle.

use std::{num::NonZeroUsize, sync::Arc};

use alloy_consensus::Header;
use alloy_hardforks::EthereumHardforks;
use ropewalk_block::{
    AccessList, BlockError, BlockExecutor, BlockOutcome, CancelToken, ChainSpec, CodeCache, Engine, ExecutorOptions,
    InvalidTransactions, RecoveredBlock, RequestContracts, Schedule, Shortcuts, oracle,
};
use ropewalk_state::StateReader;

use super::tree::{Execute, Executed};
use crate::{
    compare::{self, chain_of},
    session::NoThreads,
};

/// Which access lists blocks are executed by, besides being executed without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lists {
    /// None.
    None,
    /// Those that a test gives.
    Given,
    /// Those that a test gives, and every block's own.
    GivenAndOwn,
}

/// Engines for the numbers of threads that were asked for. They are one lane's own and serve it from test to test.
#[derive(Debug)]
pub(super) struct Engines {
    engines: Vec<Engine>,
    options: ExecutorOptions,
    lists: Lists,
}

impl Engines {
    /// Engines that run under `schedule` with these shortcuts, never inline.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub(super) fn new(
        threads: &[NonZeroUsize],
        schedule: Schedule,
        shortcuts: Shortcuts,
        lists: Lists,
        codes: Arc<CodeCache>,
        cancel: CancelToken,
    ) -> Result<Self, NoThreads> {
        let engine = |threads: &NonZeroUsize| {
            Engine::new(*threads).map_err(|source| NoThreads { threads: threads.get(), source })
        };
        let engines = threads.iter().map(engine).collect::<Result<_, _>>()?;
        let options = ExecutorOptions {
            codes,
            schedule,
            shortcuts,
            record: true,
            inline_below_gas: Some(0),
            cancel: Some(cancel),
            ..ExecutorOptions::default()
        };
        Ok(Self { engines, options, lists })
    }

    /// One executor for each number of threads that leaves invalid transactions out, with that number.
    pub(super) fn builders<'a>(
        &'a self,
        chain: &'a Arc<ChainSpec>,
    ) -> impl Iterator<Item = (usize, BlockExecutor)> + 'a {
        let invalid = InvalidTransactions::Skip;
        let options = ExecutorOptions { invalid, record: false, ..self.options.clone() };
        let executor = move |engine: &Engine| BlockExecutor::new(Arc::clone(chain), engine.clone(), options.clone());
        self.engines.iter().map(move |engine| (engine.threads(), executor(engine)))
    }

    /// The lists that were asked for.
    pub(super) fn lists(&self) -> Lists {
        self.lists
    }

    /// One executor for blocks of `chain` for each number of threads.
    pub(super) fn executors<'a>(
        &'a self,
        chain: &'a Arc<ChainSpec>,
        request_contracts: RequestContracts,
        lists: Lists,
    ) -> impl Iterator<Item = Parallel> + 'a {
        let options = ExecutorOptions { request_contracts, ..self.options.clone() };
        self.engines.iter().map(move |engine| Parallel {
            threads: engine.threads(),
            chain: Arc::clone(chain),
            lists,
            executor: BlockExecutor::new(Arc::clone(chain), engine.clone(), options.clone()),
        })
    }
}

/// The engine on a number of threads.
#[derive(Debug)]
pub(super) struct Parallel {
    pub(super) threads: usize,
    chain: Arc<ChainSpec>,
    lists: Lists,
    executor: BlockExecutor,
}

impl Parallel {
    fn follow(
        &self,
        block: &RecoveredBlock,
        parent: &Arc<dyn StateReader>,
        list: &Arc<AccessList>,
    ) -> Result<BlockOutcome, BlockError> {
        Ok(self.executor.execute_by_access_list(block, Arc::clone(parent), list)?.outcome)
    }
}

impl Execute for Parallel {
    /// A list that came with a block of Amsterdam is part of the block: that it is another block's is the block's fault.
    /// A list that was made here must do.
    fn execute(
        &self,
        block: &RecoveredBlock,
        parent: Arc<dyn StateReader>,
        list: Option<&Arc<AccessList>>,
    ) -> Result<Executed, BlockError> {
        let list = list.filter(|_| self.lists != Lists::None && has_list(&self.chain, &block.header));
        let by_list = list.map(|list| self.follow(block, &parent, list));
        let by_list = by_list.transpose()?;
        let execution = self.executor.execute(block, Arc::clone(&parent))?;
        let outcome = execution.outcome;
        let mut objection = by_list.as_ref().and_then(|by_list| compare::results(Ok(by_list), Ok(&outcome)));
        let access_list = execution.record.as_ref().map(|record| Arc::new(record.access_list()));
        if let (Lists::GivenAndOwn, Some(list)) = (self.lists, &access_list) {
            match self.follow(block, &parent, list) {
                Ok(by_list) => objection = objection.or_else(|| compare::results(Ok(&by_list), Ok(&outcome))),
                Err(error @ BlockError::Cancelled { .. }) => return Err(error),
                Err(error) => {
                    let objection = Some(format!("by its own access list: {}", chain_of(&error)));
                    return Ok(Executed { outcome, record: execution.record, access_list, objection });
                }
            }
        }
        let objection = objection.map(|difference| format!("by its access list: {difference}"));
        Ok(Executed { outcome, record: execution.record, access_list, objection })
    }
}

/// Whether access lists are part of the block's fork.
fn has_list(chain: &ChainSpec, header: &Header) -> bool {
    chain.is_amsterdam_active_at_timestamp(header.timestamp)
}

/// The oracle.
#[derive(Debug)]
pub(super) struct Sequential<'a> {
    pub(super) chain: &'a ChainSpec,
}

impl Execute for Sequential<'_> {
    fn execute(
        &self,
        block: &RecoveredBlock,
        parent: Arc<dyn StateReader>,
        _: Option<&Arc<AccessList>>,
    ) -> Result<Executed, BlockError> {
        let (outcome, accounts) = oracle::execute_with_access_list(self.chain, block, &*parent)?;
        let access_list = Some(Arc::new(AccessList { accounts, extension: None }));
        Ok(Executed { outcome, record: None, access_list, objection: None })
    }
}
