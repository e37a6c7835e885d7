//! A position that is being committed, against the access list that came with the block.
//!
//! - What the position looked at must be named in the list.
//! - What it changed must be what the list says of the position: no change less, none more, no other value.
//!
//! Both hold at every position if and only if the list is the block's own, save for entries of accounts and slots that
//! nothing looks at; those are found at the end.

use alloy_primitives::{Address, U256, keccak256};
use ropewalk_state::AccountChange;

use super::{AccessList, AccessListExtension, AccessListFault, AccessListPart, produce::parts};
use crate::record::{AccountAccess, PositionRecord};

/// Compares positions with a list, in order.
#[derive(Debug)]
pub(crate) struct Verifier<'a> {
    list: &'a AccessList,
    /// Changes that the list names, by position, each ascending by account and part.
    listed: Vec<Vec<(Address, AccessListPart)>>,
    position: u32,
    /// Which accounts of the list were looked at.
    accounts_seen: Vec<bool>,
    /// Which of the slots that each account of the list names as read were looked at.
    reads_seen: Vec<Vec<bool>>,
}

impl<'a> Verifier<'a> {
    /// A verifier of a list that is [in order](AccessList::check_form), for a block of `transactions`.
    pub(crate) fn new(list: &'a AccessList, transactions: usize) -> Self {
        Self {
            list,
            listed: by_position(list, transactions + 2),
            position: 0,
            accounts_seen: vec![false; list.accounts.len()],
            reads_seen: list.accounts.iter().map(|account| vec![false; account.storage_reads.len()]).collect(),
        }
    }

    /// Compares the next position.
    ///
    /// # Errors
    /// The first difference: accesses before changes, in ascending order of accounts.
    pub(crate) fn check(&mut self, record: &PositionRecord) -> Result<(), AccessListFault> {
        for access in &record.accesses.accounts {
            self.check_access(access)?;
        }
        let listed = self.listed.get_mut(self.position as usize).map(std::mem::take).unwrap_or_default();
        let found = record.changes.accounts.iter().flat_map(found_parts);
        compare(self.position, listed.into_iter(), found)?;
        self.position += 1;
        Ok(())
    }

    fn check_access(&mut self, access: &AccountAccess) -> Result<(), AccessListFault> {
        let position = self.position;
        let missing = |slot| AccessListFault::MissingAccess { position, address: access.address, slot };
        let (at, account) = self.list.find(&access.address).ok_or_else(|| missing(None))?;
        self.accounts_seen[at] = true;
        for slot in &access.slots {
            if let Ok(read) = account.storage_reads.binary_search(slot) {
                self.reads_seen[at][read] = true;
            } else if account.storage_changes.binary_search_by_key(slot, |changes| changes.slot).is_err() {
                return Err(missing(Some(*slot)));
            }
        }
        Ok(())
    }

    /// Looks for entries that nothing in the block accounts for, once all positions were compared.
    ///
    /// # Errors
    /// The first of them.
    pub(crate) fn finish(&self) -> Result<(), AccessListFault> {
        for ((account, seen), reads) in self.list.accounts.iter().zip(&self.accounts_seen).zip(&self.reads_seen) {
            let superfluous = |slot: Option<U256>| AccessListFault::Superfluous { address: account.address, slot };
            if !seen {
                return Err(superfluous(None));
            }
            if let Some(read) = reads.iter().position(|seen| !seen) {
                return Err(superfluous(Some(account.storage_reads[read])));
            }
        }
        let extension = self.list.extension.iter();
        let extended = extension.flat_map(|extension| {
            let clears = extension.storage_cleared.iter().map(|(address, _)| *address);
            clears.chain(extension.existence.iter().map(|(address, ..)| *address))
        });
        for address in extended {
            if self.list.find(&address).is_none() {
                return Err(AccessListFault::Superfluous { address, slot: None });
            }
        }
        Ok(())
    }
}

fn found_parts(change: &AccountChange) -> impl Iterator<Item = (Address, AccessListPart)> {
    let address = change.address;
    parts(change).into_iter().map(move |part| (address, part))
}

/// The list's changes by position.
fn by_position(list: &AccessList, positions: usize) -> Vec<Vec<(Address, AccessListPart)>> {
    let mut by_position = vec![Vec::new(); positions];
    let nothing = AccessListExtension::default();
    let extension = list.extension.as_ref().unwrap_or(&nothing);
    for account in &list.accounts {
        let address = account.address;
        let mut add = |position: u64, part| {
            if let Some(changes) = by_position.get_mut(position as usize) {
                changes.push((address, part));
            }
        };
        for slot in &account.storage_changes {
            for change in &slot.changes {
                let part = AccessListPart::Slot { slot: slot.slot, value: change.new_value };
                add(change.block_access_index.get(), part);
            }
        }
        for change in &account.balance_changes {
            add(change.block_access_index.get(), AccessListPart::Balance(change.post_balance));
        }
        for change in &account.nonce_changes {
            add(change.block_access_index.get(), AccessListPart::Nonce(change.new_nonce));
        }
        for change in &account.code_changes {
            add(change.block_access_index.get(), AccessListPart::Code(keccak256(&change.new_code)));
        }
        for position in extension.clears_of(address) {
            add(position.into(), AccessListPart::StorageCleared);
        }
        for (position, exists) in extension.existence_of(address) {
            add(position.into(), AccessListPart::Existence(exists));
        }
    }
    by_position
}

/// Compares two ascending sequences of changes.
fn compare(
    position: u32,
    listed: impl Iterator<Item = (Address, AccessListPart)>,
    found: impl Iterator<Item = (Address, AccessListPart)>,
) -> Result<(), AccessListFault> {
    let (mut listed, mut found) = (listed.peekable(), found.peekable());
    loop {
        match (listed.next(), found.next()) {
            (None, None) => return Ok(()),
            (Some(listed), Some(found)) if listed == found => {}
            (Some((address, listed)), Some((other, found))) if address == other && listed.is_same_part(&found) => {
                let (listed, found) = (Box::new(listed), Box::new(found));
                return Err(AccessListFault::WrongValue { position, address, listed, found });
            }
            (Some(listed), Some(found)) if listed < found => return Err(unfounded(position, listed)),
            (_, Some((address, part))) => return Err(AccessListFault::MissingChange { position, address, part }),
            (Some(listed), None) => return Err(unfounded(position, listed)),
        }
    }
}

fn unfounded(position: u32, (address, part): (Address, AccessListPart)) -> AccessListFault {
    AccessListFault::UnfoundedChange { position, address, part }
}
