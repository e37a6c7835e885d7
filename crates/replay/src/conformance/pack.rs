//! Tests joined into larger blocks: scheduling is not tested by blocks of one transaction.
//!
//! Tests with one valid block of one transaction, on the same network, are joined where their pre-states go together: an
//! account that two of them have is the same in both, or is the account that sends both transactions. Of senders the
//! balances are added up, and nonces count on from the first. What such a block should lead to no suite says, so it is
//! compared with the oracle; tests that need a rule which the oracle lacks are not joined. Transactions that cannot be where they come to stand are left out, by both.

use std::{collections::BTreeMap, sync::Arc};

use alloy_consensus::{
    Block, BlockBody, EthereumTxEnvelope, Header, Signed, Transaction, TxEip4844Variant, TxEnvelope,
    transaction::RlpEcdsaEncodableTx,
};
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::Address;
use ropewalk_block::{
    BlockError, BlockOutcome, ChainSpec, InvalidTransactions, RecoveredBlock, import::decode_block, oracle::Oracle,
    recover,
};
use ropewalk_state::{MemoryState, StateReader};

use super::{
    accounts,
    blockchain::chain_of_network,
    executors::Engines,
    suite::{Accounts, BlockchainTest, Configuration, RecordedAccount},
    verdict::{Failure, Verdict},
};
use crate::compare;

/// Packs of one network that are open at most; the first of them is closed before another one is opened.
const OPEN_PACKS: usize = 32;

/// Joins tests as they come.
#[derive(Debug)]
pub(super) struct Packer {
    tests_per_block: usize,
    open: BTreeMap<String, Vec<Pack>>,
    /// Tests that no block can be made of with others.
    pub(super) unfit: u64,
}

/// Tests that make one block.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) network: String,
    configuration: Configuration,
    /// Name of the first test.
    pub(super) first: String,
    header: Header,
    pre: Accounts,
    /// Transactions with their senders, in block order.
    transactions: Vec<(TxEnvelope, Address)>,
}

impl Packer {
    /// A packer that joins so many tests.
    pub(super) fn new(tests_per_block: usize) -> Self {
        Self { tests_per_block, open: BTreeMap::new(), unfit: 0 }
    }

    /// Adds a test, and gives a pack that is full, or has waited the longest while others were opened.
    pub(super) fn add(&mut self, name: &str, test: BlockchainTest) -> Option<Pack> {
        let Some(pack) = Pack::of(name, test) else {
            self.unfit += 1;
            return None;
        };
        let open = self.open.entry(pack.network.clone()).or_default();
        let Some(place) = open.iter().position(|other| other.goes_with(&pack)) else {
            open.push(pack);
            return (open.len() > OPEN_PACKS).then(|| open.remove(0));
        };
        open[place].join(pack);
        (open[place].tests() >= self.tests_per_block).then(|| open.remove(place))
    }

    /// The packs that are not full.
    pub(super) fn rest(&mut self) -> impl Iterator<Item = Pack> + use<> {
        std::mem::take(&mut self.open).into_values().flatten()
    }
}

impl Pack {
    /// A pack of one test, if it is one that can be joined.
    fn of(name: &str, test: BlockchainTest) -> Option<Self> {
        let [block] = &test.blocks[..] else { return None };
        let chain = chain_of_network(&test.network, &test.configuration).ok()?;
        let decoded = decode_block(&block.rlp).ok().filter(|_| block.expected_on(&test.network).is_none())?;
        let recovered = recover(&chain, decoded.block, None).ok()?;
        let [transaction] = &recovered.transactions[..] else { return None };
        let (sender, transaction) = (transaction.sender(), transaction.recovered.inner().clone());
        let is_plain = recovered.ommers.is_empty() && recovered.withdrawals.is_none_or(|all| all.is_empty());
        // What sends has no code, so that nothing but its transactions moves its nonce.
        let account = test.pre.get(&sender)?.as_ref()?;
        if !is_plain
            || has_storage_alone(&test.pre)
            || !account.code.is_empty()
            || account.nonce()? != transaction.nonce()
        {
            return None;
        }
        Some(Self {
            first: name.to_owned(),
            network: test.network,
            configuration: test.configuration,
            header: recovered.header,
            pre: test.pre,
            transactions: vec![(transaction, sender)],
        })
    }

    /// Number of tests.
    pub(super) fn tests(&self) -> usize {
        self.transactions.len()
    }

    fn sends(&self, address: &Address) -> bool {
        self.transactions.iter().any(|(_, sender)| sender == address)
    }

    fn goes_with(&self, other: &Self) -> bool {
        let same_rules = |header: &Header| (header.base_fee_per_gas, header.timestamp, header.excess_blob_gas);
        if same_rules(&self.header) != same_rules(&other.header) {
            return false;
        }
        other.pre.iter().all(|(address, theirs)| match self.pre.get(address) {
            None => true,
            Some(ours) => (self.sends(address) && other.sends(address)) || ours == theirs,
        })
    }

    fn join(&mut self, other: Self) {
        for (address, theirs) in other.pre {
            match self.pre.get_mut(&address).and_then(Option::as_mut) {
                Some(ours) if self.transactions.iter().any(|(_, sender)| *sender == address) => {
                    let added = theirs.map_or_else(Default::default, |theirs| theirs.balance.0);
                    ours.balance.0 = ours.balance.0.saturating_add(added);
                }
                Some(_) => {}
                None => {
                    self.pre.insert(address, theirs);
                }
            }
        }
        self.transactions.extend(other.transactions);
    }

    /// The block and the state before it.
    fn block(&self) -> Option<(RecoveredBlock, MemoryState)> {
        let mut next: BTreeMap<Address, u64> = BTreeMap::new();
        let mut transactions = Vec::with_capacity(self.tests());
        let mut senders = Vec::with_capacity(self.tests());
        for (transaction, sender) in &self.transactions {
            let recorded = self.pre.get(sender).and_then(Option::as_ref).map(RecordedAccount::nonce);
            let nonce = next.entry(*sender).or_insert(recorded.flatten()?);
            transactions.push(with_nonce(transaction.clone(), *nonce));
            *nonce += 1;
            senders.push(*sender);
        }
        let declared = transactions.iter().map(Transaction::gas_limit).fold(0, u64::saturating_add);
        let mut header = self.header.clone();
        header.gas_limit = header.gas_limit.max(declared);
        let withdrawals = header.withdrawals_root.map(|_| Withdrawals::default());
        let body = BlockBody { transactions, withdrawals, ..Default::default() };
        let mut state = accounts::state_of(&self.pre).ok()?;
        state.insert_block_hash(header.number.checked_sub(1)?, header.parent_hash);
        let block = RecoveredBlock::with_senders(Block { header, body }, senders, None).ok()?;
        Some((block, state))
    }

    /// Runs the block with every engine, and compares with the oracle.
    pub(super) fn run(&self, engines: &Engines) -> Verdict {
        let chain = match chain_of_network(&self.network, &self.configuration) {
            Ok(chain) => Arc::new(chain),
            Err(reason) => return Verdict::Skipped { reason },
        };
        let Some((block, state)) = self.block() else {
            let failure = Box::new(Failure::Unusable("the tests make no block".to_owned()));
            return Verdict::Failed { threads: None, failure };
        };
        let state: Arc<dyn StateReader> = Arc::new(state);
        let theirs = in_order(&chain, &block, &state);
        for (threads, executor) in engines.builders(&chain) {
            let ours = executor.execute(&block, Arc::clone(&state)).map(|execution| execution.outcome);
            if let Err(BlockError::Cancelled { .. }) = ours {
                return Verdict::Interrupted;
            }
            if let Some(difference) = compare::results(ours.as_ref(), theirs.as_ref()) {
                let failure = Box::new(Failure::Broken(format!("the oracle differs: {difference}")));
                return Verdict::Failed { threads: Some(threads), failure };
            }
        }
        Verdict::Passed
    }
}

/// Whether an account has storage and nothing that keeps others from being created in its place. EIP-7610 does; the oracle
/// does not know it, so it cannot say what such a block leads to.
fn has_storage_alone(accounts: &Accounts) -> bool {
    let accounts = accounts.values().flatten();
    let mut accounts = accounts.filter(|account| account.code.is_empty() && account.nonce() == Some(0));
    accounts.any(|account| account.storage.values().any(|value| !value.0.is_zero()))
}

fn in_order(
    chain: &ChainSpec,
    block: &RecoveredBlock,
    state: &Arc<dyn StateReader>,
) -> Result<BlockOutcome, BlockError> {
    Oracle::new(chain, block, state, InvalidTransactions::Skip)?.start().execute()?.outcome()
}

/// The same transaction with another nonce; its signature means nothing any more.
fn with_nonce(transaction: TxEnvelope, nonce: u64) -> TxEnvelope {
    fn resealed<T: RlpEcdsaEncodableTx>(signed: Signed<T>, change: impl FnOnce(&mut T)) -> Signed<T> {
        let (mut transaction, signature, _) = signed.into_parts();
        change(&mut transaction);
        Signed::new_unhashed(transaction, signature)
    }
    match transaction {
        EthereumTxEnvelope::Legacy(signed) => TxEnvelope::Legacy(resealed(signed, |tx| tx.nonce = nonce)),
        EthereumTxEnvelope::Eip2930(signed) => TxEnvelope::Eip2930(resealed(signed, |tx| tx.nonce = nonce)),
        EthereumTxEnvelope::Eip1559(signed) => TxEnvelope::Eip1559(resealed(signed, |tx| tx.nonce = nonce)),
        EthereumTxEnvelope::Eip4844(signed) => TxEnvelope::Eip4844(resealed(signed, |tx| match tx {
            TxEip4844Variant::TxEip4844(tx) => tx.nonce = nonce,
            TxEip4844Variant::TxEip4844WithSidecar(tx) => tx.tx.nonce = nonce,
        })),
        EthereumTxEnvelope::Eip7702(signed) => TxEnvelope::Eip7702(resealed(signed, |tx| tx.nonce = nonce)),
    }
}
