//! An access list as the content of multi-version memory.
//!
//! Per account and position a seed says what every field is after the position, not just those that changed: a reader
//! then needs the last seed below it and none before, and what a read costs does not grow with the length of the list.

use std::collections::BTreeMap;

use alloy_eip7928::AccountChanges;
use alloy_primitives::{Address, KECCAK256_EMPTY, U256, keccak256};
use ropewalk_engine::{Engine, Memory, Position};
use ropewalk_evm::{AccountDelta, AccountValue, BalanceStep, EvmDelta, EvmKey, EvmProgram, EvmValue, Existence};
use ropewalk_state::StateReader;

use super::{AccessList, AccessListExtension};
use crate::bundle::analysed;

/// Reads in one batch.
const BATCH: usize = 64;

/// Accounts that are worth another thread.
const LEAST_ACCOUNTS: usize = 16;

/// Reads ahead what the list names, and fills the memory with what it says, on the engine's threads: a part of the accounts,
/// with their slots, to each. What cannot be read is left out: it may be that nothing needs it.
pub(crate) fn seed(memory: &Memory<EvmProgram>, list: &AccessList, reader: &dyn StateReader, engine: &Engine) {
    let nothing = AccessListExtension::default();
    let extension = list.extension.as_ref().unwrap_or(&nothing);
    engine.in_parts(list.accounts.len(), LEAST_ACCOUNTS, |part| {
        let accounts = &list.accounts[part];
        prefetch(memory, accounts, reader);
        for account in accounts {
            seed_account(memory, account, extension);
            for slot in &account.storage_changes {
                let key = EvmKey::Slot(account.address, slot.slot);
                for change in &slot.changes {
                    memory.seed(at(change.block_access_index.get()), &key, EvmDelta::Slot(change.new_value));
                }
            }
        }
    });
}

fn prefetch(memory: &Memory<EvmProgram>, accounts: &[AccountChanges], reader: &dyn StateReader) {
    let slots = accounts.iter().flat_map(|account| account.storage_slots().map(|slot| (account.address, slot)));
    let slots: Vec<(Address, U256)> = slots.collect();
    for accounts in accounts.chunks(BATCH) {
        let addresses: Vec<Address> = accounts.iter().map(|account| account.address).collect();
        let Ok(values) = reader.accounts(&addresses) else { continue };
        for (address, value) in addresses.into_iter().zip(values) {
            memory.preload(&EvmKey::Account(address), EvmValue::Account(Box::new(value.into())));
        }
    }
    for slots in slots.chunks(BATCH) {
        let Ok(values) = reader.storages(slots) else { continue };
        for ((address, slot), value) in slots.iter().zip(values) {
            memory.preload(&EvmKey::Slot(*address, *slot), EvmValue::Slot(value));
        }
    }
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

fn seed_account(memory: &Memory<EvmProgram>, account: &AccountChanges, extension: &AccessListExtension) {
    let key = EvmKey::Account(account.address);
    let steps = steps(account, extension);
    if steps.is_empty() {
        return;
    }
    let mut known = memory.base(&key).and_then(|value| match value {
        EvmValue::Account(value) => Some(AccountValue::clone(value)),
        EvmValue::StorageEmpty(_) | EvmValue::Slot(_) => None,
    });
    for (position, step) in steps {
        let delta = step.delta(known.as_mut());
        memory.seed(at(position.into()), &key, EvmDelta::Account(delta));
    }
}

/// The positions at which the account changes.
fn steps<'a>(account: &'a AccountChanges, extension: &AccessListExtension) -> BTreeMap<u32, Step<'a>> {
    let mut steps: BTreeMap<u32, Step<'a>> = BTreeMap::new();
    let mut step = |position: u64, set: &dyn Fn(&mut Step<'a>)| set(steps.entry(position as u32).or_default());
    for change in &account.balance_changes {
        step(change.block_access_index.get(), &|step| step.balance = Some(change.post_balance));
    }
    for change in &account.nonce_changes {
        step(change.block_access_index.get(), &|step| step.nonce = Some(change.new_nonce));
    }
    for change in &account.code_changes {
        step(change.block_access_index.get(), &|step| step.code = Some(&change.new_code));
    }
    for position in extension.clears_of(account.address) {
        step(position.into(), &|step| step.clears_storage = true);
    }
    for (position, exists) in extension.existence_of(account.address) {
        step(position.into(), &|step| step.exists = Some(exists));
    }
    steps
}

impl Step<'_> {
    /// The seed, which says every field where the account's value below it is known.
    fn delta(&self, known: Option<&mut AccountValue>) -> AccountDelta {
        let code = self.code.map(|bytes| match bytes {
            [] => (KECCAK256_EMPTY, None),
            bytes => (keccak256(bytes), Some(analysed(bytes.to_vec().into()))),
        });
        let existence = match self.exists {
            None => Existence::UnlessEmpty,
            Some(true) => Existence::Present,
            Some(false) => Existence::Absent,
        };
        let mut delta = AccountDelta {
            balance: self.balance.map_or(BalanceStep::Keep, BalanceStep::Set),
            nonce: self.nonce,
            code,
            existence,
            clears_storage: self.clears_storage,
        };
        if let Some(value) = known {
            delta.apply(value);
            delta.balance = BalanceStep::Set(value.balance);
            delta.nonce = Some(value.nonce);
            delta.code = Some((value.code_hash, value.code.clone()));
        }
        delta
    }
}

fn at(position: u64) -> Position {
    Position(position as u32)
}
