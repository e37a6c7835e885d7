//! A block's changes as one batch.
//!
//! The batch holds everything the block does to the database, the head marker included, and is written in one go:
//! after any interruption the block is there or it is not. Building it reads only what the changes do not say: the
//! present storage incarnation of accounts whose storage changes, whether a storage that is cleared holds anything,
//! which codes are there already, and the trie nodes on the way to what changes.
//!
//! Where the store holds a whole state, the state root is computed on the way, and a block whose header claims another
//! is refused. What that costs grows with what changed times the depth of the tries, not with the size of the state.

use alloy_primitives::B256;
use rocksdb::WriteBatch;
use ropewalk_state::{
    AccountChange, BlockCommit,
    trie::{self, EMPTY_ROOT_HASH, TrieUpdates},
};

use crate::{
    StoreError,
    database::{Database, malformed},
    layout::{
        self, BLOCK_HASHES_KEPT, BlockMeta, Column, HEAD_KEY, Head, StorageIncarnation, account_key, block_key,
        storage_key, storage_prefix,
    },
    nodes::{self, Trie},
    reader::View,
    tuning,
};

/// The batch that commits `block` on top of `parent`, and the head it leads to.
///
/// # Errors
/// When the database cannot be read, the changes contradict themselves, or they lead to another state root than the
/// block's. Nothing was written then.
pub(crate) fn block_batch(
    database: &Database,
    parent: Option<&Head>,
    block: &BlockCommit<'_>,
) -> Result<(WriteBatch, Head), StoreError> {
    refuse_haunted_accounts(block)?;
    let mut batch = WriteBatch::default();
    // Before the first block there is a whole state: the one without accounts.
    let parent_root = parent.map_or(Some(EMPTY_ROOT_HASH), |parent| parent.state_root);
    let updates = parent_root.map(|root| update_tries(database, root, block)).transpose()?;
    put_accounts(database, block, updates.as_ref(), &mut batch)?;
    put_codes(database, block, &mut batch)?;
    let head = Head { number: block.number, hash: block.hash, state_root: parent_root.map(|_| block.state_root) };
    let meta = BlockMeta { hash: block.hash, parent_hash: Some(block.parent_hash), state_root: Some(block.state_root) };
    put_head(database, &head, &meta, &mut batch);
    if let Some(number) = block.number.checked_sub(BLOCK_HASHES_KEPT) {
        batch.delete_cf(database.family(Column::BlockHashes), block_key(number));
    }
    Ok((batch, head))
}

/// What the block changes in the tries of the state with root `parent`.
fn update_tries(database: &Database, parent: B256, block: &BlockCommit<'_>) -> Result<TrieUpdates, StoreError> {
    let number = block.number;
    let (found, updates) = trie::update_state_root(&View::new(database), parent, block.changes)
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

fn put_accounts(
    database: &Database,
    block: &BlockCommit<'_>,
    tries: Option<&TrieUpdates>,
    batch: &mut WriteBatch,
) -> Result<(), StoreError> {
    if let Some(tries) = tries {
        nodes::put_updates(database, &Trie::Accounts, &tries.accounts, batch);
    }
    let accounts = database.family(Column::Accounts);
    for change in &block.changes.accounts {
        let key = account_key(&change.address);
        match &change.after {
            after if *after == change.before => {}
            Some(account) => batch.put_cf(accounts, key, layout::encode_account(account)),
            None => batch.delete_cf(accounts, key),
        }
        put_storage(database, change, &key, tries, batch)?;
    }
    Ok(())
}

fn put_storage(
    database: &Database,
    change: &AccountChange,
    account: &B256,
    tries: Option<&TrieUpdates>,
    batch: &mut WriteBatch,
) -> Result<(), StoreError> {
    // An account that is gone has no storage, whether or not the changes say so.
    let cleared = change.storage_cleared || change.after.is_none();
    if !cleared && change.slots.is_empty() {
        return Ok(());
    }
    let stored = database.get(Column::Incarnations, account.as_slice())?;
    let incarnation = decode_incarnation(account, stored.as_deref())?;
    let mut prefix = storage_prefix(account, incarnation);
    if cleared && database.has_prefix(Column::Storage, &prefix, tuning::prefix_read())? {
        let next = incarnation.next().ok_or(StoreError::IncarnationsExhausted(*account))?;
        batch.put_cf(database.family(Column::Incarnations), account, next.encode());
        prefix = storage_prefix(account, next);
    }
    let storage = database.family(Column::Storage);
    for slot in &change.slots {
        let key = storage_key(&prefix, &slot.slot);
        match layout::encode_slot(&slot.after) {
            Some(value) => batch.put_cf(storage, key, value),
            None => batch.delete_cf(storage, key),
        }
    }
    if let Some(updates) = tries.and_then(|tries| tries.storage.get(account)) {
        nodes::put_updates(database, &Trie::Storage(prefix), &updates.nodes, batch);
    }
    Ok(())
}

/// The storage incarnation of an account from what is stored for it.
pub(crate) fn decode_incarnation(account: &B256, stored: Option<&[u8]>) -> Result<StorageIncarnation, StoreError> {
    let Some(bytes) = stored else { return Ok(StorageIncarnation::default()) };
    StorageIncarnation::decode(bytes).map_err(|source| malformed(Column::Incarnations, account.as_slice(), source))
}

/// Contracts made by factories share their code; it is written once.
fn put_codes(database: &Database, block: &BlockCommit<'_>, batch: &mut WriteBatch) -> Result<(), StoreError> {
    let codes = &block.changes.codes;
    let held = database.get_many(Column::Code, codes.keys())?;
    let family = database.family(Column::Code);
    for ((hash, code), held) in codes.iter().zip(held) {
        if held.is_none() {
            batch.put_cf(family, hash, code);
        }
    }
    Ok(())
}
