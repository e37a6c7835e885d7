//! A whole state as one stream of bytes, to be kept, moved and loaded elsewhere.
//!
//! ```text
//! export  = "ropewalk state 1\n" | number 8 | hash 32 | state root 32 | record ... | end
//! record  = 'a' | #address 32 | length 1 | account as in `accounts`       accounts ascending
//!         | 's' | #slot 32 | length 1 | value 1..32                       slots of the account before, ascending
//!         | 'c' | length 4 | code                                         after all accounts
//!         | 'h' | number 8 | hash 32                                      hashes of the latest blocks
//! end     = 'e' | accounts 8 | slots 8 | codes 8 | Keccak-256 of everything before it 32
//! ```
//!
//! Numbers are big endian. Writer and reader need no more memory than one record takes, and what is read in the order of
//! an export is loaded without being sorted. Nothing is believed: lengths are bounded, keys must ascend, the end must
//! confirm it all, and the state root is computed again by the load.

use std::io::{self, Read, Write};

use alloy_primitives::{B256, Bytes, Keccak256};
use rocksdb::ReadOptions;

use crate::{
    BaseEntry, Counts, StoreError, StoreReader,
    database::malformed,
    flat::Rows,
    layout::{self, Column, DecodeError, Head, storage_prefix},
    tuning,
};

const MAGIC: &[u8; 17] = b"ropewalk state 1\n";
const ACCOUNT: u8 = b'a';
const SLOT: u8 = b's';
const CODE: u8 = b'c';
const BLOCK_HASH: u8 = b'h';
const END: u8 = b'e';

/// Longest code that is read, in bytes: more than any fork allows (EIP-7907 would allow 256 KiB).
const MOST_CODE_BYTES: u32 = 1 << 20;

/// An export cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The store failed, or what was read is not what it says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream failed.
    #[error("the stream fails at byte {offset}")]
    Io {
        /// Where, in bytes from the beginning.
        offset: u64,
        /// Why; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) where it ends too early.
        source: io::Error,
    },
    /// The bytes do not begin as an export does.
    #[error("this is no export of a state")]
    NotAnExport,
    /// A record that cannot stand where it does.
    #[error("the record at byte {offset} {fault}")]
    Record {
        /// Where it begins, in bytes from the beginning.
        offset: u64,
        /// What is wrong with it.
        fault: RecordFault,
    },
}

/// What is wrong with a record of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// Its first byte means nothing.
    #[error("has the unknown kind {0:#04x}")]
    Kind(u8),
    /// Its key is not above the one before, or it is a slot without an account.
    #[error("is out of order")]
    Order,
    /// Its value is none.
    #[error("holds a value that is none: {0}")]
    Value(#[from] DecodeError),
    /// A code is longer than any can be.
    #[error("is a code of {0} bytes")]
    CodeLength(u32),
    /// The end says that there should have been other records.
    #[error("counts {expected} accounts, slots or codes where there were {found}")]
    Count {
        /// What the end says.
        expected: u64,
        /// What was there.
        found: u64,
    },
    /// The end's hash is not that of the bytes before it.
    #[error("does not confirm the bytes before it")]
    Checksum,
    /// Something follows the end.
    #[error("is not the last")]
    NotLast,
}

impl StoreReader {
    /// Writes the whole state of [`head`](Self::head) into `out`, and tells `progress` how much of it is done, in
    /// 65,536ths.
    ///
    /// # Errors
    /// When the store holds no whole state, cannot be read, or `out` cannot be written.
    pub fn export(&self, out: impl Write, progress: &mut dyn FnMut(u16)) -> Result<Counts, ExportError> {
        let head = self.head().ok_or(StoreError::Empty)?;
        let root = head.state_root.ok_or(StoreError::NotWhole { head })?;
        let mut out = Hashed::new(out);
        out.put(&[MAGIC, &head.number.to_be_bytes()[..], head.hash.as_slice(), root.as_slice()].concat())?;
        let mut counts = Counts::default();
        self.export_accounts(&mut out, &mut counts, progress)?;
        self.export_rest(&mut out, &mut counts)?;
        let numbers = [counts.accounts, counts.slots, counts.codes].map(u64::to_be_bytes).concat();
        let hash = out.hasher.clone().finalize();
        out.put(&[&[END], &numbers[..], hash.as_slice()].concat())?;
        out.stream.flush().map_err(|source| ExportError::Io { offset: out.offset, source })?;
        Ok(counts)
    }

    fn export_accounts(
        &self,
        out: &mut Hashed<impl Write>,
        counts: &mut Counts,
        progress: &mut dyn FnMut(u16),
    ) -> Result<(), ExportError> {
        let view = self.view();
        let mut rows = Rows::new(view, Column::Accounts, &[], ReadOptions::default());
        while let Some((key, value)) = rows.next()? {
            let account = layout::decode_hash(key).map_err(|source| malformed(Column::Accounts, key, source))?;
            out.put_short(ACCOUNT, key, value)?;
            counts.accounts += 1;
            let prefix = storage_prefix(&account, view.incarnation(&account)?);
            let mut slots = Rows::new(view, Column::Storage, &prefix, tuning::prefix_read());
            while let Some((key, value)) = slots.next()? {
                out.put_short(SLOT, &key[prefix.len()..], value)?;
                counts.slots += 1;
            }
            if counts.accounts.is_multiple_of(4096) {
                progress(u16::from_be_bytes([account[0], account[1]]));
            }
        }
        Ok(())
    }

    fn export_rest(&self, out: &mut Hashed<impl Write>, counts: &mut Counts) -> Result<(), ExportError> {
        let mut codes = Rows::new(self.view(), Column::Code, &[], ReadOptions::default());
        while let Some((_, code)) = codes.next()? {
            out.put(&[CODE])?;
            out.put(&u32::try_from(code.len()).unwrap_or(u32::MAX).to_be_bytes())?;
            out.put(code)?;
            counts.codes += 1;
        }
        let mut hashes = Rows::new(self.view(), Column::BlockHashes, &[], ReadOptions::default());
        while let Some((number, hash)) = hashes.next()? {
            out.put(&[&[BLOCK_HASH], number, hash].concat())?;
        }
        Ok(())
    }
}

/// A stream with the hash of what passed through it.
struct Hashed<S> {
    stream: S,
    hasher: Keccak256,
    offset: u64,
}

impl<S> Hashed<S> {
    fn new(stream: S) -> Self {
        Self { stream, hasher: Keccak256::new(), offset: 0 }
    }
}

impl<W: Write> Hashed<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.stream.write_all(bytes).map_err(|source| ExportError::Io { offset: self.offset, source })?;
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// A record whose value tells its length in a byte.
    fn put_short(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Result<(), ExportError> {
        let mut record = Vec::with_capacity(34 + value.len());
        record.push(kind);
        record.extend_from_slice(key);
        record.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
        record.extend_from_slice(value);
        self.put(&record)
    }
}

/// An export that is being read: the block whose state it is, and an iterator over its entries.
pub struct Export<R> {
    stream: Hashed<R>,
    head: Head,
    counts: Counts,
    /// The account whose slots may follow, and the last slot.
    account: Option<B256>,
    slot: Option<B256>,
    /// Codes have begun: no account follows.
    has_code: bool,
    is_done: bool,
}

impl<R: Read> Export<R> {
    /// Reads the beginning of an export. `stream` is read in small pieces, so it should be buffered.
    ///
    /// # Errors
    /// When the bytes do not begin as an export does.
    pub fn open(stream: R) -> Result<Self, ExportError> {
        let mut stream = Hashed::new(stream);
        let magic: [u8; MAGIC.len()] = stream.take()?;
        if magic != *MAGIC {
            return Err(ExportError::NotAnExport);
        }
        let number = u64::from_be_bytes(stream.take()?);
        let (hash, state_root) = (B256::new(stream.take()?), Some(B256::new(stream.take()?)));
        let head = Head { number, hash, state_root };
        let counts = Counts::default();
        Ok(Self { stream, head, counts, account: None, slot: None, has_code: false, is_done: false })
    }

    /// The block whose state it is.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The next entry; `None` after an end that confirms them all.
    fn entry(&mut self) -> Result<Option<BaseEntry>, ExportError> {
        let offset = self.stream.offset;
        let [kind] = self.stream.take_unhashed()?;
        if kind == END {
            return self.end(offset).map(|()| None);
        }
        self.stream.hasher.update([kind]);
        let fault = |fault: RecordFault| ExportError::Record { offset, fault };
        match kind {
            ACCOUNT => {
                let key = B256::new(self.stream.take()?);
                let value = self.stream.short()?;
                let account = layout::decode_account(&value).map_err(|error| fault(error.into()))?;
                if self.account.is_some_and(|before| before >= key) || self.has_code {
                    return Err(fault(RecordFault::Order));
                }
                (self.account, self.slot) = (Some(key), None);
                self.counts.accounts += 1;
                Ok(Some(BaseEntry::HashedAccount { key, account }))
            }
            SLOT => {
                let slot = B256::new(self.stream.take()?);
                let value = self.stream.short()?;
                let value = layout::decode_slot(&value).map_err(|error| fault(error.into()))?;
                let account = self.account.ok_or_else(|| fault(RecordFault::Order))?;
                if self.slot.is_some_and(|before| before >= slot) || self.has_code {
                    return Err(fault(RecordFault::Order));
                }
                self.slot = Some(slot);
                self.counts.slots += 1;
                Ok(Some(BaseEntry::HashedSlot { account, slot, value }))
            }
            CODE => {
                let length = u32::from_be_bytes(self.stream.take()?);
                if length > MOST_CODE_BYTES {
                    return Err(fault(RecordFault::CodeLength(length)));
                }
                self.counts.codes += 1;
                self.has_code = true;
                Ok(Some(BaseEntry::Code(Bytes::from(self.stream.bytes(length as usize)?))))
            }
            BLOCK_HASH => {
                let number = u64::from_be_bytes(self.stream.take()?);
                Ok(Some(BaseEntry::BlockHash { number, hash: B256::new(self.stream.take()?) }))
            }
            kind => Err(fault(RecordFault::Kind(kind))),
        }
    }

    /// The end confirms the bytes before it.
    fn end(&mut self, offset: u64) -> Result<(), ExportError> {
        let hash = self.stream.hasher.clone().finalize();
        let fault = |fault: RecordFault| ExportError::Record { offset, fault };
        for found in [self.counts.accounts, self.counts.slots, self.counts.codes] {
            let expected = u64::from_be_bytes(self.stream.take()?);
            if expected != found {
                return Err(fault(RecordFault::Count { expected, found }));
            }
        }
        if B256::new(self.stream.take()?) != hash {
            return Err(fault(RecordFault::Checksum));
        }
        match self.stream.stream.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(fault(RecordFault::NotLast)),
            Err(source) => Err(ExportError::Io { offset: self.stream.offset, source }),
        }
    }
}

impl<R: Read> Iterator for Export<R> {
    type Item = Result<BaseEntry, ExportError>;

    /// The entries, up to the first error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let entry = self.entry().transpose();
        self.is_done = !matches!(entry, Some(Ok(_)));
        entry
    }
}

impl<R: Read> Hashed<R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ExportError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn short(&mut self) -> Result<Vec<u8>, ExportError> {
        let [length] = self.take()?;
        self.bytes(length.into())
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, ExportError> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn take_unhashed<const N: usize>(&mut self) -> Result<[u8; N], ExportError> {
        let mut bytes = [0; N];
        self.fill_unhashed(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ExportError> {
        self.fill_unhashed(bytes)?;
        self.hasher.update(&*bytes);
        Ok(())
    }

    fn fill_unhashed(&mut self, bytes: &mut [u8]) -> Result<(), ExportError> {
        self.stream.read_exact(bytes).map_err(|source| ExportError::Io { offset: self.offset, source })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

impl<R> std::fmt::Debug for Export<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export").field("head", &self.head).field("counts", &self.counts).finish_non_exhaustive()
    }
}
