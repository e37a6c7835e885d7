//! era1 archives: one made of a generated chain, and the first 8192 blocks of mainnet where they are at hand.

use std::{
    env,
    ffi::OsStr,
    io::{self, Write},
    path::{Path, PathBuf},
};

use alloy_consensus::{Eip658Value, ReceiptEnvelope, proofs::calculate_receipt_root};
use alloy_primitives::U256;

use crate::{
    archive::Archive,
    cut,
    made::{BLOCKS, Ended, Home, Made},
};

const MAINNET: &str = "mainnet-00000-5ec1ffb8.era1";

/// The archive of mainnet with its genesis file; nothing, and a word about it, where they are not there.
fn mainnet() -> Option<(PathBuf, PathBuf)> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = env::var_os("ROPEWALK_SHARED").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let folder = shared.join("fixtures/era1");
    if folder.join(MAINNET).exists() {
        return Some((folder.join("genesis-mainnet.json"), folder.join(MAINNET)));
    }
    // Past the test harness, which keeps what a passing test prints to itself.
    let line = format!("SKIPPED: there is no era1 archive at {}\n", folder.display());
    io::stderr().write_all(line.as_bytes()).expect("standard error is there");
    None
}

fn era1(archive: &Path) -> [&OsStr; 2] {
    [OsStr::new("--era1"), archive.as_os_str()]
}

fn import(home: &Home, archive: &Archive) -> Ended {
    let file = home.write("chain.era1", &archive.bytes());
    home.import(&Made::shared().genesis, &era1(&file))
}

#[test]
fn an_archive_is_imported_with_receipts_and_accumulator_checked() {
    let (made, home) = (Made::shared(), Home::new());
    let ended = import(&home, &Archive::shared());
    assert_eq!((ended.code, ended.counts()), (Some(0), (BLOCKS, 0)), "{ended:?}");
    assert_eq!(home.head(), (BLOCKS, made.hash(BLOCKS)));
    home.assert_verified();
    assert_eq!(import(&home, &Archive::shared()).counts(), (0, BLOCKS));
}

#[test]
fn a_chain_goes_on_in_another_file_than_it_began_in() {
    let (made, home) = (Made::shared(), Home::new());
    let mut archive = Archive::shared();
    archive.entries.truncate(7);
    let archive = home.write("chain.era1", &archive.bytes());
    let [option, file] = era1(&archive);
    let ended = home.import(&made.genesis, &[option, file, OsStr::new("--chain"), made.file.as_os_str()]);
    // The file of the chain has the archive's blocks too.
    assert_eq!((ended.code, ended.counts()), (Some(0), (BLOCKS, 7)), "{ended:?}");
    assert_eq!(home.head(), (BLOCKS, made.hash(BLOCKS)));
}

#[test]
fn an_archive_whose_total_difficulty_does_not_add_up_is_wrong() {
    let home = Home::new();
    let mut archive = Archive::shared();
    archive.entries[4].total_difficulty = U256::from(7);
    import(&home, &archive).assert_refused(
        1,
        &["chain.era1: record 17 (header) at byte ", ": block 5: ", "total difficulty is 7, the blocks' is 0"],
    );
    assert_eq!(home.head(), (4, Made::shared().hash(4)));
}

#[test]
fn an_archive_whose_accumulator_is_not_that_of_its_blocks_is_wrong() {
    let home = Home::new();
    let archive = Archive { accumulator_mask: 1, ..Archive::shared() };
    import(&home, &archive).assert_refused(1, &["(accumulator) at byte ", "the archive's accumulator is "]);
    assert_eq!(home.head(), (BLOCKS, Made::shared().hash(BLOCKS)));
}

#[test]
fn an_archive_whose_receipts_are_not_those_of_the_header_is_wrong() {
    let home = Home::new();
    let mut archive = Archive::shared();
    archive.entries[4].receipts.pop();
    import(&home, &archive)
        .assert_refused(1, &["record 19 (receipts) at byte ", ": block 5: ", "the archive's receipts have the root"]);
    assert_eq!(home.head(), (4, Made::shared().hash(4)));
}

#[test]
fn a_receipt_that_execution_does_not_give_is_named_with_its_field() {
    let home = Home::new();
    let mut archive = Archive::shared();
    let entry = &mut archive.entries[4];
    let (ReceiptEnvelope::Legacy(bent)
    | ReceiptEnvelope::Eip2930(bent)
    | ReceiptEnvelope::Eip1559(bent)
    | ReceiptEnvelope::Eip4844(bent)
    | ReceiptEnvelope::Eip7702(bent)) = &mut entry.receipts[3];
    bent.receipt.status = Eip658Value::Eip658(!bent.receipt.status.coerce_status());
    // The header goes along with the lie, so that nothing but execution can tell.
    entry.block.header.receipts_root = calculate_receipt_root(&entry.receipts);
    let words = ["block 5 (", "its receipt 3 differs from the archive's in status", "receipts root"];
    import(&home, &archive).assert_refused(1, &words);
    assert_eq!(home.head(), (4, Made::shared().hash(4)));
}

#[test]
fn a_record_that_is_no_snappy_ends_the_import_after_whole_blocks() {
    let home = Home::new();
    let archive = Archive { torn_body: Some(4), ..Archive::shared() };
    import(&home, &archive).assert_refused(2, &["record 18 (body) at byte ", ": block 5: ", "snappy"]);
    assert_eq!(home.head(), (4, Made::shared().hash(4)));
    home.assert_verified();
}

#[test]
fn a_torn_archive_is_refused_before_the_database_is_touched() {
    let home = Home::new();
    let bytes = Archive::shared().bytes();
    for length in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        let file = home.write("torn.era1", &bytes[..length]);
        let ended = home.import(&Made::shared().genesis, &era1(&file));
        ended.assert_refused(2, &["torn.era1", "does not end with a block index"]);
        assert!(!home.db().exists(), "{length}");
    }
}

#[test]
fn mainnets_first_blocks_are_imported_with_every_root_checked() {
    let Some((genesis, archive)) = mainnet() else { return };
    let home = Home::new();
    let ended = home.import(&genesis, &era1(&archive));
    assert_eq!((ended.code, ended.counts()), (Some(0), (8191, 1)), "{}", ended.stderr);
    assert_eq!(home.head().0, 8191);
    home.assert_verified();
    let again = home.import_aloud(&genesis, &era1(&archive));
    assert!(again.stdout.starts_with("nothing left to import: the database is at block 8191"), "{again:?}");
}

#[test]
fn an_import_of_mainnet_that_is_killed_leaves_a_whole_block_and_goes_on_from_it() {
    let Some((genesis, archive)) = mainnet() else { return };
    // Block 0 is in the archive too, and in the database from the start.
    cut::assert_killed_imports_go_on(&genesis, &era1(&archive), (8191, 1));
}
