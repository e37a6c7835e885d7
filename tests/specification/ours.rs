//! Ropewalk's side: the block through the parallel executor, in several ways.

use std::{
    num::NonZeroUsize,
    sync::{Arc, LazyLock},
};

use alloy_primitives::{B256, U256, uint};
use ropewalk_block::{
    BlockError, BlockExecutor, BlockOutcome, CodeCache, Engine, ExecutorOptions, Frontier, InvalidTransactions,
    RecoveredBlock, RequestContracts, Schedule, recover,
};
use ropewalk_state::{MemoryState, StateReader};

use crate::{case::Case, fork::Fork};

static ENGINES: LazyLock<[Engine; 3]> = LazyLock::new(|| {
    [1, 2, 8].map(|threads| {
        let threads = NonZeroUsize::new(threads).expect("not zero");
        Engine::new(threads).expect("the system gives threads")
    })
});

/// One cache for all blocks: what one block leaves there must not matter to the next.
static CODES: LazyLock<Arc<CodeCache>> = LazyLock::new(Arc::default);

/// What a block before Byzantium pays its beneficiary.
const REWARD_WEI: U256 = uint!(5_000_000_000_000_000_000_U256);

/// A way to execute a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    threads: usize,
    schedule: Schedule,
}

impl Way {
    /// The way that is looked at first: one thread, in order.
    pub(crate) const PLAIN: Self = Self { threads: 1, schedule: Schedule::Normal };

    /// Each number of threads, in order and backwards.
    pub(crate) fn all(seed: u64) -> impl Iterator<Item = Self> {
        let schedules = [Schedule::Normal, Schedule::Adversarial { seed }];
        [1, 2, 8].into_iter().flat_map(move |threads| schedules.map(|schedule| Self { threads, schedule }))
    }

    fn engine(self) -> Engine {
        ENGINES.iter().find(|engine| engine.threads() == self.threads).expect("an engine of each size").clone()
    }

    fn options(self) -> ExecutorOptions {
        let frontier = match self.schedule {
            Schedule::Normal => Frontier::Eager,
            Schedule::Adversarial { .. } => Frontier::Never,
        };
        ExecutorOptions {
            invalid: InvalidTransactions::Skip,
            request_contracts: RequestContracts::Required,
            codes: Arc::clone(&CODES),
            schedule: self.schedule,
            frontier,
            inline_below_gas: Some(0),
            ..ExecutorOptions::default()
        }
    }
}

/// What a block comes to.
#[derive(Debug)]
pub(crate) struct Result {
    pub(crate) outcome: BlockOutcome,
    pub(crate) state: MemoryState,
}

/// The case made ready for execution.
#[derive(Debug)]
pub(crate) struct Prepared {
    fork: Fork,
    block: RecoveredBlock,
    state: Arc<MemoryState>,
}

impl Prepared {
    pub(crate) fn new(case: &Case) -> Self {
        let block = recover(&case.fork.chain(), case.block(), None).expect("signatures of ours");
        Self { fork: case.fork, block, state: Arc::new(case.state()) }
    }

    pub(crate) fn run(&self, way: Way) -> std::result::Result<Result, BlockError> {
        self.run_block(&self.block, way)
    }

    fn run_block(&self, block: &RecoveredBlock, way: Way) -> std::result::Result<Result, BlockError> {
        let reader: Arc<dyn StateReader> = Arc::<MemoryState>::clone(&self.state);
        let executor = BlockExecutor::new(self.fork.chain(), way.engine(), way.options());
        let outcome = executor.execute(block, reader)?.outcome;
        let mut state = (*self.state).clone();
        state.apply(&outcome.changes);
        Ok(Result { outcome, state })
    }

    /// Whether `root` is the state root after the first `count` transactions, before rewards: what receipts before
    /// Byzantium hold.
    ///
    /// The block is cut off there, and what its end adds is taken away again. Where nothing is left of the beneficiary
    /// then, the reward does not tell whether it was there before; either counts.
    pub(crate) fn has_root_after(&self, count: usize, root: Option<B256>) -> std::result::Result<bool, BlockError> {
        let mut block = self.block.clone();
        block.transactions.truncate(count);
        block.ommers.clear();
        let Result { mut state, .. } = self.run_block(&block, Way::PLAIN)?;
        let beneficiary = block.header.beneficiary;
        let mut account = state.account(&beneficiary).expect("a state in maps").expect("it was rewarded");
        account.balance -= REWARD_WEI;
        state.insert_account(beneficiary, Some(account));
        let present = Some(state.state_root()) == root;
        if present || !account.is_empty() {
            return Ok(present);
        }
        state.insert_account(beneficiary, None);
        Ok(Some(state.state_root()) == root)
    }
}
