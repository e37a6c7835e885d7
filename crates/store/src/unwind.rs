//! One block undone, as one batch.
//!
//! What the block overwrote in the flat state is put back from its changeset. The tries follow from that: they are
//! computed as for any other block, and the root must be the one of the block before. A storage that was cleared is
//! still there under its former incarnation, nodes included: its number is put back, and what was written under the new
//! one is removed.

use alloy_primitives::{B256, keccak256};
use rocksdb::WriteBatch;
use ropewalk_state::{
    StateError,
    trie::{self, AccountUpdate, Nibbles, TrieUpdates},
};

use crate::{
    StoreError,
    changeset::{Changeset, FormerAccount},
    commit::put_slots,
    database::Database,
    layout::{
        self, BLOCK_HASHES_KEPT, BlockMeta, Column, DecodeError, HEAD_KEY, Head, account_key, block_key, cleared_key,
        storage_prefix,
    },
    nodes::{self, Trie},
    reader::View,
};

/// The batch that undoes the block `head`, and the head it leads to.
///
/// # Errors
/// When there is no changeset of the block, the database cannot be read, or what the changeset leads to is not the state
/// of the block before. Nothing was written then.
pub(crate) fn prepare(database: &Database, head: &Head) -> Result<(WriteBatch, Head), StoreError> {
    let unwind = Unwind { database, view: View::new(database), number: head.number };
    let changeset = unwind.read(Column::Changesets, head.number, Changeset::decode)?;
    let parent = unwind.parent(head)?;
    let mut batch = WriteBatch::default();
    let tries = match (head.state_root, parent.state_root) {
        (Some(from), Some(to)) => Some(unwind.tries(&changeset, from, to)?),
        _ => None,
    };
    if let Some(tries) = &tries {
        nodes::put_updates(database, &Trie::Accounts, &tries.accounts, &mut batch);
    }
    for account in &changeset.accounts {
        unwind.put_account(account, tries.as_ref(), &mut batch)?;
    }
    changeset.codes.iter().for_each(|hash| batch.delete_cf(database.family(Column::Code), hash));
    unwind.put_head(&changeset, &parent, &mut batch);
    Ok((batch, parent))
}

struct Unwind<'db> {
    database: &'db Database,
    view: View<'db>,
    /// Number of the block that is undone.
    number: u64,
}

impl Unwind<'_> {
    fn read<T>(
        &self,
        column: Column,
        number: u64,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<T, StoreError> {
        let found = self.view.get(column, &block_key(number), decode)?;
        found.ok_or(StoreError::MissingRecord { column: column.name(), number })
    }

    /// The head that the block before was. On top of a part of a state it has no root either.
    fn parent(&self, head: &Head) -> Result<Head, StoreError> {
        let meta = self.read(Column::Blocks, head.number, BlockMeta::decode)?;
        let number = head.number.checked_sub(1).ok_or(StoreError::MissingRecord { column: "blocks", number: 0 })?;
        let before = self.read(Column::Blocks, number, BlockMeta::decode)?;
        if meta.parent_hash != Some(before.hash) {
            let path = self.database.path().to_owned();
            return Err(StoreError::UnconfirmedHead { path, head: *head });
        }
        let state_root = head.state_root.and(before.state_root);
        Ok(Head { number, hash: before.hash, state_root })
    }

    /// What comes and goes in the tries between the roots `from` and `to`.
    fn tries(&self, changeset: &Changeset, from: B256, to: B256) -> Result<TrieUpdates, StoreError> {
        let number = self.number;
        let updates =
            changeset.accounts.iter().map(|account| self.trie_update(account)).collect::<Result<Vec<_>, _>>()?;
        let (found, tries) =
            trie::set_accounts(&self.view, from, &updates).map_err(|source| StoreError::Trie { number, source })?;
        match found == to {
            true => Ok(tries),
            false => Err(StoreError::WrongUnwoundRoot { number, expected: to, found }),
        }
    }

    fn trie_update(&self, former: &FormerAccount) -> Result<AccountUpdate, StoreError> {
        let key = account_key(&former.address);
        let account = match former.account {
            Some(account) => account,
            None => self.view.get(Column::Accounts, key.as_slice(), layout::decode_account)?,
        };
        let hashed = |(slot, value): &(_, _)| (layout::slot_key(slot), *value);
        let storage_root = former.incarnation.map(|incarnation| {
            let trie = Trie::Storage(storage_prefix(&key, incarnation));
            let root = self.view.get(trie.column(), &trie.key(&Nibbles::new()), |rlp| Ok(keccak256(rlp)))?;
            let missing = || StateError::MissingNode { account: Some(key), path: Nibbles::new() };
            root.ok_or_else(|| StoreError::Trie { number: self.number, source: missing() })
        });
        let slots = former.slots.iter().map(hashed).collect();
        Ok(AccountUpdate { key, account, slots, storage_root: storage_root.transpose()? })
    }

    fn put_account(
        &self,
        former: &FormerAccount,
        tries: Option<&TrieUpdates>,
        batch: &mut WriteBatch,
    ) -> Result<(), StoreError> {
        let database = self.database;
        let key = account_key(&former.address);
        let accounts = database.family(Column::Accounts);
        match &former.account {
            None => {}
            Some(Some(account)) => batch.put_cf(accounts, key, layout::encode_account(account)),
            Some(None) => batch.delete_cf(accounts, key),
        }
        let prefix = storage_prefix(&key, self.view.incarnation(&key)?);
        put_slots(database, &prefix, former.slots.iter().copied(), batch);
        if let Some(updates) = tries.and_then(|tries| tries.storage.get(&key)) {
            nodes::put_updates(database, &Trie::Storage(prefix), &updates.nodes, batch);
        }
        let Some(incarnation) = former.incarnation else { return Ok(()) };
        match incarnation == layout::StorageIncarnation::default() {
            true => batch.delete_cf(database.family(Column::Incarnations), key),
            false => batch.put_cf(database.family(Column::Incarnations), key, incarnation.encode()),
        }
        batch.delete_cf(database.family(Column::Cleared), cleared_key(self.number, &key));
        Ok(())
    }

    /// Removes the block's records and marks its parent as the state's block.
    fn put_head(&self, changeset: &Changeset, parent: &Head, batch: &mut WriteBatch) {
        let (database, key) = (self.database, block_key(self.number));
        for column in [Column::Blocks, Column::BlockHashes, Column::Changesets] {
            batch.delete_cf(database.family(column), key);
        }
        if let Some((hash, number)) = changeset.dropped_hash.zip(self.number.checked_sub(BLOCK_HASHES_KEPT)) {
            batch.put_cf(database.family(Column::BlockHashes), block_key(number), hash);
        }
        batch.put_cf(database.family(Column::Head), HEAD_KEY, parent.encode());
    }
}

/// Checks that the trie of the head's state is there: its root node is the one that the head names.
///
/// # Errors
/// When it is not, or cannot be read.
pub(crate) fn confirm_root(database: &Database, head: &Head) -> Result<(), StoreError> {
    let Some(root) = head.state_root.filter(|root| *root != trie::EMPTY_ROOT_HASH) else { return Ok(()) };
    match View::new(database).node(None, &Nibbles::new(), &root) {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(StoreError::WrongNode { .. }) => {
            Err(StoreError::UnconfirmedRoot { path: database.path().to_owned(), head: *head })
        }
        Err(error) => Err(error),
    }
}
