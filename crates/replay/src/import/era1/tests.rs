use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header};
use snap::write::FrameEncoder;
use std::io::Write;

use super::*;
use crate::import::e2store::RecordFault;

/// A block's header with nothing in the block.
fn header(number: u64) -> Header {
    Header {
        number,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        difficulty: U256::from(7),
        ..Header::default()
    }
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(content).expect("a vector takes everything");
    encoder.into_inner().expect("a vector takes everything")
}

/// An archive to be bent before it is written.
#[derive(Clone)]
struct Archive {
    /// Records before the index: type and data.
    records: Vec<(u16, Vec<u8>)>,
    first: u64,
    /// Added to each position in the index.
    shift: i64,
}

impl Archive {
    fn of(first: u64, blocks: u64) -> Self {
        let mut records = vec![(RecordKind::Version.code(), Vec::new())];
        let mut accumulator = Accumulator::default();
        for number in first..first + blocks {
            let total_difficulty = U256::from(number);
            accumulator.push(header(number).hash_slow(), total_difficulty);
            records.push((RecordKind::Header.code(), framed(&alloy_rlp::encode(header(number)))));
            records.push((RecordKind::Body.code(), framed(&[0xc2, 0xc0, 0xc0])));
            records.push((RecordKind::Receipts.code(), framed(&[0xc0])));
            records.push((RecordKind::TotalDifficulty.code(), total_difficulty.to_le_bytes::<32>().to_vec()));
        }
        records.push((RecordKind::Accumulator.code(), accumulator.root().to_vec()));
        Self { records, first, shift: 0 }
    }

    fn with(mut self, record: usize, kind: RecordKind, data: Vec<u8>) -> Self {
        self.records[record] = (kind.code(), data);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut begins = Vec::new();
        for (kind, data) in &self.records {
            if *kind == RecordKind::Header.code() {
                begins.push(bytes.len() as i64);
            }
            bytes.extend(record(*kind, data));
        }
        let base = bytes.len() as i64;
        let mut index = self.first.to_le_bytes().to_vec();
        begins.iter().for_each(|begin| index.extend((begin - base + self.shift).to_le_bytes()));
        index.extend((begins.len() as u64).to_le_bytes());
        bytes.extend(record(RecordKind::BlockIndex.code(), &index));
        bytes
    }
}

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(data.len() as u32).to_le_bytes(), &[0, 0], data].concat()
}

/// Numbers of the blocks that are read, and why no more.
fn read(bytes: &[u8]) -> (Vec<u64>, Option<HistoryError>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("chain.era1");
    std::fs::write(&path, bytes).expect("writable");
    let mut numbers = Vec::new();
    let mut archive = match Era1::open(&path, &ByteCount::default()) {
        Ok(archive) => archive,
        Err(error) => return (numbers, Some(error)),
    };
    loop {
        match archive.next_block() {
            Ok(Some(block)) => numbers.push(block.decoded.block.header.number),
            Ok(None) => return (numbers, None),
            Err(error) => return (numbers, Some(error)),
        }
    }
}

/// The place and the fault that reading ends with.
fn fault(archive: &Archive) -> (FilePlace, FileFault) {
    match read(&archive.bytes()).1 {
        Some(HistoryError::File { place, fault }) => (place, *fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_block_is_read_and_the_accumulator_is_theirs() {
    let (numbers, error) = read(&Archive::of(8192, 3).bytes());
    assert_eq!((numbers, error.map(|error| error.to_string())), (vec![8192, 8193, 8194], None));
}

#[test]
fn records_of_other_types_before_the_accumulator_are_passed_over() {
    let mut archive = Archive::of(0, 2);
    archive.records.insert(9, (0x7777, vec![1, 2, 3]));
    assert!(read(&archive.bytes()).1.is_none());
}

#[test]
fn a_torn_archive_is_known_before_its_first_block_is_read() {
    let bytes = Archive::of(0, 3).bytes();
    for length in 0..bytes.len() {
        let (numbers, error) = read(&bytes[..length]);
        let Some(HistoryError::File { fault, .. }) = error else { panic!("{length}: {error:?}") };
        assert!(numbers.is_empty() && matches!(*fault, FileFault::NoIndex), "{length}: {fault}");
    }
}

#[test]
fn an_error_names_record_block_and_byte() {
    let (place, fault) = fault(&Archive::of(5, 2).with(6, RecordKind::Body, vec![1, 2, 3]));
    assert_eq!((place.record, place.block), (Some((6, Some(RecordKind::Body))), Some(6)));
    assert!(place.byte.is_some_and(|byte| byte > 0) && matches!(fault, FileFault::Snappy(_)), "{fault}");
    assert!(place.to_string().contains("record 6 (body) at byte "), "{place}");
}

#[test]
fn records_out_of_order_are_refused() {
    let archive = Archive::of(0, 2);
    let (body, receipts) = (archive.records[2].clone(), archive.records[3].clone());
    let mut swapped = archive;
    (swapped.records[2], swapped.records[3]) = (receipts, body);
    let (_, fault) = fault(&swapped);
    assert!(matches!(fault, FileFault::RecordKind { expected: RecordKind::Body, found: 5 }), "{fault}");
}

#[test]
fn blocks_out_of_order_are_refused() {
    let mut archive = Archive::of(0, 3);
    for offset in 0..4 {
        archive.records.swap(5 + offset, 9 + offset);
    }
    let (_, fault) = fault(&archive);
    assert!(matches!(fault, FileFault::Order { expected: 1, found: 2 }), "{fault}");
}

#[test]
fn every_promise_of_an_archive_is_checked() {
    let archive = || Archive::of(0, 2);
    let (_, found) = fault(&archive().with(9, RecordKind::Accumulator, vec![7; 32]));
    assert!(matches!(found, FileFault::Accumulator { .. }), "{found}");
    let (_, found) = fault(&archive().with(9, RecordKind::Accumulator, vec![7; 31]));
    assert!(matches!(found, FileFault::RecordSize { expected_bytes: 32, found_bytes: 31, .. }), "{found}");
    let (_, found) = fault(&archive().with(4, RecordKind::TotalDifficulty, vec![7; 33]));
    assert!(matches!(found, FileFault::RecordSize { kind: RecordKind::TotalDifficulty, .. }), "{found}");
    let (_, found) = fault(&archive().with(0, RecordKind::Version, vec![1]));
    assert!(matches!(found, FileFault::RecordSize { kind: RecordKind::Version, .. }), "{found}");
    let receipts = framed(&alloy_rlp::encode(vec![ReceiptEnvelope::Legacy(Default::default())]));
    let (_, found) = fault(&archive().with(3, RecordKind::Receipts, receipts));
    assert!(matches!(found, FileFault::ReceiptsRoot { expected: EMPTY_ROOT_HASH, .. }), "{found}");
    let (_, found) = fault(&Archive { shift: 1, ..archive() });
    assert!(matches!(found, FileFault::IndexOffset { .. }), "{found}");
    let (_, found) = fault(&Archive { shift: i64::MAX, ..archive() });
    assert!(matches!(found, FileFault::IndexOffset { .. }), "{found}");
    let mut without = archive();
    without.records.pop();
    let (_, found) = fault(&without);
    assert!(matches!(found, FileFault::RecordMissing { expected: RecordKind::Accumulator }), "{found}");
    let mut longer = archive();
    longer.records.push((3, Vec::new()));
    longer.records[10] = (0x7777, Vec::new());
    let (_, found) = fault(&longer);
    assert!(matches!(found, FileFault::RecordKind { expected: RecordKind::BlockIndex, found: 0x7777 }), "{found}");
}

#[test]
fn contents_are_one_list_each_and_nothing_else() {
    let archive = || Archive::of(0, 1);
    for (record, kind) in [(1, RecordKind::Header), (2, RecordKind::Body), (3, RecordKind::Receipts)] {
        for content in [&[][..], &[0x80], &[0xc0, 0xc0], &[0xc1], &[0xff; 9]] {
            let (_, fault) = fault(&archive().with(record, kind, framed(content)));
            assert!(
                matches!(fault, FileFault::NotOneList { kind: found } if found == kind),
                "{kind} {content:?}: {fault}"
            );
        }
    }
    // A header with the transactions behind it, and a body that has only the ommers left.
    let header = [alloy_rlp::encode(header(0)), vec![0xc0]].concat();
    let bent = archive().with(1, RecordKind::Header, framed(&header)).with(2, RecordKind::Body, framed(&[0xc1, 0xc0]));
    assert!(matches!(fault(&bent).1, FileFault::NotOneList { kind: RecordKind::Header }));
    let (_, fault) = fault(&archive().with(2, RecordKind::Body, framed(&[0xc3, 0xc0, 0xc0, 0x01])));
    assert!(matches!(fault, FileFault::Malformed(_)), "{fault}");
}

#[test]
fn a_small_record_that_unpacks_to_a_huge_one_is_given_up() {
    let huge = framed(&vec![0; MOST_DATA_BYTES as usize + 1]);
    assert!((huge.len() as u64) < MOST_DATA_BYTES / 10);
    let (_, fault) = fault(&Archive::of(0, 1).with(1, RecordKind::Header, huge));
    assert!(matches!(fault, FileFault::TooLarge { .. }), "{fault}");
}

#[test]
fn an_absurd_length_in_a_record_is_refused() {
    let mut bytes = Archive::of(0, 1).bytes();
    bytes[8 + 2..8 + 6].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = read(&bytes).1.expect("absurd");
    let HistoryError::File { fault, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*fault, FileFault::Record(RecordFault::Length { .. })), "{fault}");
}

#[test]
fn an_absurd_index_is_no_index() {
    let bytes = Archive::of(0, 1).bytes();
    for count in [0, 2, 8193, 1 << 40, u64::MAX / 8, u64::MAX] {
        let mut bent = bytes.clone();
        let at = bent.len() - 8;
        bent[at..].copy_from_slice(&u64::to_le_bytes(count));
        let (numbers, error) = read(&bent);
        assert!(numbers.is_empty() && error.is_some(), "{count}");
    }
    let last = Archive { first: u64::MAX, ..Archive::of(0, 1) };
    assert!(matches!(fault(&last).1, FileFault::NoIndex));
}

#[test]
fn whatever_byte_is_bent_reading_ends_without_a_panic() {
    let bytes = Archive::of(0, 2).bytes();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut bent = bytes.clone();
            bent[at] ^= mask;
            let (numbers, error) = read(&bent);
            assert!(error.is_some() || numbers == [0, 1], "byte {at} is checked by something");
        }
    }
}
