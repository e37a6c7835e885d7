//! e2store files: records one after the other, each with its type and its length.
//!
//! ```text
//! record = type (2 bytes) | length (4 bytes) | reserved (2 bytes, zero) | data (length bytes)
//! ```
//!
//! Numbers are little endian. A record's data is read as far as it is there and no further than [`MOST_DATA_BYTES`], so a
//! length that lies costs nothing.

use std::{
    fmt,
    io::{self, Read},
};

/// Size of what stands before a record's data, in bytes.
pub(super) const RECORD_HEADER_BYTES: u64 = 8;
/// Most data of one record, in bytes. The largest blocks hold a tenth of that.
pub(super) const MOST_DATA_BYTES: u64 = 64 << 20;

/// The types of records in an era1 archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// What a file begins with; holds nothing.
    Version,
    /// A block's header: RLP in framed snappy.
    Header,
    /// A block's transactions and ommers: RLP in framed snappy.
    Body,
    /// A block's receipts: RLP in framed snappy.
    Receipts,
    /// Sum of the difficulties from genesis to the block: 32 bytes, little endian.
    TotalDifficulty,
    /// Root over hashes and total difficulties of all blocks: 32 bytes.
    Accumulator,
    /// Where each block begins; the last record.
    BlockIndex,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The type, whether or not it is one that is known.
    pub(super) kind: u16,
    pub(super) data: Vec<u8>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordFault {
    /// The file cannot be read.
    #[error("cannot be read")]
    Io(#[source] io::Error),
    /// The file ends inside a record.
    #[error("the file ends after {found_bytes} of the {expected_bytes} bytes of its {part}")]
    Torn {
        /// The part of the record that is incomplete.
        part: &'static str,
        /// Size that the part should have.
        expected_bytes: u64,
        /// What is there of it.
        found_bytes: u64,
    },
    /// The two bytes that must be zero are not.
    #[error("its reserved bytes are {found:#06x}, not zero")]
    Reserved {
        /// What they are.
        found: u16,
    },
    /// The record claims more data than any block has.
    #[error("its length is {found_bytes} bytes, at most {most_bytes}")]
    Length {
        /// Most bytes that are read.
        most_bytes: u64,
        /// What the record claims.
        found_bytes: u64,
    },
}

impl RecordKind {
    const ALL: [Self; 7] = [
        Self::Version,
        Self::Header,
        Self::Body,
        Self::Receipts,
        Self::TotalDifficulty,
        Self::Accumulator,
        Self::BlockIndex,
    ];

    /// The number that stands for the type.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::Version => 0x3265,
            Self::Header => 0x03,
            Self::Body => 0x04,
            Self::Receipts => 0x05,
            Self::TotalDifficulty => 0x06,
            Self::Accumulator => 0x07,
            Self::BlockIndex => 0x3266,
        }
    }

    /// The type that a number stands for.
    pub(super) fn of_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "version",
            Self::Header => "header",
            Self::Body => "body",
            Self::Receipts => "receipts",
            Self::TotalDifficulty => "total difficulty",
            Self::Accumulator => "accumulator",
            Self::BlockIndex => "block index",
        })
    }
}

/// Reads the next record; `None` at the end of the file.
///
/// # Errors
/// When the file ends inside the record, or the record's own bytes make no sense.
pub(super) fn read_record(file: &mut impl Read) -> Result<Option<Record>, RecordFault> {
    let header = read_part(file, RECORD_HEADER_BYTES)?;
    let Ok([kind_low, kind_high, a, b, c, d, reserved_low, reserved_high]) = <[u8; 8]>::try_from(header.as_slice())
    else {
        return match header.len() as u64 {
            0 => Ok(None),
            found_bytes => Err(torn("header", RECORD_HEADER_BYTES, found_bytes)),
        };
    };
    let reserved = u16::from_le_bytes([reserved_low, reserved_high]);
    if reserved != 0 {
        return Err(RecordFault::Reserved { found: reserved });
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    if length > MOST_DATA_BYTES {
        return Err(RecordFault::Length { most_bytes: MOST_DATA_BYTES, found_bytes: length });
    }
    let data = read_part(file, length)?;
    match data.len() as u64 {
        found_bytes if found_bytes < length => Err(torn("data", length, found_bytes)),
        _ => Ok(Some(Record { kind: u16::from_le_bytes([kind_low, kind_high]), data })),
    }
}

/// Reads so many bytes, or as many as there are.
fn read_part(file: &mut impl Read, length: u64) -> Result<Vec<u8>, RecordFault> {
    let mut part = Vec::new();
    file.take(length).read_to_end(&mut part).map_err(RecordFault::Io)?;
    Ok(part)
}

fn torn(part: &'static str, expected_bytes: u64, found_bytes: u64) -> RecordFault {
    RecordFault::Torn { part, expected_bytes, found_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, length: u32, data: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), &[0, 0], data].concat()
    }

    fn read(bytes: &[u8]) -> Result<Option<Record>, RecordFault> {
        read_record(&mut &*bytes)
    }

    #[test]
    fn records_are_read_one_after_the_other_up_to_the_end() {
        let bytes = [record(0x3265, 0, &[]), record(3, 2, &[7, 8])].concat();
        let mut file = bytes.as_slice();
        let version = read_record(&mut file).expect("whole").expect("there");
        assert_eq!((RecordKind::of_code(version.kind), version.data.len()), (Some(RecordKind::Version), 0));
        let header = read_record(&mut file).expect("whole").expect("there");
        assert_eq!((RecordKind::of_code(header.kind), header.data), (Some(RecordKind::Header), vec![7, 8]));
        assert_eq!(read_record(&mut file).expect("the end"), None);
    }

    #[test]
    fn a_file_that_ends_inside_a_record_is_torn() {
        let whole = record(3, 5, &[1, 2, 3, 4, 5]);
        for length in 1..whole.len() {
            let part = if length < 8 { "header" } else { "data" };
            let error = read(&whole[..length]).expect_err("torn");
            assert!(matches!(error, RecordFault::Torn { part: found, .. } if found == part), "{length}: {error}");
        }
    }

    #[test]
    fn an_absurd_length_is_refused_before_anything_is_read() {
        let error = read(&record(3, u32::MAX, &[])).expect_err("absurd");
        assert!(matches!(error, RecordFault::Length { found_bytes: 0xffff_ffff, .. }), "{error}");
        let error = read(&record(3, MOST_DATA_BYTES as u32, &[1])).expect_err("torn");
        assert!(matches!(error, RecordFault::Torn { found_bytes: 1, .. }), "{error}");
    }

    #[test]
    fn reserved_bytes_must_be_zero() {
        let mut bytes = record(3, 0, &[]);
        bytes[7] = 1;
        assert!(matches!(read(&bytes), Err(RecordFault::Reserved { found: 0x0100 })));
    }

    #[test]
    fn every_kind_is_found_by_its_number() {
        for kind in RecordKind::ALL {
            assert_eq!(RecordKind::of_code(kind.code()), Some(kind));
        }
        assert_eq!(RecordKind::of_code(0), None);
    }
}
