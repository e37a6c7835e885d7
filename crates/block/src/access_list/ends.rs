//! What becomes of accounts and slots in the end, noted by whoever ran the transaction that changes them last.
//!
//! At that time all of it is at hand: the value before the block lies in the cell, and the value after it was just found to be what
//! the list says. Looked for when the block is over, it would be found in other caches.
//!
//! What the list says last of each key is what the block leaves there, if it does what the list says at every position. So nothing
//! has to be gathered: the block's changes are what was noted, in the order of the list, and for what nobody has noted, what the list
//! says on top of the state before the block.

use alloy_primitives::{Address, B256, Bytes, U256};
use ropewalk_engine::{Engine, Memory, Position};
use ropewalk_evm::{AccountValue, EvmKey, EvmProgram, EvmValue, NewCode};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange, StateError, StateReader};

use super::known::{KnownList, NEVER};

/// Accounts that are worth another thread.
const LEAST_ACCOUNTS: usize = 512;

/// What one worker has noted, by numbers of the list. Where a transaction was attempted twice, some of it twice: it is the same.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(super) accounts: Vec<(u32, AccountEnd)>,
    pub(super) slots: Vec<(u32, SlotEnd)>,
}

impl Ends {
    /// Room for what one of so many workers will note.
    pub(super) fn of_one(known: &KnownList, workers: usize) -> Self {
        let accounts = Vec::with_capacity(known.accounts().len().div_ceil(workers.max(1)));
        Self { accounts, slots: Vec::new() }
    }

    /// Adds how an account ends.
    pub(super) fn add_account(&mut self, number: u32, end: AccountEnd) {
        self.accounts.push((number, end));
    }

    /// Adds how a slot ends.
    pub(super) fn add_slot(&mut self, number: u32, before: U256, after: U256) {
        self.slots.push((number, SlotEnd { before, after }));
    }
}

/// An account before and after the block, without its slots.
#[derive(Debug, Clone)]
pub(crate) struct AccountEnd {
    pub(super) before: Option<Account>,
    pub(super) after: Option<Account>,
    /// Code that was deployed in the block. Boxed: few accounts get any.
    pub(super) code: Option<Box<(B256, Bytes)>>,
}

impl AccountEnd {
    /// What becomes of an account that was like this before the block, by the last write to it; `None` where it
    /// got code before, or code of which only the hash is known.
    pub(super) fn by_write(
        base: &AccountValue,
        (balance, nonce): (U256, u64),
        code: Option<&NewCode>,
        changes_code: bool,
    ) -> Option<Self> {
        let code_hash = match code {
            Some(code) => code.hash(),
            None if changes_code => return None,
            None => base.code_hash,
        };
        // The bytes of new code are a part of what becomes of it.
        let code = match code {
            Some(new) if code_hash != base.code_hash && *new != NewCode::Empty => {
                Some(Box::new((code_hash, new.code()?.original_bytes())))
            }
            _ => None,
        };
        Some(Self { before: base.account(), after: Some(Account { balance, nonce, code_hash }), code })
    }

    pub(super) fn of(before: Option<Account>, after: &AccountValue) -> Self {
        let (code, after) = (after.code.as_ref(), after.account());
        let has_new = |after: &Account| after.has_code() && before.is_none_or(|it| it.code_hash != after.code_hash);
        let code = after.filter(has_new).and_then(|after| Some(Box::new((after.code_hash, code?.original_bytes()))));
        Self { before, after, code }
    }
}

/// A slot before and after the block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotEnd {
    pub(super) before: U256,
    pub(super) after: U256,
}

/// Where in several lists the ends of numbers are, those from `first` on: one more than the place, the list in the upper bits. Of
/// few numbers nothing is laid down: they are looked for in the lists.
struct Directory<'a, T> {
    noted: &'a [Ends],
    list_of: fn(&Ends) -> &[(u32, T)],
    places: Vec<u32>,
    first: u32,
}

/// Bits of a place in one list. What has no place is looked for elsewhere.
const PLACE_BITS: u32 = 24;

/// Numbers of which nothing is laid down. Tests have few.
const FEW: usize = if cfg!(test) { 4 } else { 16 };

impl<'a, T> Directory<'a, T> {
    /// A directory of so many numbers.
    fn new(noted: &'a [Ends], list_of: fn(&Ends) -> &[(u32, T)], first: u32, count: usize) -> Self {
        let noted = &noted[..noted.len().min(1 << (u32::BITS - PLACE_BITS))];
        let mut places = if count > FEW { vec![0; count] } else { Vec::new() };
        let lists = if places.is_empty() { &[] } else { noted };
        for (at, ends) in (0..).zip(lists) {
            for (place, (number, _)) in (1..1 << PLACE_BITS).zip(list_of(ends)) {
                places[(number - first) as usize] = at << PLACE_BITS | place;
            }
        }
        Self { noted, list_of, places, first }
    }

    /// The end of a number, where it was noted.
    fn get(&self, number: u32) -> Option<&'a T> {
        if self.places.is_empty() {
            let mut noted = self.noted.iter().flat_map(self.list_of);
            return noted.find(|(other, _)| *other == number).map(|(_, end)| end);
        }
        let place = self.places[(number - self.first) as usize];
        let list = (self.list_of)(self.noted.get((place >> PLACE_BITS) as usize)?);
        let at = (place & ((1 << PLACE_BITS) - 1)).checked_sub(1)?;
        list.get(at as usize).map(|(_, end)| end)
    }
}

/// The changes of a block that was found to do what its list says, in normal form, on the engine's threads. Some of it was noted
/// by workers.
///
/// # Errors
/// When the state before the block cannot be read.
pub(crate) fn changes(
    known: &KnownList,
    noted: &[Ends],
    memory: &Memory<EvmProgram>,
    reader: &dyn StateReader,
    engine: &Engine,
) -> Result<Changes, StateError> {
    let accounts = known.accounts().len();
    let outlook = Outlook {
        known,
        accounts: Directory::new(noted, |ends| &ends.accounts, 0, accounts),
        slots: Directory::new(noted, |ends| &ends.slots, accounts as u32, known.numbers() - accounts),
        memory,
        reader,
    };
    let parts = engine.in_parts(accounts, LEAST_ACCOUNTS, |accounts| {
        let mut changes = Changes { accounts: Vec::with_capacity(accounts.len()), ..Changes::default() };
        accounts.into_iter().try_for_each(|account| outlook.add_change(account, &mut changes))?;
        Ok(changes)
    });
    let merged = parts.into_iter().reduce(|all, part| {
        let (mut all, mut part) = (all?, part?);
        all.accounts.append(&mut part.accounts);
        all.codes.extend(part.codes);
        Ok(all)
    });
    merged.unwrap_or_else(|| Ok(Changes::default()))
}

/// What becomes of what the list names.
struct Outlook<'a> {
    known: &'a KnownList,
    accounts: Directory<'a, AccountEnd>,
    slots: Directory<'a, SlotEnd>,
    memory: &'a Memory<EvmProgram>,
    reader: &'a dyn StateReader,
}

/// The position that all others are below.
const END: Position = Position(NEVER);

impl Outlook<'_> {
    /// Adds what becomes of an account, if anything does.
    fn add_change(&self, account: usize, changes: &mut Changes) -> Result<(), StateError> {
        let (known, said) = (self.known, &self.known.accounts()[account]);
        if !known.changes_itself(account) && said.storage_changes.is_empty() {
            return Ok(());
        }
        let looked_up;
        let AccountEnd { before, after, code } = match self.accounts.get(account as u32) {
            Some(noted) => noted,
            None => {
                looked_up = self.account(account)?;
                &looked_up
            }
        };
        let cleared = known.loses_storage(account);
        let starts_empty = before.is_none() || cleared;
        let mut slots = Vec::with_capacity(said.storage_changes.len());
        for (changes, number) in said.storage_changes.iter().zip(known.numbers_of_changes(account)) {
            // What was noted of a storage that went later is not what became of it.
            let SlotEnd { before, after } = match self.slots.get(number).filter(|_| !cleared) {
                Some(noted) => *noted,
                None => match known.slot_below(account, Some(changes), END) {
                    Some(after) if starts_empty => SlotEnd { before: U256::ZERO, after },
                    Some(after) => SlotEnd { before: self.slot(number, &said.address, &changes.slot)?, after },
                    None => continue,
                },
            };
            let before = if starts_empty { U256::ZERO } else { before };
            if before != after {
                slots.push(SlotChange { slot: changes.slot, before, after });
            }
        }
        let storage_cleared = before.is_some() && cleared;
        let change = AccountChange { address: said.address, before: *before, after: *after, storage_cleared, slots };
        changes.codes.extend(code.as_deref().cloned());
        if !change.is_noop() {
            changes.accounts.push(change);
        }
        Ok(())
    }

    /// What becomes of an account that nobody has noted.
    fn account(&self, account: usize) -> Result<AccountEnd, StateError> {
        let address = self.known.accounts()[account].address;
        let before = match self.base(account as u32, &EvmKey::Account(address)) {
            Some(EvmValue::Account(value)) => value.account(),
            _ => self.reader.account(&address)?,
        };
        let mut value = AccountValue::from(before);
        if self.known.changes_itself(account) {
            self.known.change_account(account, END, &mut value);
        }
        Ok(AccountEnd::of(before, &value))
    }

    /// A slot before the block.
    fn slot(&self, number: u32, address: &Address, slot: &U256) -> Result<U256, StateError> {
        match self.base(number, &EvmKey::Slot(*address, *slot)) {
            Some(EvmValue::Slot(value)) => Ok(*value),
            _ => self.reader.storage(address, slot),
        }
    }

    /// What was before the block and is in memory.
    fn base(&self, number: u32, key: &EvmKey) -> Option<&EvmValue> {
        match self.known.cell(number) {
            Some(cell) => self.memory.base_of(cell),
            None => self.memory.base(key),
        }
    }
}
