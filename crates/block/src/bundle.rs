//! Changes and revm's bundles, each made from the other.
//!
//! A [`BundleState`] remembers how an account came to be what it is; [`Changes`] remember only what differs, in one
//! normal form. The way from a bundle to changes therefore forgets, and two bundles that do the same to a state give
//! equal changes:
//!
//! | account before | in the bundle | becomes |
//! |---|---|---|
//! | absent | destroyed, or not there | nothing |
//! | absent | created, destroyed and created again | created, with the last storage |
//! | there | destroyed, or emptied under EIP-161 | absent, storage cleared |
//! | there | destroyed and created again | changed, storage cleared, slots from zero |
//! | there | touched, or changed and changed back | nothing |

use alloy_primitives::{B256, Bytes, map::B256Map};
use revm::{
    bytecode::Bytecode,
    database::{
        AccountRevert, AccountStatus, BundleAccount, BundleState, RevertToSlot, StorageWithOriginalValues,
        states::{
            StorageSlot,
            reverts::{AccountInfoRevert, Reverts},
        },
    },
    state::AccountInfo,
};
use ropewalk_state::{Account, AccountChange, Changes, SlotChange};

use crate::BrokenInvariant;

/// The changes that a bundle of a single block stands for.
///
/// # Errors
/// When an account has new code and the bundle does not hold it.
pub fn changes_from_bundle(bundle: &BundleState) -> Result<Changes, BrokenInvariant> {
    let accounts = bundle.state.iter().map(|(address, account)| AccountChange {
        address: *address,
        before: account.original_info.as_ref().map(account_of),
        after: account.info.as_ref().map(account_of),
        storage_cleared: account.original_info.is_some() && account.was_destroyed(),
        slots: slots_of(account),
    });
    let mut changes = Changes { accounts: accounts.collect(), ..Default::default() };
    changes.normalize();
    for change in &changes.accounts {
        let Some(code_hash) = new_code_hash(change) else { continue };
        let own_code = || bundle.state.get(&change.address)?.info.as_ref()?.code.as_ref();
        let code = bundle.contracts.get(&code_hash).or_else(own_code);
        let code = code.ok_or(BrokenInvariant::UnknownCode { address: change.address, code_hash })?;
        changes.codes.insert(code_hash, code.original_bytes());
    }
    Ok(changes)
}

/// A bundle that does to a state what the changes do, with the reverts of that one block.
///
/// It is what revm's `State` gives for the same block, except that it leaves out accounts that did not change and the
/// empty code, and does not tell an account that was created from one that was created, destroyed and created again.
pub fn bundle_from_changes(changes: &Changes) -> BundleState {
    let contracts: B256Map<_> = changes.codes.iter().map(|(hash, code)| (*hash, analysed(code.clone()))).collect();
    let mut bundle = BundleState { contracts, ..Default::default() };
    let mut reverts = Vec::with_capacity(changes.accounts.len());
    bundle.state.reserve(changes.accounts.len());
    for change in &changes.accounts {
        let account = bundle_account(change, &bundle.contracts);
        let revert = account_revert(change);
        bundle.state_size += account.size_hint();
        bundle.reverts_size += revert.size_hint();
        bundle.state.insert(change.address, account);
        reverts.push((change.address, revert));
    }
    bundle.reverts = Reverts::new(vec![reverts]);
    bundle
}

/// Code as the EVM executes it. Bytes that begin like a delegation (EIP-7702) and are none could be deployed before
/// EIP-3541; they are code of which the first byte is an invalid instruction.
pub(crate) fn analysed(code: Bytes) -> Bytecode {
    Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code))
}

fn account_of(info: &AccountInfo) -> Account {
    Account { nonce: info.nonce, balance: info.balance, code_hash: info.code_hash }
}

fn slots_of(account: &BundleAccount) -> Vec<SlotChange> {
    if account.info.is_none() {
        return Vec::new();
    }
    let slots = account.storage.iter();
    slots
        .map(|(slot, value)| SlotChange { slot: *slot, before: value.original_value(), after: value.present_value() })
        .collect()
}

/// Hash of the code that the account has after the block and did not have before.
fn new_code_hash(change: &AccountChange) -> Option<B256> {
    let after = change.after.filter(Account::has_code)?.code_hash;
    (change.before.map(|before| before.code_hash) != Some(after)).then_some(after)
}

fn bundle_account(change: &AccountChange, contracts: &B256Map<Bytecode>) -> BundleAccount {
    let info = |account: Account| AccountInfo {
        balance: account.balance,
        nonce: account.nonce,
        code_hash: account.code_hash,
        account_id: None,
        code: contracts.get(&account.code_hash).cloned(),
    };
    let storage = change.slots.iter().map(|slot| (slot.slot, StorageSlot::new_changed(slot.before, slot.after)));
    BundleAccount {
        info: change.after.map(info),
        original_info: change.before.map(info),
        storage: storage.collect::<StorageWithOriginalValues>(),
        status: status_after(change),
    }
}

/// What revm's `State` calls an account that went through this change.
fn status_after(change: &AccountChange) -> AccountStatus {
    let without_storage = |account: Account| account.nonce == 0 && !account.has_code();
    match (change.before, change.after) {
        (_, None) => AccountStatus::Destroyed,
        (Some(_), Some(_)) if change.storage_cleared => AccountStatus::DestroyedChanged,
        (None, Some(_)) => AccountStatus::InMemoryChange,
        (Some(before), Some(_)) if without_storage(before) => AccountStatus::InMemoryChange,
        (Some(_), Some(_)) => AccountStatus::Changed,
    }
}

fn account_revert(change: &AccountChange) -> AccountRevert {
    let (account, previous_status) = match change.before {
        None => (AccountInfoRevert::DeleteIt, AccountStatus::LoadedNotExisting),
        Some(before) => {
            let info = AccountInfo {
                balance: before.balance,
                nonce: before.nonce,
                code_hash: before.code_hash,
                account_id: None,
                code: None,
            };
            let unchanged = change.after == Some(before);
            let account = if unchanged { AccountInfoRevert::DoNothing } else { AccountInfoRevert::RevertTo(info) };
            let empty = before.is_empty();
            (account, if empty { AccountStatus::LoadedEmptyEIP161 } else { AccountStatus::Loaded })
        }
    };
    // What a cleared storage held is not known here; whoever reverts it finds it in its own database.
    let before = |slot: &SlotChange| {
        if change.storage_cleared { RevertToSlot::Destroyed } else { RevertToSlot::Some(slot.before) }
    };
    let storage = change.slots.iter().map(|slot| (slot.slot, before(slot))).collect();
    AccountRevert { account, storage, previous_status, wipe_storage: change.storage_cleared }
}

#[cfg(test)]
mod tests;
