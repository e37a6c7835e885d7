//! Files of blocks in RLP, one after the other, as other clients export and import them; plain or gzip.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use ropewalk_block::import::decode_block;

use super::{
    error::{FileFault, FilePlace, HistoryError},
    source::{ByteCount, SourceBlock, open_counted},
};

/// Most bytes of one block. The largest real ones have a few million.
const MOST_BLOCK_BYTES: u64 = 64 << 20;
/// First byte of the shortest list in RLP, and of the shortest list that tells its length in bytes of its own.
const LIST: u8 = 0xc0;
const LONG_LIST: u8 = 0xf8;

/// A file of blocks, read block by block.
pub(super) struct ChainFile {
    path: PathBuf,
    file: Box<dyn BufRead + Send>,
    /// Where the next block begins in the content, in bytes.
    byte: u64,
}

impl ChainFile {
    /// Opens a file. `count` hears how many bytes are read.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(path: &Path, count: &ByteCount) -> Result<Self, HistoryError> {
        let (file, _) = open_counted(path, count)?;
        let file = BufReader::with_capacity(1 << 16, file);
        let file: Box<dyn BufRead + Send> = match path.extension().is_some_and(|extension| extension == "gz") {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))),
            false => Box::new(file),
        };
        Ok(Self { path: path.to_owned(), file, byte: 0 })
    }

    /// The next block; `None` at the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read, ends inside a block, or the block is malformed.
    pub(super) fn next_block(&mut self) -> Result<Option<SourceBlock>, HistoryError> {
        let mut place = FilePlace { byte: Some(self.byte), ..FilePlace::file(&self.path) };
        let Some(rlp) = self.next_list().map_err(|fault| place.fault(fault))? else { return Ok(None) };
        let decoded = decode_block(&rlp).map_err(|error| place.fault(error))?;
        self.byte += rlp.len() as u64;
        place.block = Some(decoded.block.header.number);
        Ok(Some(SourceBlock { place, decoded, receipts: None, total_difficulty: None }))
    }

    /// The bytes of the next list.
    fn next_list(&mut self) -> Result<Option<Vec<u8>>, FileFault> {
        let mut rlp = Vec::new();
        self.read_up_to(1, &mut rlp)?;
        let length = match rlp.first() {
            None => return Ok(None),
            Some(&found) if found < LIST => return Err(FileFault::NotABlock { found }),
            Some(&first) if first < LONG_LIST => u64::from(first - LIST),
            Some(&first) => {
                let length_bytes = u64::from(first - LONG_LIST) + 1;
                self.read_up_to(length_bytes, &mut rlp)?;
                complete(&rlp, 1 + length_bytes)?;
                rlp[1..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
            }
        };
        if length > MOST_BLOCK_BYTES {
            return Err(FileFault::TooLarge { most_bytes: MOST_BLOCK_BYTES });
        }
        let whole = rlp.len() as u64 + length;
        self.read_up_to(length, &mut rlp)?;
        complete(&rlp, whole)?;
        Ok(Some(rlp))
    }

    /// Reads so many bytes, or as many as there are: no more memory is taken than bytes are there.
    fn read_up_to(&mut self, length: u64, rlp: &mut Vec<u8>) -> Result<(), FileFault> {
        self.file.by_ref().take(length).read_to_end(rlp).map_err(FileFault::Io)?;
        Ok(())
    }
}

fn complete(rlp: &[u8], expected_bytes: u64) -> Result<(), FileFault> {
    match rlp.len() as u64 {
        found_bytes if found_bytes < expected_bytes => Err(FileFault::TornBlock { expected_bytes, found_bytes }),
        _ => Ok(()),
    }
}
