//! The head, and who may follow it.

use std::{fmt, path::Path, sync::Arc};

use ropewalk_state::{BlockCommit, StateError, StateWriter};

use crate::{
    BaseEntry, Durability, StoreError, StoreOptions, StoreReader, Verified, VerifyStep, base, commit,
    database::{Database, malformed},
    layout::{BlockMeta, Column, HEAD_KEY, Head, LOADING_KEY, block_key},
    reader::View,
    tuning,
    verify::verify,
};

/// A state in RocksDB, always exactly that of one block: its head.
///
/// One owner writes; any number of [readers](Self::reader) look on. The layout is described in [`layout`](crate::layout).
pub struct Store {
    database: Arc<Database>,
    durability: Durability,
    head: Option<Head>,
    /// The block whose state is being loaded, or was when loading failed: the content is no block's state.
    loading: Option<Head>,
}

impl Store {
    /// Opens the store in the directory `path`, or creates an empty one where there is none.
    ///
    /// It continues from the last block whose commit was not lost (see [`Durability`]).
    ///
    /// # Errors
    /// When the store is open elsewhere, the directory cannot be used or holds something else, the layout is another
    /// version's, a load was interrupted, or head and block records disagree. The error says which and what to do.
    pub fn open(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Self, StoreError> {
        let database = Arc::new(Database::open(path.as_ref(), options)?);
        if let Some(base) = read(&database, Column::Head, LOADING_KEY, Head::decode)? {
            return Err(StoreError::UnfinishedLoad { path: database.path().to_owned(), base });
        }
        let head = read(&database, Column::Head, HEAD_KEY, Head::decode)?;
        let store = Self { database, durability: options.durability, head, loading: None };
        store.confirm_head()?;
        Ok(store)
    }

    /// The block whose state the store holds; `None` where it is empty.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// A snapshot of the present state.
    ///
    /// While a failed load waits to be [cleared](Self::clear) away, what it shows is no block's state.
    pub fn reader(&self) -> StoreReader {
        StoreReader::new(Arc::clone(&self.database), self.head)
    }

    /// Makes `block` the head and its changes part of the state, in one atomic batch.
    ///
    /// The block must extend the head: next number, and the head as its parent. Into an empty store goes block 0, with a
    /// whole state as its changes. Where the store holds a whole state, its root is computed and compared with the
    /// block's; on top of a part of a state it is taken over unseen. Tries are changed on the rayon pool this is called
    /// from.
    ///
    /// # Errors
    /// When the block does not extend the head, its changes lead to another state root than its own or leave storage
    /// with an account that is gone, or the store cannot be read or written. The store is as it was, with one exception: if the disk fails while the block is
    /// being synced, only reopening tells whether the block is there, whole, or not.
    pub fn commit_block(&mut self, block: &BlockCommit<'_>) -> Result<(), StoreError> {
        self.refuse_unfinished()?;
        let extends = match &self.head {
            Some(head) => head.number.checked_add(1) == Some(block.number) && head.hash == block.parent_hash,
            None => block.number == 0,
        };
        if !extends {
            let (number, parent_hash) = (block.number, block.parent_hash);
            return Err(StoreError::NotExtending { head: self.head.map(Box::new), number, parent_hash });
        }
        let (batch, head) = commit::block_batch(&self.database, self.head.as_ref(), block)?;
        self.database.write(batch, &tuning::block_write(self.durability))?;
        self.head = Some(head);
        Ok(())
    }

    /// Makes `entries` the state and `base` the head of an empty store, so that the block after `base` can follow.
    ///
    /// This is how a chain begins elsewhere than at its genesis: from a snapshot of a state, or from a recorded
    /// prestate. To replay blocks that are unrelated to each other, [`clear`](Self::clear) the store in between, or
    /// give each a store of its own. A slot or account without an entry counts as absent. Entries that are only a part of
    /// the base block's state go with a `base.state_root` of `None`; a root says that they are all of it, and is
    /// compared with theirs.
    ///
    /// The load is durable when this returns, whatever the durability of blocks.
    ///
    /// # Errors
    /// When the store has a head, what the entries say contradicts `base`, or the store cannot be written. After a failure on the
    /// way the store is emptied again. If that fails too, or the process ends before, the store refuses to work and to
    /// open until its directory is removed.
    pub fn load_base(&mut self, base: &Head, entries: impl IntoIterator<Item = BaseEntry>) -> Result<(), StoreError> {
        self.refuse_unfinished()?;
        if let Some(head) = self.head {
            return Err(StoreError::NotEmpty { head });
        }
        self.loading = Some(*base);
        if let Err(error) = base::load(&self.database, base, entries) {
            // Where this fails too, the mark stays and speaks for itself; the first error is the one to hear about.
            let _ = self.clear();
            return Err(error);
        }
        self.loading = None;
        self.head = Some(*base);
        Ok(())
    }

    /// Removes the whole state and its head, atomically and durably. Readers keep what they see.
    ///
    /// # Errors
    /// When the store cannot be written. It is as it was then.
    pub fn clear(&mut self) -> Result<(), StoreError> {
        base::clear(&self.database)?;
        self.loading = None;
        self.head = None;
        Ok(())
    }

    /// Waits until every committed block is on the disk. With [`Durability::EveryBlock`] they are already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.sync()
    }

    /// Holds the store against itself: the root of the flat state against the head's, the trie nodes against those that
    /// the flat state makes, codes against the accounts that refer to them.
    ///
    /// It reads the whole state once, in memory that does not grow with it, and tells `progress` now and then how far it
    /// has come. What is wrong is told as [findings](Verified::findings), and nothing is changed.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a value that is malformed.
    pub fn verify(&self, progress: &mut dyn FnMut(VerifyStep)) -> Result<Verified, StoreError> {
        self.refuse_unfinished()?;
        verify(&View::new(&self.database), self.head, progress)
    }

    fn refuse_unfinished(&self) -> Result<(), StoreError> {
        match self.loading {
            Some(base) => Err(StoreError::UnfinishedLoad { path: self.database.path().to_owned(), base }),
            None => Ok(()),
        }
    }

    /// Compares the head marker with the record of its block, which the same batch wrote.
    fn confirm_head(&self) -> Result<(), StoreError> {
        let Some(head) = self.head else { return Ok(()) };
        let meta = read(&self.database, Column::Blocks, &block_key(head.number), BlockMeta::decode)?;
        match meta {
            // On top of a part of a state the block has a root, and the state it was committed to has none.
            Some(meta)
                if meta.hash == head.hash && (head.state_root.is_none() || meta.state_root == head.state_root) =>
            {
                Ok(())
            }
            _ => Err(StoreError::UnconfirmedHead { path: self.database.path().to_owned(), head }),
        }
    }
}

impl StateWriter for Store {
    fn commit_block(&mut self, block: &BlockCommit<'_>) -> Result<(), StateError> {
        Ok(Self::commit_block(self, block)?)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, durability, head, loading } = self;
        f.debug_struct("Store")
            .field("path", &database.path())
            .field("durability", durability)
            .field("head", head)
            .field("loading", loading)
            .finish()
    }
}

/// The latest value of a key, decoded.
fn read<T>(
    database: &Database,
    column: Column,
    key: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, crate::layout::DecodeError>,
) -> Result<Option<T>, StoreError> {
    let value = database.get(column, key)?;
    value.map(|bytes| decode(&bytes).map_err(|source| malformed(column, key, source))).transpose()
}
