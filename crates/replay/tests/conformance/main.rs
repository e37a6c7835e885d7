//! `ropewalk conformance` from the outside: tests made here, with blocks that are valid and blocks that are not, and a part
//! of the public suites where it is laid beside the project.

mod blocks;
mod runner;
mod transactions;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};

use crate::{
    blocks::{Chain, Sealed},
    runner::{Report, run, run_files},
};

/// The only test of a file, run at several numbers of threads.
fn verdict(name: &str, test: &Value) -> Report {
    run_files(&[(&format!("{name}.json"), json!({ name: test }).to_string())], &["--threads", "1,2,4"])
}

#[expect(clippy::needless_pass_by_value, reason = "tests are made where they are asserted")]
fn assert_passes(name: &str, test: Value) {
    let report = verdict(name, &test);
    assert_eq!(report.statuses(), ["passed"], "{name}: {report:?}");
    assert_eq!(report.exit, 0);
}

/// A test fails, its reason holds `expected`, and the exit status says so.
#[expect(clippy::needless_pass_by_value, reason = "tests are made where they are asserted")]
fn assert_fails(name: &str, test: Value, expected: &str) {
    let report = verdict(name, &test);
    assert_eq!(report.statuses(), ["failed"], "{name}: {report:?}");
    let reason = report.lines[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains(expected), "{name}: {reason}");
    assert_eq!(report.exit, 1);
}

#[test]
fn a_chain_of_valid_blocks_passes() {
    for network in ["Frontier", "Homestead", "Byzantium", "Istanbul", "London", "Paris", "Shanghai"] {
        let mut chain = Chain::new(network);
        let first = chain.block(&chain.genesis(), |_, _| ());
        let second = chain.block(&first, |_, _| ());
        assert_passes(network, chain.test(&second, [chain.valid(&first), chain.valid(&second)]));
    }
}

#[test]
fn a_block_with_any_wrong_field_is_rejected_for_that_field() {
    type Bend = fn(&mut Header);
    let cases: [(&str, Bend, &str); 12] = [
        ("London", |header| header.state_root = B256::ZERO, "BlockException.INVALID_STATE_ROOT"),
        ("London", |header| header.receipts_root = B256::ZERO, "InvalidReceiptsStateRoot"),
        ("Frontier", |header| header.receipts_root = B256::ZERO, "BlockException.INVALID_RECEIPTS_ROOT"),
        ("London", |header| header.transactions_root = B256::ZERO, "InvalidTransactionsRoot"),
        ("London", |header| header.gas_used = 1, "BlockException.INVALID_GAS_USED"),
        ("London", |header| header.timestamp = 0, "InvalidTimestampOlderParent"),
        ("London", |header| header.number += 1, "BlockException.INVALID_BLOCK_NUMBER"),
        ("London", |header| header.gas_limit *= 2, "InvalidGasLimit2"),
        ("London", |header| header.difficulty += U256::ONE, "BlockException.INVALID_DIFFICULTY"),
        ("London", |header| header.extra_data = vec![0; 33].into(), "BlockException.EXTRA_DATA_TOO_BIG"),
        ("Paris", |header| header.difficulty += U256::ONE, "BlockException.IMPORT_IMPOSSIBLE_DIFFICULTY_OVER_PARIS"),
        ("Shanghai", |header| header.withdrawals_root = None, "BlockException.INCORRECT_BLOCK_FORMAT"),
    ];
    for (network, bend, reason) in cases {
        let mut chain = Chain::new(network);
        let valid = chain.block(&chain.genesis(), |_, _| ());
        let bent = valid.bent(|block| bend(&mut block.header));
        let blocks = [chain.invalid(&bent, reason), chain.valid(&valid)];
        assert_passes(&format!("{network} {reason}"), chain.test(&valid, blocks));
        // The same block under another name is rejected for another reason than the test means.
        let blocks = [chain.invalid(&bent, "BlockException.TOO_MANY_UNCLES"), chain.valid(&valid)];
        assert_fails(&format!("{network} not {reason}"), chain.test(&valid, blocks), "was rejected for");
    }
}

#[test]
fn bytes_that_are_no_block_are_rejected_and_leave_the_chain_as_it_was() {
    let mut chain = Chain::new("Berlin");
    let valid = chain.block(&chain.genesis(), |_, _| ());
    let torn = json!({"rlp": "0xf90260f901f9a068a6", "expectException": "RLP_VALUESIZE_MORE_AVAILABLEINPUTLENGTH"});
    let text = json!({"rlp": "no hexadecimal at all"});
    assert_passes("torn", chain.test(&valid, [torn, text, chain.valid(&valid)]));
}

#[test]
fn what_a_test_expects_and_does_not_find_is_named_with_both_values() {
    let mut chain = Chain::new("London");
    let block = chain.block(&chain.genesis(), |_, _| ());
    let mut other_balance = chain.test(&block, [chain.valid(&block)]);
    let beneficiary = Address::repeat_byte(0xcb).to_string().to_lowercase();
    other_balance["postState"][&beneficiary]["balance"] = json!("0x01");
    assert_fails("balance", other_balance, "balance: 2000000000000000000 here, 1 expected");

    let mut other_head = chain.test(&block, [chain.valid(&block)]);
    other_head["lastblockhash"] = json!(B256::ZERO);
    assert_fails("head", other_head, "the head is");

    let accepted = chain.test(&block, [chain.invalid(&block, "BlockException.INVALID_STATE_ROOT")]);
    assert_fails("accepted", accepted, "is invalid and was imported; expected: BlockException.INVALID_STATE_ROOT");

    let bent = block.bent(|block| block.header.state_root = B256::ZERO);
    let rejected = chain.test(&block, [chain.valid(&bent)]);
    assert_fails("rejected", rejected, "block 0 is valid and was rejected: outcome is not what the header claims");
}

#[test]
fn a_heavier_branch_becomes_the_head_and_its_state_the_state() {
    let mut chain = Chain::new("Byzantium");
    let genesis = chain.genesis();
    let short = chain.block(&genesis, |block, _| block.header.extra_data = vec![1].into());
    let first = chain.block(&genesis, |block, _| block.header.beneficiary = Address::repeat_byte(2));
    let second = chain.block(&first, |_, _| ());
    let blocks = [chain.valid(&short), chain.valid(&first), chain.valid(&second)];
    assert_passes("switch", chain.test(&second, blocks));
    // Of equals the first stays.
    assert_passes("equal", chain.test(&short, [chain.valid(&short), chain.valid(&first)]));
}

#[test]
fn ommers_are_rewarded_and_refused_where_they_may_not_be_included() {
    let mut chain = Chain::new("Byzantium");
    let genesis = chain.genesis();
    let first = chain.block(&genesis, |_, _| ());
    let ommer = chain.block(&genesis, |block, _| block.header.beneficiary = Address::repeat_byte(0xaa));
    let nephew = chain.block(&first, |block, _| block.body.ommers.push(ommer.block.header.clone()));
    let later = chain.block(&nephew, |_, _| ());
    let blocks = [chain.valid(&first), chain.valid(&nephew), chain.valid(&later)];
    assert_passes("nephew", chain.test(&later, blocks));

    let twice = later.bent(|block| {
        block.body.ommers.push(ommer.block.header.clone());
        block.header.ommers_hash = alloy_consensus::proofs::calculate_ommers_root(&block.body.ommers);
    });
    let ancestor = later.bent(|block| {
        block.body.ommers.push(first.block.header.clone());
        block.header.ommers_hash = alloy_consensus::proofs::calculate_ommers_root(&block.body.ommers);
    });
    let blocks = [
        chain.valid(&first),
        chain.valid(&nephew),
        chain.invalid(&twice, "UncleInChain"),
        chain.invalid(&ancestor, "BlockException.UNCLE_IS_ANCESTOR"),
        chain.valid(&later),
    ];
    assert_passes("refused ommers", chain.test(&later, blocks));
}

#[test]
fn proof_of_stake_begins_behind_the_terminal_total_difficulty_and_not_before() {
    // Genesis and each block have a difficulty of 0x20000.
    let mut chain = Chain::new("ArrowGlacierToParisAtDiff60000");
    let genesis = chain.genesis();
    let first = chain.block(&genesis, |_, _| ());
    let early = first.bent(|block| block.header.difficulty = U256::ZERO);
    let terminal = chain.block(&first, |_, _| ());
    let stake = chain.block(&terminal, |_, _| ());
    assert!(stake.block.header.difficulty.is_zero(), "{:?}", stake.block.header);
    let work = stake.bent(|block| block.header.difficulty = U256::from(0x20000));
    let blocks = [
        chain.invalid(&early, "BlockException.IMPORT_IMPOSSIBLE_PARIS_WRONG_POS"),
        chain.valid(&first),
        chain.valid(&terminal),
        chain.invalid(&work, "3675PoWBlockRejected"),
        chain.valid(&stake),
    ];
    assert_passes("merge", chain.test(&stake, blocks));
}

#[test]
fn transitions_change_the_rules_at_their_block() {
    let mut chain = Chain::new("BerlinToLondonAt2");
    let first = chain.block(&chain.genesis(), |_, _| ());
    let second = chain.block(&first, |_, _| ());
    assert_eq!(second.block.header.base_fee_per_gas, Some(1_000_000_000));
    assert_eq!(second.block.header.gas_limit, 2 * first.block.header.gas_limit);
    assert_passes("London", chain.test(&second, [chain.valid(&first), chain.valid(&second)]));

    let mut chain = Chain::new("HomesteadToDaoAt1");
    let dao = chain.block(&chain.genesis(), |block, _| block.header.extra_data = b"dao-hard-fork".to_vec().into());
    let silent = dao.bent(|block| block.header.extra_data = Default::default());
    let blocks = [chain.invalid(&silent, "BlockException.EXTRA_DATA_INVALID_DAO"), chain.valid(&dao)];
    assert_passes("DAO", chain.test(&dao, blocks));
}

#[test]
fn plain_constantinople_is_skipped_with_its_reason_and_nothing_else_is() {
    let mut chain = Chain::new("ConstantinopleFix");
    let block = chain.block(&chain.genesis(), |_, _| ());
    let mut test = chain.test(&block, [chain.valid(&block)]);
    assert_passes("ConstantinopleFix", test.clone());
    test["network"] = json!("Constantinople");
    let report = verdict("Constantinople", &test);
    assert_eq!((report.statuses(), report.exit), (vec!["skipped"], 0));
    assert_eq!(report.summary["forks"]["Constantinople"]["skipped"], 1);
    assert!(report.lines[0]["reason"].as_str().is_some_and(|reason| reason.contains("does not model Constantinople")));
}

#[test]
fn what_is_no_test_is_an_input_error_that_names_the_file() {
    for (name, text) in [("torn.json", "{\"a\":"), ("other.json", "{\"a\": {\"b\": 1}}"), ("list.json", "[1]")] {
        let report = run_files(&[(name, text.to_owned())], &[]);
        assert_eq!(report.exit, 2, "{name}");
        assert!(report.errors.contains(name), "{}", report.errors);
    }
    let report = run(&[Path::new("no/such/place")], &[]);
    assert_eq!(report.exit, 2);
    assert!(report.errors.contains("no/such/place"), "{}", report.errors);
}

#[test]
fn archives_are_read_without_unpacking_and_filters_choose_tests() {
    let mut chain = Chain::new("London");
    let block = chain.block(&chain.genesis(), |_, _| ());
    let test = || chain.test(&block, [chain.valid(&block)]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("suite.tar");
    let mut archive = tar::Builder::new(std::fs::File::create(&path).expect("a writable directory"));
    for (name, text) in [
        ("suite/one.json", json!({"first": test(), "second": test()}).to_string()),
        ("suite/.meta/index.json", "no test".to_owned()),
        ("suite/README.md", "no test".to_owned()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, text.as_bytes()).expect("an entry");
    }
    archive.finish().expect("an archive");
    let names = |options: &[&str]| {
        let report = run(&[&path], options);
        assert_eq!(report.exit, 0, "{report:?}");
        let mut names: Vec<String> =
            report.lines.iter().filter_map(|line| line["test"].as_str().map(str::to_owned)).collect();
        names.sort();
        names
    };
    assert_eq!(names(&[]), ["first", "second"]);
    assert_eq!(names(&["--filter", "sec"]), ["second"]);
    assert_eq!(names(&["--fork", "london"]), ["first", "second"]);
    assert_eq!(names(&["--fork", "Berlin"]), [""; 0]);

    std::fs::write(&path, b"no archive").expect("a writable directory");
    assert_eq!(run(&[&path], &[]).exit, 2);
}

#[test]
fn blocks_follow_their_own_access_lists() {
    let mut chain = Chain::new("Shanghai");
    let block: Sealed = chain.block(&chain.genesis(), |_, _| ());
    let text = json!({"lists": chain.test(&block, [chain.valid(&block)])}).to_string();
    let report = run_files(&[("lists.json", text)], &["--access-lists"]);
    assert_eq!((report.statuses(), report.exit), (vec!["passed"], 0), "{report:?}");
}

/// A part of the public suites, where it is there: the rest takes minutes and is run in full by the project's checks.
#[test]
fn a_part_of_the_public_suites_passes() {
    let shared = std::env::var_os("ROPEWALK_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let sample = shared.join("eest/eest-sample.tar.zst");
    if !sample.exists() {
        // Past the test harness, which keeps what a passing test prints to itself.
        let line = format!("SKIPPED: there is no {}\n", sample.display());
        std::io::stderr().write_all(line.as_bytes()).expect("standard error is there");
        return;
    }
    for fork in ["Frontier", "Homestead", "Paris", "ShanghaiToCancunAtTime15k", "CancunToPragueAtTime15k"] {
        let report = run(&[&sample], &["--fork", fork, "--threads", "2"]);
        let counts = &report.summary["forks"][fork];
        assert_eq!((&counts["failed"], &counts["skipped"], report.exit), (&json!(0), &json!(0), 0), "{fork}");
        assert!(counts["passed"].as_u64().is_some_and(|passed| passed > 10), "{fork}: {counts}");
    }
    let report = run(&[&sample], &["--fork", "Byzantium", "--threads", "2", "--pack", "16"]);
    assert_eq!((&report.summary["forks"]["Byzantium"]["failed"], report.exit), (&json!(0), 0));
    let packed = &report.summary["packed"];
    let (tests, blocks) = (packed["tests"].as_u64(), packed["blocks"].as_u64());
    assert!(tests.zip(blocks).is_some_and(|(tests, blocks)| tests > 8 * blocks), "{packed}");
}
