//! A block's record, written down as an access list.
//!
//! Changes are compared position by position: a value that a position changes and changes back is no change, and a slot
//! that is written with the value it has counts as read.

use std::collections::{BTreeMap, BTreeSet};

use alloy_eip7928::{
    AccountChanges, BalanceChange, BlockAccessIndex, CodeChange, NonceChange, SlotChanges, StorageChange,
};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use ropewalk_state::{Account, AccountChange, Changes};

use super::{AccessList, AccessListExtension, AccessListPart};
use crate::Record;

impl Record {
    /// The block's access list, with the extension that old forks need.
    pub fn access_list(&self) -> AccessList {
        let mut accounts: BTreeMap<Address, Entry> = BTreeMap::new();
        let mut extension = AccessListExtension::default();
        for (position, record) in self.positions.iter().enumerate() {
            for access in &record.accesses.accounts {
                accounts.entry(access.address).or_default().touched.extend(&access.slots);
            }
            for change in &record.changes.accounts {
                let entry = accounts.entry(change.address).or_default();
                entry.add(position as u32, change, &record.changes, &mut extension);
            }
        }
        extension.storage_cleared.sort_unstable();
        extension.existence.sort_unstable();
        let accounts = accounts.into_iter().map(|(address, entry)| entry.into_changes(address)).collect();
        AccessList { accounts, extension: Some(extension) }
    }
}

/// One account of a list that is being made.
#[derive(Debug, Default)]
struct Entry {
    touched: BTreeSet<U256>,
    slots: BTreeMap<U256, Vec<StorageChange>>,
    balances: Vec<BalanceChange>,
    nonces: Vec<NonceChange>,
    codes: Vec<CodeChange>,
}

impl Entry {
    fn add(&mut self, position: u32, change: &AccountChange, all: &Changes, extension: &mut AccessListExtension) {
        let index = BlockAccessIndex::new(position.into());
        for part in parts(change) {
            match part {
                AccessListPart::Slot { slot, value } => {
                    self.slots.entry(slot).or_default().push(StorageChange::new(index, value));
                }
                AccessListPart::Balance(balance) => self.balances.push(BalanceChange::new(index, balance)),
                AccessListPart::Nonce(nonce) => self.nonces.push(NonceChange::new(index, nonce)),
                AccessListPart::Code(hash) => self.codes.push(CodeChange::new(index, code(all, hash))),
                AccessListPart::StorageCleared => extension.storage_cleared.push((change.address, position)),
                AccessListPart::Existence(exists) => extension.existence.push((change.address, position, exists)),
            }
        }
    }

    fn into_changes(self, address: Address) -> AccountChanges {
        let Self { touched, slots, balances, nonces, codes } = self;
        AccountChanges {
            address,
            storage_reads: touched.into_iter().filter(|slot| !slots.contains_key(slot)).collect(),
            storage_changes: slots.into_iter().map(|(slot, changes)| SlotChanges::new(slot, changes)).collect(),
            balance_changes: balances,
            nonce_changes: nonces,
            code_changes: codes,
        }
    }
}

/// Code that an account got; nobody holds the empty one.
fn code(all: &Changes, hash: B256) -> Bytes {
    all.codes.get(&hash).cloned().unwrap_or_default()
}

/// What a position did to an account, in ascending order.
pub(super) fn parts(change: &AccountChange) -> Vec<AccessListPart> {
    let AccountChange { before, after, storage_cleared, ref slots, .. } = *change;
    let slots = slots.iter().map(|slot| AccessListPart::Slot { slot: slot.slot, value: slot.after });
    slots.chain(account_parts(before, after, storage_cleared)).collect()
}

/// What a position did to an account without its slots, in ascending order.
pub(super) fn account_parts(
    before: Option<Account>,
    after: Option<Account>,
    storage_cleared: bool,
) -> impl Iterator<Item = AccessListPart> {
    let balance = |account: Option<Account>| account.map_or(U256::ZERO, |account| account.balance);
    let nonce = |account: Option<Account>| account.map_or(0, |account| account.nonce);
    let code = |account: Option<Account>| account.map_or(KECCAK256_EMPTY, |account| account.code_hash);
    let exists_empty = |account: Option<Account>| account.is_some_and(|account| account.is_empty());
    let exists = before != after && (exists_empty(after) || (exists_empty(before) && after.is_none()));
    let parts = [
        (balance(before) != balance(after)).then(|| AccessListPart::Balance(balance(after))),
        (nonce(before) != nonce(after)).then(|| AccessListPart::Nonce(nonce(after))),
        (code(before) != code(after)).then(|| AccessListPart::Code(code(after))),
        storage_cleared.then_some(AccessListPart::StorageCleared),
        exists.then(|| AccessListPart::Existence(after.is_some())),
    ];
    parts.into_iter().flatten()
}
