//! What happens to each transaction in block order: block gas, receipts, verdicts.
//!
//! Block gas is counted in declared gas, against what the transactions before have used (Yellow Paper, section 6.2): it
//! is asked before a result is looked at, as alloy-evm asks it before executing, which fixes which of two errors a block
//! gets. Blob gas is asked next (EIP-4844). From Amsterdam on there are two lanes of block gas (EIP-8037), and refunds do
//! not give it back (EIP-7778).

use std::sync::Arc;

use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxType};
use alloy_evm::EvmEnv;
use alloy_primitives::{Bloom, Log};
use revm::{
    context::Cfg,
    context_interface::result::{ExecutionResult, ResultGas},
};
use ropewalk_engine::{CommitHook, Decision, DependencyRecorder, Effects, TxIndex};
use ropewalk_evm::{Accesses, EvmProgram, ExecutionFailure, Transaction, TransactionInspector, TxOutput};

use super::{footprint::Footprints, transcript::Transcript};
use crate::{
    BlockError, BrokenInvariant, ChainSpec, InvalidBlock, InvalidTransactions, Position, RecoveredBlock,
    SkippedTransaction, TransactionFault, eip4844,
};

/// Gas of the block so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockGas {
    limit: u64,
    /// Most regular gas that a transaction can use (EIP-7825).
    cap_per_transaction: u64,
    /// Whether the two lanes of EIP-8037 are counted.
    two_lanes: bool,
    /// After refunds, as receipts count it.
    cumulative: u64,
    /// Regular lane, before refunds.
    regular: u64,
    /// State lane.
    state: u64,
    /// Of blobs (EIP-4844).
    pub(super) blob: u64,
}

impl BlockGas {
    /// The gas of a block that has used none yet.
    pub(super) fn of(env: &EvmEnv) -> Self {
        Self {
            limit: env.block_env.gas_limit,
            cap_per_transaction: env.cfg_env.tx_gas_limit_cap(),
            two_lanes: env.cfg_env.enable_amsterdam_eip8037,
            cumulative: 0,
            regular: 0,
            state: 0,
            blob: 0,
        }
    }

    /// Why a transaction that declares `limit_gas` does not fit, if it does not.
    fn refusal(&self, limit_gas: u64) -> Option<TransactionFault> {
        let used = if self.two_lanes { self.regular } else { self.cumulative };
        let available_gas = self.limit.saturating_sub(used);
        if limit_gas.min(self.cap_per_transaction) > available_gas {
            return Some(TransactionFault::BlockGas { limit_gas, available_gas });
        }
        let available_gas = self.limit.saturating_sub(self.state);
        (self.two_lanes && limit_gas > available_gas).then_some(TransactionFault::BlockGas { limit_gas, available_gas })
    }

    fn add(&mut self, gas: &ResultGas) {
        self.cumulative += gas.tx_gas_used();
        self.regular += gas.block_regular_gas_used();
        self.state += gas.block_state_gas_used();
    }

    /// What the header calls gas used.
    pub(super) fn block_gas_used(&self) -> u64 {
        if self.two_lanes { self.regular.max(self.state) } else { self.cumulative }
    }
}

/// The commit hook of a block.
pub(super) struct Receipts<'a> {
    block: &'a RecoveredBlock,
    /// Most blob gas of the block, where it counts any.
    blob_limit: Option<u64>,
    invalid: InvalidTransactions,
    pub(super) gas: BlockGas,
    pub(super) receipts: Vec<ReceiptEnvelope>,
    pub(super) skipped: Vec<SkippedTransaction>,
    pub(super) inspectors: Vec<Box<dyn TransactionInspector>>,
    /// Takes down what each kept transaction does, where that is asked for.
    pub(super) transcript: Option<Transcript<'a>>,
    /// Finds out what each kept transaction depends on, where that is asked for.
    pub(super) dependencies: Option<DependencyRecorder<EvmProgram>>,
    /// Takes down what each kept transaction observes and writes, where that is asked for.
    pub(super) footprints: Option<Footprints>,
    /// Why the run was stopped.
    failure: Option<BlockError>,
}

impl<'a> Receipts<'a> {
    pub(super) fn new(
        chain: &ChainSpec,
        block: &'a RecoveredBlock,
        gas: BlockGas,
        invalid: InvalidTransactions,
        transcript: Option<Transcript<'a>>,
    ) -> Self {
        Self {
            block,
            blob_limit: eip4844::blob_limit(chain, block.header.timestamp),
            invalid,
            gas,
            receipts: Vec::with_capacity(block.transactions.len()),
            skipped: Vec::new(),
            inspectors: Vec::new(),
            transcript,
            dependencies: None,
            footprints: None,
            failure: None,
        }
    }

    /// The hook itself, unless it stopped the run.
    ///
    /// # Errors
    /// The reason why it did.
    pub(super) fn finish(mut self) -> Result<Self, BlockError> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(self),
        }
    }

    /// A transaction cannot be where it is.
    fn refuse(&mut self, index: TxIndex, fault: TransactionFault) -> Decision {
        let index = index.at();
        match self.invalid {
            InvalidTransactions::Skip => {
                self.skipped.push(SkippedTransaction { index, fault });
                Decision::Skip
            }
            InvalidTransactions::Reject => self.stop(InvalidBlock::Transaction { index, fault }.into()),
        }
    }

    fn stop(&mut self, failure: BlockError) -> Decision {
        self.failure = Some(failure);
        Decision::Stop
    }

    /// Takes down what a transaction does that is about to be kept.
    fn take_down(
        &mut self,
        index: TxIndex,
        gas_used: u64,
        effects: &Effects<'_, EvmProgram>,
        accesses: Option<Box<Accesses>>,
    ) -> Result<(), BlockError> {
        let position = Position::Transaction(index.at());
        if let Some(dependencies) = &mut self.dependencies {
            dependencies.add(index, effects).map_err(|source| BlockError::State { position, source })?;
        }
        if let Some(footprints) = &mut self.footprints {
            let added = footprints.add(index, gas_used, effects);
            added.map_err(|source| BlockError::State { position, source })?;
        }
        let Some(transcript) = &mut self.transcript else { return Ok(()) };
        transcript.add_transaction(index, effects, accesses)
    }

    fn keep(&mut self, index: TxIndex, result: ExecutionResult, bloom: Option<Box<Bloom>>) {
        let transaction = &self.block.transactions[index.at()].recovered;
        self.gas.add(result.gas());
        if self.blob_limit.is_some() {
            self.gas.blob = self.gas.blob.saturating_add(transaction.blob_gas_used().unwrap_or_default());
        }
        let status = Eip658Value::Eip658(result.is_success());
        let receipt = Receipt { status, cumulative_gas_used: self.gas.cumulative, logs: result.into_logs() };
        let logs_bloom = bloom.map_or(Bloom::ZERO, |bloom| *bloom);
        self.receipts.push(envelope(transaction.tx_type(), ReceiptWithBloom { receipt, logs_bloom }));
    }
}

impl CommitHook<EvmProgram> for Receipts<'_> {
    fn admit(&mut self, index: TxIndex, transaction: &Transaction) -> Decision {
        let recovered = &self.block.transactions[index.at()].recovered;
        let of_gas = self.gas.refusal(transaction.env().gas_limit);
        match of_gas.or_else(|| eip4844::refusal(recovered, self.gas.blob, self.blob_limit)) {
            None => Decision::Keep,
            Some(fault) => self.refuse(index, fault),
        }
    }

    fn commit_transaction(&mut self, index: TxIndex, output: TxOutput, effects: Effects<'_, EvmProgram>) -> Decision {
        let TxOutput { result, bloom, inspector, accesses, .. } = output;
        match result {
            Ok(result) => {
                if let Err(failure) = self.take_down(index, result.gas().tx_gas_used(), &effects, accesses) {
                    return self.stop(failure);
                }
                self.keep(index, result, bloom);
                self.inspectors.extend(inspector);
                Decision::Keep
            }
            Err(ExecutionFailure::Invalid(fault)) => self.refuse(index, fault.into()),
            Err(ExecutionFailure::Header(fault)) => self.stop(InvalidBlock::Header(fault).into()),
            Err(failure @ ExecutionFailure::Fatal(_)) => {
                let position = Position::Transaction(index.at());
                self.stop(BrokenInvariant::Evm { position, source: Arc::new(failure) }.into())
            }
        }
    }
}

/// A receipt in the envelope of its transaction's type, its bloom already made.
fn envelope(tx_type: TxType, receipt: ReceiptWithBloom<Receipt<Log>>) -> ReceiptEnvelope {
    match tx_type {
        TxType::Legacy => ReceiptEnvelope::Legacy(receipt),
        TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
        TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
        TxType::Eip4844 => ReceiptEnvelope::Eip4844(receipt),
        TxType::Eip7702 => ReceiptEnvelope::Eip7702(receipt),
    }
}
