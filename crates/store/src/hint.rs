//! What the last process believed to be the head, in a file beside the database.
//!
//! RocksDB opens a log whose end is missing at the last whole batch before it, and does not tell that there was more. So
//! each commit writes its block's number and hash into this file, unsynced, in place, after the batch. If open finds a
//! higher number there than the database has, or a block that is of another branch than the database's, blocks were lost,
//! and it says which. The file decides nothing: the database is right about the head, and a hint that is missing, torn or
//! out of date only means that nothing is said.
//!
//! ```text
//! hint = number 8 | hash 32 | first 4 bytes of the Keccak-256 hash of what is before
//! ```

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use alloy_primitives::{B256, keccak256};

use crate::layout::Head;

/// Name of the file.
pub(crate) const HINT_FILE: &str = "ropewalk.head";

const LENGTH: usize = 8 + 32 + 4;

/// Blocks that were committed and are not in the database any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostBlocks {
    /// Number of the first of them. Where the database is on another branch, which had been unwound for them, there may
    /// have been earlier ones: only the last is known.
    pub first: u64,
    /// Number of the last of them, which was the head.
    pub last: u64,
    /// Hash of the last of them.
    pub hash: B256,
}

/// The file, kept open.
#[derive(Debug)]
pub(crate) struct Hint(Option<File>);

impl Hint {
    /// Opens the file in the store's directory. Without it the store works as well.
    pub(crate) fn open(directory: &Path) -> Self {
        let path = directory.join(HINT_FILE);
        Self(OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).ok())
    }

    /// Which blocks went missing, if `head` is what the database has now, and `block` tells the hash of a block below it
    /// as far as it is kept.
    pub(crate) fn lost<E>(
        &self,
        head: Option<&Head>,
        block: impl FnOnce(u64) -> Result<Option<B256>, E>,
    ) -> Result<Option<LostBlocks>, E> {
        let Some((last, hash)) = self.read() else { return Ok(None) };
        let next = head.map_or(Some(0), |head| head.number.checked_add(1));
        if let Some(first) = next.filter(|next| *next <= last) {
            return Ok(Some(LostBlocks { first, last, hash }));
        }
        let other = block(last)?.is_some_and(|known| known != hash);
        Ok(other.then_some(LostBlocks { first: last, last, hash }))
    }

    /// The head that was noted.
    fn read(&self) -> Option<(u64, B256)> {
        let mut bytes = Vec::with_capacity(LENGTH);
        self.0.as_ref()?.take(LENGTH as u64 + 1).read_to_end(&mut bytes).ok()?;
        let (block, check) = bytes.split_at_checked(LENGTH - 4)?;
        if keccak256(block)[..4] != *check {
            return None;
        }
        let (number, hash) = block.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*number), B256::from_slice(hash)))
    }

    /// Notes the head. A failure is not one of the block: the hint is out of date then.
    pub(crate) fn note(&self, head: &Head) {
        let Some(file) = &self.0 else { return };
        let mut bytes = [&head.number.to_be_bytes()[..], head.hash.as_slice()].concat();
        let check = keccak256(&bytes);
        bytes.extend_from_slice(&check[..4]);
        let _ = file.write_all_at(&bytes, 0);
    }

    /// Forgets the head, before it goes back: a power cut must not make blocks look lost that were unwound.
    pub(crate) fn forget(&self) {
        if let Some(file) = &self.0 {
            let _: io::Result<()> = file.write_all_at(&[0; LENGTH], 0).and_then(|()| file.sync_data());
        }
    }
}
