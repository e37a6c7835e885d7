//! Where blocks come from: the files in the order in which they are given, block by block.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_consensus::ReceiptEnvelope;
use alloy_primitives::U256;
use ropewalk_block::import::DecodedBlock;

use super::{
    chain_file::ChainFile,
    era1::Era1,
    error::{FileFault, FilePlace, HistoryError},
};

/// A block as a file has it.
#[derive(Debug)]
pub(super) struct SourceBlock {
    /// Where it begins.
    pub(super) place: FilePlace,
    pub(super) decoded: DecodedBlock,
    /// Its receipts, where the file has them; they have the root that the header says.
    pub(super) receipts: Option<Vec<ReceiptEnvelope>>,
    /// Sum of the difficulties from genesis to it, where the file says so.
    pub(super) total_difficulty: Option<U256>,
}

/// Bytes that were read of all files; shared with whoever shows it.
#[derive(Debug, Clone, Default)]
pub(super) struct ByteCount(Arc<AtomicU64>);

impl ByteCount {
    /// Bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        // A figure on the screen: nothing is read on the strength of it.
        self.0.load(Ordering::Relaxed)
    }
}

/// A file that counts what is read of it.
#[derive(Debug)]
pub(super) struct Counted {
    file: File,
    count: ByteCount,
}

impl Counted {
    /// The file itself, for what should not count.
    pub(super) fn uncounted(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.count.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Opens a file, and gives its size in bytes.
///
/// # Errors
/// When it cannot be opened or is not a regular file.
pub(super) fn open_counted(path: &Path, count: &ByteCount) -> Result<(Counted, u64), HistoryError> {
    let unreadable = |error| FilePlace::file(path).fault(FileFault::Io(error));
    // Opening a named pipe would wait for a writer that may never come.
    let metadata = path.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(FilePlace::file(path).fault(FileFault::NotAFile));
    }
    let file = File::open(path).map_err(unreadable)?;
    Ok((Counted { file, count: count.clone() }, metadata.len()))
}

/// The files, one after the other.
pub(super) struct Source {
    files: VecDeque<SourceFile>,
    open: Option<OpenFile>,
    count: ByteCount,
    size_bytes: u64,
}

/// A file by its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourceFile {
    /// An era1 archive.
    Era1(PathBuf),
    /// Blocks in RLP.
    Chain(PathBuf),
}

enum OpenFile {
    Era1(Box<Era1>),
    Chain(ChainFile),
}

impl Source {
    /// Looks at every file once, so that one that cannot be used is known before the work.
    ///
    /// # Errors
    /// When a file cannot be opened, or an archive is torn.
    pub(super) fn new(files: impl IntoIterator<Item = SourceFile>) -> Result<Self, HistoryError> {
        let files: VecDeque<SourceFile> = files.into_iter().collect();
        let mut size_bytes = 0;
        for file in &files {
            file.open(&ByteCount::default())?;
            let (SourceFile::Era1(path) | SourceFile::Chain(path)) = file;
            size_bytes += path.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(Self { files, open: None, count: ByteCount::default(), size_bytes })
    }

    /// Size of all files, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Counts the bytes that are read.
    pub(super) fn read_bytes(&self) -> ByteCount {
        self.count.clone()
    }

    fn next_block(&mut self) -> Result<Option<SourceBlock>, HistoryError> {
        loop {
            if self.open.is_none() {
                let Some(file) = self.files.pop_front() else { return Ok(None) };
                self.open = Some(file.open(&self.count)?);
            }
            let block = match &mut self.open {
                Some(OpenFile::Era1(archive)) => archive.next_block()?,
                Some(OpenFile::Chain(file)) => file.next_block()?,
                None => None,
            };
            match block {
                Some(block) => return Ok(Some(block)),
                None => self.open = None,
            }
        }
    }
}

impl Iterator for Source {
    type Item = Result<SourceBlock, HistoryError>;

    /// After an error there are no more blocks.
    fn next(&mut self) -> Option<Self::Item> {
        let block = self.next_block();
        if block.is_err() {
            self.files.clear();
            self.open = None;
        }
        block.transpose()
    }
}

impl SourceFile {
    fn open(&self, count: &ByteCount) -> Result<OpenFile, HistoryError> {
        Ok(match self {
            Self::Era1(path) => OpenFile::Era1(Box::new(Era1::open(path, count)?)),
            Self::Chain(path) => OpenFile::Chain(ChainFile::open(path, count)?),
        })
    }
}
