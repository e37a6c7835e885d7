//! From revm's journal to a write set.
//!
//! What revm's journal holds after a transaction is applied the way revm's own state does it, in this order:
//!
//! 1. untouched: nothing;
//! 2. destroyed: the account goes, with its storage (EIP-6780 is already settled in the flags);
//! 3. created: its storage starts empty, which is to be said where the account was there before the block;
//! 4. touched and empty: it goes (EIP-161);
//! 5. otherwise: the balance as a step, nonce and code where they differ, and changed slots.
//!
//! Before EIP-161 a touch makes an account instead, so that 4 does not happen. revm settles that when it finalizes, by
//! what it took for the account's existence; here it is settled by the delta, whatever was there.
//!
//! That an account is still not empty may itself hang on its balance; then that is observed.

use alloy_primitives::{Address, U256};
use revm::{
    primitives::hardfork::SpecId,
    state::{Account, EvmState},
};

use crate::{
    AccountDelta, BalanceStep, EvmDelta, EvmKey, Existence, NewCode, StateHandle,
    handle::{Loaded, NoteId},
};

/// Before EIP-161: the accounts that a transaction touched and left empty. To be asked before the journal is finalized.
pub(crate) fn touched_and_empty(state: &EvmState, spec: SpecId) -> Vec<Address> {
    if spec.is_enabled_in(SpecId::SPURIOUS_DRAGON) {
        return Vec::new();
    }
    let touched = state.iter().filter(|(_, account)| account.is_touched() && account.is_empty());
    let touched = touched.filter(|(_, account)| !account.is_selfdestructed() && !account.is_created());
    touched.map(|(address, _)| *address).collect()
}

/// Writes what the journal of one transaction says through the handle's view. `present` are the accounts that are
/// there afterwards although they are empty; nothing else becomes of them.
pub(crate) fn write_journal(mut state: EvmState, present: &[Address], spec: SpecId, handle: &mut StateHandle) {
    for address in present {
        state.remove(address);
        let delta = AccountDelta { existence: Existence::Present, ..AccountDelta::NONE };
        handle.write(&EvmKey::Account(*address), EvmDelta::Account(delta));
    }
    for (address, account) in &state {
        if account.is_touched() {
            let note = handle.note_of(address, account);
            write_account(address, account, note, spec, handle);
        }
    }
}

fn write_account(address: &Address, account: &Account, note: NoteId, spec: SpecId, handle: &mut StateHandle) {
    let loaded = handle.noted(note);
    if account.is_selfdestructed() {
        let key = loaded.handle;
        return handle.write_to(key, EvmDelta::Account(AccountDelta::DESTROY));
    }
    let (is_created, eip161) = (account.is_created(), spec.is_enabled_in(SpecId::SPURIOUS_DRAGON));
    if !is_created && account.is_empty() {
        return remove_empty(account, note, handle);
    }
    let is_known = is_known_not_to_be_empty(loaded, account);
    if !is_created && eip161 && !is_known {
        loaded.observe_emptiness(&account.info);
    }
    let existence = if eip161 || is_known { Existence::Derived } else { Existence::Present };
    let key = handle.noted(note).handle;
    let clears_storage = is_created && !handle.did_not_exist(key);
    let delta = AccountDelta { existence, clears_storage, ..changes(account, handle.noted(note)) };
    if delta != AccountDelta::NONE {
        handle.write_to(key, EvmDelta::Account(delta));
    }
    for (slot, value) in account.changed_storage_slots() {
        handle.write(&EvmKey::Slot(*address, *slot), EvmDelta::Slot(value.present_value));
    }
}

/// An empty account was touched: if it was there, it goes.
fn remove_empty(account: &Account, note: NoteId, handle: &mut StateHandle) {
    let loaded = handle.noted(note);
    loaded.observe_emptiness(&account.info);
    loaded.observe_existence();
    if loaded.exists {
        let key = loaded.handle;
        handle.write_to(key, EvmDelta::Account(AccountDelta::DESTROY));
    }
}

/// Whether what the transaction has observed and done leaves no doubt that the account is not empty. A touched account
/// that had nothing added could be empty if its balance were another.
fn is_known_not_to_be_empty(loaded: &Loaded, account: &Account) -> bool {
    let info = &account.info;
    let gained = info.balance > loaded.balance;
    let set = info.nonce != loaded.nonce || info.code_hash != loaded.code_hash;
    let code_known = loaded.observation.code_hash.is_some() && !info.is_empty_code_hash();
    let nonce_known = loaded.observation.nonce.is_some() && loaded.nonce != 0;
    gained || set || code_known || nonce_known
}

/// What differs of balance, nonce and code.
fn changes(account: &Account, loaded: &mut Loaded) -> AccountDelta {
    let info = &account.info;
    AccountDelta {
        balance: balance_step(loaded, info.balance),
        nonce: (info.nonce != loaded.nonce).then_some(info.nonce),
        code: (info.code_hash != loaded.code_hash).then(|| NewCode::new(info.code_hash, info.code.clone())),
        ..AccountDelta::NONE
    }
}

/// The difference to the loaded balance. A credit says by itself that there must be room for it.
pub(crate) fn balance_step(loaded: &mut Loaded, balance: U256) -> BalanceStep {
    if let Some(amount) = balance.checked_sub(loaded.balance).filter(|amount| !amount.is_zero()) {
        if loaded.peak <= amount {
            // The bound of the credit itself covers it.
            loaded.peak = U256::ZERO;
        }
        return BalanceStep::Credit(amount);
    }
    match loaded.balance - balance {
        U256::ZERO => BalanceStep::Keep,
        amount => BalanceStep::Debit(amount),
    }
}
