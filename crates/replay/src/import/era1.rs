//! era1 archives: up to 8192 blocks of proof of work with their receipts and total difficulties.
//!
//! ```text
//! archive = version | block ... | other records | accumulator | block index
//! block   = header | body | receipts | total difficulty
//! ```
//!
//! The index stands at the end, so a torn archive is known before anything of it is executed. Every promise that an
//! archive makes is checked: each block begins where the index says and has the number that follows, its receipts have
//! the root that its header says, and the accumulator is that of the blocks. Whether the total difficulties add up is
//! seen by whoever knows the block before.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use alloy_consensus::{ReceiptEnvelope, proofs::calculate_receipt_root};
use alloy_primitives::{B256, U256};
use alloy_rlp::Decodable;
use ropewalk_block::import::{DecodedBlock, decode_block};
use snap::read::FrameDecoder;

use super::{
    accumulator::{Accumulator, MOST_BLOCKS},
    e2store::{MOST_DATA_BYTES, RECORD_HEADER_BYTES, Record, RecordKind, read_record},
    error::{FileFault, FilePlace, HistoryError},
    source::{ByteCount, Counted, SourceBlock, open_counted},
};

/// Size of a number in the block index, in bytes.
const NUMBER_BYTES: u64 = 8;

/// An archive, read block by block.
#[derive(Debug)]
pub(super) struct Era1 {
    records: Records,
    index: BlockIndex,
    /// Blocks read so far.
    read: usize,
    accumulator: Accumulator,
}

/// The records before the index, one after the other.
#[derive(Debug)]
struct Records {
    path: PathBuf,
    file: BufReader<Counted>,
    /// Where the next record begins, in bytes.
    byte: u64,
    /// Number of the next record.
    next: u64,
    /// Where the index begins, in bytes.
    end: u64,
    /// The block that is being read.
    block: Option<u64>,
}

/// Which blocks an archive holds, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BlockIndex {
    /// Where the index itself begins, in bytes.
    byte: u64,
    /// Number of the first block.
    first: u64,
    /// Where each block begins, relative to the index.
    offsets: Vec<i64>,
}

impl Era1 {
    /// Opens an archive and reads its index. `count` hears how many bytes are read.
    ///
    /// # Errors
    /// When the file cannot be read or does not end with an index.
    pub(super) fn open(path: &Path, count: &ByteCount) -> Result<Self, HistoryError> {
        let (mut file, size_bytes) = open_counted(path, count)?;
        let index = BlockIndex::read(path, file.uncounted(), size_bytes)?;
        let file = BufReader::new(file);
        let mut records = Records { path: path.to_owned(), file, byte: 0, next: 0, end: index.byte, block: None };
        records.sized(RecordKind::Version, 0)?;
        Ok(Self { records, index, read: 0, accumulator: Accumulator::default() })
    }

    /// The next block; `None` when all were read and the accumulator is theirs.
    ///
    /// # Errors
    /// When the archive is malformed or contradicts itself.
    pub(super) fn next_block(&mut self) -> Result<Option<SourceBlock>, HistoryError> {
        let Some(offset) = self.index.offsets.get(self.read) else { return self.finish().map(|()| None) };
        let number = self.index.first + self.read as u64;
        self.records.block = Some(number);
        let place = self.records.place(Some(RecordKind::Header));
        let (expected, found) = ((self.index.byte as i64).wrapping_add(*offset), self.records.byte);
        if expected != found as i64 {
            return Err(place.fault(FileFault::IndexOffset { expected, found }));
        }
        let header = self.records.list(RecordKind::Header)?;
        let body = self.records.list(RecordKind::Body)?;
        let decoded = decode_block(&joined(&header, &body)).map_err(|error| place.fault(error))?;
        let found = decoded.block.header.number;
        if found != number {
            return Err(place.fault(FileFault::Order { expected: number, found }));
        }
        let receipts = self.receipts(&decoded)?;
        let total_difficulty = self.records.sized(RecordKind::TotalDifficulty, 32)?;
        let total_difficulty = U256::from_le_slice(&total_difficulty);
        self.accumulator.push(decoded.hash, total_difficulty);
        self.read += 1;
        Ok(Some(SourceBlock { place, decoded, receipts: Some(receipts), total_difficulty: Some(total_difficulty) }))
    }

    fn receipts(&mut self, decoded: &DecodedBlock) -> Result<Vec<ReceiptEnvelope>, HistoryError> {
        let place = self.records.place(Some(RecordKind::Receipts));
        let rlp = self.records.list(RecordKind::Receipts)?;
        let receipts = Vec::<ReceiptEnvelope>::decode(&mut rlp.as_slice());
        let receipts = receipts.map_err(|error| place.fault(FileFault::Receipts(error)))?;
        let (expected, found) = (decoded.block.header.receipts_root, calculate_receipt_root(&receipts));
        match found == expected {
            true => Ok(receipts),
            false => Err(place.fault(FileFault::ReceiptsRoot { expected, found })),
        }
    }

    /// Reads what follows the blocks.
    fn finish(&mut self) -> Result<(), HistoryError> {
        self.records.block = None;
        loop {
            let place = self.records.place(None);
            let Some(record) = self.records.next()? else {
                return Err(place.fault(FileFault::RecordMissing { expected: RecordKind::Accumulator }));
            };
            // Records of other types may stand before the accumulator.
            if record.kind != RecordKind::Accumulator.code() {
                continue;
            }
            let place =
                FilePlace { record: place.record.map(|(index, _)| (index, Some(RecordKind::Accumulator))), ..place };
            let found = B256::from_slice(&sized(&place, RecordKind::Accumulator, 32, record.data)?);
            let expected = self.accumulator.root();
            if found != expected {
                return Err(place.fault(FileFault::Accumulator { expected, found }));
            }
            let place = self.records.place(None);
            return match self.records.next()? {
                None => Ok(()),
                Some(record) => {
                    Err(place.fault(FileFault::RecordKind { expected: RecordKind::BlockIndex, found: record.kind }))
                }
            };
        }
    }
}

impl Records {
    fn place(&self, kind: Option<RecordKind>) -> FilePlace {
        let path = self.path.clone();
        FilePlace { path, record: Some((self.next, kind)), byte: Some(self.byte), block: self.block }
    }

    /// The next record before the index.
    fn next(&mut self) -> Result<Option<Record>, HistoryError> {
        let place = self.place(None);
        let left = self.end - self.byte;
        let record = read_record(&mut self.file.by_ref().take(left)).map_err(|error| place.fault(error))?;
        if let Some(record) = &record {
            self.byte += RECORD_HEADER_BYTES + record.data.len() as u64;
            self.next += 1;
        }
        Ok(record)
    }

    /// The data of the next record, which must be of this type.
    fn expect(&mut self, kind: RecordKind) -> Result<Vec<u8>, HistoryError> {
        let place = self.place(Some(kind));
        match self.next()? {
            None => Err(place.fault(FileFault::RecordMissing { expected: kind })),
            Some(record) if record.kind != kind.code() => {
                Err(place.fault(FileFault::RecordKind { expected: kind, found: record.kind }))
            }
            Some(record) => Ok(record.data),
        }
    }

    /// The data of the next record, which must be of this type and size.
    fn sized(&mut self, kind: RecordKind, expected_bytes: u64) -> Result<Vec<u8>, HistoryError> {
        let place = self.place(Some(kind));
        let data = self.expect(kind)?;
        sized(&place, kind, expected_bytes, data)
    }

    /// The content of the next record, which must be of this type and one list in RLP under framed snappy.
    fn list(&mut self, kind: RecordKind) -> Result<Vec<u8>, HistoryError> {
        let place = self.place(Some(kind));
        let data = self.expect(kind)?;
        let mut content = Vec::new();
        let read = FrameDecoder::new(data.as_slice()).take(MOST_DATA_BYTES + 1).read_to_end(&mut content);
        read.map_err(|error| place.fault(FileFault::Snappy(error)))?;
        if content.len() as u64 > MOST_DATA_BYTES {
            return Err(place.fault(FileFault::TooLarge { most_bytes: MOST_DATA_BYTES }));
        }
        match payload(&content) {
            Some(_) => Ok(content),
            None => Err(place.fault(FileFault::NotOneList { kind })),
        }
    }
}

fn sized(place: &FilePlace, kind: RecordKind, expected_bytes: u64, data: Vec<u8>) -> Result<Vec<u8>, HistoryError> {
    match data.len() as u64 {
        found_bytes if found_bytes != expected_bytes => {
            Err(place.fault(FileFault::RecordSize { kind, expected_bytes, found_bytes }))
        }
        _ => Ok(data),
    }
}

/// What is inside a list that takes all of `rlp`.
fn payload(mut rlp: &[u8]) -> Option<&[u8]> {
    let payload = alloy_rlp::Header::decode_bytes(&mut rlp, true).ok()?;
    rlp.is_empty().then_some(payload)
}

/// A block in RLP: one list of the header and of what is in the body's list.
fn joined(header: &[u8], body: &[u8]) -> Vec<u8> {
    let body = payload(body).unwrap_or_default();
    let mut block = Vec::with_capacity(header.len() + body.len() + 9);
    alloy_rlp::Header { list: true, payload_length: header.len() + body.len() }.encode(&mut block);
    block.extend_from_slice(header);
    block.extend_from_slice(body);
    block
}

impl BlockIndex {
    /// Reads the index at the end of a file and goes back to the beginning.
    fn read(path: &Path, file: &mut File, size_bytes: u64) -> Result<Self, HistoryError> {
        let place = FilePlace::file(path);
        let unreadable = |error| place.fault(FileFault::Io(error));
        let no_index = || place.fault(FileFault::NoIndex);
        let count_at = size_bytes.checked_sub(NUMBER_BYTES).ok_or_else(no_index)?;
        file.seek(SeekFrom::Start(count_at)).map_err(unreadable)?;
        let mut count = [0; NUMBER_BYTES as usize];
        file.read_exact(&mut count).map_err(unreadable)?;
        let count = u64::from_le_bytes(count);
        // More than any archive has: most likely these bytes are no count at all.
        let data_bytes = count.checked_mul(NUMBER_BYTES).and_then(|bytes| bytes.checked_add(2 * NUMBER_BYTES));
        let record_bytes = data_bytes.and_then(|bytes| bytes.checked_add(RECORD_HEADER_BYTES));
        let byte = record_bytes.and_then(|bytes| size_bytes.checked_sub(bytes)).ok_or_else(no_index)?;
        file.seek(SeekFrom::Start(byte)).map_err(unreadable)?;
        let index_bytes = 3 * NUMBER_BYTES + NUMBER_BYTES * MOST_BLOCKS as u64;
        let record = read_record(&mut file.by_ref().take(index_bytes));
        let record = record.ok().flatten().filter(|record| record.kind == RecordKind::BlockIndex.code());
        let data = match record {
            Some(record) if Some(record.data.len() as u64) == data_bytes => record.data,
            _ => return Err(no_index()),
        };
        let most = MOST_BLOCKS as u64;
        if !(1..=most).contains(&count) {
            return Err(place.fault(FileFault::IndexCount { most, found: count }));
        }
        let numbers: Vec<u64> = data.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let [first, offsets @ .., _] = numbers.as_slice() else { return Err(no_index()) };
        // The last block's number must be one.
        first.checked_add(count).ok_or_else(no_index)?;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        Ok(Self { byte, first: *first, offsets: offsets.iter().map(|offset| *offset as i64).collect() })
    }
}

#[cfg(test)]
mod tests;
