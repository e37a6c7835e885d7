//! What a list makes known beyond what positions write: what to read ahead, and what the block comes to.
//!
//! What the list says last of each key is what the block leaves there, if it does what the list says at every position. So nothing
//! has to be gathered: the block's changes are what the list says, on top of the state before the block.

use std::time::Instant;

use alloy_eip7928::AccountChanges;
use alloy_primitives::{Address, B256, Bytes, U256};
use ropewalk_engine::{Engine, Memory, Position};
use ropewalk_evm::{AccountValue, EvmKey, EvmProgram, EvmValue};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange, StateError, StateReader};

use super::{
    ends::{AccountEnd, Directory, Ends, SlotEnd},
    known::{KnownList, NEVER},
};
use crate::slow_reads::{SlowReads, read_accounts, read_slots};

/// Reads in one batch, and in one where a batch is known to take little longer than a read.
const BATCH: usize = 64;
const LARGE_BATCH: usize = 256;

/// A batch takes little longer than a read where it takes less than one in so many of its reads would.
const LITTLE: u64 = 8;

/// Threads that read large batches: more of them wake each other up.
const FEW: usize = 4;

/// Accounts that are worth another thread.
const LEAST_ACCOUNTS: usize = 512;

/// Reads ahead what the list names, in batches, on the engine's threads. What cannot be read is left out: it may be that nothing
/// needs it.
pub(crate) fn read_ahead(
    memory: &Memory<EvmProgram>,
    accounts: &[AccountChanges],
    reader: &dyn StateReader,
    reads: &SlowReads,
    engine: &Engine,
) {
    let addresses: Vec<Address> = accounts.iter().map(|account| account.address).collect();
    let slots = |account| slots(account).map(|slot| (AccountChanges::address(account), slot));
    let slots: Vec<(Address, U256)> = accounts.iter().flat_map(slots).collect();
    let (first, addresses) = addresses.split_at(addresses.len().min(BATCH));
    let begun = Instant::now();
    read_accounts(memory, first, reader);
    let one_by_one = reads.typical_ns().saturating_mul(first.len() as u64);
    let is_little = reads.note_batch(begun) < one_by_one / LITTLE;
    let (size, threads) = if is_little { (LARGE_BATCH, FEW) } else { (BATCH, engine.threads()) };
    let (addresses, slots): (Vec<_>, Vec<_>) = (addresses.chunks(size).collect(), slots.chunks(size).collect());
    let batches = addresses.len() + slots.len();
    engine.in_parts(batches, batches.div_ceil(threads).max(1), |part| {
        for batch in part {
            match batch.checked_sub(addresses.len()) {
                None => read_accounts(memory, addresses[batch], reader),
                Some(batch) => read_slots(memory, slots[batch], reader),
            }
        }
    });
}

/// The slots that an entry names, those that change before those that do not.
fn slots(account: &AccountChanges) -> impl Iterator<Item = U256> {
    let changed = account.storage_changes.iter().map(|changes| changes.slot);
    changed.chain(account.storage_reads.iter().copied())
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
    // What was noted of a storage that went later is not what became of it.
    let noted = if known.has_clears() { &[] } else { noted };
    let outlook = Outlook {
        known,
        accounts: Directory::new(noted.iter().map(|ends| &ends.accounts[..]), 0, accounts),
        slots: Directory::new(noted.iter().map(|ends| &ends.slots[..]), accounts as u32, known.numbers() - accounts),
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
        let cleared = known.cleared_below(account, END).is_some();
        let starts_empty = before.is_none() || cleared;
        let mut slots = Vec::with_capacity(said.storage_changes.len());
        for (changes, number) in said.storage_changes.iter().zip(known.numbers_of_changes(account)) {
            let SlotEnd { before, after } = match self.slots.get(number) {
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
        changes.codes.extend(code.clone());
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
        let after = value.account();
        Ok(AccountEnd { before, after, code: new_code(before, after, &value) })
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

/// The code that an account has after the block and had not before.
fn new_code(before: Option<Account>, after: Option<Account>, value: &AccountValue) -> Option<(B256, Bytes)> {
    let after = after.filter(Account::has_code)?;
    let is_new = before.is_none_or(|before| before.code_hash != after.code_hash);
    let code = value.code.as_ref().filter(|_| is_new)?;
    Some((after.code_hash, code.original_bytes()))
}
