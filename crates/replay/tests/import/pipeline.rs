//! Imports with and without the pipeline: the same content, the same messages. That every import of the other tests ends,
//! tells and leaves the same without the pipeline is a part of [`Home::import`].

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command},
};

use alloy_consensus::Header;
use alloy_primitives::B256;
use serde_json::Value;

use crate::made::{BLOCKS, Ended, Home, Made, encoded, rows};

const WAYS: [[&str; 6]; 4] = [
    ["--pipeline", "off", "--threads", "1", "--durability", "os"],
    ["--pipeline", "on", "--threads", "1", "--durability", "3"],
    ["--pipeline", "off", "--threads", "2", "--durability", "block"],
    ["--pipeline", "on", "--threads", "2", "--backlog", "1"],
];

fn import(made: &Made, home: &Home, file: &Path, options: [&str; 6]) -> Ended {
    let mut arguments = vec![OsStr::new("--chain"), file.as_os_str()];
    arguments.extend(options.iter().map(OsStr::new));
    home.import(&made.genesis, &arguments)
}

#[test]
fn every_column_family_holds_the_same_with_and_without_the_pipeline() {
    let made = Made::shared();
    let mut contents = Vec::new();
    for way in WAYS {
        let home = Home::new();
        let ended = import(made, &home, &made.file, way);
        assert_eq!((ended.code, ended.counts()), (Some(0), (BLOCKS, 0)), "{way:?}: {ended:?}");
        contents.push(rows(&home.db()).expect("a database"));
    }
    assert!(contents[0].len() > 300, "{}", contents[0].len());
    for (way, content) in WAYS.iter().zip(&contents) {
        assert!(*content == contents[0], "{way:?} leaves other rows");
    }
}

/// The shared chain with the header of block `number` bent, and what follows built upon that.
fn bent(number: u64, bend: impl FnOnce(&mut Header)) -> Vec<Vec<u8>> {
    let mut blocks = Made::shared().blocks.clone();
    let from = number as usize - 1;
    bend(&mut blocks[from].header);
    for at in from + 1..blocks.len() {
        blocks[at].header.parent_hash = blocks[at - 1].header.hash_slow();
    }
    blocks.iter().map(encoded).collect()
}

#[test]
fn a_wrong_state_root_is_found_late_and_told_as_if_it_were_found_at_once() {
    let made = Made::shared();
    let mut messages = Vec::new();
    for way in WAYS {
        let home = Home::new();
        let blocks = bent(4, |header| header.state_root = B256::repeat_byte(1));
        let file = home.write("blocks.rlp", &blocks.concat());
        let ended = import(made, &home, &file, way);
        ended.assert_refused(
            1,
            &["blocks.rlp: at byte ", "block 4 (", ") is not imported", "the header says state root"],
        );
        assert_eq!(ended.counts(), (3, 0), "{way:?}");
        assert_eq!(ended.hashes().len(), 4, "three blocks and what was wrong are told of");
        assert_eq!(home.head(), (3, made.hash(3)), "{way:?}");
        home.assert_verified();
        messages.push(ended.stderr.replace(&home.db().parent().expect("a parent").display().to_string(), ""));
    }
    assert!(messages.iter().all(|message| *message == messages[0]), "{messages:#?}");
}

#[test]
fn a_wrong_state_root_anywhere_leaves_and_tells_the_blocks_before_it() {
    let made = Made::shared();
    for number in [1, 6, BLOCKS - 1, BLOCKS] {
        let home = Home::new();
        let ended = made.import_bytes(&home, &bent(number, |header| header.state_root = B256::repeat_byte(1)));
        let block = format!("block {number} (");
        ended.assert_refused(1, &["blocks.rlp: at byte ", &block, "the header says state root 0x0101"]);
        assert_eq!(home.head().0, number - 1);
        home.assert_verified();
        // Lines for the blocks before it, one for the error, one for the summary.
        assert_eq!(ended.hashes().len() as u64, number, "{ended:?}");
        assert_eq!(ended.stdout.lines().count() as u64, number + 1, "{ended:?}");
        assert_eq!(ended.counts(), (number - 1, 0));
        assert_eq!(made.import(&home, &made.file).counts(), (BLOCKS - number + 1, number - 1));
    }
}

#[test]
fn of_two_wrong_blocks_the_first_is_told() {
    let (made, home) = (Made::shared(), Home::new());
    let mut blocks = bent(6, |header| header.state_root = B256::repeat_byte(1));
    for second in [6, 7, 8] {
        blocks[second] = bent(second as u64 + 1, |header| header.gas_used += 1)[second].clone();
        made.import_bytes(&home, &blocks).assert_refused(1, &["block 6 (", "state root"]);
        assert_eq!(home.head().0, 5);
    }
    // A file that ends inside a block is found long before the block before it is committed.
    let torn = [&bent(BLOCKS, |header| header.state_root = B256::repeat_byte(1))[..], &[vec![0xc5, 1]]].concat();
    let wrong = format!("block {BLOCKS} (");
    made.import_bytes(&home, &torn).assert_refused(1, &[&wrong, "state root"]);
    assert_eq!(home.head().0, BLOCKS - 1);
}

#[test]
fn the_size_of_the_backlog_does_not_matter() {
    let made = Made::shared();
    for (threads, backlog) in [("1", "1"), ("1", "3"), ("2", "2"), ("2", "100"), ("3", "18446744073709551615")] {
        let home = Home::new();
        let options = ["--threads", threads, "--backlog", backlog].map(OsStr::new);
        let files = [OsStr::new("--chain"), made.file.as_os_str()];
        let ended = home.import(&made.genesis, &[&files[..], &options].concat());
        assert_eq!((ended.code, home.head()), (Some(0), (BLOCKS, made.hash(BLOCKS))), "{ended:?}");
        home.assert_verified();
    }
}

/// Starts an import of many blocks and waits until `blocks` of them are told.
fn after_blocks(home: &Home, made: &Made, blocks: usize) -> (Child, Vec<String>) {
    let mut import = home.start_telling(&made.genesis, &[OsStr::new("--chain"), made.file.as_os_str()]);
    let mut told = Vec::new();
    let mut lines = BufReader::with_capacity(1, import.stdout.as_mut().expect("it is piped")).lines();
    while told.len() < blocks {
        told.push(lines.next().expect("there are more blocks").expect("readable"));
    }
    (import, told)
}

fn number(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line).expect("JSON")["number"].as_u64()
}

#[test]
fn what_is_told_is_committed() {
    let made = Made::new(60, 20, 5);
    for blocks in [1, 5, 20] {
        let home = Home::new();
        let (mut import, told) = after_blocks(&home, &made, blocks);
        import.kill().expect("it is ours");
        import.wait().expect("it is ours");
        let last = told.last().and_then(|line| number(line)).expect("a block");
        assert_eq!(last, blocks as u64);
        assert!(home.head().0 >= last, "block {last} was told of, the database is at {:?}", home.head());
        home.assert_verified();
    }
}

#[test]
fn an_interrupted_import_ends_with_what_is_told() {
    let made = Made::new(120, 20, 5);
    let home = Home::new();
    let (import, mut told) = after_blocks(&home, &made, 3);
    let interrupted = Command::new("kill").arg("-INT").arg(import.id().to_string()).status().expect("it is there");
    assert!(interrupted.success());
    let ended = Ended::of(import.wait_with_output().expect("it is ours"));
    assert_eq!(ended.code, Some(130), "{ended:?}");
    told.extend(ended.stdout.lines().map(str::to_owned));
    let (summary, blocks) = told.split_last().expect("a summary");
    let numbers: Vec<_> = blocks.iter().map(|line| number(line)).collect();
    let head = home.head();
    assert_eq!(numbers, (1..=head.0).map(Some).collect::<Vec<_>>());
    let summary: Value = serde_json::from_str(summary).expect("JSON");
    assert_eq!(summary["summary"]["head"]["number"].as_u64(), Some(head.0));
    assert_eq!(summary["summary"]["complete"], Value::Bool(false));
    home.assert_verified();
    let rest = made.import(&home, &made.file);
    assert_eq!((rest.code, rest.counts()), (Some(0), (120 - head.0, head.0)));
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let made = Made::shared();
    for (options, words) in [
        (["--durability", "0", "--pipeline", "on", "--backlog", "1"], "expected block, os, or a number"),
        (["--durability", "os", "--pipeline", "maybe", "--backlog", "1"], "maybe"),
        (["--durability", "os", "--pipeline", "on", "--backlog", "0"], "--backlog"),
    ] {
        import(made, &Home::new(), &made.file, options).assert_refused(2, &[words]);
    }
}
