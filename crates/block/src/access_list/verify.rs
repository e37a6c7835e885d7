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
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use alloy_eip7928::BlockAccessIndex;
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256};
use revm::bytecode::Bytecode;
use ropewalk_evm::{AccountDelta, AccountValue, Existence, NewCode};
use ropewalk_state::AccountChange;

use super::{
    AccessList, AccessListExtension, AccessListFault, AccessListPart,
    known::{KnownList, Place, count_below},
    produce::{account_parts, parts},
};
use crate::record::{AccountAccess, PositionRecord};

/// Compares positions with a list, in any order.
#[derive(Debug)]
pub(crate) struct Verifier {
    known: Arc<KnownList>,
    /// The list's changes by position, each ascending by account and part. Made when one differs.
    listed: OnceLock<Vec<Vec<(Address, AccessListPart)>>>,
    /// Which accounts and slots were looked at, by number. Set by whoever compares: what a position looks at follows from the
    /// list, so it is the same for all of its attempts. Relaxed: read when all have ended.
    seen: Vec<AtomicBool>,
}

/// A position that is being compared.
#[derive(Debug)]
pub(crate) struct Comparison<'c> {
    verifier: &'c Verifier,
    position: u32,
    /// Changes found so far.
    found: u32,
    agrees: bool,
}

impl Comparison<'_> {
    /// Compares a change of a slot. The list has it at this place, if it names it. Tells whether it is the last change of the
    /// slot, if it is what the list says.
    pub(crate) fn add_slot(&mut self, place: Option<u32>, value: U256) -> bool {
        let known = &self.verifier.known;
        self.found += 1;
        let Some(Place::Changed(account, at)) = place.map(|place| known.place_of(place)) else {
            self.agrees = false;
            return false;
        };
        let changes = &known.accounts()[account].storage_changes[at].changes;
        let said = Said::of(changes, self.position, |change| change.block_access_index);
        self.agrees &= said.at.is_some_and(|change| change.new_value == value);
        said.is_last
    }

    /// Compares what a write makes of a slot that no clear ever hides. The list has it at this place; before the block it had this
    /// value. Tells whether it is the last change of the slot, if it is what the list says.
    pub(super) fn add_slot_write(&mut self, (account, at): (usize, usize), base: U256, after: U256) -> bool {
        let changes = &self.verifier.known.accounts()[account].storage_changes[at].changes;
        let said = Said::of(changes, self.position, |change| change.block_access_index);
        if said.before.map_or(base, |change| change.new_value) == after {
            return false;
        }
        self.found += 1;
        self.agrees &= said.at.is_some_and(|change| change.new_value == after);
        said.is_last
    }

    /// Compares what a write makes of an account that the list has at this place and that was like this before the block. Tells
    /// its balance and nonce afterwards; `None` where it may be empty or gone.
    pub(super) fn add_account_write(
        &mut self,
        account: usize,
        base: &AccountValue,
        delta: &AccountDelta,
    ) -> Option<(U256, u64)> {
        let known = &self.verifier.known;
        let said = &known.accounts()[account];
        let balances = Said::of(&said.balance_changes, self.position, |change| change.block_access_index);
        let nonces = Said::of(&said.nonce_changes, self.position, |change| change.block_access_index);
        let balance = balances.before.map_or(base.balance, |change| change.post_balance);
        let after = delta.balance.of(balance);
        let nonce_before = nonces.before.map_or(base.nonce, |change| change.new_nonce);
        let nonce = delta.nonce.unwrap_or(nonce_before);
        let code_before = || known.code_hash_below(account, self.position).unwrap_or(base.code_hash);
        let code = || delta.code.as_ref().map_or_else(code_before, NewCode::hash);
        if delta.existence == Existence::Absent || after.is_zero() && nonce == 0 && code() == KECCAK256_EMPTY {
            return None;
        }
        if balance != after {
            self.found += 1;
            self.agrees &= balances.at.is_some_and(|change| change.post_balance == after);
        }
        if nonce_before != nonce {
            self.found += 1;
            self.agrees &= nonces.at.is_some_and(|change| change.new_nonce == nonce);
        }
        if let Some(code) = delta.code.as_ref().filter(|code| code.hash() != code_before()) {
            self.add_code(Some(account), &code.hash(), code.code());
        }
        Some((after, nonce))
    }

    /// Compares the changes of an account itself, part by part. The list has it at this place, if it names it.
    pub(crate) fn add_account(&mut self, account: Option<usize>, before: &AccountValue, after: &AccountValue) {
        for part in account_parts(before.account(), after.account(), false) {
            match part {
                AccessListPart::Code(hash) => self.add_code(account, &hash, after.code.as_ref()),
                part => self.add_part(account, &part),
            }
        }
    }

    /// Compares the code that an account gets: what was made of it need not be made again.
    fn add_code(&mut self, account: Option<usize>, hash: &B256, code: Option<&Bytecode>) {
        let says = |account| self.verifier.known.says_code(account, self.position, hash, code);
        self.found += 1;
        self.agrees &= account.is_some_and(says);
    }

    /// Compares a change of one part of an account, which the list has at this place, if it names it.
    pub(crate) fn add_part(&mut self, account: Option<usize>, part: &AccessListPart) {
        self.found += 1;
        self.agrees &= account.is_some_and(|account| self.verifier.says(account, self.position, part));
    }

    pub(super) fn position(&self) -> u32 {
        self.position
    }

    /// Whether the position made all the changes that the list says of it, and no other.
    pub(crate) fn agrees(&self) -> bool {
        self.agrees && self.verifier.known.count_at(self.position) == Some(self.found)
    }
}

impl Verifier {
    /// A verifier of a list.
    pub(crate) fn new(known: Arc<KnownList>) -> Self {
        let seen = (0..known.numbers()).map(|_| AtomicBool::new(false)).collect();
        Self { known, listed: OnceLock::new(), seen }
    }

    pub(crate) fn known(&self) -> &KnownList {
        &self.known
    }

    /// Compares what happened at a position.
    ///
    /// # Errors
    /// The first difference: accesses before changes, in ascending order of accounts.
    pub(crate) fn check(&self, position: u32, record: &PositionRecord) -> Result<(), AccessListFault> {
        for access in &record.accesses.accounts {
            self.check_access(position, access)?;
        }
        let mut comparison = self.begin(position);
        for change in &record.changes.accounts {
            let account = self.known.find(&change.address);
            for part in parts(change) {
                match part {
                    AccessListPart::Slot { slot, value } => {
                        let place = account.and_then(|account| self.known.number_of_slot(account, &slot));
                        comparison.add_slot(place, value);
                    }
                    part => comparison.add_part(account, &part),
                }
            }
        }
        if comparison.agrees() {
            return Ok(());
        }
        let listed = self.listed.get_or_init(|| by_position(self.known.list(), self.known.positions()));
        let listed = listed.get(position as usize).map_or(&[][..], Vec::as_slice);
        compare(position, listed.iter(), record.changes.accounts.iter().flat_map(found_parts))
    }

    /// Begins to compare what a position changed.
    pub(crate) fn begin(&self, position: u32) -> Comparison<'_> {
        Comparison { verifier: self, position, found: 0, agrees: true }
    }

    /// Notes that an account or slot was looked at. Most were before, and a look does not take the line from other threads.
    pub(crate) fn mark(&self, number: u32) {
        let seen = &self.seen[number as usize];
        if !is_marked(seen) {
            seen.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the list has this very change of an account at a position.
    fn says(&self, account: usize, position: u32, part: &AccessListPart) -> bool {
        let said = &self.known.accounts()[account];
        let mut extension = self.known.extension().into_iter();
        match part {
            AccessListPart::Slot { .. } => false,
            AccessListPart::Balance(balance) => {
                let change = at_position(&said.balance_changes, position, |change| change.block_access_index);
                change.is_some_and(|change| change.post_balance == *balance)
            }
            AccessListPart::Nonce(nonce) => {
                let change = at_position(&said.nonce_changes, position, |change| change.block_access_index);
                change.is_some_and(|change| change.new_nonce == *nonce)
            }
            AccessListPart::Code(hash) => self.known.says_code(account, position, hash, None),
            AccessListPart::StorageCleared => {
                extension.any(|extension| extension.clears_of(said.address).any(|cleared| cleared == position))
            }
            AccessListPart::Existence(exists) => {
                let wanted = (position, *exists);
                extension.any(|extension| extension.existence_of(said.address).any(|other| other == wanted))
            }
        }
    }

    /// Whether everything that was looked at of an account is named. If so, it is known to be looked at.
    fn check_access(&self, position: u32, access: &AccountAccess) -> Result<(), AccessListFault> {
        let missing = |slot| AccessListFault::MissingAccess { position, address: access.address, slot };
        let account = self.known.find(&access.address).ok_or_else(|| missing(None))?;
        self.mark(account as u32);
        for slot in &access.slots {
            self.mark(self.known.number_of_slot(account, slot).ok_or_else(|| missing(Some(*slot)))?);
        }
        Ok(())
    }

    /// Looks for entries that nothing in the block accounts for, once all positions were compared.
    ///
    /// # Errors
    /// The first of them.
    pub(crate) fn finish(&self) -> Result<(), AccessListFault> {
        for (at, (account, seen)) in self.known.accounts().iter().zip(&self.seen).enumerate() {
            let superfluous = |slot: Option<U256>| AccessListFault::Superfluous { address: account.address, slot };
            if !is_marked(seen) {
                return Err(superfluous(None));
            }
            let mut reads = account.storage_reads.iter().zip(&self.seen[self.known.numbers_of_reads(at)]);
            if let Some((slot, _)) = reads.find(|(_, seen)| !is_marked(seen)) {
                return Err(superfluous(Some(*slot)));
            }
        }
        let extension = self.known.extension().into_iter();
        let extended = extension.flat_map(|extension| {
            let clears = extension.storage_cleared.iter().map(|(address, _)| *address);
            clears.chain(extension.existence.iter().map(|(address, ..)| *address))
        });
        for address in extended {
            if self.known.find(&address).is_none() {
                return Err(AccessListFault::Superfluous { address, slot: None });
            }
        }
        Ok(())
    }
}

fn is_marked(seen: &AtomicBool) -> bool {
    seen.load(Ordering::Relaxed)
}

/// What the list says of one thing before a position and at it.
struct Said<'l, T> {
    before: Option<&'l T>,
    at: Option<&'l T>,
    /// Whether it says nothing of positions after it.
    is_last: bool,
}

impl<'l, T> Said<'l, T> {
    fn of(changes: &'l [T], position: u32, at: impl Fn(&T) -> BlockAccessIndex) -> Self {
        let below = count_below(changes, position, &at);
        Self {
            before: below.checked_sub(1).map(|last| &changes[last]),
            at: changes.get(below).filter(|change| at(change).get() == u64::from(position)),
            is_last: below + 1 == changes.len(),
        }
    }
}

/// The change at a position, if there is one.
fn at_position<T>(changes: &[T], position: u32, at: impl Fn(&T) -> BlockAccessIndex) -> Option<&T> {
    Said::of(changes, position, at).at
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
