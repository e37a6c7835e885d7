//! A node client that keeps its state in its own way and lets ropewalk execute its blocks.
//!
//! Everything it needs comes from `ropewalk-block` and `ropewalk-state`: RocksDB is not compiled.
//!
//! ```text
//! cargo run --release -p ropewalk-block --example embedding
//! ```

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use alloy_consensus::{Block, BlockBody, Header, SignableTransaction, TxEip1559, TxEnvelope};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use ropewalk_block::{BlockExecutor, ChainSpec, Engine, ExecutorOptions, RecoveredBlock, oracle};
use ropewalk_state::{Account, Changes, StateError, StateReader};

/// The client's own database: here a map, there whatever it has.
#[derive(Debug, Clone, Default)]
struct ClientState {
    accounts: BTreeMap<Address, Account>,
}

impl StateReader for ClientState {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        Ok(self.accounts.get(address).copied())
    }

    fn storage(&self, _: &Address, _: &U256) -> Result<U256, StateError> {
        Ok(U256::ZERO)
    }

    fn storage_is_empty(&self, _: &Address) -> Result<bool, StateError> {
        Ok(true)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        Err(StateError::MissingCode(*hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        Err(StateError::MissingBlockHash(number))
    }
}

impl ClientState {
    fn take_in(&mut self, changes: &Changes) {
        for change in &changes.accounts {
            match change.after {
                Some(account) => self.accounts.insert(change.address, account),
                None => self.accounts.remove(&change.address),
            };
        }
    }
}

const ETHER: u128 = 1_000_000_000_000_000_000;

/// A hundred payments in a ring: everybody passes one ether on.
fn ring() -> (ClientState, RecoveredBlock) {
    let people: Vec<_> = (1..=100).map(|n| Address::left_padding_from(&[0x77, n])).collect();
    let rich = Account { balance: U256::from(10 * ETHER), ..Account::EMPTY };
    let state = ClientState { accounts: people.iter().map(|address| (*address, rich)).collect() };
    let pay = |to: Address| -> TxEnvelope {
        let payment = TxEip1559 {
            chain_id: 1,
            gas_limit: 21_000,
            max_fee_per_gas: 2,
            max_priority_fee_per_gas: 1,
            to: TxKind::Call(to),
            value: U256::from(ETHER),
            ..TxEip1559::default()
        };
        // A client recovers senders from signatures (`ropewalk_block::recover`); here they are given.
        payment.into_signed(Signature::test_signature()).into()
    };
    let transactions = people.iter().cycle().skip(1).take(people.len()).map(|to| pay(*to)).collect();
    let header = Header {
        number: 15_537_394,
        timestamp: 1_663_224_179,
        gas_limit: 30_000_000,
        base_fee_per_gas: Some(1),
        beneficiary: Address::repeat_byte(0xbe),
        ..Header::default()
    };
    let block = Block::new(header, BlockBody { transactions, ommers: Vec::new(), withdrawals: None });
    let block = RecoveredBlock::with_senders(block, people, None).expect("as many senders as transactions");
    (state, block)
}

#[expect(clippy::print_stdout, reason = "an example talks")]
fn main() {
    let (mut state, block) = ring();
    let chain = Arc::new(ChainSpec::mainnet());
    let threads = NonZeroUsize::new(2).expect("two is not zero");
    let engine = Engine::new(threads).expect("the system gives a thread");
    let executor = BlockExecutor::new(Arc::clone(&chain), engine, ExecutorOptions::default());

    let execution = executor.execute(&block, Arc::new(state.clone())).expect("a valid block");
    let in_order = oracle::execute(&chain, &block, &state).expect("a valid block");
    assert_eq!(execution.outcome, in_order, "parallel and in-order execution agree");

    state.take_in(&execution.outcome.changes);
    println!(
        "{} transactions, {} gas, receipts root {}, {} accounts changed",
        execution.outcome.receipts.len(),
        execution.outcome.gas_used,
        execution.outcome.receipts_root(),
        execution.outcome.changes.accounts.len(),
    );
    println!("{:?}", execution.stats);
}
