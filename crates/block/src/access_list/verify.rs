//! A position of the block, against the access list that came with it.
//!
//! - What the position looked at must be named in the list.
//! - What it changed must be what the list says of the position: no change less, none more, no other value.
//!
//! Both hold at every position if and only if the list is the block's own, save for entries of accounts and slots that
//! nothing looks at; those are found at the end.
//!
//! That a position agrees is found out without putting anything in order: each change is looked up, and there are as many as
//! the list has. Where one does not, both are laid side by side, for the first difference.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use alloy_eip7928::AccountChanges;
use alloy_primitives::{Address, U256, keccak256};
use ropewalk_state::AccountChange;
use smallvec::SmallVec;

use super::{AccessList, AccessListExtension, AccessListFault, AccessListPart, produce::parts};
use crate::record::{Accesses, AccountAccess, PositionRecord};

/// Compares positions with a list, in any order.
#[derive(Debug)]
pub(crate) struct Verifier<'a> {
    list: &'a AccessList,
    /// The first bytes of the list's addresses, where a look-up finds its way.
    prefixes: Vec<u64>,
    /// Changes that the list names, by position.
    counts: Vec<u32>,
    /// The same, each ascending by account and part. Made when one differs.
    listed: OnceLock<Vec<Vec<(Address, AccessListPart)>>>,
    /// Which accounts were looked at. Set by whoever compares: what a position looks at follows from the list, so it is the
    /// same for all of its attempts. Relaxed: read when all have ended.
    seen: Vec<AtomicBool>,
    /// Which of the slots were looked at that are merely read, and where those of each account begin.
    reads_seen: Vec<AtomicBool>,
    reads_of: Vec<usize>,
}

/// A position that is being compared.
#[derive(Debug)]
pub(crate) struct Comparison<'c> {
    verifier: &'c Verifier<'c>,
    position: u32,
    accesses: &'c Accesses,
    /// Where in the list the accounts are that were looked at.
    places: SmallVec<[usize; 8]>,
    /// Changes found so far.
    found: u32,
    agrees: bool,
}

impl Comparison<'_> {
    /// Compares a change: one part of an account, each at most once.
    pub(crate) fn add(&mut self, address: &Address, part: &AccessListPart) {
        if !self.agrees {
            return;
        }
        let known = self.accesses.accounts.binary_search_by_key(address, |access| access.address);
        let place = known.map_or_else(|_| self.verifier.find(address), |known| Some(self.places[known]));
        let account = place.map(|place| &self.verifier.list.accounts[place]);
        self.agrees = account.is_some_and(|account| self.verifier.says(account, self.position, part));
        self.found += 1;
    }

    /// Whether the position looked at nothing that the list does not name, and made all the changes that it says.
    pub(crate) fn agrees(&self) -> bool {
        self.agrees && self.verifier.counts.get(self.position as usize) == Some(&self.found)
    }
}

impl<'a> Verifier<'a> {
    /// A verifier of a list that is [in order](AccessList::check_form), for a block of `transactions`.
    pub(crate) fn new(list: &'a AccessList, transactions: usize) -> Self {
        let unseen = |count: usize| (0..count).map(|_| AtomicBool::new(false)).collect::<Vec<_>>();
        let mut reads = 0;
        let reads_of = list.accounts.iter().map(|account| {
            reads += account.storage_reads.len();
            reads - account.storage_reads.len()
        });
        Self {
            list,
            prefixes: list.accounts.iter().map(|account| prefix(&account.address)).collect(),
            counts: counts(list, transactions + 2),
            listed: OnceLock::new(),
            seen: unseen(list.accounts.len()),
            reads_of: reads_of.collect(),
            reads_seen: unseen(reads),
        }
    }

    /// Compares what happened at a position.
    ///
    /// # Errors
    /// The first difference: accesses before changes, in ascending order of accounts.
    pub(crate) fn check(&self, position: u32, record: &PositionRecord) -> Result<(), AccessListFault> {
        let found = || record.changes.accounts.iter().flat_map(found_parts);
        let mut comparison = self.begin(position, &record.accesses);
        found().for_each(|(address, part)| comparison.add(&address, &part));
        if comparison.agrees() {
            return Ok(());
        }
        for access in &record.accesses.accounts {
            self.check_access(position, access)?;
        }
        let listed = self.listed.get_or_init(|| by_position(self.list, self.counts.len()));
        let listed = listed.get(position as usize).map_or(&[][..], Vec::as_slice);
        compare(position, listed.iter(), found())
    }

    /// Begins to compare a position, with what it looked at.
    pub(crate) fn begin<'c>(&'c self, position: u32, accesses: &'c Accesses) -> Comparison<'c> {
        let places: SmallVec<_> = accesses.accounts.iter().map_while(|access| self.place(access)).collect();
        let agrees = places.len() == accesses.accounts.len();
        Comparison { verifier: self, position, accesses, places, found: 0, agrees }
    }

    /// Where the list names an account that was looked at, with all of the slots. If it does, it is known to be looked at.
    fn place(&self, access: &AccountAccess) -> Option<usize> {
        let at = self.find(&access.address)?;
        let account = &self.list.accounts[at];
        mark(&self.seen[at]);
        let is_named = |slot: &U256| match account.storage_reads.binary_search(slot) {
            Ok(read) => {
                mark(&self.reads_seen[self.reads_of[at] + read]);
                true
            }
            Err(_) => account.storage_changes.binary_search_by_key(slot, |changes| changes.slot).is_ok(),
        };
        access.slots.iter().all(is_named).then_some(at)
    }

    /// Whether the list has this very change of an account at a position.
    fn says(&self, account: &AccountChanges, position: u32, part: &AccessListPart) -> bool {
        let at = u64::from(position);
        let address = account.address;
        let mut extension = self.list.extension.iter();
        match part {
            AccessListPart::Slot { slot, value } => {
                let slot = account.storage_changes.binary_search_by_key(slot, |changes| changes.slot);
                slot.is_ok_and(|slot| {
                    let changes = &account.storage_changes[slot].changes;
                    let change = changes.binary_search_by_key(&at, |change| change.block_access_index.get());
                    change.is_ok_and(|change| changes[change].new_value == *value)
                })
            }
            AccessListPart::Balance(balance) => {
                let changes = &account.balance_changes;
                let change = changes.binary_search_by_key(&at, |change| change.block_access_index.get());
                change.is_ok_and(|change| changes[change].post_balance == *balance)
            }
            AccessListPart::Nonce(nonce) => {
                let changes = &account.nonce_changes;
                let change = changes.binary_search_by_key(&at, |change| change.block_access_index.get());
                change.is_ok_and(|change| changes[change].new_nonce == *nonce)
            }
            AccessListPart::Code(hash) => {
                let changes = &account.code_changes;
                let change = changes.binary_search_by_key(&at, |change| change.block_access_index.get());
                change.is_ok_and(|change| keccak256(&changes[change].new_code) == *hash)
            }
            AccessListPart::StorageCleared => {
                extension.any(|extension| extension.clears_of(address).any(|cleared| cleared == position))
            }
            AccessListPart::Existence(exists) => {
                let said = (position, *exists);
                extension.any(|extension| extension.existence_of(address).any(|other| other == said))
            }
        }
    }

    fn check_access(&self, position: u32, access: &AccountAccess) -> Result<(), AccessListFault> {
        let missing = |slot| AccessListFault::MissingAccess { position, address: access.address, slot };
        let at = self.find(&access.address).ok_or_else(|| missing(None))?;
        let account = &self.list.accounts[at];
        let is_named = |slot: &U256| {
            let changes = || account.storage_changes.binary_search_by_key(slot, |changes| changes.slot);
            account.storage_reads.binary_search(slot).is_ok() || changes().is_ok()
        };
        match access.slots.iter().find(|slot| !is_named(slot)) {
            Some(slot) => Err(missing(Some(*slot))),
            None => Ok(()),
        }
    }

    /// Where in the list an account is.
    fn find(&self, address: &Address) -> Option<usize> {
        let prefix = prefix(address);
        let from = self.prefixes.partition_point(|other| *other < prefix);
        // Whoever makes a list can make addresses that begin alike.
        let to = from + self.prefixes[from..].partition_point(|other| *other == prefix);
        let at = self.list.accounts[from..to].binary_search_by_key(address, |account| account.address);
        at.ok().map(|at| from + at)
    }

    /// Looks for entries that nothing in the block accounts for, once all positions were compared.
    ///
    /// # Errors
    /// The first of them.
    pub(crate) fn finish(&self) -> Result<(), AccessListFault> {
        for ((account, seen), reads) in self.list.accounts.iter().zip(&self.seen).zip(&self.reads_of) {
            let superfluous = |slot: Option<U256>| AccessListFault::Superfluous { address: account.address, slot };
            if !is_marked(seen) {
                return Err(superfluous(None));
            }
            let mut reads = account.storage_reads.iter().zip(&self.reads_seen[*reads..]);
            if let Some((slot, _)) = reads.find(|(_, seen)| !is_marked(seen)) {
                return Err(superfluous(Some(*slot)));
            }
        }
        let extension = self.list.extension.iter();
        let extended = extension.flat_map(|extension| {
            let clears = extension.storage_cleared.iter().map(|(address, _)| *address);
            clears.chain(extension.existence.iter().map(|(address, ..)| *address))
        });
        for address in extended {
            if self.find(&address).is_none() {
                return Err(AccessListFault::Superfluous { address, slot: None });
            }
        }
        Ok(())
    }
}

/// Sets a mark. Most are set already, and a look does not take the line from other threads.
fn mark(seen: &AtomicBool) {
    if !is_marked(seen) {
        seen.store(true, Ordering::Relaxed);
    }
}

fn is_marked(seen: &AtomicBool) -> bool {
    seen.load(Ordering::Relaxed)
}

/// The address's first bytes, as a number of the same order.
fn prefix(address: &Address) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = address.0.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn found_parts(change: &AccountChange) -> impl Iterator<Item = (Address, AccessListPart)> {
    let address = change.address;
    parts(change).into_iter().map(move |part| (address, part))
}

/// How many changes the list names at each position.
fn counts(list: &AccessList, positions: usize) -> Vec<u32> {
    let mut counts = vec![0; positions];
    let mut count = |position: u64| {
        if let Some(count) = usize::try_from(position).ok().and_then(|position| counts.get_mut(position)) {
            *count += 1;
        }
    };
    for account in &list.accounts {
        account.storage_changes.iter().flat_map(|slot| &slot.changes).for_each(|it| count(it.block_access_index.get()));
        account.balance_changes.iter().for_each(|change| count(change.block_access_index.get()));
        account.nonce_changes.iter().for_each(|change| count(change.block_access_index.get()));
        account.code_changes.iter().for_each(|change| count(change.block_access_index.get()));
    }
    if let Some(extension) = &list.extension {
        extension.storage_cleared.iter().for_each(|(_, position)| count((*position).into()));
        extension.existence.iter().for_each(|(_, position, _)| count((*position).into()));
    }
    counts
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
fn compare<'a>(
    position: u32,
    mut listed: impl Iterator<Item = &'a (Address, AccessListPart)>,
    mut found: impl Iterator<Item = (Address, AccessListPart)>,
) -> Result<(), AccessListFault> {
    loop {
        match (listed.next(), found.next()) {
            (None, None) => return Ok(()),
            (Some(listed), Some(found)) if *listed == found => {}
            (Some((address, listed)), Some((other, found))) if *address == other && listed.is_same_part(&found) => {
                let (listed, found) = (Box::new(listed.clone()), Box::new(found));
                return Err(AccessListFault::WrongValue { position, address: *address, listed, found });
            }
            (Some(listed), Some(found)) if *listed < found => return Err(unfounded(position, listed)),
            (_, Some((address, part))) => return Err(AccessListFault::MissingChange { position, address, part }),
            (Some(listed), None) => return Err(unfounded(position, listed)),
        }
    }
}

fn unfounded(position: u32, (address, part): &(Address, AccessListPart)) -> AccessListFault {
    AccessListFault::UnfoundedChange { position, address: *address, part: part.clone() }
}
