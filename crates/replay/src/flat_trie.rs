//! The state tries of a database, built anew from its accounts and slots.
//!
//! Leaves are read in the order of the tries, so that memory does not grow with the state beyond what the caller keeps.

use std::cell::RefCell;

use alloy_primitives::{B256, Bytes, keccak256, map::B256Map};
use ropewalk_state::{
    Account, StateError,
    trie::{Nibbles, NodeReader, TrieAccount, TrieBuilder},
};
use ropewalk_store::{FlatEntry, StoreError, StoreReader};

/// A state as its entries give it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FlatState {
    /// Root of the state.
    pub(crate) root: B256,
    /// Number of accounts.
    pub(crate) accounts: u64,
    /// Number of slots that are not zero.
    pub(crate) slots: u64,
}

/// Builds the tries of the state that `reader` shows. `on_node` gets each node that stands by itself, children first;
/// `on_account` gets each account under the hash of its address, with what there was before it, and may end it with an error.
///
/// # Errors
/// When the store cannot be read, or `on_account` says so.
pub(crate) fn rebuild<E: From<StoreError>>(
    reader: &StoreReader,
    on_node: impl FnMut(&[u8]),
    mut on_account: impl FnMut(&B256, &Account, &FlatState) -> Result<(), E>,
) -> Result<FlatState, E> {
    let on_node = RefCell::new(on_node);
    let builder = || {
        TrieBuilder::new(|_: &Nibbles, rlp: &[u8]| {
            (on_node.borrow_mut())(rlp);
            Ok::<(), E>(())
        })
    };
    let (mut accounts, mut storage) = (builder(), builder());
    let mut open: Option<(B256, Account)> = None;
    let mut found = FlatState::default();
    let mut close = |open: &mut Option<(B256, Account)>, storage: &mut TrieBuilder<_>| -> Result<(), E> {
        let Some((key, account)) = open.take() else { return Ok(()) };
        let storage_root = std::mem::replace(storage, builder()).finish()?;
        let Account { nonce, balance, code_hash } = account;
        accounts.add(&key, alloy_rlp::encode(TrieAccount { nonce, balance, storage_root, code_hash }))
    };
    reader.for_each_entry(|entry| match entry {
        FlatEntry::Account { key, account } => {
            close(&mut open, &mut storage)?;
            on_account(&key, &account, &found)?;
            found.accounts += 1;
            open = Some((key, account));
            Ok(())
        }
        FlatEntry::Slot { key, value } => {
            found.slots += 1;
            storage.add(&key, alloy_rlp::encode(value))
        }
    })?;
    close(&mut open, &mut storage)?;
    found.root = accounts.finish()?;
    Ok(found)
}

/// All nodes of a state's tries, in memory.
#[derive(Debug, Default)]
pub(crate) struct Nodes(B256Map<Bytes>);

impl Nodes {
    /// The nodes of the state that `reader` shows, and its root.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn of(reader: &StoreReader) -> Result<(Self, B256), StoreError> {
        let mut nodes = Self::default();
        let keep = |rlp: &[u8]| drop(nodes.0.insert(keccak256(rlp), Bytes::copy_from_slice(rlp)));
        let found = rebuild(reader, keep, |_, _, _| Ok::<(), StoreError>(()))?;
        Ok((nodes, found.root))
    }
}

impl NodeReader for Nodes {
    fn node(&self, _: Option<B256>, _: &Nibbles, hash: &B256) -> Result<Option<Bytes>, StateError> {
        Ok(self.0.get(hash).cloned())
    }
}
