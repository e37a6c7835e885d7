//! What can go wrong with a store, by what the caller can do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use alloy_primitives::{Address, B256, Bytes};
use ropewalk_state::{StateError, trie::Nibbles};

use crate::layout::{DecodeError, Head};

/// A store could not be opened, read or written.
///
/// None of these says anything about whether a block is valid, except [`WrongStateRoot`](Self::WrongStateRoot).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else has the store open: another process, or this one.
    ///
    /// A store stays open as long as one of its readers lives.
    #[error("the store at {} is open elsewhere", .path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// The directory cannot be created, read or written.
    #[error("the directory {} cannot be used", .path.display())]
    Directory {
        /// The store's directory.
        path: PathBuf,
        /// What the operating system says; its kind tells a missing right from a read-only file system.
        source: io::Error,
    },
    /// No space is left on the device, or a file has reached the greatest size that the process may write. What was
    /// committed before is safe.
    #[error("no space is left for the store at {}", .path.display())]
    DiskFull {
        /// The store's directory.
        path: PathBuf,
        /// Which write found out.
        source: io::Error,
    },
    /// The process, or the system, has no file handle left. What was committed before is safe.
    #[error("no file handle is left for the store at {}: it needs about 600", .path.display())]
    TooManyOpenFiles {
        /// The store's directory.
        path: PathBuf,
        /// Which file could not be opened.
        source: io::Error,
    },
    /// The directory holds something, and it is not a store.
    #[error("the directory {} holds something other than a store", .path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// There are files of a database, but not the one that tells which of them count.
    #[error("the store at {} lacks its file {missing}", .path.display())]
    Incomplete {
        /// The store's directory.
        path: PathBuf,
        /// Name of the missing file.
        missing: &'static str,
    },
    /// The store was written in a layout that this version does not read.
    #[error(
        "the store at {} has layout {found}, this version reads layout {supported}: \
         export it with the version that wrote it, or remove the directory and fill it anew", .path.display()
    )]
    Layout {
        /// The store's directory.
        path: PathBuf,
        /// Layout version found.
        found: u32,
        /// Layout version that this version reads and writes.
        supported: u32,
    },
    /// Loading a base state was interrupted, so the content is no block's state.
    #[error(
        "loading the state of {} into the store at {} was interrupted: remove the directory and load again",
        name(Some(.base)), .path.display()
    )]
    UnfinishedLoad {
        /// The store's directory.
        path: PathBuf,
        /// The block whose state was being loaded.
        base: Head,
    },
    /// The head marker and the record of the block it names disagree.
    #[error("the head of the store at {} is {}, which its record of blocks does not confirm", .path.display(), name(Some(.head)))]
    UnconfirmedHead {
        /// The store's directory.
        path: PathBuf,
        /// The head marker.
        head: Head,
    },
    /// The head's state has no trie: its root node is missing, or another one is there.
    #[error(
        "the head of the store at {} is {}, and the tries are not those of its state: \
         `ropewalk db verify` tells what is there, `ropewalk db rebuild` makes the tries anew from accounts and slots",
        .path.display(), name(Some(.head))
    )]
    UnconfirmedRoot {
        /// The store's directory.
        path: PathBuf,
        /// The head marker.
        head: Head,
    },
    /// A block cannot be unwound to. The store is as it was.
    #[error("cannot unwind to block {to}: the head is {}, and {}", name(.head.as_deref()), reach(.first))]
    CannotUnwind {
        /// The block to unwind to.
        to: u64,
        /// The store's head.
        head: Option<Box<Head>>,
        /// The lowest block that can be unwound to; `None` where there is none.
        first: Option<u64>,
    },
    /// The store has no state yet.
    #[error("the store is empty")]
    Empty,
    /// The store holds only a part of a state, which has no root and no tries.
    #[error("the store holds only a part of the state of {}", name(Some(.head)))]
    NotWhole {
        /// The store's head.
        head: Head,
    },
    /// A block's record, or what it overwrote, is not there. The store is as it was.
    #[error("column family {column} holds nothing of block {number}, which should be there")]
    MissingRecord {
        /// Name of the column family.
        column: &'static str,
        /// The block's number.
        number: u64,
    },
    /// Undoing a block leads to another state than the one before it: the store is damaged, or the block was committed
    /// with changes that did not tell what was there before. The store is as it was.
    #[error("undoing block {number} leads to root {found}, the block before it has {expected}")]
    WrongUnwoundRoot {
        /// Number of the block that was to be undone.
        number: u64,
        /// Root of the block before it.
        expected: B256,
        /// Root that undoing it leads to.
        found: B256,
    },
    /// The block does not follow the head. The store is as it was.
    #[error("block {number} with parent {parent_hash} does not extend the head, which is {}", name(.head.as_deref()))]
    NotExtending {
        /// The store's head; `None` where the store is empty, and then only block 0 may be committed.
        head: Option<Box<Head>>,
        /// The block's number.
        number: u64,
        /// The block's parent.
        parent_hash: B256,
    },
    /// The changes leave slots with an account that they say is gone. The store is as it was.
    #[error("account {address} is gone after block {number} and has storage")]
    StorageWithoutAccount {
        /// The account.
        address: Address,
        /// The block's number.
        number: u64,
    },
    /// A state has another root than the header of its block claims. The store is as it was.
    #[error("the state of block {number} has root {found}, its header claims {expected}")]
    WrongStateRoot {
        /// The block's number.
        number: u64,
        /// The root that the block's header claims.
        expected: B256,
        /// The root that its changes, or the entries of a base state, lead to.
        found: B256,
    },
    /// The state root could not be computed. The store is as it was.
    #[error("the state root of block {number} cannot be computed")]
    Trie {
        /// The block's number.
        number: u64,
        /// The node that is missing or malformed, or the store's own failure.
        source: StateError,
    },
    /// Another trie node is stored than its parent refers to: the store is damaged, or another state's node was asked for.
    #[error("the trie node at path {path:?} has hash {found}, {expected} is wanted{}", of_account(.account))]
    WrongNode {
        /// Hash of the account's address for a storage trie, `None` for the account trie.
        account: Option<B256>,
        /// Path from that trie's root.
        path: Box<Nibbles>,
        /// The hash that the node is referred to by.
        expected: B256,
        /// The hash of the node that is stored.
        found: B256,
    },
    /// A base state can only be loaded into an empty store. The store is as it was.
    #[error("a base state cannot be loaded: the store is not empty, its head is {}", name(Some(.head)))]
    NotEmpty {
        /// The store's head.
        head: Head,
    },
    /// A base state came with a hash of its own block that is not the block's, or of a later block.
    #[error("hash {hash} of block {number} does not belong to the state of {}", name(Some(.base)))]
    UnexpectedBlockHash {
        /// Number of the block the hash is said to belong to.
        number: u64,
        /// The hash.
        hash: B256,
        /// The block whose state is being loaded.
        base: Box<Head>,
    },
    /// A value in the database is not one that the layout allows.
    #[error("value at key {key} of column family {column} is malformed")]
    Malformed {
        /// Name of the column family.
        column: &'static str,
        /// Key of the value.
        key: Bytes,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An account's storage was cleared as often as its number can count.
    #[error("storage of the account with hash {0} was cleared too often")]
    IncarnationsExhausted(B256),
    /// RocksDB found damage: a checksum that does not match, or a file that is missing.
    #[error("the store at {} is damaged", .path.display())]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What RocksDB found, and in which file.
        source: rocksdb::Error,
    },
    /// RocksDB failed otherwise.
    #[error("the database at {} failed", .path.display())]
    Database {
        /// The store's directory.
        path: PathBuf,
        /// What RocksDB says.
        source: rocksdb::Error,
    },
}

impl StoreError {
    /// Sorts an error of the operating system.
    pub(crate) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if matches!(source.raw_os_error(), Some(NO_HANDLE_IN_PROCESS | NO_HANDLE_IN_SYSTEM)) {
            return Self::TooManyOpenFiles { path, source };
        }
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { path, source }
            }
            _ => Self::Directory { path, source },
        }
    }

    /// Sorts an error of RocksDB.
    ///
    /// RocksDB's C interface hands every error over as one line of text, so the operating system's own words in it are
    /// all there is to go by. What they do not tell stays [`Database`](Self::Database).
    pub(crate) fn from_rocksdb(path: &Path, source: rocksdb::Error) -> Self {
        let says = |words: &str| source.as_ref().contains(words);
        let kind = match source.kind() {
            rocksdb::ErrorKind::Corruption => return Self::Damaged { path: path.to_owned(), source },
            rocksdb::ErrorKind::IOError => IO_KINDS.iter().find(|(words, _)| says(words)).map(|(_, kind)| *kind),
            _ => None,
        };
        match kind {
            Some(kind) => Self::from_io(path, io::Error::new(kind, source)),
            // A file that the database lists and that is gone.
            None if says("No such file or directory") => Self::Damaged { path: path.to_owned(), source },
            None if says("Too many open files") => {
                Self::TooManyOpenFiles { path: path.to_owned(), source: io::Error::other(source) }
            }
            None if says("lock hold by current process") || says("While lock file") => {
                Self::Locked { path: path.to_owned() }
            }
            None => Self::Database { path: path.to_owned(), source },
        }
    }
}

/// How messages speak of a block.
fn name(head: Option<&Head>) -> String {
    match head {
        Some(head) => format!("block {} ({})", head.number, head.hash),
        None => "no block yet".to_owned(),
    }
}

/// How messages speak of how far back blocks can be unwound.
fn reach(first: &Option<u64>) -> String {
    match first {
        Some(first) => format!("what is kept reaches back to block {first}"),
        None => "nothing is kept to go back".to_owned(),
    }
}

fn of_account(account: &Option<B256>) -> String {
    account.map_or_else(String::new, |hash| format!(", in the storage of account hash {hash}"))
}

/// EMFILE and ENFILE, which the standard library has no kind for.
const NO_HANDLE_IN_PROCESS: i32 = 24;
const NO_HANDLE_IN_SYSTEM: i32 = 23;

/// The operating system's words in RocksDB's messages, and what they mean.
const IO_KINDS: [(&str, io::ErrorKind); 6] = [
    ("File too large", io::ErrorKind::FileTooLarge),
    ("No space left on device", io::ErrorKind::StorageFull),
    ("Disk quota exceeded", io::ErrorKind::QuotaExceeded),
    ("Read-only file system", io::ErrorKind::ReadOnlyFilesystem),
    ("Permission denied", io::ErrorKind::PermissionDenied),
    ("Operation not permitted", io::ErrorKind::PermissionDenied),
];

impl From<StoreError> for StateError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::WrongStateRoot { number, expected, found } => Self::WrongStateRoot { number, expected, found },
            error => Self::source_failed(error),
        }
    }
}
