//! A block's changes as one batch.
//!
//! The batch holds everything the block does to the database, what it overwrote and the head marker included, and is
//! written in one go: after any interruption the block is there or it is not. Building it reads only what the changes do
//! not say: the present storage incarnation of accounts whose storage changes, whether a storage that is cleared holds
//! anything, which codes are there already, and the trie nodes on the way to what changes.
//!
//! Where the store holds a whole state, the state root is computed on the way, and a block whose header claims another
//! is refused. What that costs grows with what changed times the depth of the tries, not with the size of the state.

use alloy_primitives::{B256, U256};
use rocksdb::WriteBatch;
use ropewalk_state::{
    AccountChange, BlockCommit,
    trie::{self, EMPTY_ROOT_HASH, TrieUpdates},
};

use crate::{
    StoreError,
    changeset::{Changeset, FormerAccount},
    database::{Database, malformed},
    layout::{
        self, BLOCK_HASHES_KEPT, BlockMeta, Column, HEAD_KEY, Head, STORAGE_PREFIX_LENGTH, StorageIncarnation,
        account_key, block_key, cleared_key, decode_hash, storage_key, storage_prefix,
    },
    node_cache::NodeCache,
    nodes::{self, Trie},
    probe::{Step, Told},
    prune::History,
    reader::View,
    tuning,
};

/// A block that is ready to be written.
pub(crate) struct Prepared {
    pub(crate) batch: WriteBatch,
    pub(crate) head: Head,
    /// Which blocks can be unwound after it.
    pub(crate) history: History,
    /// What comes and goes in the tries.
    pub(crate) tries: Option<TrieUpdates>,
}

/// The batch that commits `block` on top of `parent`, and the head it leads to.
///
/// # Errors
/// When the database cannot be read, the changes contradict themselves, or they lead to another state root than the
/// block's. Nothing was written then.
pub(crate) fn prepare(
    database: &Database,
    parent: Option<&Head>,
    history: &History,
    block: &BlockCommit<'_>,
    cache: &NodeCache,
    told: &Told,
) -> Result<Prepared, StoreError> {
    refuse_haunted_accounts(block)?;
    // Before the first block there is a whole state: the one without accounts.
    let parent_root = parent.map_or(Some(EMPTY_ROOT_HASH), |parent| parent.state_root);
    let tries = parent_root.map(|root| update_tries(database, cache, root, block)).transpose()?;
    told.reached(Step::RootComputed);
    let mut batch = Batch { database, number: block.number, writes: WriteBatch::default() };
    let changeset = Changeset {
        accounts: batch.put_accounts(block, tries.as_ref())?,
        codes: batch.put_codes(block)?,
        dropped_hash: batch.drop_block_hash()?,
    };
    let head = Head { number: block.number, hash: block.hash, state_root: parent_root.map(|_| block.state_root) };
    let meta = BlockMeta { hash: block.hash, parent_hash: Some(block.parent_hash), state_root: Some(block.state_root) };
    put_head(database, &head, &meta, &mut batch.writes);
    // The first block has nothing before it to go back to.
    let history = match parent {
        Some(_) => history.put(database, block.number, &changeset, &mut batch.writes)?,
        None => history.from(block.number),
    };
    Ok(Prepared { batch: batch.writes, head, history, tries })
}

/// What the block changes in the tries of the state with root `parent`.
fn update_tries(
    database: &Database,
    cache: &NodeCache,
    parent: B256,
    block: &BlockCommit<'_>,
) -> Result<TrieUpdates, StoreError> {
    let number = block.number;
    let view = View::new(database);
    let (found, updates) = trie::update_state_root(&cache.over(&view), parent, block.changes)
        .map_err(|source| StoreError::Trie { number, source })?;
    if found != block.state_root {
        return Err(StoreError::WrongStateRoot { number, expected: block.state_root, found });
    }
    Ok(updates)
}

/// Marks `head` as the state's block, and remembers the block.
pub(crate) fn put_head(database: &Database, head: &Head, meta: &BlockMeta, batch: &mut WriteBatch) {
    let key = block_key(head.number);
    batch.put_cf(database.family(Column::Blocks), key, meta.encode());
    batch.put_cf(database.family(Column::BlockHashes), key, head.hash);
    batch.put_cf(database.family(Column::Head), HEAD_KEY, head.encode());
}

fn refuse_haunted_accounts(block: &BlockCommit<'_>) -> Result<(), StoreError> {
    let is_haunted =
        |change: &&AccountChange| change.after.is_none() && change.slots.iter().any(|slot| !slot.after.is_zero());
    match block.changes.accounts.iter().find(is_haunted) {
        Some(change) => Err(StoreError::StorageWithoutAccount { address: change.address, number: block.number }),
        None => Ok(()),
    }
}

/// The writes of one block.
struct Batch<'db> {
    database: &'db Database,
    number: u64,
    writes: WriteBatch,
}

impl Batch<'_> {
    /// Puts accounts, slots and nodes, and returns what they overwrite.
    fn put_accounts(
        &mut self,
        block: &BlockCommit<'_>,
        tries: Option<&TrieUpdates>,
    ) -> Result<Vec<FormerAccount>, StoreError> {
        if let Some(tries) = tries {
            nodes::put_updates(self.database, &Trie::Accounts, &tries.accounts, &mut self.writes);
        }
        block.changes.accounts.iter().map(|change| self.put_account(change, tries)).collect()
    }

    fn put_account(
        &mut self,
        change: &AccountChange,
        tries: Option<&TrieUpdates>,
    ) -> Result<FormerAccount, StoreError> {
        let accounts = self.database.family(Column::Accounts);
        let key = account_key(&change.address);
        let differs = change.after != change.before;
        match &change.after {
            _ if !differs => {}
            Some(account) => self.writes.put_cf(accounts, key, layout::encode_account(account)),
            None => self.writes.delete_cf(accounts, key),
        }
        let incarnation = self.put_storage(change, &key, tries)?;
        let slots = change.slots.iter().map(|slot| (slot.slot, slot.before)).collect();
        Ok(FormerAccount { address: change.address, account: differs.then_some(change.before), incarnation, slots })
    }

    /// Puts slots and nodes, under a new incarnation where that is called for: then the former one is returned.
    fn put_storage(
        &mut self,
        change: &AccountChange,
        account: &B256,
        tries: Option<&TrieUpdates>,
    ) -> Result<Option<StorageIncarnation>, StoreError> {
        // An account that is gone has no storage, whether or not the changes say so.
        let cleared = change.storage_cleared || change.after.is_none();
        if !cleared && change.slots.is_empty() {
            return Ok(None);
        }
        let database = self.database;
        let stored = database.get(Column::Incarnations, account.as_slice())?;
        let incarnation = decode_incarnation(account, stored.as_deref())?;
        let mut prefix = storage_prefix(account, incarnation);
        let mut former = None;
        if cleared && database.has_prefix(Column::Storage, &prefix, tuning::prefix_read())? {
            let next = incarnation.next().ok_or(StoreError::IncarnationsExhausted(*account))?;
            self.writes.put_cf(database.family(Column::Incarnations), account, next.encode());
            let key = cleared_key(self.number, account);
            self.writes.put_cf(database.family(Column::Cleared), key, incarnation.encode());
            prefix = storage_prefix(account, next);
            former = Some(incarnation);
        }
        let slots = change.slots.iter().map(|slot| (slot.slot, slot.after));
        put_slots(database, &prefix, slots, &mut self.writes);
        if let Some(updates) = tries.and_then(|tries| tries.storage.get(account)) {
            nodes::put_updates(database, &Trie::Storage(prefix), &updates.nodes, &mut self.writes);
        }
        Ok(former)
    }

    /// Puts the codes that are not there yet, and returns their hashes: contracts made by factories share their code.
    fn put_codes(&mut self, block: &BlockCommit<'_>) -> Result<Vec<B256>, StoreError> {
        let codes = &block.changes.codes;
        let held = self.database.get_many(Column::Code, codes.keys())?;
        let family = self.database.family(Column::Code);
        let mut new = Vec::new();
        for ((hash, code), _) in codes.iter().zip(held).filter(|(_, held)| held.is_none()) {
            self.writes.put_cf(family, hash, code);
            new.push(*hash);
        }
        Ok(new)
    }

    /// Removes the block hash that goes out of reach, and returns it.
    fn drop_block_hash(&mut self) -> Result<Option<B256>, StoreError> {
        let Some(number) = self.number.checked_sub(BLOCK_HASHES_KEPT) else { return Ok(None) };
        let key = block_key(number);
        let Some(hash) = self.database.get(Column::BlockHashes, &key)? else { return Ok(None) };
        self.writes.delete_cf(self.database.family(Column::BlockHashes), key);
        decode_hash(&hash).map(Some).map_err(|source| malformed(Column::BlockHashes, &key, source))
    }
}

/// Puts an account's slots: values, and nothing for zeros.
pub(crate) fn put_slots(
    database: &Database,
    prefix: &[u8; STORAGE_PREFIX_LENGTH],
    slots: impl Iterator<Item = (U256, U256)>,
    batch: &mut WriteBatch,
) {
    let storage = database.family(Column::Storage);
    for (slot, value) in slots {
        let key = storage_key(prefix, &slot);
        match layout::encode_slot(&value) {
            Some(value) => batch.put_cf(storage, key, value),
            None => batch.delete_cf(storage, key),
        }
    }
}

/// The storage incarnation of an account from what is stored for it.
pub(crate) fn decode_incarnation(account: &B256, stored: Option<&[u8]>) -> Result<StorageIncarnation, StoreError> {
    let Some(bytes) = stored else { return Ok(StorageIncarnation::default()) };
    StorageIncarnation::decode(bytes).map_err(|source| malformed(Column::Incarnations, account.as_slice(), source))
}
