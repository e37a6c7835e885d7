//! From committed multi-version memory to the changes of a block.
//!
//! Each thread goes through a part of the cells and sorts what it finds by range of addresses; then each puts a range in order
//! and merges what several parts found of one account. An account's slots may lie in other parts than the account itself.

use std::sync::{Mutex, PoisonError};

use alloy_primitives::{
    Address, B256, Bytes, U256,
    map::{AddressMap, hash_map::Entry},
};
use ropewalk_engine::{Engine, Memory, Remains, Remnant};
use ropewalk_evm::{AccountValue, EvmKey, EvmProgram, EvmValue};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange, StateError, StateReader};

use crate::{BlockError, BrokenInvariant, Position};

/// Cells that are worth another thread.
const LEAST_CELLS: usize = 1536;

/// What a part of the cells says.
struct Part {
    by_range: Vec<InRange>,
    codes: Vec<(Address, B256, Option<Bytes>)>,
}

/// What is said of the accounts in one range of addresses.
#[derive(Default)]
struct InRange {
    changes: Vec<Found>,
    /// Accounts that nobody wrote to, as they were before the block.
    unwritten: Vec<(Address, Option<Account>)>,
}

/// What a part of the cells says about an account.
struct Found {
    change: AccountChange,
    /// Whether the account itself was written; if not, merely its slots were.
    is_written: bool,
}

/// The block's changes in normal form. `parent` is the state before the block.
pub(super) fn committed_changes(
    memory: Memory<EvmProgram>,
    engine: &Engine,
    parent: &dyn StateReader,
) -> Result<Changes, BlockError> {
    let ranges = engine.parts(memory.cells(), LEAST_CELLS);
    let mut parts = memory.take_apart(engine, LEAST_CELLS, |remains| Part::of(remains, ranges));
    let mut changes = Changes::default();
    if let [part] = &mut parts[..]
        && let [all] = &mut part.by_range[..]
    {
        let all = std::mem::take(all);
        add_codes(std::mem::take(&mut part.codes), &mut changes)?;
        all.merge(parent, &mut changes.accounts)?;
        return Ok(changes);
    }
    let mut by_range: Vec<Mutex<InRange>> = (0..ranges).map(|_| Mutex::default()).collect();
    for part in parts {
        add_codes(part.codes, &mut changes)?;
        for (all, found) in by_range.iter_mut().zip(part.by_range) {
            let all = all.get_mut().unwrap_or_else(PoisonError::into_inner);
            all.changes.extend(found.changes);
            all.unwritten.extend(found.unwritten);
        }
    }
    let merged = engine.in_parts(ranges, 1, |ranges| -> Result<Vec<AccountChange>, BlockError> {
        let mut merged = Vec::new();
        for range in &by_range[ranges] {
            let found = std::mem::take(&mut *range.lock().unwrap_or_else(PoisonError::into_inner));
            found.merge(parent, &mut merged)?;
        }
        Ok(merged)
    });
    for merged in merged {
        changes.accounts.extend(merged?);
    }
    Ok(changes)
}

fn add_codes(codes: Vec<(Address, B256, Option<Bytes>)>, changes: &mut Changes) -> Result<(), BlockError> {
    for (address, code_hash, code) in codes {
        let code = code.ok_or(BrokenInvariant::UnknownCode { address, code_hash })?;
        changes.codes.insert(code_hash, code);
    }
    Ok(())
}

impl InRange {
    /// Puts what was found in order, and together what several parts found of one account.
    fn merge(mut self, parent: &dyn StateReader, merged: &mut Vec<AccountChange>) -> Result<(), BlockError> {
        let needed = self.changes.iter().any(|found| !found.is_written);
        let unwritten: AddressMap<_> = self.unwritten.into_iter().filter(|_| needed).collect();
        self.changes.sort_unstable_by_key(|found| found.change.address);
        merged.reserve(self.changes.len());
        let mut found = self.changes.into_iter().peekable();
        while let Some(mut account) = found.next() {
            let address = account.change.address;
            while let Some(more) = found.next_if(|more| more.change.address == address) {
                account.merge(more);
            }
            if !account.is_written {
                let as_before = match unwritten.get(&address) {
                    Some(known) => *known,
                    None => parent.account(&address).map_err(unread)?,
                };
                (account.change.before, account.change.after) = (as_before, as_before);
            }
            let change = account.finish();
            if !change.is_noop() {
                merged.push(change);
            }
        }
        Ok(())
    }
}

fn unread(source: StateError) -> BlockError {
    BlockError::State { position: Position::PostBlock, source }
}

impl Part {
    fn of(remains: Remains<'_, EvmProgram>, ranges: usize) -> Self {
        let mut part = Self { by_range: (0..ranges).map(|_| InRange::default()).collect(), codes: Vec::new() };
        let mut places = AddressMap::<usize>::default();
        remains.for_each(|Remnant { key, base, value }| match (key, value) {
            (EvmKey::Account(address), Some(EvmValue::Account(value))) => {
                let before = base.as_ref().and_then(account_of);
                let found = part.found(&mut places, *address);
                found.is_written = true;
                let change = &mut found.change;
                change.before = before;
                change.after = value.account();
                change.storage_cleared = value.destroyed && before.is_some();
                let code = new_code(change, &value);
                part.codes.extend(code);
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
                let change = &mut part.found(&mut places, *address).change;
                change.slots.push(SlotChange { slot: *slot, before, after });
            }
            _ => {}
        });
        part
    }

    fn range(&mut self, address: &Address) -> &mut InRange {
        let range = (usize::from(address[0]) * self.by_range.len()) >> 8;
        &mut self.by_range[range]
    }

    fn found(&mut self, places: &mut AddressMap<usize>, address: Address) -> &mut Found {
        let changes = &mut self.range(&address).changes;
        let place = match places.entry(address) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                let change =
                    AccountChange { address, before: None, after: None, storage_cleared: false, slots: Vec::new() };
                changes.push(Found { change, is_written: false });
                *place.insert(changes.len() - 1)
            }
        };
        &mut changes[place]
    }
}

impl Found {
    /// Takes in what another part says about the same account.
    fn merge(&mut self, mut other: Self) {
        if other.is_written {
            std::mem::swap(self, &mut other);
        }
        self.change.slots.append(&mut other.change.slots);
    }

    /// The account's change in normal form.
    fn finish(self) -> AccountChange {
        let Self { mut change, .. } = self;
        change.slots.sort_unstable_by_key(|change| change.slot);
        if change.storage_cleared || change.before.is_none() {
            change.slots.iter_mut().for_each(|slot| slot.before = U256::ZERO);
        }
        change.slots.retain(|slot| slot.before != slot.after);
        change
    }
}

fn account_of(value: &EvmValue) -> Option<Account> {
    match value {
        EvmValue::Account(value) => value.account(),
        EvmValue::StorageEmpty(_) | EvmValue::Slot(_) => None,
    }
}

/// The code that an account has now and had not before.
fn new_code(change: &AccountChange, value: &AccountValue) -> Option<(Address, B256, Option<Bytes>)> {
    let after = change.after.filter(Account::has_code)?;
    if change.before.is_some_and(|before| before.code_hash == after.code_hash) {
        return None;
    }
    Some((change.address, after.code_hash, value.code.as_ref().map(|code| code.original_bytes())))
}
