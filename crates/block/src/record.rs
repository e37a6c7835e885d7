//! What a block did, position by position: what access lists, intermediate roots and witnesses are made of.
//!
//! Every transaction that is committed says what it changed and what it looked at; so do the rules before and after the
//! transactions. Nothing is executed again: changes are the write sets on the committed values below them, accesses are
//! those of the very attempt that was committed. Positions are EIP-7928's and count kept transactions.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use ropewalk_engine::Effects;
use ropewalk_evm::{AccountDelta, AccountValue, EvmDelta, EvmKey, EvmProgram, EvmValue, Existence};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange, StateError};

pub use ropewalk_evm::{Accesses, AccountAccess};

/// What a block did at each of its positions: 0 before the transactions, 1 to n its n transactions, n + 1 after them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// One entry for each position.
    pub positions: Vec<PositionRecord>,
}

/// What happened at one position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PositionRecord {
    /// The difference between the state before the position and after it.
    pub changes: Changes,
    /// Accounts and slots that were looked at.
    pub accesses: Accesses,
}

impl Record {
    /// Everything that the block looked at: the reads and writes of its committed transactions, and of nothing else.
    pub fn accesses(&self) -> Accesses {
        let mut all = Accesses::default();
        all.merge(self.positions.iter().map(|position| position.accesses.clone()));
        all
    }
}

/// Takes down what happens at the position that is being committed.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    accounts: BTreeMap<Address, Entry>,
    codes: BTreeMap<B256, Bytes>,
    accesses: Accesses,
    /// Accounts that were looked at besides, in no order.
    looked_at: Vec<Address>,
}

/// What the position has done to one account so far.
#[derive(Debug)]
struct Entry {
    before: Option<Account>,
    after: Option<Account>,
    cleared: bool,
    /// Value before and after.
    slots: BTreeMap<U256, (U256, U256)>,
}

impl Recorder {
    /// Takes down the effects of something that is about to be committed. Several may make up one position.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub(crate) fn add(
        &mut self,
        effects: &Effects<'_, EvmProgram>,
        accesses: Option<Accesses>,
    ) -> Result<(), StateError> {
        match accesses {
            Some(accesses) if self.accesses == Accesses::default() => self.accesses = accesses,
            accesses => self.accesses.merge(accesses),
        }
        let mut slots = Vec::new();
        effects.each_written(|handle, before, after| match (effects.key(handle), before, after) {
            (EvmKey::Account(address), EvmValue::Account(before), EvmValue::Account(after)) => {
                let entry = self.accounts.entry(*address).or_insert_with(|| Entry::of(before.account()));
                entry.after = after.account();
                self.codes.extend(new_code(after));
            }
            (EvmKey::Slot(address, slot), EvmValue::Slot(before), EvmValue::Slot(after)) => {
                slots.push((*address, *slot, *before, *after));
            }
            (key, before, after) => unreachable!("{key:?} went from {before:?} to {after:?}"),
        })?;
        for (address, slot, before, after) in slots {
            let account = effects.below(&EvmKey::Account(address))?;
            let entry = self.accounts.entry(address).or_insert_with(|| Entry::of(account_of(&account)));
            entry.slots.entry(slot).or_insert((before, before)).1 = after;
        }
        // Nothing writes to the storage of an account that it destroys.
        for address in effects.writes().filter_map(destroyed) {
            if let Some(entry) = self.accounts.get_mut(address) {
                entry.cleared |= entry.before.is_some();
                entry.slots.clear();
            }
        }
        Ok(())
    }

    /// Takes down that accounts were looked at and nothing else.
    pub(crate) fn add_accesses(&mut self, addresses: impl IntoIterator<Item = Address>) {
        self.looked_at.extend(addresses);
    }

    /// Whether nothing was taken down of the position.
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.looked_at.is_empty() && self.accesses == Accesses::default()
    }

    /// The record of the position, which ends here.
    pub(crate) fn take(&mut self) -> PositionRecord {
        let Self { accounts, codes, mut accesses, looked_at } = std::mem::take(self);
        if !looked_at.is_empty() {
            accesses.merge([Accesses::of_accounts(looked_at)]);
        }
        let change = |(address, entry): (Address, Entry)| {
            let starts_empty = entry.cleared || entry.before.is_none();
            let slot = |(slot, (before, after))| {
                let before = if starts_empty { U256::ZERO } else { before };
                SlotChange { slot, before, after }
            };
            let slots = entry.slots.into_iter().map(slot).filter(|slot| slot.before != slot.after).collect();
            let Entry { before, after, cleared, .. } = entry;
            AccountChange { address, before, after, storage_cleared: cleared, slots }
        };
        let accounts: Vec<_> = accounts.into_iter().map(change).filter(|change| !change.is_noop()).collect();
        let held = |hash: &B256| {
            let mut hashes = accounts.iter().filter(|change| change.before.map(code_of) != change.after.map(code_of));
            hashes.any(|change| change.after.map(code_of) == Some(*hash))
        };
        let codes = codes.into_iter().filter(|(hash, _)| held(hash)).collect();
        PositionRecord { changes: Changes { accounts, codes }, accesses }
    }
}

impl Entry {
    fn of(account: Option<Account>) -> Self {
        Self { before: account, after: account, cleared: false, slots: BTreeMap::new() }
    }
}

pub(crate) fn account_of(value: &EvmValue) -> Option<Account> {
    match value {
        EvmValue::Account(value) => value.account(),
        EvmValue::StorageEmpty(_) | EvmValue::Slot(_) => None,
    }
}

fn code_of(account: Account) -> B256 {
    account.code_hash
}

/// The code of an account, where it was deployed in this block.
fn new_code(value: &AccountValue) -> Option<(B256, Bytes)> {
    Some((value.code_hash, value.code.as_ref()?.original_bytes()))
}

fn destroyed<'a>((key, delta): (&'a EvmKey, &EvmDelta)) -> Option<&'a Address> {
    match (key, delta) {
        (EvmKey::Account(address), EvmDelta::Account(AccountDelta { existence: Existence::Absent, .. })) => {
            Some(address)
        }
        _ => None,
    }
}
