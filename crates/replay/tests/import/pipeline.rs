//! Imports with and without the pipeline: the same content, the same messages.

use std::{collections::BTreeMap, ffi::OsStr};

use alloy_primitives::B256;
use ropewalk_store::{Store, StoreOptions};

use crate::made::{BLOCKS, Ended, Home, Made, encoded};

const WAYS: [[&str; 6]; 4] = [
    ["--pipeline", "off", "--threads", "1", "--durability", "os"],
    ["--pipeline", "on", "--threads", "1", "--durability", "3"],
    ["--pipeline", "off", "--threads", "2", "--durability", "block"],
    ["--pipeline", "on", "--threads", "2", "--backlog", "1"],
];

fn import(made: &Made, home: &Home, file: &std::path::Path, options: [&str; 6]) -> Ended {
    let mut arguments = vec![OsStr::new("--chain"), file.as_os_str()];
    arguments.extend(options.iter().map(OsStr::new));
    home.import(&made.genesis, &arguments)
}

type Rows = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

fn rows(home: &Home) -> Rows {
    let store = Store::open(home.db(), &StoreOptions::default()).expect("it opens");
    let mut rows = Rows::new();
    let take = |family, key: &[u8], value: &[u8]| drop(rows.insert((family, key.to_vec()), value.to_vec()));
    store.reader().for_each_row(take).expect("it can be read");
    rows
}

#[test]
fn every_column_family_holds_the_same_with_and_without_the_pipeline() {
    let made = Made::shared();
    let mut contents = Vec::new();
    for way in WAYS {
        let home = Home::new();
        let ended = import(made, &home, &made.file, way);
        assert_eq!((ended.code, ended.counts()), (Some(0), (BLOCKS, 0)), "{way:?}: {ended:?}");
        contents.push(rows(&home));
    }
    assert!(contents[0].len() > 500, "{}", contents[0].len());
    for (way, content) in WAYS.iter().zip(&contents) {
        assert!(*content == contents[0], "{way:?} leaves other rows");
    }
}

#[test]
fn a_wrong_state_root_is_found_late_and_told_as_if_it_were_found_at_once() {
    let made = Made::shared();
    let mut messages = Vec::new();
    for way in WAYS {
        let home = Home::new();
        let mut blocks = made.blocks.clone();
        blocks[3].header.state_root = B256::repeat_byte(1);
        // The blocks after it follow it, and are right otherwise.
        for at in 4..blocks.len() {
            blocks[at].header.parent_hash = blocks[at - 1].header.hash_slow();
        }
        let file = home.write("blocks.rlp", &blocks.iter().map(encoded).collect::<Vec<_>>().concat());
        let ended = import(made, &home, &file, way);
        let hash = format!("block 4 ({:?}) is not imported", blocks[3].header.hash_slow());
        ended.assert_refused(1, &["blocks.rlp: at byte ", &hash, "the header says state root"]);
        assert_eq!(ended.counts(), (3, 0), "{way:?}");
        assert_eq!(ended.hashes().len(), 4, "three blocks and what was wrong are told of");
        assert_eq!(home.head(), (3, made.hash(3)), "{way:?}");
        home.assert_verified();
        messages.push(ended.stderr.replace(&home.db().parent().expect("a parent").display().to_string(), ""));
    }
    assert!(messages.iter().all(|message| *message == messages[0]), "{messages:#?}");
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
