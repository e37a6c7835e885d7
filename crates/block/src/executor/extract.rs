//! From committed multi-version memory to the changes of a block.
//!
//! Each thread goes through a part of the cells and sorts what it finds by range of addresses; then each puts a range in order
//! and lays accounts and slots side by side. Neither is moved for it: what is sorted are their places.

use std::{
    cmp::Ordering,
    sync::{Mutex, PoisonError},
};

use alloy_primitives::{Address, B256, Bytes, U256};
use ropewalk_engine::{Engine, Memory, Remains, Remnant};
use ropewalk_evm::{AccountValue, EvmKey, EvmProgram, EvmValue};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange, StateError, StateReader};

use crate::{BlockError, BrokenInvariant, Position};

/// Cells that are worth another thread.
const LEAST_CELLS: usize = 3072;

/// What a part of the cells says.
struct Part {
    by_range: Vec<InRange>,
    codes: Vec<(Address, B256, Option<Bytes>)>,
}

/// What is said of the accounts in one range of addresses, in no order.
#[derive(Debug, Default)]
struct InRange {
    accounts: Vec<Written>,
    slots: Vec<(Address, SlotChange)>,
    /// Accounts that nobody wrote to, as they were before the block.
    unwritten: Vec<(Address, Option<Account>)>,
}

/// An account that was written to.
#[derive(Debug)]
struct Written {
    address: Address,
    before: Option<Account>,
    after: Option<Account>,
    storage_cleared: bool,
}

/// The block's changes in normal form. `parent` is the state before the block.
pub(super) fn committed_changes(
    memory: Memory<EvmProgram>,
    engine: &Engine,
    parent: &dyn StateReader,
) -> Result<Changes, BlockError> {
    let ranges = engine.parts(memory.cells(), LEAST_CELLS);
    let parts = memory.take_apart(engine, LEAST_CELLS, |remains| Part::of(remains, ranges));
    let mut changes = Changes::default();
    if ranges == 1 {
        for Part { by_range, codes } in parts {
            add_codes(codes, &mut changes)?;
            by_range.into_iter().try_for_each(|found| found.merge(parent, &mut changes.accounts))?;
        }
        return Ok(changes);
    }
    let mut by_range: Vec<Mutex<InRange>> = (0..ranges).map(|_| Mutex::default()).collect();
    for part in parts {
        add_codes(part.codes, &mut changes)?;
        for (all, found) in by_range.iter_mut().zip(part.by_range) {
            all.get_mut().unwrap_or_else(PoisonError::into_inner).add(found);
        }
    }
    // The others are put behind the first, where there is room for all of them.
    let most = by_range.iter_mut().map(|found| found.get_mut().unwrap_or_else(PoisonError::into_inner).most()).sum();
    let merged = engine.in_parts(ranges, 1, |ranges| -> Result<Vec<AccountChange>, BlockError> {
        let mut merged = Vec::with_capacity(if ranges.start == 0 { most } else { 0 });
        for range in &by_range[ranges] {
            let found = std::mem::take(&mut *range.lock().unwrap_or_else(PoisonError::into_inner));
            found.merge(parent, &mut merged)?;
        }
        Ok(merged)
    });
    for merged in merged {
        append(&mut changes.accounts, merged?);
    }
    Ok(changes)
}

/// Appends without a copy where there is nothing to append to.
fn append<T>(all: &mut Vec<T>, more: Vec<T>) {
    if all.is_empty() { *all = more } else { all.extend(more) }
}

fn add_codes(codes: Vec<(Address, B256, Option<Bytes>)>, changes: &mut Changes) -> Result<(), BlockError> {
    for (address, code_hash, code) in codes {
        let code = code.ok_or(BrokenInvariant::UnknownCode { address, code_hash })?;
        changes.codes.insert(code_hash, code);
    }
    Ok(())
}

impl InRange {
    fn add(&mut self, other: Self) {
        append(&mut self.accounts, other.accounts);
        append(&mut self.slots, other.slots);
        append(&mut self.unwritten, other.unwritten);
    }

    /// About how many accounts come out of it: of how many only slots were written is not known before.
    fn most(&self) -> usize {
        self.accounts.len() + self.slots.len().min(MOST_UNWRITTEN)
    }

    /// Puts what was found in order, and together what is said of one account.
    fn merge(self, parent: &dyn StateReader, merged: &mut Vec<AccountChange>) -> Result<(), BlockError> {
        merged.reserve(self.most());
        let Self { accounts, slots, unwritten } = self;
        let by_address = in_order(&accounts, |account| &account.address);
        let by_slot = slots_in_order(&slots);
        let mut unwritten = Unwritten { accounts: &unwritten, by_address: None, next: 0 };
        let mut written = by_address.iter().map(|place| &accounts[place.at]).peekable();
        let mut by_slot = &by_slot[..];
        loop {
            let slot = by_slot.first().map(|place| slots[place.at].0);
            let account = written.peek().map(|account| account.address);
            let Some(address) = slot.into_iter().chain(account).min() else { return Ok(()) };
            let count = by_slot.iter().take_while(|place| slots[place.at].0 == address).count();
            let (own, others) = by_slot.split_at(count);
            by_slot = others;
            let (before, after, storage_cleared) = match written.next_if(|account| account.address == address) {
                Some(account) => (account.before, account.after, account.storage_cleared),
                None => {
                    let account = unwritten.account(&address, parent)?;
                    (account, account, false)
                }
            };
            let mut change = AccountChange { address, before, after, storage_cleared, slots: Vec::new() };
            change.slots = changed_slots(own, &slots, change.storage_starts_empty());
            if !change.is_noop() {
                merged.push(change);
            }
        }
    }
}

/// Accounts that room is made for though only slots of theirs were written, at most.
const MOST_UNWRITTEN: usize = 256;

/// The slots at these places that end otherwise than they began, or than nothing.
fn changed_slots(places: &[Place], slots: &[(Address, SlotChange)], starts_empty: bool) -> Vec<SlotChange> {
    if places.is_empty() {
        return Vec::new();
    }
    let mut changed = Vec::with_capacity(places.len());
    changed.extend(places.iter().filter_map(|place| {
        let (_, SlotChange { slot, before, after }) = slots[place.at];
        let before = if starts_empty { U256::ZERO } else { before };
        (before != after).then_some(SlotChange { slot, before, after })
    }));
    changed
}

/// Accounts that nobody wrote to, asked for by ascending address.
struct Unwritten<'a> {
    accounts: &'a [(Address, Option<Account>)],
    /// Made when somebody asks.
    by_address: Option<Vec<Place>>,
    next: usize,
}

impl Unwritten<'_> {
    fn account(&mut self, address: &Address, parent: &dyn StateReader) -> Result<Option<Account>, BlockError> {
        let by_address = self.by_address.get_or_insert_with(|| in_order(self.accounts, |(address, _)| address));
        self.next += by_address[self.next..].iter().take_while(|place| self.accounts[place.at].0 < *address).count();
        let known = by_address.get(self.next).map(|place| &self.accounts[place.at]);
        match known.filter(|(known, _)| known == address) {
            Some((_, account)) => Ok(*account),
            None => parent.account(address).map_err(unread),
        }
    }
}

/// Where something is, with the beginnings of what it is to be sorted by: most comparisons end there, and what is sorted
/// stays where it is.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    address: u64,
    slot: u64,
    at: usize,
}

impl Place {
    fn new(address: &Address, slot: u64, at: usize) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = address.0.0;
        Self { address: u64::from_be_bytes([a, b, c, d, e, f, g, h]), slot, at }
    }
}

/// The places of what belongs to one account each, by address.
fn in_order<T>(all: &[T], address: impl Fn(&T) -> &Address) -> Vec<Place> {
    let places = all.iter().enumerate().map(|(at, each)| Place::new(address(each), 0, at)).collect();
    sorted(places, |left, right| {
        let by_all = || address(&all[left.at]).cmp(address(&all[right.at]));
        left.address.cmp(&right.address).then_with(by_all)
    })
}

/// The places of slots, by address and slot.
fn slots_in_order(slots: &[(Address, SlotChange)]) -> Vec<Place> {
    let place =
        |(at, (address, change)): (usize, &(Address, SlotChange))| Place::new(address, change.slot.as_limbs()[3], at);
    let key = |place: &Place| (&slots[place.at].0, &slots[place.at].1.slot);
    let mut places = sorted(slots.iter().enumerate().map(place).collect(), |left, right| {
        let by_beginning = (left.address, left.slot).cmp(&(right.address, right.slot));
        by_beginning.then_with(|| key(left).cmp(&key(right)))
    });
    // Of two addresses that begin alike, slots are among each other now.
    for alike in places.chunk_by_mut(|left, right| left.address == right.address) {
        if alike.windows(2).any(|pair| slots[pair[0].at].0 != slots[pair[1].at].0) {
            alike.sort_unstable_by(|left, right| key(left).cmp(&key(right)));
        }
    }
    places
}

/// Sorts places, whose addresses come first in `compare`. Addresses are hashes, so laid out by their first bits they are
/// nearly in order; where they are not hashes, one lot of them takes as long as it takes to sort it.
fn sorted(mut places: Vec<Place>, compare: impl Fn(&Place, &Place) -> Ordering) -> Vec<Place> {
    let Some(bits) = places.len().checked_ilog2().filter(|bits| *bits >= LEAST_BITS) else {
        places.sort_unstable_by(compare);
        return places;
    };
    let lot = |place: &Place| (place.address >> (u64::BITS - bits)) as usize;
    let mut ends = vec![0_usize; (1 << bits) + 1];
    places.iter().for_each(|place| ends[lot(place) + 1] += 1);
    let mut total = 0;
    ends.iter_mut().for_each(|end| {
        total += *end;
        *end = total;
    });
    let mut laid_out = vec![Place::default(); places.len()];
    for place in places {
        let next = &mut ends[lot(&place)];
        laid_out[*next] = place;
        *next += 1;
    }
    // Each lot now ends where the next one began.
    let mut rest = &mut laid_out[..];
    let mut begin = 0;
    for end in &ends[..1 << bits] {
        let (own, others) = rest.split_at_mut(end - begin);
        if own.len() > 1 {
            own.sort_unstable_by(&compare);
        }
        (rest, begin) = (others, *end);
    }
    laid_out
}

/// Of fewer places than two to this power, laying out takes longer than sorting.
const LEAST_BITS: u32 = 5;

fn unread(source: StateError) -> BlockError {
    BlockError::State { position: Position::PostBlock, source }
}

impl Part {
    fn of(remains: Remains<'_, EvmProgram>, ranges: usize) -> Self {
        let room = remains.cells() / (2 * ranges);
        let in_range = |_| InRange {
            accounts: Vec::with_capacity(room),
            slots: Vec::with_capacity(room),
            unwritten: Vec::with_capacity(room / 2),
        };
        let mut part = Self { by_range: (0..ranges).map(in_range).collect(), codes: Vec::new() };
        remains.for_each(|Remnant { key, base, value }| match (key, value) {
            (EvmKey::Account(address), Some(EvmValue::Account(value))) => {
                let before = base.as_ref().and_then(account_of);
                let storage_cleared = value.destroyed && before.is_some();
                let (address, after) = (*address, value.account());
                part.codes.extend(new_code(address, before, after, &value));
                part.range(&address).accounts.push(Written { address, before, after, storage_cleared });
            }
            (EvmKey::Account(address), None) => {
                let before = base.map(|base| (*address, account_of(&base)));
                part.range(address).unwritten.extend(before);
            }
            (EvmKey::Slot(address, slot), Some(EvmValue::Slot(after))) => {
                let before = match base {
                    Some(EvmValue::Slot(before)) => before,
                    _ => U256::ZERO,
                };
                part.range(address).slots.push((*address, SlotChange { slot: *slot, before, after }));
            }
            _ => {}
        });
        part
    }

    fn range(&mut self, address: &Address) -> &mut InRange {
        let range = (usize::from(address[0]) * self.by_range.len()) >> 8;
        &mut self.by_range[range]
    }
}

fn account_of(value: &EvmValue) -> Option<Account> {
    match value {
        EvmValue::Account(value) => value.account(),
        EvmValue::StorageEmpty(_) | EvmValue::Slot(_) => None,
    }
}

/// The code that an account has now and had not before.
fn new_code(
    address: Address,
    before: Option<Account>,
    after: Option<Account>,
    value: &AccountValue,
) -> Option<(Address, B256, Option<Bytes>)> {
    let after = after.filter(Account::has_code)?;
    if before.is_some_and(|before| before.code_hash == after.code_hash) {
        return None;
    }
    Some((address, after.code_hash, value.code.as_ref().map(|code| code.original_bytes())))
}

#[cfg(test)]
mod tests;
