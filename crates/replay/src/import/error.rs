//! Why an import ends before its files do, and where.

use std::{fmt, io, path::PathBuf};

use alloy_primitives::{B256, U256};
use ropewalk_block::{
    BlockError, ChainSpecError,
    import::{ImportError, MalformedBlock},
    pipeline::CommitFailure,
};
use ropewalk_store::StoreError;

use super::{
    e2store::{RecordFault, RecordKind},
    receipts::ReceiptDifference,
};
use crate::{fixture::FixtureError, session::NoThreads, status::Status};

/// Why an import ends before its files do. The database holds every block before that, whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The genesis file cannot be read.
    #[error("genesis file cannot be used")]
    GenesisFile(#[source] FixtureError),
    /// The genesis file describes no block to begin with.
    #[error("{}: no chain can begin with it", path.display())]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: GenesisFault,
    },
    /// A file of blocks is torn, malformed, or contradicts itself.
    #[error("{place}")]
    File {
        /// Where.
        place: FilePlace,
        /// What is wrong.
        #[source]
        fault: Box<FileFault>,
    },
    /// A block is readable and breaks a rule of its chain.
    #[error(transparent)]
    Block(#[from] Box<RefusedBlock>),
    /// The database holds another chain.
    #[error(
        "the database at {} holds another chain: its block {number} is {found}, here it is {expected}",
        path.display()
    )]
    AnotherChain {
        /// The database.
        path: PathBuf,
        /// Number of the block.
        number: u64,
        /// The block's hash in the files.
        expected: B256,
        /// The block's hash in the database.
        found: B256,
    },
    /// The directory holds a database that does not begin with a genesis block.
    #[error("the database at {} does not begin with a genesis block", path.display())]
    NotFromGenesis {
        /// The database.
        path: PathBuf,
    },
    /// The database cannot be opened, read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread that commits blocks cannot be started.
    #[error("cannot start the thread that commits blocks")]
    CommitThread(#[source] io::Error),
    /// A block could not be committed, and not because of what it says.
    #[error(transparent)]
    Commit(#[from] CommitFailure),
    /// Threads cannot be started.
    #[error(transparent)]
    Threads(#[from] NoThreads),
    /// The user wants the run to end.
    #[error("interrupted")]
    Interrupted,
}

/// A block that is readable and breaks a rule of its chain.
#[derive(Debug, thiserror::Error)]
#[error("{place}: block {number} ({hash}) is not imported{}", Remark(.receipt))]
pub(crate) struct RefusedBlock {
    /// Where it stands.
    pub(crate) place: FilePlace,
    /// Its number.
    pub(crate) number: u64,
    /// Its hash.
    pub(crate) hash: B256,
    /// The first of its receipts that is not the archive's, where the archive has receipts and they tell.
    pub(crate) receipt: Option<ReceiptDifference>,
    /// The rule.
    #[source]
    pub(crate) fault: ImportError,
}

/// Why no chain can begin with a genesis file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenesisFault {
    /// Its configuration is not that of a chain.
    #[error("its configuration does not describe a chain")]
    Chain(#[source] ChainSpecError),
    /// It is a block in the middle of a chain.
    #[error("its number is {0}, not 0")]
    Number(u64),
    /// Its base fee does not fit into a header.
    #[error("base fee {0} wei is more than a header holds")]
    BaseFee(u128),
}

/// A place in a file of blocks, as precise as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FilePlace {
    /// The file.
    pub(crate) path: PathBuf,
    /// The record of an archive, from 0, with its type where that is known.
    pub(crate) record: Option<(u64, Option<RecordKind>)>,
    /// Where that, or the block, begins, in bytes; of a compressed file in bytes of its content.
    pub(crate) byte: Option<u64>,
    /// Number of the block.
    pub(crate) block: Option<u64>,
}

/// What is wrong in a file of blocks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileFault {
    /// The file cannot be opened or read.
    #[error("cannot be read")]
    Io(#[source] io::Error),
    /// A directory, a pipe or a device stands where a file is expected.
    #[error("not a regular file")]
    NotAFile,
    /// A record of an archive cannot be read.
    #[error(transparent)]
    Record(#[from] RecordFault),
    /// An archive's records are in another order.
    #[error("the record is {}, expected {}", Code(*found), Code(expected.code()))]
    RecordKind {
        /// The type that belongs there.
        expected: RecordKind,
        /// The type's number in the file.
        found: u16,
    },
    /// An archive ends before a record that belongs there.
    #[error("the {expected} record is missing")]
    RecordMissing {
        /// The type that belongs there.
        expected: RecordKind,
    },
    /// A record has another size than its type has.
    #[error("the {kind} record has {found_bytes} bytes of data, not {expected_bytes}")]
    RecordSize {
        /// The type.
        kind: RecordKind,
        /// Size of the type's data.
        expected_bytes: u64,
        /// Size in the file.
        found_bytes: u64,
    },
    /// A record is not framed snappy.
    #[error("its snappy frames cannot be read")]
    Snappy(#[source] io::Error),
    /// A record, or a block, is larger than any block.
    #[error("more than {most_bytes} bytes")]
    TooLarge {
        /// Most bytes that are taken.
        most_bytes: u64,
    },
    /// A record holds something else than one RLP list.
    #[error("the {kind} is not one list in RLP")]
    NotOneList {
        /// The type of the record.
        kind: RecordKind,
    },
    /// The bytes where a block should begin are not those of a list.
    #[error("byte {found:#04x} begins no block: a block is a list in RLP")]
    NotABlock {
        /// The byte.
        found: u8,
    },
    /// The file ends inside a block.
    #[error("the file ends after {found_bytes} of the block's {expected_bytes} bytes")]
    TornBlock {
        /// Size that the block's first bytes tell.
        expected_bytes: u64,
        /// What is there of it.
        found_bytes: u64,
    },
    /// A block cannot be read.
    #[error("block is malformed")]
    Malformed(#[from] MalformedBlock),
    /// An archive's receipts cannot be read.
    #[error("the receipts cannot be read")]
    Receipts(#[source] alloy_rlp::Error),
    /// An archive's receipts are not those of the block.
    #[error("the archive's receipts have the root {found}, the header says {expected}")]
    ReceiptsRoot {
        /// The header's root.
        expected: B256,
        /// Root of the archive's receipts.
        found: B256,
    },
    /// An archive's total difficulty is not the sum of the difficulties.
    #[error("the archive's total difficulty is {found}, the blocks' is {expected}")]
    TotalDifficulty {
        /// Sum of the difficulties up to the block.
        expected: U256,
        /// What the archive says.
        found: U256,
    },
    /// An archive's accumulator is not that of its blocks.
    #[error("the archive's accumulator is {found}, its blocks' is {expected}")]
    Accumulator {
        /// Root over the blocks that were read.
        expected: B256,
        /// What the archive says.
        found: B256,
    },
    /// An archive does not end with an index of its blocks: it is torn, or no archive.
    #[error("the file does not end with a block index: it is torn, or no era1 archive")]
    NoIndex,
    /// An archive's index names more blocks than an archive has, or none.
    #[error("the block index is of {found} blocks, expected 1 to {most}")]
    IndexCount {
        /// Most blocks of an archive.
        most: u64,
        /// What the index says.
        found: u64,
    },
    /// A block begins elsewhere than the archive's index says.
    #[error("the block index says that the block begins at byte {expected}, it begins at byte {found}")]
    IndexOffset {
        /// The index's position.
        expected: i64,
        /// The block's.
        found: u64,
    },
    /// A block's number is not the one that follows.
    #[error("block {expected} should be here, found {found}")]
    Order {
        /// The number that follows.
        expected: u64,
        /// The block's number.
        found: u64,
    },
    /// Blocks that the first new one builds upon are in none of the files.
    #[error(
        "block {number} is checked against its ancestors; give the file with block {first_missing} and the following too"
    )]
    MissingAncestors {
        /// Number of the block.
        number: u64,
        /// Number of the first ancestor that is needed and not there.
        first_missing: u64,
    },
}

impl HistoryError {
    /// The exit status that this makes: a file that cannot be used is not a block that is wrong.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Block(refused) => match &refused.fault {
                ImportError::Execution(BlockError::State { .. }) => Status::Input,
                _ => Status::Mismatch,
            },
            Self::File { fault, .. } => match &**fault {
                FileFault::ReceiptsRoot { .. } | FileFault::TotalDifficulty { .. } | FileFault::Accumulator { .. } => {
                    Status::Mismatch
                }
                _ => Status::Input,
            },
            Self::Interrupted => Status::Interrupted,
            _ => Status::Input,
        }
    }

    /// The block that it is about.
    pub(crate) fn block(&self) -> Option<(u64, Option<B256>)> {
        match self {
            Self::Block(refused) => Some((refused.number, Some(refused.hash))),
            Self::File { place, .. } => place.block.map(|number| (number, None)),
            _ => None,
        }
    }
}

impl FilePlace {
    /// A place that is a whole file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// An error at this place.
    pub(crate) fn fault(&self, fault: impl Into<FileFault>) -> HistoryError {
        HistoryError::File { place: self.clone(), fault: Box::new(fault.into()) }
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.record {
            Some((index, Some(kind))) => write!(f, ": record {index} ({kind})")?,
            Some((index, None)) => write!(f, ": record {index}")?,
            None => {}
        }
        if let Some(byte) = self.byte {
            write!(f, "{} at byte {byte}", if self.record.is_none() { ":" } else { "" })?;
        }
        self.block.map_or(Ok(()), |block| write!(f, ": block {block}"))
    }
}

/// What is added where receipts tell more.
struct Remark<'a>(&'a Option<ReceiptDifference>);

impl fmt::Display for Remark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |difference| write!(f, ", {difference}"))
    }
}

/// A record's type by its number, with its name where it has one.
struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RecordKind::of_code(self.0) {
            Some(kind) => write!(f, "{:#06x} ({kind})", self.0),
            None => write!(f, "{:#06x}", self.0),
        }
    }
}
