//! The oracle: a block in order, by alloy-evm's executor on revm's `State`.
//!
//! It shares no scheduling, no multi-version memory and no adapter with the engine, and it alone names
//! `EthBlockExecutor`. [`execute`] answers what a block does. [`Oracle`] is the same in steps, so that a benchmark can
//! time exactly the part that it compares with the engine:
//!
//! ```text
//! Oracle::prepare    environment of the block; every code the block runs, analysed       not timed
//! Oracle::start      environments of the transactions, which execution consumes          not timed
//! Run::execute       system calls, transactions, receipts with bloom, requests,
//!                    rewards, withdrawals, reverts, bundle                                T_seq
//! Finished::outcome  bundle to changes                                                    not timed
//! ```
//!
//! The limit of a block's blobs (EIP-4844), which alloy-evm leaves to the header, is asked here at each transaction.
//! It makes the DAO move of EIP-779 at the end of its block, where the rules have it at the beginning; the recorded
//! block cannot tell.
//!
//! alloy-evm reports failures of the state as text in places. The [`StateReader`]'s error is therefore kept aside when
//! it happens and decides over whatever alloy-evm makes of it.

mod adapter;
mod verdict;

use std::{borrow::Cow, cell::RefCell, fmt};

use alloy_consensus::{ReceiptEnvelope, Transaction as _};
use alloy_eip7928::{AccountChanges, BlockAccessIndex};
use alloy_eips::eip4895::Withdrawal;
use alloy_evm::{
    EthEvmFactory, Evm as _, EvmEnv, EvmFactory,
    block::{BlockExecutionError, BlockExecutionResult, BlockExecutor},
    eth::{EthBlockExecutionCtx, EthBlockExecutor, receipt_builder::AlloyReceiptBuilder},
};
use alloy_hardforks::EthereumHardforks;
use revm::{
    context::TxEnv,
    database::{BundleState, State, states::bundle_state::BundleRetention},
    primitives::hardfork::SpecId,
};
use ropewalk_state::StateReader;

use self::adapter::{Codes, ReaderDatabase};
use crate::{
    BlockError, BlockOutcome, ChainSpec, InvalidTransactions, Position, RecoveredBlock, SkippedTransaction,
    TransactionFault, changes_from_bundle, eip4844, rewards,
};

/// Executes a block in order.
///
/// # Errors
/// When the block is invalid or the state cannot be read.
pub fn execute<R: StateReader + ?Sized>(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    reader: &R,
) -> Result<BlockOutcome, BlockError> {
    Oracle::new(chain, block, reader, InvalidTransactions::Reject)?.start().execute()?.outcome()
}

/// Executes a block in order and has revm make its access list (EIP-7928), from its own journal.
///
/// # Errors
/// When the block is invalid or the state cannot be read.
pub fn execute_with_access_list<R: StateReader + ?Sized>(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    reader: &R,
) -> Result<(BlockOutcome, Vec<AccountChanges>), BlockError> {
    let mut oracle = Oracle::new(chain, block, reader, InvalidTransactions::Reject)?;
    oracle.lists_accesses = true;
    let mut finished = oracle.start().execute()?;
    let list = std::mem::take(&mut finished.access_list);
    Ok((finished.outcome()?, list))
}

/// A block that can be executed in order any number of times.
pub struct Oracle<'a, R: ?Sized> {
    chain: Cow<'a, ChainSpec>,
    block: &'a RecoveredBlock,
    reader: &'a R,
    env: EvmEnv<SpecId>,
    invalid: InvalidTransactions,
    lists_accesses: bool,
    codes: RefCell<Codes>,
}

/// One execution, ready to go.
pub struct Run<'o, R: ?Sized> {
    oracle: &'o Oracle<'o, R>,
    transactions: Vec<TxEnv>,
}

/// One execution, done.
#[derive(Debug)]
pub struct Finished {
    result: BlockExecutionResult<ReceiptEnvelope>,
    bundle: BundleState,
    skipped: Vec<SkippedTransaction>,
    /// As revm makes it; empty where nobody asked for it.
    access_list: Vec<AccountChanges>,
}

impl<'a, R: StateReader + ?Sized> Oracle<'a, R> {
    /// An oracle that analyses code when it first meets it.
    ///
    /// # Errors
    /// When an ommer of the block cannot be rewarded.
    pub fn new(
        chain: &'a ChainSpec,
        block: &'a RecoveredBlock,
        reader: &'a R,
        invalid: InvalidTransactions,
    ) -> Result<Self, BlockError> {
        let env = chain.evm_env(&block.header);
        let chain = chain.for_block(&block.header);
        // alloy-evm computes the reward of an ommer of any age, and wraps around where there is none.
        if !chain.is_paris_active_at_block(block.header.number) {
            rewards::check_ommers(block)?;
        }
        Ok(Self { chain, block, reader, env, invalid, lists_accesses: false, codes: RefCell::default() })
    }

    /// An oracle that has all code of the block analysed: the block is executed once to find out which that is.
    ///
    /// # Errors
    /// When the block is invalid or the state cannot be read.
    pub fn prepare(
        chain: &'a ChainSpec,
        block: &'a RecoveredBlock,
        reader: &'a R,
        invalid: InvalidTransactions,
    ) -> Result<Self, BlockError> {
        let oracle = Self::new(chain, block, reader, invalid)?;
        oracle.start().execute()?;
        Ok(oracle)
    }

    /// Makes an execution ready.
    pub fn start(&self) -> Run<'_, R> {
        let transactions = self.block.transactions.iter().map(|transaction| (*transaction.env).clone()).collect();
        Run { oracle: self, transactions }
    }

    fn context(&self) -> EthBlockExecutionCtx<'_> {
        let header = &self.block.header;
        let withdrawals = self.block.withdrawals.as_ref();
        EthBlockExecutionCtx {
            parent_hash: header.parent_hash,
            parent_beacon_block_root: header.parent_beacon_block_root,
            ommers: &self.block.ommers,
            withdrawals: withdrawals.map(|withdrawals| Cow::<[Withdrawal]>::Borrowed(withdrawals)),
            extra_data: header.extra_data.clone(),
            tx_count_hint: Some(self.block.transactions.len()),
            slot_number: header.slot_number,
        }
    }
}

impl<R: StateReader + ?Sized> Run<'_, R> {
    /// Executes the block: the time this takes is `T_seq`.
    ///
    /// # Errors
    /// When the block is invalid or the state cannot be read.
    pub fn execute(self) -> Result<Finished, BlockError> {
        self.execute_told(|_| ())
    }

    /// As [`execute`](Self::execute), and tells before each transaction, and after the last, where it stands.
    ///
    /// # Errors
    /// As `execute`.
    pub fn execute_told(self, mut begin: impl FnMut(Position)) -> Result<Finished, BlockError> {
        let failure = RefCell::new(None);
        let database = ReaderDatabase::new(self.oracle.reader, &self.oracle.codes, &failure);
        let lists_accesses = self.oracle.lists_accesses;
        let state = State::builder().with_database(database).with_bundle_update();
        let mut state = state.with_bal_builder_if(lists_accesses).build();
        let mut position = Position::PreBlock;
        match self.run_on(&mut state, &mut position, &mut begin) {
            Ok((result, skipped)) => {
                state.merge_transitions(BundleRetention::Reverts);
                let access_list = state.take_built_alloy_bal().unwrap_or_default();
                Ok(Finished { result, bundle: state.take_bundle(), skipped, access_list })
            }
            Err(error) => Err(verdict::block_error(error, position, failure.take())),
        }
    }

    /// `position` is left at what failed.
    fn run_on(
        self,
        state: &mut State<ReaderDatabase<'_, R>>,
        position: &mut Position,
        begin: &mut impl FnMut(Position),
    ) -> Result<(BlockExecutionResult<ReceiptEnvelope>, Vec<SkippedTransaction>), BlockExecutionError> {
        let Self { oracle, transactions } = self;
        let evm = EthEvmFactory::default().create_evm(state, oracle.env.clone());
        let receipts = AlloyReceiptBuilder::default();
        let mut executor = EthBlockExecutor::new(evm, oracle.context(), oracle.chain.as_ref(), receipts);
        let mut skipped = Vec::new();
        let (blob_limit, mut blob_gas) = (eip4844::blob_limit(&oracle.chain, oracle.block.header.timestamp), 0);
        executor.apply_pre_execution_changes()?;
        for (index, (env, transaction)) in transactions.into_iter().zip(&oracle.block.transactions).enumerate() {
            *position = Position::Transaction(index);
            begin(*position);
            executor.evm_mut().db_mut().set_bal_index(BlockAccessIndex::new(index as u64 + 1));
            let recovered = &transaction.recovered;
            let output = executor.execute_transaction_without_commit((env, recovered));
            let too_many = eip4844::refusal(recovered, blob_gas, blob_limit);
            let fault = match output.as_ref().err().and_then(verdict::transaction_fault) {
                Some(fault @ TransactionFault::BlockGas { .. }) => Some(fault),
                fault => too_many.or(fault),
            };
            match (output, fault) {
                (_, Some(fault)) if oracle.invalid == InvalidTransactions::Skip => {
                    skipped.push(SkippedTransaction { index, fault });
                }
                (_, Some(fault)) => return Err(verdict::refusal(fault)),
                (Err(error), None) => return Err(error),
                (Ok(output), None) => {
                    executor.commit_transaction(output);
                    blob_gas += recovered.blob_gas_used().unwrap_or_default();
                }
            }
        }
        *position = Position::PostBlock;
        begin(*position);
        let last = BlockAccessIndex::new(oracle.block.transactions.len() as u64 + 1);
        executor.evm_mut().db_mut().set_bal_index(last);
        let (_, result) = executor.finish()?;
        Ok((result, skipped))
    }
}

impl Finished {
    /// The outcome with changes in normal form.
    ///
    /// # Errors
    /// When revm changed an account's code and does not hold the new code.
    pub fn outcome(self) -> Result<BlockOutcome, BlockError> {
        let Self {
            result: BlockExecutionResult { receipts, requests, gas_used, blob_gas_used }, bundle, skipped, ..
        } = self;
        let changes = changes_from_bundle(&bundle)?;
        Ok(BlockOutcome { receipts, requests, gas_used, blob_gas_used, changes, skipped })
    }

    /// The bundle as revm made it.
    pub fn bundle(&self) -> &BundleState {
        &self.bundle
    }
}

impl<R: ?Sized> fmt::Debug for Oracle<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oracle")
            .field("block", &self.block.hash)
            .field("invalid", &self.invalid)
            .finish_non_exhaustive()
    }
}

impl<R: ?Sized> fmt::Debug for Run<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("oracle", &self.oracle).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
