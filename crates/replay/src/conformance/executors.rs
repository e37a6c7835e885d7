//! What blocks are executed by: the engine on so many threads, or the oracle.

use std::{num::NonZeroUsize, sync::Arc};

use ropewalk_block::{
    BlockError, BlockExecutor, CancelToken, ChainSpec, CodeCache, Engine, ExecutorOptions, RecoveredBlock,
    RequestContracts, Schedule, oracle,
};
use ropewalk_state::StateReader;

use super::tree::{Execute, Executed};
use crate::session::NoThreads;

/// Engines for the numbers of threads that were asked for. They are one lane's own and serve it from test to test.
#[derive(Debug)]
pub(super) struct Engines {
    engines: Vec<Engine>,
    options: ExecutorOptions,
}

impl Engines {
    /// Engines that run under `schedule`, never inline.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub(super) fn new(
        threads: &[NonZeroUsize],
        schedule: Schedule,
        codes: Arc<CodeCache>,
        cancel: CancelToken,
    ) -> Result<Self, NoThreads> {
        let engine = |threads: &NonZeroUsize| {
            Engine::new(*threads).map_err(|source| NoThreads { threads: threads.get(), source })
        };
        let engines = threads.iter().map(engine).collect::<Result<_, _>>()?;
        let options = ExecutorOptions {
            request_contracts: RequestContracts::Required,
            codes,
            schedule,
            inline_below_gas: Some(0),
            cancel: Some(cancel),
            ..ExecutorOptions::default()
        };
        Ok(Self { engines, options })
    }

    /// One executor for blocks of `chain` for each number of threads.
    pub(super) fn executors<'a>(&'a self, chain: &'a Arc<ChainSpec>) -> impl Iterator<Item = Parallel> + 'a {
        self.with_options(chain, &self.options)
    }

    /// The same for transactions without a block around them: whoever collects requests may be missing.
    pub(super) fn for_transactions<'a>(&'a self, chain: &'a Arc<ChainSpec>) -> impl Iterator<Item = Parallel> + 'a {
        let options = ExecutorOptions { request_contracts: RequestContracts::Assumed, ..self.options.clone() };
        self.engines.iter().map(move |engine| Parallel::new(chain, engine, options.clone()))
    }

    fn with_options<'a>(
        &'a self,
        chain: &'a Arc<ChainSpec>,
        options: &'a ExecutorOptions,
    ) -> impl Iterator<Item = Parallel> + 'a {
        self.engines.iter().map(|engine| Parallel::new(chain, engine, options.clone()))
    }
}

/// The engine on a number of threads.
#[derive(Debug)]
pub(super) struct Parallel {
    pub(super) threads: usize,
    executor: BlockExecutor,
}

impl Parallel {
    fn new(chain: &Arc<ChainSpec>, engine: &Engine, options: ExecutorOptions) -> Self {
        let executor = BlockExecutor::new(Arc::clone(chain), engine.clone(), options);
        Self { threads: engine.threads(), executor }
    }
}

impl Execute for Parallel {
    fn execute(&self, block: &RecoveredBlock, parent: Arc<dyn StateReader>) -> Result<Executed, BlockError> {
        let execution = self.executor.execute(block, parent)?;
        Ok(Executed { outcome: execution.outcome, positions: Vec::new() })
    }
}

/// The oracle.
#[derive(Debug)]
pub(super) struct Sequential<'a> {
    pub(super) chain: &'a ChainSpec,
}

impl Execute for Sequential<'_> {
    fn execute(&self, block: &RecoveredBlock, parent: Arc<dyn StateReader>) -> Result<Executed, BlockError> {
        let outcome = oracle::execute(self.chain, block, &*parent)?;
        Ok(Executed { outcome, positions: Vec::new() })
    }
}
