//! A chain before Byzantium, whose receipts hold the state root after each transaction: they can only be checked on the
//! state that the block before has left in the database.

use std::{
    ffi::OsStr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy_consensus::{
    Block, BlockBody, Header, SignableTransaction, TxEnvelope, TxLegacy, crypto::secp256k1::sign_message,
    proofs::calculate_transaction_root,
};
use alloy_primitives::{Address, B256, TxKind, U256, address};
use ropewalk_block::{BlockExecutor, ChainSpec, Engine, ExecutorOptions, import::next_difficulty, recover};
use ropewalk_state::{Account, Completeness, MemoryState};

use crate::made::{Home, encoded};

const KEY: B256 = B256::repeat_byte(0x11);
const SENDER: Address = address!("0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a");
const COUNTER: Address = Address::repeat_byte(0xc0);
/// Adds one to slot 0.
const COUNT: &str = "0x600054600101600055";
const GAS_LIMIT: u64 = 0x0100_0000;
const DIFFICULTY: u64 = 0x0100_0000;

fn genesis() -> String {
    format!(
        r#"{{"config":{{"chainId":1,"homesteadBlock":0}},"gasLimit":"{GAS_LIMIT:#x}","difficulty":"{DIFFICULTY:#x}",
        "alloc":{{"{SENDER}":{{"balance":"0xde0b6b3a7640000"}},"{COUNTER}":{{"balance":"0x0","code":"{COUNT}"}}}}}}"#
    )
}

fn genesis_state() -> MemoryState {
    let mut state = MemoryState::new(Completeness::Assumed);
    let code_hash = state.insert_code(COUNT.parse().expect("bytes"));
    let sender = Account { balance: U256::from(10).pow(U256::from(18)), ..Account::EMPTY };
    state.insert_account(SENDER, Some(sender));
    state.insert_account(COUNTER, Some(Account { code_hash, ..Account::EMPTY }));
    state
}

fn transaction(nonce: u64, to: Address) -> TxEnvelope {
    let value = U256::from(if to == COUNTER { 0 } else { 1 + nonce });
    let transaction =
        TxLegacy { nonce, to: TxKind::Call(to), value, gas_price: 1, gas_limit: 100_000, ..TxLegacy::default() };
    let signature = sign_message(KEY, transaction.signature_hash()).expect("a signature");
    transaction.into_signed(signature).into()
}

/// The chain's blocks after genesis. Every third is empty.
fn blocks(genesis_hash: B256) -> Vec<Block<TxEnvelope>> {
    let chain = serde_json::from_str(&genesis()).expect("a genesis");
    let chain = Arc::new(ChainSpec::from_genesis(&chain).expect("a chain"));
    let engine = Engine::new(NonZeroUsize::MIN).expect("no threads are needed");
    let options = ExecutorOptions { record: true, ..ExecutorOptions::default() };
    let executor = BlockExecutor::new(Arc::clone(&chain), engine, options);
    let (mut state, mut nonce) = (genesis_state(), 0);
    let difficulty = U256::from(DIFFICULTY);
    let mut parent = Header { gas_limit: GAS_LIMIT, difficulty, ..Header::default() };
    let (mut parent_hash, mut blocks) = (genesis_hash, Vec::new());
    for number in 1..=9 {
        let count = if number % 3 == 0 { 0 } else { 3 };
        let to = |at: u64| if at == 1 { COUNTER } else { Address::repeat_byte((16 * number + at) as u8) };
        let transactions: Vec<_> = (0..count).map(|at| transaction(nonce + at, to(at))).collect();
        nonce += count;
        let timestamp = parent.timestamp + 13;
        let mut header = Header {
            parent_hash,
            number,
            timestamp,
            difficulty: next_difficulty(&chain, &parent, timestamp),
            gas_limit: GAS_LIMIT,
            beneficiary: Address::repeat_byte(0x99),
            transactions_root: calculate_transaction_root(&transactions),
            ..Header::default()
        };
        let body = BlockBody { transactions, ..BlockBody::default() };
        let block = recover(&chain, Block { header: header.clone(), body: body.clone() }, None).expect("signed");
        let execution = executor.execute(&block, Arc::new(state.clone())).expect("valid");
        let (outcome, record) = (execution.outcome, execution.record.expect("it was asked for"));
        let mut within = state.clone();
        let roots: Vec<B256> = record
            .positions
            .iter()
            .map(|position| {
                within.apply(&position.changes);
                within.state_root()
            })
            .collect();
        state.apply(&outcome.changes);
        assert_eq!(roots.last(), Some(&state.state_root()));
        header.gas_used = outcome.gas_used;
        header.logs_bloom = outcome.logs_bloom();
        let roots = &roots[1..=count as usize];
        header.receipts_root = outcome.receipts_root_with_states(roots).expect("a root for each");
        header.state_root = state.state_root();
        (parent, parent_hash) = (header.clone(), header.hash_slow());
        blocks.push(Block { header, body });
    }
    blocks
}

/// The genesis file, and the chain that follows it.
fn made(home: &Home) -> (PathBuf, Vec<Block<TxEnvelope>>) {
    let genesis = home.write("genesis.json", genesis().as_bytes());
    let nothing = home.write("nothing.rlp", &[]);
    let begun = home.import(&genesis, &[OsStr::new("--chain"), nothing.as_os_str()]);
    assert_eq!(begun.code, Some(0), "{begun:?}");
    let (number, hash) = home.head();
    assert_eq!(number, 0);
    (genesis, blocks(hash))
}

fn import(home: &Home, genesis: &Path, blocks: &[Block<TxEnvelope>]) -> crate::made::Ended {
    let file = home.write("blocks.rlp", &blocks.iter().map(encoded).collect::<Vec<_>>().concat());
    home.import(genesis, &[OsStr::new("--chain"), file.as_os_str()])
}

#[test]
fn receipts_with_state_roots_are_checked_on_the_block_before() {
    let home = Home::new();
    let (genesis, blocks) = made(&home);
    let ended = import(&home, &genesis, &blocks);
    assert_eq!((ended.code, ended.counts()), (Some(0), (9, 0)), "{ended:?}");
    assert_eq!(home.head(), (9, blocks[8].header.hash_slow()));
    home.assert_verified();
}

#[test]
fn a_block_on_top_of_a_wrong_state_root_is_not_judged_by_its_receipts() {
    let home = Home::new();
    let (genesis, mut blocks) = made(&home);
    blocks[4].header.state_root = B256::repeat_byte(1);
    blocks[5].header.parent_hash = blocks[4].header.hash_slow();
    blocks[6].header.parent_hash = blocks[5].header.hash_slow();
    blocks[6].header.receipts_root = B256::repeat_byte(2);
    let ended = import(&home, &genesis, &blocks);
    let block = format!("block 5 ({:?}) is not imported", blocks[4].header.hash_slow());
    ended.assert_refused(1, &[&block, "state root"]);
    assert_eq!(home.head(), (4, blocks[3].header.hash_slow()));
}

#[test]
fn a_receipt_with_a_wrong_state_root_is_found() {
    let home = Home::new();
    let (genesis, mut blocks) = made(&home);
    blocks[4].header.receipts_root = B256::repeat_byte(2);
    import(&home, &genesis, &blocks).assert_refused(1, &["block 5 (", "receipts root"]);
    assert_eq!(home.head(), (4, blocks[3].header.hash_slow()));
}
