//! Where replayed blocks end up: databases, one for each chain of blocks.
//!
//! Recorded blocks are islands. A block that nobody's head is the parent of begins a database of its own, with the
//! recorded prestate as the base state of its parent; a block that extends the head of the database in use continues
//! it. Then its prestate tells the database of accounts and slots that no earlier block needed: they become part of the
//! state together with the block, in the same batch. A prestate that contradicts the database (recordings that leave
//! withdrawals out do) means that the database holds another state than the recording: such a block begins anew.
//!
//! A database is named `<chain>-<number>-<first 8 digits of the hash>` after the block it begins with. Replaying the same
//! blocks into the same directory finds them there and says so.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use alloy_primitives::{Address, B256, U256};
use ropewalk_state::{
    Account, AccountChange, BlockCommit, Changes, MemoryState, Overlay, SlotChange, StateError, StateReader,
};
use ropewalk_store::{BaseEntry, Durability, Head, Store, StoreError, StoreOptions, StoreReader};
use tempfile::TempDir;

use crate::{
    compare::{self, Difference},
    fixture::Fixture,
};

/// The databases of one run.
#[derive(Debug)]
pub struct Databases {
    // Declared, and so closed, before the directory that it is in: a database writes when it is closed.
    current: Option<Database>,
    root: Root,
}

/// The database in use.
#[derive(Debug)]
struct Database {
    store: Store,
    path: PathBuf,
}

/// Where the databases are.
#[derive(Debug)]
enum Root {
    /// Kept where the user wants them.
    Kept(PathBuf),
    /// Removed with this value.
    Temporary(TempDir),
}

/// A block could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The directory for the databases cannot be made.
    #[error("cannot use {} for databases", path.display())]
    Root {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A database cannot be opened, read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state cannot be read back.
    #[error("cannot read the database")]
    State(#[from] StateError),
    /// A database was closed and opened again, and is not at the block that was committed last.
    #[error("the database at {} is not at block {expected} any more after it was opened again", path.display())]
    HeadLost {
        /// The database.
        path: PathBuf,
        /// Hash of the block committed last.
        expected: B256,
    },
    /// The block's database holds another chain.
    #[error("the database at {} is at block {number} ({hash}), which the block does not extend", path.display())]
    AnotherChain {
        /// The database.
        path: PathBuf,
        /// Number of its head.
        number: u64,
        /// Hash of its head.
        hash: B256,
    },
}

impl PersistError {
    /// Whether other blocks will meet the same.
    pub fn is_about_all(&self) -> bool {
        let store = match self {
            Self::Root { .. } => return true,
            Self::Store(error) => error,
            Self::State(_) | Self::HeadLost { .. } | Self::AnotherChain { .. } => return false,
        };
        matches!(store, StoreError::Directory { .. } | StoreError::DiskFull { .. } | StoreError::Locked { .. })
    }
}

/// What the database has to say about a block.
#[derive(Debug)]
pub enum Place {
    /// It holds the block already.
    Present,
    /// It holds the block's parent: here is what to execute the block on.
    Ready(Extension),
}

/// The state that a block is executed on and committed to.
#[derive(Debug)]
pub struct Extension {
    reader: Arc<Overlay<StoreReader>>,
    /// Accounts and slots that the recording knows and the database does not.
    additions: Arc<Changes>,
}

impl Extension {
    /// The parent's state as the database has it.
    pub fn reader(&self) -> Arc<dyn StateReader> {
        Arc::clone(&self.reader) as Arc<dyn StateReader>
    }
}

impl Databases {
    /// Databases that are kept under `directory`, or temporary ones.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(directory: Option<&Path>) -> Result<Self, PersistError> {
        let root = match directory {
            Some(path) => {
                let failed = |source| PersistError::Root { path: path.to_owned(), source };
                std::fs::create_dir_all(path).map_err(failed)?;
                // A directory that cannot be written to is better known before the work than after it.
                tempfile::tempfile_in(path).map_err(failed)?;
                Root::Kept(path.to_owned())
            }
            None => {
                let failed = |source| PersistError::Root { path: std::env::temp_dir(), source };
                Root::Temporary(tempfile::Builder::new().prefix("ropewalk-").tempdir().map_err(failed)?)
            }
        };
        Ok(Self { root, current: None })
    }

    /// Opens the database that the block belongs to. `recorded` is the recorded state before it.
    ///
    /// # Errors
    /// When the database cannot be used or holds another chain.
    pub fn place(&mut self, fixture: &Fixture, recorded: &MemoryState) -> Result<Place, PersistError> {
        if let Some(Database { store, .. }) = &self.current
            && let Some(place) = place_in(store, fixture, recorded)?
        {
            return Ok(place);
        }
        // The old one is closed first: both may be the same directory.
        self.close()?;
        let path = self.path_of(fixture);
        let mut store = Store::open(&path, &self.options())?;
        if store.head().is_none() {
            let header = &fixture.block.header;
            // A recorded prestate is a part of the parent's state, so its root is nobody's.
            let base = Head { number: header.number - 1, hash: header.parent_hash, state_root: None };
            store.load_base(&base, base_entries(recorded))?;
        }
        let place = place_in(&store, fixture, recorded)?;
        let head = store.head();
        self.current = Some(Database { store, path: path.clone() });
        match (place, head) {
            (Some(place), _) => Ok(place),
            (None, Some(Head { number, hash, .. })) => Err(PersistError::AnotherChain { path, number, hash }),
            (None, None) => Err(StateError::MissingBlockHash(fixture.number()).into()),
        }
    }

    /// Commits a block that was [placed](Self::place) last, and reads it back.
    ///
    /// # Errors
    /// When the database cannot be written or read.
    pub fn commit(
        &mut self,
        fixture: &Fixture,
        extension: &Extension,
        changes: &Changes,
    ) -> Result<Option<Difference>, PersistError> {
        let Some(Database { store, .. }) = &mut self.current else { return Ok(None) };
        let additions = &extension.additions;
        let block = &fixture.block;
        store.commit_block(&BlockCommit {
            number: block.header.number,
            hash: block.hash,
            parent_hash: block.header.parent_hash,
            state_root: block.header.state_root,
            changes: &stacked(additions, changes),
        })?;
        read_back(&store.reader(), fixture, changes)
    }

    /// Closes the database in use and opens it again, to see whether it is still at the block committed last.
    ///
    /// # Errors
    /// When it is not, or cannot be opened.
    pub fn close(&mut self) -> Result<(), PersistError> {
        let Some(Database { store, path }) = self.current.take() else { return Ok(()) };
        let Some(Head { hash: expected, .. }) = store.head() else { return Ok(()) };
        drop(store);
        let reopened = Store::open(&path, &self.options())?;
        match reopened.head() {
            Some(head) if head.hash == expected => Ok(()),
            _ => Err(PersistError::HeadLost { path, expected }),
        }
    }

    /// Compares a block that is [present](Place::Present) with what its execution changed. Only the head's state can be
    /// read; of an older block nothing but its record is left.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn check_present(&self, fixture: &Fixture, changes: &Changes) -> Result<Option<Difference>, PersistError> {
        match &self.current {
            Some(Database { store, .. }) if store.head().is_some_and(|head| head.hash == fixture.block.hash) => {
                read_back(&store.reader(), fixture, changes)
            }
            _ => Ok(None),
        }
    }

    /// Where the block's own database is.
    fn path_of(&self, fixture: &Fixture) -> PathBuf {
        let root = match &self.root {
            Root::Kept(path) => path.as_path(),
            Root::Temporary(directory) => directory.path(),
        };
        let plain = |char: char| if char.is_ascii_alphanumeric() || char == '-' { char } else { '_' };
        let chain: String = fixture.chain.name.chars().map(plain).collect();
        let hash = format!("{:x}", fixture.block.hash);
        root.join(format!("{chain}-{}-{}", fixture.number(), &hash[..8]))
    }

    fn options(&self) -> StoreOptions {
        match self.root {
            Root::Kept(_) => StoreOptions::default(),
            // Nothing outlives the process, so nothing need outlive a power cut.
            Root::Temporary(_) => StoreOptions { durability: Durability::OperatingSystem, ..StoreOptions::default() },
        }
    }
}

/// What a database can do for a block; `None` where the block does not belong there.
fn place_in(store: &Store, fixture: &Fixture, recorded: &MemoryState) -> Result<Option<Place>, PersistError> {
    let block = &fixture.block;
    let reader = store.reader();
    if reader.block(block.header.number)?.is_some_and(|known| known.hash == block.hash) {
        return Ok(Some(Place::Present));
    }
    let Some(head) = store.head() else { return Ok(None) };
    if head.hash != block.header.parent_hash || head.number.checked_add(1) != Some(block.header.number) {
        return Ok(None);
    }
    let Some(additions) = additions(&reader, recorded)? else {
        tracing::warn!(block = %fixture.label(), "the recorded prestate contradicts the database; beginning another");
        return Ok(None);
    };
    let additions = Arc::new(additions);
    let mut overlay = Overlay::new(reader);
    overlay.push(Arc::clone(&additions));
    for (number, hash) in recorded.iter_block_hashes() {
        overlay.insert_block_hash(number, hash);
    }
    Ok(Some(Place::Ready(Extension { reader: Arc::new(overlay), additions })))
}

/// A recorded state as the base of a new database.
fn base_entries(recorded: &MemoryState) -> impl Iterator<Item = BaseEntry> {
    let accounts = recorded.iter_accounts().flat_map(|(address, account)| {
        let slots = recorded.iter_slots(&address);
        let slots = slots.map(move |(slot, value)| BaseEntry::Slot { address, slot, value });
        std::iter::once(BaseEntry::Account { address, account }).chain(slots)
    });
    let codes = recorded.iter_codes().map(|(_, code)| BaseEntry::Code(code));
    let hashes = recorded.iter_block_hashes().map(|(number, hash)| BaseEntry::BlockHash { number, hash });
    accounts.chain(codes).chain(hashes)
}

/// What a recorded state knows and a database does not; `None` where they contradict each other.
fn additions(stored: &StoreReader, recorded: &MemoryState) -> Result<Option<Changes>, StateError> {
    let accounts: Vec<(Address, Account)> = recorded.iter_accounts().collect();
    let addresses: Vec<Address> = accounts.iter().map(|(address, _)| *address).collect();
    let mut additions = Changes::default();
    for ((address, account), before) in accounts.into_iter().zip(stored.accounts(&addresses)?) {
        if before.is_some_and(|before| before != account) {
            return Ok(None);
        }
        let slots: Vec<(U256, U256)> = recorded.iter_slots(&address).collect();
        let keys: Vec<(Address, U256)> = slots.iter().map(|(slot, _)| (address, *slot)).collect();
        let mut added = Vec::new();
        for ((slot, value), before) in slots.into_iter().zip(stored.storages(&keys)?) {
            match before {
                before if before == value => {}
                before if before.is_zero() => added.push(SlotChange { slot, before, after: value }),
                _ => return Ok(None),
            }
        }
        additions.accounts.push(AccountChange {
            address,
            before,
            after: Some(account),
            storage_cleared: false,
            slots: added,
        });
    }
    additions.codes = recorded.iter_codes().collect();
    additions.normalize();
    Ok(Some(additions))
}

/// Two sets of changes, one after the other, as one: `later` wins.
fn stacked(earlier: &Changes, later: &Changes) -> Changes {
    let mut accounts: BTreeMap<Address, AccountChange> =
        earlier.accounts.iter().map(|change| (change.address, change.clone())).collect();
    for change in &later.accounts {
        let Some(earlier) = accounts.remove(&change.address) else {
            accounts.insert(change.address, change.clone());
            continue;
        };
        let mut slots: BTreeMap<U256, SlotChange> = BTreeMap::new();
        if !change.storage_cleared && change.after.is_some() {
            slots.extend(earlier.slots.iter().map(|slot| (slot.slot, *slot)));
        }
        for slot in &change.slots {
            let before = slots.get(&slot.slot).map_or(slot.before, |earlier| earlier.before);
            slots.insert(slot.slot, SlotChange { before, ..*slot });
        }
        let stacked = AccountChange {
            before: earlier.before,
            after: change.after,
            storage_cleared: change.storage_cleared && earlier.before.is_some(),
            slots: slots.into_values().collect(),
            address: change.address,
        };
        accounts.insert(change.address, stacked);
    }
    let mut codes = earlier.codes.clone();
    codes.extend(later.codes.iter().map(|(hash, code)| (*hash, code.clone())));
    let mut stacked = Changes { accounts: accounts.into_values().collect(), codes };
    stacked.normalize();
    stacked
}

/// Compares what a database holds with what a block left.
fn read_back(stored: &StoreReader, fixture: &Fixture, changes: &Changes) -> Result<Option<Difference>, PersistError> {
    let (found, expected) = (stored.head().map(|head| head.hash), fixture.block.hash);
    if found != Some(expected) {
        return Ok(Some(Difference::Head { found, expected }));
    }
    let mut found = changes.clone();
    let addresses: Vec<Address> = changes.accounts.iter().map(|change| change.address).collect();
    for (change, account) in found.accounts.iter_mut().zip(stored.accounts(&addresses)?) {
        change.after = account;
        let keys: Vec<(Address, U256)> = change.slots.iter().map(|slot| (change.address, slot.slot)).collect();
        for (slot, value) in change.slots.iter_mut().zip(stored.storages(&keys)?) {
            slot.after = value;
        }
    }
    for (hash, code) in &mut found.codes {
        *code = stored.code(hash)?;
    }
    Ok(compare::stored(found, changes))
}

#[cfg(test)]
mod tests;
