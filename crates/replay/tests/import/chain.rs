//! Files of blocks in RLP.

use std::{ffi::OsStr, io::Write};

use alloy_primitives::B256;
use flate2::{Compression, write::GzEncoder};

use crate::made::{BLOCKS, Home, Made, encoded};

fn chain(file: &std::path::Path) -> [&OsStr; 2] {
    [OsStr::new("--chain"), file.as_os_str()]
}

#[test]
fn a_generated_chain_is_imported_with_every_root_checked() {
    let (made, home) = (Made::shared(), Home::new());
    let ended = made.import(&home, &made.file);
    assert_eq!((ended.code, ended.counts()), (Some(0), (BLOCKS, 0)), "{ended:?}");
    let lines: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len() as u64, BLOCKS + 1);
    for (line, block) in lines.iter().zip(&made.blocks) {
        let header = &block.header;
        assert_eq!(line["number"].as_u64(), Some(header.number));
        assert_eq!(line["hash"].as_str(), Some(format!("{:?}", header.hash_slow()).as_str()));
        assert_eq!(line["state_root"].as_str(), Some(format!("{:?}", header.state_root).as_str()));
        assert_eq!(line["txs"].as_u64(), Some(block.body.transactions.len() as u64));
        assert_eq!(line["gas_used"].as_u64(), Some(header.gas_used));
    }
    assert_eq!(home.head(), (BLOCKS, made.hash(BLOCKS)));
    home.assert_verified();
}

#[test]
fn a_second_run_says_that_there_is_nothing_left() {
    let (made, home) = (Made::shared(), Home::new());
    made.import(&home, &made.file);
    let ended = home.import_aloud(&made.genesis, &chain(&made.file));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = format!("nothing left to import: the database is at block {BLOCKS} ({:?})\n", made.hash(BLOCKS));
    assert_eq!(ended.stdout, expected);
    assert_eq!(made.import(&home, &made.file).counts(), (0, BLOCKS));
}

#[test]
fn an_import_goes_on_from_the_head() {
    let (made, home) = (Made::shared(), Home::new());
    let first = made.import_bytes(&home, &made.encoded()[..5]);
    assert_eq!((first.code, first.counts(), home.head()), (Some(0), (5, 0), (5, made.hash(5))));
    let rest = made.import(&home, &made.file);
    assert_eq!((rest.code, rest.counts()), (Some(0), (BLOCKS - 5, 5)), "{rest:?}");
    assert_eq!(home.head(), (BLOCKS, made.hash(BLOCKS)));
    home.assert_verified();
}

#[test]
fn a_file_that_begins_with_the_head_is_enough_to_go_on() {
    let (made, home) = (Made::shared(), Home::new());
    made.import_bytes(&home, &made.encoded()[..5]);
    let rest = made.import_bytes(&home, &made.encoded()[4..]);
    assert_eq!((rest.code, rest.counts()), (Some(0), (BLOCKS - 5, 1)), "{rest:?}");
    assert_eq!(home.head(), (BLOCKS, made.hash(BLOCKS)));
}

#[test]
fn a_file_that_begins_behind_the_head_lacks_the_parent() {
    let (made, home) = (Made::shared(), Home::new());
    made.import_bytes(&home, &made.encoded()[..5]);
    let rest = made.import_bytes(&home, &made.encoded()[5..]);
    rest.assert_refused(2, &["blocks.rlp: at byte 0: block 6", "give the file with block 5"]);
    assert_eq!(home.head(), (5, made.hash(5)));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let made = Made::shared();
    for threads in ["1", "2", "8"] {
        let home = Home::new();
        let [option, file] = chain(&made.file);
        let ended = home.import(&made.genesis, &[option, file, OsStr::new("--threads"), OsStr::new(threads)]);
        assert_eq!((ended.code, home.head()), (Some(0), (BLOCKS, made.hash(BLOCKS))), "{threads}: {ended:?}");
    }
}

#[test]
fn a_compressed_file_is_read_as_it_is() {
    let (made, home) = (Made::shared(), Home::new());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&made.encoded().concat()).expect("a vector takes everything");
    let bytes = encoder.finish().expect("a vector takes everything");
    let file = home.write("chain.rlp.gz", &bytes);
    assert_eq!(made.import(&home, &file).counts(), (BLOCKS, 0));
    let (torn, home) = (&bytes[..bytes.len() - 9], Home::new());
    let file = home.write("chain.rlp.gz", torn);
    made.import(&home, &file).assert_refused(2, &["chain.rlp.gz", "cannot be read"]);
}

#[test]
fn blocks_that_are_there_twice_count_once() {
    let (made, home) = (Made::shared(), Home::new());
    let blocks = made.encoded();
    let twice = [&blocks[..3], &blocks[1..]].concat();
    let ended = made.import_bytes(&home, &twice);
    assert_eq!((ended.code, ended.counts()), (Some(0), (BLOCKS, 2)), "{ended:?}");
}

#[test]
fn a_torn_file_leaves_whole_blocks_and_can_be_gone_on_from() {
    let (made, home) = (Made::shared(), Home::new());
    let blocks = made.encoded();
    let begin = blocks[..6].concat().len();
    for cut in [1, 2, 3, blocks[6].len() / 2, blocks[6].len() - 1] {
        let file = home.write("torn.rlp", &blocks.concat()[..begin + cut]);
        let ended = made.import(&home, &file);
        let place = format!("torn.rlp: at byte {begin}");
        ended.assert_refused(2, &[&place, "the file ends after"]);
        assert_eq!(home.head(), (6, made.hash(6)), "{cut}");
    }
    assert_eq!(made.import(&home, &made.file).counts(), (BLOCKS - 6, 6));
    home.assert_verified();
}

#[test]
fn a_block_whose_claims_do_not_hold_ends_the_import_and_is_named() {
    let made = Made::shared();
    type Bend = fn(&mut alloy_consensus::Header);
    let cases: [(&str, Bend); 6] = [
        ("state root", |header| header.state_root = B256::repeat_byte(1)),
        ("receipts root", |header| header.receipts_root = B256::repeat_byte(1)),
        ("gas used", |header| header.gas_used += 1),
        ("logs bloom", |header| header.logs_bloom.0[0] ^= 1),
        ("requests hash", |header| header.requests_hash = Some(B256::repeat_byte(1))),
        ("timestamp 0 is not after the parent's", |header| header.timestamp = 0),
    ];
    for (words, bend) in cases {
        let home = Home::new();
        let mut bent = made.blocks[3].clone();
        bend(&mut bent.header);
        let mut blocks = made.encoded();
        blocks[3] = encoded(&bent);
        let ended = made.import_bytes(&home, &blocks);
        let hash = format!("block 4 ({:?})", bent.header.hash_slow());
        ended.assert_refused(1, &["blocks.rlp: at byte ", &hash, words]);
        assert_eq!(home.head(), (3, made.hash(3)), "{words}");
        home.assert_verified();
        // The right chain goes on from there.
        assert_eq!(made.import(&home, &made.file).counts(), (BLOCKS - 3, 3), "{words}");
    }
}

#[test]
fn a_body_that_is_not_the_headers_ends_the_import() {
    let (made, home) = (Made::shared(), Home::new());
    let mut bent = made.blocks[3].clone();
    bent.body.transactions.pop();
    let mut blocks = made.encoded();
    blocks[3] = encoded(&bent);
    made.import_bytes(&home, &blocks).assert_refused(1, &["block 4 (", "transactions root"]);
    assert_eq!(home.head(), (3, made.hash(3)));
}

#[test]
fn blocks_out_of_order_end_the_import() {
    let (made, home) = (Made::shared(), Home::new());
    let mut blocks = made.encoded();
    blocks.swap(3, 4);
    made.import_bytes(&home, &blocks).assert_refused(2, &["block 4 should be here, found 5"]);
    assert_eq!(home.head(), (3, made.hash(3)));
}

#[test]
fn bytes_that_are_no_blocks_end_the_import() {
    let made = Made::shared();
    let first = made.encoded()[0].clone();
    let cases: [(&[u8], &str); 6] = [
        (&[0x00], "byte 0x00 begins no block"),
        (b"PK\x03\x04", "begins no block"),
        (&[0xff; 9], "more than 67108864 bytes"),
        (&[0xfb, 0x03, 0xff, 0xff, 0xff], "the file ends after 5 of the block's 67108868 bytes"),
        (&[0xc0], "block is malformed"),
        (&[0xc3, 0xc0, 0xc0, 0xc0], "the header cannot be read"),
    ];
    for (bytes, words) in cases {
        let home = Home::new();
        let place = format!("blocks.rlp: at byte {}", first.len());
        let ended = made.import_bytes(&home, &[first.clone(), bytes.to_vec()]);
        ended.assert_refused(2, &[&place, words]);
        assert_eq!(home.head(), (1, made.hash(1)), "{words}");
    }
}

#[test]
fn a_database_of_another_chain_is_left_alone() {
    let (made, home) = (Made::shared(), Home::new());
    let other = Made::new(2, 3, 77);
    made.import_bytes(&home, &made.encoded()[..2]);
    other.import(&home, &other.file).assert_refused(2, &["holds another chain: its block 0 is"]);
    assert_eq!(home.head(), (2, made.hash(2)));
    // The same genesis, and another block 2.
    let mut bent = made.blocks[1].clone();
    bent.header.extra_data = vec![1].into();
    let mut blocks = made.encoded();
    blocks[1] = encoded(&bent);
    made.import_bytes(&home, &blocks).assert_refused(2, &["holds another chain: its block 2 is"]);
    assert_eq!(home.head(), (2, made.hash(2)));
}

#[test]
fn files_that_cannot_be_read_are_known_before_the_database_is_touched() {
    let (made, home) = (Made::shared(), Home::new());
    let missing = home.db().with_file_name("missing.rlp");
    made.import(&home, &missing).assert_refused(2, &["missing.rlp", "cannot be read"]);
    let directory = home.db().with_file_name("");
    made.import(&home, &directory).assert_refused(2, &["not a regular file"]);
    let cases: [(&[u8], &str); 4] = [
        (b"{", "EOF"),
        (b"[]", "invalid length"),
        (b"{}", "missing field `gasLimit`"),
        (br#"{"gasLimit":"0x5","difficulty":"x","alloc":{}}"#, "difficulty"),
    ];
    for (text, words) in cases {
        let genesis = home.write("genesis.json", text);
        home.import(&genesis, &chain(&made.file)).assert_refused(2, &["genesis.json", words]);
    }
    assert!(!home.db().exists());
}

#[test]
fn without_files_there_is_nothing_to_import() {
    let (made, home) = (Made::shared(), Home::new());
    assert_eq!(home.import_once(&made.genesis, &[]).code, Some(2));
    assert!(!home.db().exists());
}
