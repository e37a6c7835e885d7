//! Blocks of a real node: anvil is started, sent a mixed workload, and asked for its blocks as any node would be.
//!
//! What `fetch` makes of them must replay in parallel to the node's own receipts and, executed one on another from the
//! genesis, to its state roots. anvil's genesis header holds the root of an empty state although it has funded accounts;
//! from block 1 on its state roots are real. It has no `debug_executionWitness`.

mod node;
mod workload;

use std::{fs, io::Write, num::NonZeroUsize, path::Path, sync::Arc};

use alloy_consensus::TxReceipt;
use alloy_primitives::U256;
use ropewalk_block::{BlockExecutor, CancelToken, Engine, ExecutorOptions, Frontier, Schedule};
use ropewalk_replay::{
    fetch::{FetchError, FetchOptions, Fetched, fetch},
    fixture::{Chains, Fixture, HeaderHash},
    ground::Ground,
};
use ropewalk_state::{Account, Completeness, MemoryState, StateReader};
use serde_json::{Map, Value, json};

use crate::node::Anvil;

/// A node and the folder that its blocks go to, or a line that says why there is none.
fn node(hardfork: &str) -> Option<(Anvil, tempfile::TempDir)> {
    let started = Anvil::start(hardfork).map_err(|lack| {
        // Past the test harness, which keeps what a passing test prints to itself.
        let line = format!("SKIPPED: a real node: {lack}\n");
        std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    });
    Some((started.ok()?, tempfile::tempdir().expect("a temporary directory")))
}

/// The rules of anvil's chain at a fork.
fn genesis(hardfork: &str) -> Value {
    let blocks = ["homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul"];
    let mut config: Map<String, Value> =
        blocks.iter().chain(&["berlin", "london"]).map(|fork| (format!("{fork}Block"), json!(0))).collect();
    config.insert("chainId".to_owned(), json!(31_337));
    config.insert("terminalTotalDifficulty".to_owned(), json!(0));
    for fork in ["shanghai", "cancun", "prague", "osaka"] {
        config.insert(format!("{fork}Time"), json!(0));
        if fork == hardfork {
            break;
        }
    }
    json!({ "config": config, "alloc": {}, "difficulty": "0x0", "gasLimit": "0x1c9c380" })
}

fn options(node: &Anvil, hardfork: &str, folder: &Path, last: u64) -> FetchOptions {
    let file = folder.join("rules.json");
    fs::write(&file, genesis(hardfork).to_string()).expect("a writable folder");
    FetchOptions { rpc: node.url(), blocks: 1..=last, out: folder.join("blocks"), witness: false, genesis: Some(file) }
}

/// The state that anvil begins with.
fn genesis_state(node: &Anvil) -> MemoryState {
    let mut state = MemoryState::new(Completeness::Assumed);
    for address in node.accounts() {
        let balance: U256 =
            serde_json::from_value(node.call("eth_getBalance", &json!([address, "0x0"]))).expect("a balance");
        state.insert_account(address, Some(Account { balance, ..Account::EMPTY }));
    }
    state
}

fn executor(fixture: &Fixture, threads: usize, schedule: Schedule) -> BlockExecutor {
    let frontier = if schedule == Schedule::Normal { Frontier::Eager } else { Frontier::Never };
    let options = ExecutorOptions { schedule, frontier, inline_below_gas: Some(0), ..ExecutorOptions::default() };
    let threads = NonZeroUsize::new(threads).expect("not zero");
    BlockExecutor::new(Arc::clone(&fixture.chain.spec), Engine::new(threads).expect("threads"), options)
}

fn replays_to_the_nodes_receipts_and_roots(hardfork: &str) {
    let Some((node, folder)) = node(hardfork) else { return };
    let last = workload::run(&node);
    let options = options(&node, hardfork, folder.path(), last);
    let mut done = Vec::new();
    fetch(&options, &CancelToken::new(), |number, fetched, remarks| {
        assert_eq!(remarks, [] as [String; 0]);
        done.push((number, fetched));
    })
    .unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(done, (1..=last).map(|number| (number, Fetched::New)).collect::<Vec<_>>());

    let mut state = genesis_state(&node);
    let (mut chains, mut transactions, mut failed) = (Chains::default(), 0, 0);
    for number in 1..=last {
        let mut fixture = Fixture::read(&options.out.join(number.to_string()), &mut chains).expect("a fixture");
        assert_eq!(fixture.header_hash, HeaderHash::Ok);
        let (ground, truth) = Ground::prepare(&mut fixture).expect("a state");
        let truth = truth.expect("a valid block");
        state.insert_block_hash(number - 1, fixture.block.header.parent_hash);
        for threads in [1, 2, 8] {
            for schedule in [Schedule::Normal, Schedule::Adversarial { seed: number }] {
                let executor = executor(&fixture, threads, schedule);
                let on_fixture = executor.execute(&fixture.block, ground.reader()).expect("a valid block").outcome;
                assert_eq!(on_fixture, truth, "block {number}, {threads} threads, {schedule:?}");
                let reader: Arc<dyn StateReader> = Arc::new(state.clone());
                let on_chain = executor.execute(&fixture.block, reader).expect("a valid block").outcome;
                assert_eq!(on_chain.receipts, truth.receipts, "block {number} from the genesis");
                assert_eq!(on_chain.receipts_root(), fixture.block.header.receipts_root);
                assert_eq!(on_chain.gas_used, fixture.block.header.gas_used);
            }
        }
        state.apply(&truth.changes);
        assert_eq!(state.state_root(), fixture.block.header.state_root, "block {number}");
        transactions += truth.receipts.len();
        failed += truth.receipts.iter().filter(|receipt| !receipt.status()).count();
    }
    assert!(transactions > 150 && failed >= 18, "{transactions} transactions, {failed} failed");

    fetch(&options, &CancelToken::new(), |_, fetched, _| assert_eq!(fetched, Fetched::Present)).expect("all are there");
}

#[test]
fn blocks_of_a_prague_node_replay_to_its_receipts_and_state_roots() {
    replays_to_the_nodes_receipts_and_roots("prague");
}

#[test]
fn blocks_of_a_shanghai_node_replay_to_its_receipts_and_state_roots() {
    replays_to_the_nodes_receipts_and_roots("shanghai");
}

#[test]
fn what_the_node_lacks_is_named_and_leaves_nothing_behind() {
    let Some((node, folder)) = node("prague") else { return };
    node.mine();
    let options = options(&node, "prague", folder.path(), 1);
    let refused = |options: FetchOptions| {
        fetch(&options, &CancelToken::new(), |_, _, _| panic!("nothing is done")).expect_err("it cannot be fetched")
    };
    let error = refused(FetchOptions { witness: true, ..options.clone() });
    let is_missing = matches!(error, FetchError::MissingMethod { method: "debug_executionWitness", .. });
    assert!(is_missing, "{error:?}");
    let error = refused(FetchOptions { blocks: 7..=7, ..options.clone() });
    assert!(matches!(error, FetchError::NoBlock { number: 7 }), "{error:?}");
    let error = refused(FetchOptions { blocks: 0..=1, ..options.clone() });
    assert!(matches!(error, FetchError::Genesis), "{error:?}");
    let error = refused(FetchOptions { genesis: None, ..options.clone() });
    assert!(matches!(error, FetchError::UnknownChain { chain_id: 31_337 }), "{error:?}");
    let left: Vec<_> =
        fs::read_dir(&options.out).expect("the folder").map(|entry| entry.expect("a file").path()).collect();
    assert_eq!(left, [options.out.join("genesis.json")]);
}
