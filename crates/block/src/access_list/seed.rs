//! An access list as the content of multi-version memory, and as the changes of its block.
//!
//! Per account and position a seed says what every field is after the position, not just those that changed: a reader
//! then needs the last seed below it and none before, and what a read costs does not grow with the length of the list.
//!
//! The last seed of each key is what the block leaves there, if it does what the list says at every position. So the
//! block's changes are known before it has run: they are [promised](Promised), and hold when the list was found true.

use std::iter::Peekable;

use alloy_eip7928::AccountChanges;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use ropewalk_engine::{Engine, Memory, Position, Seeder};
use ropewalk_evm::{
    AccountDelta, AccountValue, BalanceStep, EvmDelta, EvmKey, EvmProgram, EvmValue, Existence, NewCode,
};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange, StateError, StateReader};

use super::{AccessList, AccessListExtension};
use crate::bundle::analysed;

/// Reads in one batch.
const BATCH: usize = 64;

/// Accounts that are worth another thread.
const LEAST_ACCOUNTS: usize = 16;

/// The changes of a block that does what its list says, in normal form; an error where they hang on what cannot be read.
#[derive(Debug)]
pub(crate) struct Promised(Vec<Result<Changes, StateError>>);

impl Promised {
    /// The changes, once every position was found to be what the list says.
    ///
    /// # Errors
    /// When the state before the block could not be read.
    pub(crate) fn changes(self) -> Result<Changes, StateError> {
        let mut all = Changes::default();
        for part in self.0 {
            let mut part = part?;
            all.accounts.append(&mut part.accounts);
            all.codes.extend(part.codes);
        }
        Ok(all)
    }
}

/// Reads ahead what the list names, and fills the memory with what it says, on the engine's threads: a part of the accounts,
/// with their slots, to each. What cannot be read is left out: it may be that nothing needs it.
pub(crate) fn seed(
    memory: &Memory<EvmProgram>,
    list: &AccessList,
    reader: &dyn StateReader,
    engine: &Engine,
) -> Promised {
    let nothing = AccessListExtension::default();
    let extension = list.extension.as_ref().unwrap_or(&nothing);
    Promised(engine.in_parts(list.accounts.len(), LEAST_ACCOUNTS, |part| {
        let accounts = &list.accounts[part];
        let (mut changes, mut failure) = (Changes::default(), None);
        let mut known = Known::of(accounts, reader);
        let mut seeder = memory.seeder();
        for account in accounts {
            let mut field = Field { seeder: &mut seeder, account, reader, known: known.account() };
            let sown = field.sow(&mut known, extension, &mut changes);
            failure = failure.or(sown.err());
        }
        failure.map_or(Ok(changes), Err)
    }))
}

/// What was read ahead, in the order in which it is used; `None` for what could not be read.
struct Known {
    accounts: std::vec::IntoIter<Option<Option<Account>>>,
    slots: std::vec::IntoIter<Option<U256>>,
}

impl Known {
    /// Reads accounts of the list and their slots, in batches.
    fn of(accounts: &[AccountChanges], reader: &dyn StateReader) -> Self {
        let slots = |account| slots(account).map(|slot| (AccountChanges::address(account), slot));
        let slots: Vec<(Address, U256)> = accounts.iter().flat_map(slots).collect();
        let read_accounts = |accounts: &[AccountChanges]| {
            let addresses: Vec<Address> = accounts.iter().map(|account| account.address).collect();
            let unknown = vec![None; addresses.len()];
            reader.accounts(&addresses).map_or(unknown, |values| values.into_iter().map(Some).collect())
        };
        let read_slots = |slots: &[(Address, U256)]| {
            let unknown = vec![None; slots.len()];
            reader.storages(slots).map_or(unknown, |values| values.into_iter().map(Some).collect())
        };
        let accounts: Vec<_> = accounts.chunks(BATCH).flat_map(read_accounts).collect();
        let slots: Vec<_> = slots.chunks(BATCH).flat_map(read_slots).collect();
        Self { accounts: accounts.into_iter(), slots: slots.into_iter() }
    }

    fn account(&mut self) -> Option<Option<Account>> {
        self.accounts.next().flatten()
    }

    fn slot(&mut self) -> Option<U256> {
        self.slots.next().flatten()
    }
}

/// The slots that an entry names, those that change before those that do not.
fn slots(account: &AccountChanges) -> impl Iterator<Item = U256> {
    let changed = account.storage_changes.iter().map(|changes| changes.slot);
    changed.chain(account.storage_reads.iter().copied())
}

/// An account of the list, to be sown.
struct Field<'a, 'm> {
    seeder: &'a mut Seeder<'m, EvmProgram>,
    account: &'a AccountChanges,
    reader: &'a dyn StateReader,
    /// The account before the block, where it could be read ahead.
    known: Option<Option<Account>>,
}

impl Field<'_, '_> {
    /// Fills the memory with what the list says about the account, and adds what becomes of it to the changes.
    fn sow(
        &mut self,
        known: &mut Known,
        extension: &AccessListExtension,
        changes: &mut Changes,
    ) -> Result<(), StateError> {
        let address = self.account.address;
        let cleared = extension.clears_of(address).last();
        let slots = self.sow_slots(known, cleared);
        let key = EvmKey::Account(address);
        let base = self.known.map(|account| EvmValue::Account(Box::new(account.into())));
        let mut steps = steps(self.account, extension).peekable();
        if steps.peek().is_none() && self.account.storage_changes.is_empty() {
            base.into_iter().for_each(|base| self.seeder.preload(&key, base));
            return Ok(());
        }
        let before = self.known.map_or_else(|| self.reader.account(&address), Ok);
        let mut value = before.clone().map(AccountValue::from);
        let seeds = steps.map(|(position, step)| (at(position.into()), step.delta(value.as_mut().ok())));
        self.seeder.seed(&key, base, seeds);
        let (before, value, mut slots) = (before?, value?, slots?);
        if before.is_none() || cleared.is_some() {
            slots.iter_mut().for_each(|slot| slot.before = U256::ZERO);
        }
        slots.retain(|slot| slot.before != slot.after);
        let storage_cleared = before.is_some() && cleared.is_some();
        let change = AccountChange { address, before, after: value.account(), storage_cleared, slots };
        changes.codes.extend(new_code(&change, &value));
        if !change.is_noop() {
            changes.accounts.push(change);
        }
        Ok(())
    }

    /// The same for its slots, where its storage was last cleared at a position. What becomes of them, changed or not.
    fn sow_slots(&mut self, known: &mut Known, cleared: Option<u32>) -> Result<Vec<SlotChange>, StateError> {
        let address = self.account.address;
        let mut sown = Ok(Vec::with_capacity(self.account.storage_changes.len()));
        for changes in &self.account.storage_changes {
            let (slot, known) = (changes.slot, known.slot());
            let seeds = changes.changes.iter();
            let seeds = seeds.map(|change| (at(change.block_access_index.get()), EvmDelta::Slot(change.new_value)));
            self.seeder.seed(&EvmKey::Slot(address, slot), known.map(EvmValue::Slot), seeds);
            let Some(last) = changes.changes.last() else { continue };
            let is_gone = cleared.is_some_and(|cleared| last.block_access_index.get() <= u64::from(cleared));
            let after = if is_gone { U256::ZERO } else { last.new_value };
            match (&mut sown, known.map_or_else(|| self.reader.storage(&address, &slot), Ok)) {
                (Ok(sown), Ok(before)) => sown.push(SlotChange { slot, before, after }),
                (Ok(_), Err(fault)) => sown = Err(fault),
                (Err(_), _) => {}
            }
        }
        for slot in &self.account.storage_reads {
            let known = known.slot();
            known.into_iter().for_each(|value| {
                self.seeder.preload(&EvmKey::Slot(address, *slot), EvmValue::Slot(value));
            });
        }
        sown
    }
}

/// The code that an account has after the block and had not before.
fn new_code(change: &AccountChange, value: &AccountValue) -> Option<(B256, Bytes)> {
    let after = change.after.filter(Account::has_code)?;
    let is_new = change.before.is_none_or(|before| before.code_hash != after.code_hash);
    let code = value.code.as_ref().filter(|_| is_new)?;
    Some((after.code_hash, code.original_bytes()))
}

/// What a list says about an account at one position.
#[derive(Debug, Default)]
struct Step<'a> {
    balance: Option<U256>,
    nonce: Option<u64>,
    code: Option<&'a [u8]>,
    clears_storage: bool,
    exists: Option<bool>,
}

/// The positions at which the account changes, ascending, with what the list says of each.
fn steps<'a>(account: &'a AccountChanges, extension: &'a AccessListExtension) -> impl Iterator<Item = (u32, Step<'a>)> {
    let balances = account.balance_changes.iter().map(|it| (it.block_access_index.get() as u32, it.post_balance));
    let nonces = account.nonce_changes.iter().map(|it| (it.block_access_index.get() as u32, it.new_nonce));
    let codes = account.code_changes.iter().map(|it| (it.block_access_index.get() as u32, &it.new_code[..]));
    let (mut balances, mut nonces, mut codes) = (balances.peekable(), nonces.peekable(), codes.peekable());
    let mut clears = extension.clears_of(account.address).map(|position| (position, true)).peekable();
    let mut existence = extension.existence_of(account.address).peekable();
    std::iter::from_fn(move || {
        let next = [
            balances.peek().map(|it| it.0),
            nonces.peek().map(|it| it.0),
            codes.peek().map(|it| it.0),
            clears.peek().map(|it| it.0),
            existence.peek().map(|it| it.0),
        ];
        let position = next.into_iter().flatten().min()?;
        let step = Step {
            balance: next_at(&mut balances, position),
            nonce: next_at(&mut nonces, position),
            code: next_at(&mut codes, position),
            clears_storage: next_at(&mut clears, position).is_some(),
            exists: next_at(&mut existence, position),
        };
        Some((position, step))
    })
}

/// What comes next, if it is of this position.
fn next_at<T>(from: &mut Peekable<impl Iterator<Item = (u32, T)>>, position: u32) -> Option<T> {
    from.next_if(|(at, _)| *at == position).map(|(_, said)| said)
}

impl Step<'_> {
    /// The seed, which says every field where the account's value below it is known.
    fn delta(&self, known: Option<&mut AccountValue>) -> EvmDelta {
        let code = self.code.map(|bytes| match bytes {
            [] => NewCode::Empty,
            bytes => NewCode::new(keccak256(bytes), Some(analysed(bytes.to_vec().into()))),
        });
        let existence = match self.exists {
            None => Existence::UnlessEmpty,
            Some(true) => Existence::Present,
            Some(false) => Existence::Absent,
        };
        let delta = AccountDelta {
            balance: self.balance.map_or(BalanceStep::Keep, BalanceStep::Set),
            nonce: self.nonce,
            code,
            existence,
            clears_storage: self.clears_storage,
        };
        let Some(value) = known else { return EvmDelta::Account(delta) };
        delta.apply(value);
        EvmDelta::Becomes { value: EvmValue::Account(Box::new(value.clone())), clears_storage: self.clears_storage }
    }
}

fn at(position: u64) -> Position {
    Position(position as u32)
}
