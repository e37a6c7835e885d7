//! From committed multi-version memory to the changes of a block.
//!
//! Each thread goes through a part of the cells and puts what it finds in order; the parts are merged by account. An
//! account's slots may lie in other parts than the account itself.

use std::sync::Arc;

use alloy_primitives::{
    Address, B256, Bytes, U256,
    map::{AddressMap, hash_map::Entry},
};
use ropewalk_engine::{Engine, Final, Interrupt, Memory, Position as EnginePosition, View};
use ropewalk_evm::{AccountValue, EvmKey, EvmProgram, EvmValue};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange};

use crate::{BlockError, BrokenInvariant, Position};

/// Cells that are worth another thread.
const LEAST_CELLS: usize = 1536;

/// What a part of the cells says.
#[derive(Default)]
struct Part {
    changes: Vec<Found>,
    codes: Vec<(Address, B256, Option<Bytes>)>,
}

/// What a part of the cells says about an account.
struct Found {
    change: AccountChange,
    source: Source,
}

/// Where an account's values come from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// Merely its slots were written, and nobody knows it.
    Nowhere,
    /// Merely its slots were written: it is what it was before the block.
    Base,
    /// It was written itself.
    Written,
}

/// The block's changes in normal form.
pub(super) fn committed_changes(memory: &Arc<Memory<EvmProgram>>, engine: &Engine) -> Result<Changes, BlockError> {
    let parts = engine.in_parts(memory.cells(), LEAST_CELLS, |cells| Part::of(memory, cells));
    let mut changes = Changes::default();
    let mut found = Vec::with_capacity(parts.iter().map(|part| part.changes.len()).sum());
    for part in parts {
        for (address, code_hash, code) in part.codes {
            let code = code.ok_or(BrokenInvariant::UnknownCode { address, code_hash })?;
            changes.codes.insert(code_hash, code);
        }
        found.extend(part.changes);
    }
    // Each part is in order already: a stable sort merges.
    found.sort_by_key(|found| found.change.address);
    changes.accounts.reserve(found.len());
    let mut found = found.into_iter().peekable();
    while let Some(mut account) = found.next() {
        while let Some(more) = found.next_if(|more| more.change.address == account.change.address) {
            account.merge(more);
        }
        let change = account.finish(memory)?;
        if !change.is_noop() {
            changes.accounts.push(change);
        }
    }
    Ok(changes)
}

impl Part {
    fn of(memory: &Memory<EvmProgram>, cells: std::ops::Range<usize>) -> Self {
        let mut part = Self::default();
        let mut places = AddressMap::<usize>::default();
        memory.for_each_committed_in(cells, |Final { key, base, value, .. }| match (key, value) {
            (EvmKey::Account(address), EvmValue::Account(value)) => {
                let before = base.and_then(account_of);
                let found = part.found(&mut places, *address);
                found.source = Source::Written;
                let change = &mut found.change;
                change.before = before;
                change.after = value.account();
                change.storage_cleared = value.destroyed && before.is_some();
                let code = new_code(change, value);
                part.codes.extend(code);
            }
            (EvmKey::Slot(address, slot), EvmValue::Slot(after)) => {
                let before = match base {
                    Some(EvmValue::Slot(before)) => *before,
                    _ => U256::ZERO,
                };
                let change = &mut part.found(&mut places, *address).change;
                change.slots.push(SlotChange { slot: *slot, before, after: *after });
            }
            _ => {}
        });
        for found in &mut part.changes {
            found.look_up(memory);
            found.change.slots.sort_unstable_by_key(|change| change.slot);
        }
        part.changes.sort_unstable_by_key(|found| found.change.address);
        part
    }

    fn found(&mut self, places: &mut AddressMap<usize>, address: Address) -> &mut Found {
        let place = match places.entry(address) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                let change =
                    AccountChange { address, before: None, after: None, storage_cleared: false, slots: Vec::new() };
                self.changes.push(Found { change, source: Source::Nowhere });
                *place.insert(self.changes.len() - 1)
            }
        };
        &mut self.changes[place]
    }
}

impl Found {
    /// Takes the account's values from before the block, if nothing was written to it as far as this part knows.
    fn look_up(&mut self, memory: &Memory<EvmProgram>) {
        if self.source != Source::Nowhere {
            return;
        }
        if let Some(base) = memory.base(&EvmKey::Account(self.change.address)) {
            self.source = Source::Base;
            (self.change.before, self.change.after) = (account_of(base), account_of(base));
        }
    }

    /// Takes in what another part says about the same account.
    fn merge(&mut self, mut other: Self) {
        if other.source > self.source {
            std::mem::swap(self, &mut other);
        }
        self.change.slots.append(&mut other.change.slots);
        self.change.slots.sort_by_key(|change| change.slot);
    }

    /// The account's change in normal form.
    fn finish(self, memory: &Arc<Memory<EvmProgram>>) -> Result<AccountChange, BlockError> {
        let Self { mut change, source } = self;
        if source == Source::Nowhere {
            let account = unchanged_account(memory, change.address)?;
            (change.before, change.after) = (account, account);
        }
        if change.storage_cleared || change.before.is_none() {
            change.slots.iter_mut().for_each(|slot| slot.before = U256::ZERO);
        }
        change.slots.retain(|slot| slot.before != slot.after);
        Ok(change)
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

/// An account that nothing was written to but its storage.
fn unchanged_account(memory: &Arc<Memory<EvmProgram>>, address: Address) -> Result<Option<Account>, BlockError> {
    let mut view = View::committed(Arc::clone(memory), EnginePosition(u32::MAX), false);
    match view.load(&EvmKey::Account(address), account_of) {
        Ok((_, account)) => Ok(account),
        Err(Interrupt::Fault(source)) => Err(BlockError::State { position: Position::PostBlock, source }),
        Err(other) => unreachable!("nothing interrupts a read of committed state: {other:?}"),
    }
}
