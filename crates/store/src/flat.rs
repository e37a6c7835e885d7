//! The tries that the flat state makes: every account and slot, in the order of their hashes.
//!
//! Keys of the flat state are the keys of the tries, and RocksDB hands them out in order, so the tries come out of one
//! pass over the state, in the memory of one path.

use std::cell::RefCell;

use alloy_primitives::B256;
use rocksdb::{DBRawIteratorWithThreadMode, ReadOptions};
use ropewalk_state::trie::{Nibbles, TrieAccount, TrieBuilder};

use crate::{
    StoreError,
    database::{RocksDb, malformed},
    layout::{self, Column, STORAGE_PREFIX_LENGTH, storage_prefix},
    nodes::Trie,
    reader::View,
    tuning,
};

/// What is to be told on the way through a state.
pub(crate) trait Visitor {
    /// The flat state makes this node.
    fn node(&mut self, trie: &Trie, path: &Nibbles, rlp: &[u8]) -> Result<(), StoreError>;

    /// An account with `slots` slots that are not zero was passed; its storage trie is complete.
    fn account(&mut self, account: &B256, code_hash: &B256, storage: &Trie, slots: u64) -> Result<(), StoreError>;
}

/// Wants to know the root alone.
pub(crate) struct Nobody;

impl Visitor for Nobody {
    fn node(&mut self, _: &Trie, _: &Nibbles, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    fn account(&mut self, _: &B256, _: &B256, _: &Trie, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The state root of the flat state.
pub(crate) fn state_root(view: &View<'_>, visitor: &mut impl Visitor) -> Result<B256, StoreError> {
    let visitor = RefCell::new(visitor);
    let mut accounts =
        TrieBuilder::new(|path: &Nibbles, rlp: &[u8]| visitor.borrow_mut().node(&Trie::Accounts, path, rlp));
    let mut rows = Rows::new(view, Column::Accounts, &[], ReadOptions::default());
    while let Some((key, value)) = rows.next()? {
        let account = layout::decode_hash(key).map_err(|source| malformed(Column::Accounts, key, source))?;
        let held = layout::decode_account(value).map_err(|source| malformed(Column::Accounts, key, source))?;
        let prefix = storage_prefix(&account, view.incarnation(&account)?);
        let storage = Trie::Storage(prefix);
        let (storage_root, slots) =
            storage_root(view, &prefix, |path, rlp| visitor.borrow_mut().node(&storage, path, rlp))?;
        visitor.borrow_mut().account(&account, &held.code_hash, &storage, slots)?;
        let leaf = TrieAccount::new(held.nonce, held.balance, storage_root, held.code_hash);
        accounts.add(&account, alloy_rlp::encode(leaf))?;
    }
    accounts.finish()
}

/// The root of the storage whose keys begin with `prefix`, and how many slots it has.
fn storage_root(
    view: &View<'_>,
    prefix: &[u8; STORAGE_PREFIX_LENGTH],
    sink: impl FnMut(&Nibbles, &[u8]) -> Result<(), StoreError>,
) -> Result<(B256, u64), StoreError> {
    let mut builder = TrieBuilder::new(sink);
    let mut slots = 0;
    let mut rows = Rows::new(view, Column::Storage, prefix, tuning::prefix_read());
    while let Some((key, value)) = rows.next()? {
        let malformed = |source| malformed(Column::Storage, key, source);
        let slot = layout::decode_hash(&key[prefix.len()..]).map_err(malformed)?;
        let value = layout::decode_slot(value).map_err(malformed)?;
        builder.add(&slot, alloy_rlp::encode(value))?;
        slots += 1;
    }
    Ok((builder.finish()?, slots))
}

/// A key and its value.
pub(crate) type Row<'r> = (&'r [u8], &'r [u8]);

/// The keys of a family that begin with a prefix, ascending, with their values.
pub(crate) struct Rows<'v> {
    view: &'v View<'v>,
    rows: DBRawIteratorWithThreadMode<'v, RocksDb>,
    prefix: Vec<u8>,
    is_at_start: bool,
}

impl<'v> Rows<'v> {
    /// `read` is one for prefixes where the family has any and `prefix` is as long as they are.
    pub(crate) fn new(view: &'v View<'_>, column: Column, prefix: &[u8], read: ReadOptions) -> Self {
        let mut rows = view.rows(column, read);
        rows.seek(prefix);
        Self { view, rows, prefix: prefix.to_vec(), is_at_start: true }
    }

    /// The next key and its value.
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>, StoreError> {
        if !std::mem::take(&mut self.is_at_start) && self.rows.valid() {
            self.rows.next();
        }
        self.rows.status().map_err(|error| self.view.failed(error))?;
        Ok(self.rows.item().filter(|(key, _)| key.starts_with(&self.prefix)))
    }

    /// Goes on with the first key from `key` on.
    pub(crate) fn skip_to(&mut self, key: &[u8]) {
        self.rows.seek(key);
        self.is_at_start = true;
    }
}
