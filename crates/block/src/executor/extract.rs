//! From committed multi-version memory to the changes of a block.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use ropewalk_engine::{Final, Interrupt, Memory, Position as EnginePosition, View};
use ropewalk_evm::{AccountValue, EvmKey, EvmProgram, EvmValue};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange};

use crate::{BlockError, BrokenInvariant, Position};

/// The block's changes in normal form.
pub(super) fn committed_changes(memory: &Arc<Memory<EvmProgram>>) -> Result<Changes, BlockError> {
    let mut changes = Changes::default();
    let mut slots: Vec<(Address, SlotChange)> = Vec::new();
    let mut codes: Vec<(Address, B256, Option<Bytes>)> = Vec::new();
    memory.for_each_committed(|Final { key, base, value, .. }| match (key, value) {
        (EvmKey::Account(address), EvmValue::Account(value)) => {
            let before = base.and_then(account_of);
            let change = AccountChange {
                address: *address,
                before,
                after: value.account(),
                storage_cleared: value.destroyed && before.is_some(),
                slots: Vec::new(),
            };
            codes.extend(new_code(&change, value));
            changes.accounts.push(change);
        }
        (EvmKey::Slot(address, slot), EvmValue::Slot(after)) => {
            let before = match base {
                Some(EvmValue::Slot(before)) => *before,
                _ => U256::ZERO,
            };
            slots.push((*address, SlotChange { slot: *slot, before, after: *after }));
        }
        _ => {}
    });
    changes.accounts.sort_unstable_by_key(|change| change.address);
    slots.sort_unstable_by_key(|(address, change)| (*address, change.slot));
    attach_slots(&mut changes.accounts, slots, memory)?;
    for (address, code_hash, code) in codes {
        let code = code.ok_or(BrokenInvariant::UnknownCode { address, code_hash })?;
        changes.codes.insert(code_hash, code);
    }
    for change in &mut changes.accounts {
        if change.storage_cleared || change.before.is_none() {
            change.slots.iter_mut().for_each(|slot| slot.before = U256::ZERO);
        }
        change.slots.retain(|slot| slot.before != slot.after);
    }
    changes.accounts.retain(|change| !change.is_noop());
    Ok(changes)
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

/// Puts sorted slots to their sorted accounts. An account whose storage alone was written is added.
fn attach_slots(
    accounts: &mut Vec<AccountChange>,
    slots: Vec<(Address, SlotChange)>,
    memory: &Arc<Memory<EvmProgram>>,
) -> Result<(), BlockError> {
    let written = accounts.len();
    let mut at = 0;
    for (address, slot) in slots {
        while at < written && accounts[at].address < address {
            at += 1;
        }
        if at < written && accounts[at].address == address {
            accounts[at].slots.push(slot);
            continue;
        }
        match accounts.last_mut() {
            Some(last) if last.address == address => last.slots.push(slot),
            _ => {
                let account = unchanged_account(memory, address)?;
                accounts.push(AccountChange {
                    address,
                    before: account,
                    after: account,
                    storage_cleared: false,
                    slots: vec![slot],
                });
            }
        }
    }
    accounts.sort_unstable_by_key(|change| change.address);
    Ok(())
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
