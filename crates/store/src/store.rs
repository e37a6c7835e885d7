//! The head, and who may follow it.

use std::{fmt, io::Read, path::Path, sync::Arc};

use ropewalk_state::{BlockCommit, StateError, StateStore, StateWriter};

use crate::{
    BaseEntry, Durability, Export, ExportError, LostBlocks, Probe, Step, StoreError, StoreOptions, StoreReader,
    Verified, VerifyStep, commit,
    database::{Database, malformed},
    hint::Hint,
    layout::{BlockMeta, Column, HEAD_KEY, Head, LOADING_KEY, block_key},
    load,
    node_cache::NodeCache,
    probe::Told,
    prune::History,
    reader::View,
    unwind,
    verify::verify,
};

/// A state in RocksDB, always exactly that of one block: its head.
///
/// One owner writes; any number of [readers](Self::reader) look on. The layout is described in [`layout`](crate::layout).
pub struct Store {
    database: Arc<Database>,
    durability: Durability,
    head: Option<Head>,
    history: History,
    /// Blocks committed since a commit waited for the disk.
    unsynced: u32,
    hint: Hint,
    lost: Option<LostBlocks>,
    /// Trie nodes of the head's state.
    nodes: NodeCache,
    /// The block whose state is being loaded, or was when loading failed: the content is no block's state.
    loading: Option<Head>,
    told: Told,
}

impl Store {
    /// Opens the store in the directory `path`, or creates an empty one where there is none.
    ///
    /// It continues from the last block whose commit was not lost (see [`Durability`]); [`lost_blocks`](Self::lost_blocks)
    /// tells whether there were others. A store in the layout before this one is taken over; its former blocks cannot be
    /// unwound.
    ///
    /// # Errors
    /// When the store is open elsewhere, the directory cannot be used or holds something else, the layout is another
    /// version's, a load was interrupted, or head, block records and trie disagree. The error says which and what to do.
    pub fn open(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Self, StoreError> {
        Self::open_told(path.as_ref(), options, Told::default())?.confirmed()
    }

    /// As [`open`](Self::open), and opens a store whose tries are not those of its head's state too: to
    /// [verify](Self::verify) it, or to make them anew.
    ///
    /// # Errors
    /// As `open`, except for [`StoreError::UnconfirmedRoot`].
    pub fn open_unconfirmed(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Self, StoreError> {
        Self::open_told(path.as_ref(), options, Told::default())
    }

    /// As [`open`](Self::open), with a probe that hears of every step from then on.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_probed(
        path: impl AsRef<Path>,
        options: &StoreOptions,
        probe: Arc<dyn Probe>,
    ) -> Result<Self, StoreError> {
        Self::open_told(path.as_ref(), options, Told::to(probe))?.confirmed()
    }

    fn confirmed(self) -> Result<Self, StoreError> {
        if let Some(head) = &self.head {
            unwind::confirm_root(&self.database, head)?;
        }
        Ok(self)
    }

    fn open_told(path: &Path, options: &StoreOptions, told: Told) -> Result<Self, StoreError> {
        let database = Arc::new(Database::open(path, options)?);
        if let Some(base) = read(&database, Column::Head, LOADING_KEY, Head::decode)? {
            return Err(StoreError::UnfinishedLoad { path: database.path().to_owned(), base });
        }
        let head = read(&database, Column::Head, HEAD_KEY, Head::decode)?;
        if let Some(head) = &head {
            confirm_head(&database, head)?;
        }
        let history = History::read(&database, options.changesets_kept, head.as_ref())?;
        let hint = Hint::open(path);
        let hash_of = |number| read(&database, Column::Blocks, &block_key(number), BlockMeta::decode);
        let lost = hint.lost(head.as_ref(), |number| Ok(hash_of(number)?.map(|meta| meta.hash)))?;
        let (durability, nodes) = (options.durability, NodeCache::new(options.node_cache_bytes));
        Ok(Self { database, durability, head, history, unsynced: 0, hint, lost, nodes, loading: None, told })
    }

    /// Blocks that were committed before the store was opened and are not in it, because the end of the log was lost: in
    /// a power cut as far as the [`Durability`] allows, or because the file was cut.
    ///
    /// It is told as far as it is known, until the next block is committed.
    pub fn lost_blocks(&self) -> Option<LostBlocks> {
        self.lost
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
        self.told.reached(Step::CommitBegins);
        let parent = self.head.as_ref();
        let prepared = commit::prepare(&self.database, parent, &self.history, block, &self.nodes, &self.told)?;
        self.told.reached(Step::BatchReady);
        let sync = self.durability.syncs_after(self.unsynced);
        if let Err(error) = self.database.write(prepared.batch, sync) {
            self.nodes.clear();
            return Err(error);
        }
        self.told.reached(Step::BatchWritten);
        prepared.tries.into_iter().for_each(|tries| self.nodes.take_over(tries));
        self.unsynced = if sync { 0 } else { self.unsynced.saturating_add(1) };
        self.history = prepared.history;
        self.set_head(prepared.head);
        self.told.reached(Step::CommitEnds);
        Ok(())
    }

    /// Goes back to the state of block `number`: everything that the blocks after it did is undone.
    ///
    /// Each block is undone in one atomic batch, from the head down, so an interruption leaves the state of a block
    /// between the two. When this returns, all of it is on the disk, whatever the durability of blocks. Every column
    /// family has its former content again, except that changesets which were pruned meanwhile do not come back.
    ///
    /// # Errors
    /// When `number` is above the head, or below the [first](Self::first_reachable) that can be gone back to: the store
    /// is as it was. When the store cannot be read or written, or a changeset leads to another state than the one that
    /// the block before had: the blocks undone until then stay undone.
    pub fn unwind_to(&mut self, number: u64) -> Result<(), StoreError> {
        self.refuse_unfinished()?;
        let first = self.first_reachable();
        let refusal = || StoreError::CannotUnwind { to: number, head: self.head.map(Box::new), first };
        let mut head = self.head.filter(|head| number <= head.number).ok_or_else(refusal)?;
        if number == head.number {
            return Ok(());
        }
        first.filter(|first| *first <= number).ok_or_else(refusal)?;
        self.told.reached(Step::UnwindBegins);
        self.hint.forget();
        self.nodes.clear();
        self.lost = None;
        while head.number > number {
            let (batch, parent) = unwind::prepare(&self.database, &head)?;
            self.told.reached(Step::UnwindBatchReady);
            self.database.write(batch, parent.number == number)?;
            self.told.reached(Step::UnwindBatchWritten);
            self.history = self.history.without(head.number);
            self.head = Some(parent);
            head = parent;
        }
        // Not in between: a block on the way down that is gone by the next batch must not look lost.
        self.set_head(head);
        self.unsynced = 0;
        self.told.reached(Step::UnwindEnds);
        Ok(())
    }

    /// The lowest block that [`unwind_to`](Self::unwind_to) can go back to: the head where nothing can be undone, `None`
    /// where there is no head.
    pub fn first_reachable(&self) -> Option<u64> {
        let head = self.head?.number;
        // The first changeset undoes the block that it belongs to.
        Some(self.history.first.saturating_sub(1).min(head))
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
        self.load(base, entries.into_iter().map(Ok::<_, StoreError>))
    }

    /// Makes the state of an export the state of an empty store, and its block the head.
    ///
    /// # Errors
    /// When the export is torn or contradicts itself, and as [`load_base`](Self::load_base).
    pub fn load_export(&mut self, export: Export<impl Read>) -> Result<Head, ExportError> {
        let head = export.head();
        self.load(&head, export)?;
        Ok(head)
    }

    /// Makes the tries of the head's state anew from its accounts and slots, for a store that lost nodes.
    ///
    /// When it is interrupted, the head is [not confirmed](StoreError::UnconfirmedRoot) at the next open, and this can be
    /// done again.
    ///
    /// # Errors
    /// When the store holds no whole state, accounts and slots do not have the head's root, or it cannot be read or
    /// written. In the first two cases nothing was changed.
    pub fn rebuild_tries(&mut self) -> Result<(), StoreError> {
        self.refuse_unfinished()?;
        self.nodes.clear();
        load::rebuild(&self.database, &self.head.ok_or(StoreError::Empty)?, &self.told)
    }

    /// Makes a copy of the store, as it is now, in the directory `path`, which must not exist. Files are shared with the
    /// original where the file system can do that; the store can be written to meanwhile and afterwards.
    ///
    /// # Errors
    /// When the store is being loaded, or the copy cannot be made.
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> Result<(), StoreError> {
        self.refuse_unfinished()?;
        self.database.checkpoint(path.as_ref())
    }

    fn load<E: From<StoreError>>(
        &mut self,
        base: &Head,
        entries: impl Iterator<Item = Result<BaseEntry, E>>,
    ) -> Result<(), E> {
        self.refuse_unfinished()?;
        if let Some(head) = self.head {
            return Err(StoreError::NotEmpty { head }.into());
        }
        self.loading = Some(*base);
        if let Err(error) = load::load(&self.database, base, entries, &self.told) {
            // Where this fails too, the mark stays and speaks for itself; the first error is the one to hear about.
            let _ = self.clear();
            return Err(error);
        }
        self.loading = None;
        self.history = self.history.from(base.number);
        self.set_head(*base);
        self.told.reached(Step::LoadEnds);
        Ok(())
    }

    /// Removes the whole state and its head, atomically and durably. Readers keep what they see.
    ///
    /// # Errors
    /// When the store cannot be written. It is as it was then.
    pub fn clear(&mut self) -> Result<(), StoreError> {
        self.hint.forget();
        self.nodes.clear();
        load::clear(&self.database)?;
        self.loading = None;
        self.head = None;
        self.lost = None;
        self.history.first = 0;
        Ok(())
    }

    /// Waits until every committed block is on the disk. With [`Durability::EveryBlock`] they are already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.database.sync()?;
        self.unsynced = 0;
        Ok(())
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

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    fn refuse_unfinished(&self) -> Result<(), StoreError> {
        match self.loading {
            Some(base) => Err(StoreError::UnfinishedLoad { path: self.database.path().to_owned(), base }),
            None => Ok(()),
        }
    }

    fn set_head(&mut self, head: Head) {
        self.hint.note(&head);
        self.lost = None;
        self.head = Some(head);
    }
}

/// Compares the head marker with the record of its block, which the same batch wrote.
fn confirm_head(database: &Database, head: &Head) -> Result<(), StoreError> {
    let meta = read(database, Column::Blocks, &block_key(head.number), BlockMeta::decode)?;
    match meta {
        // On top of a part of a state the block has a root, and the state it was committed to has none.
        Some(meta) if meta.hash == head.hash && (head.state_root.is_none() || meta.state_root == head.state_root) => {
            Ok(())
        }
        _ => Err(StoreError::UnconfirmedHead { path: database.path().to_owned(), head: *head }),
    }
}

impl StateWriter for Store {
    fn commit_block(&mut self, block: &BlockCommit<'_>) -> Result<(), StateError> {
        Ok(Self::commit_block(self, block)?)
    }
}

impl StateStore for Store {
    type Snapshot = StoreReader;

    fn snapshot(&self) -> StoreReader {
        self.reader()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, durability, head, history, loading, .. } = self;
        f.debug_struct("Store")
            .field("path", &database.path())
            .field("durability", durability)
            .field("head", head)
            .field("history", history)
            .field("loading", loading)
            .finish_non_exhaustive()
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
