//! From revm's journal to a write set.
//!
//! What revm's journal holds after a transaction is applied the way revm's own state does it, in this order:
//!
//! 1. untouched: nothing;
//! 2. destroyed: the account goes, with its storage (EIP-6780 is already settled in the flags);
//! 3. created: its storage starts empty;
//! 4. touched and empty: it goes (EIP-161; before it, revm has taken the touch or set the creation mark);
//! 5. otherwise: the balance as a step, nonce and code where they differ, and changed slots.
//!
//! That an account is still not empty may itself hang on its balance; then that is observed.

use alloy_primitives::{Address, U256};
use revm::{
    primitives::hardfork::SpecId,
    state::{Account, EvmState},
};

use crate::{AccountDelta, BalanceStep, EvmDelta, EvmKey, Existence, StateHandle, handle::Loaded};

/// Writes what the journal of one transaction says through the handle's view.
pub(crate) fn write_journal(state: &EvmState, spec: SpecId, handle: &mut StateHandle) {
    for (address, account) in state {
        if account.is_touched() {
            write_account(address, account, spec, handle);
        }
    }
}

fn write_account(address: &Address, account: &Account, spec: SpecId, handle: &mut StateHandle) {
    let Some(loaded) = handle.loaded(address) else { unreachable!("revm touched {address} without loading it") };
    if account.is_selfdestructed() {
        return destroy(address, handle);
    }
    if !account.is_created() && account.is_empty() {
        return remove_empty(address, account, handle);
    }
    if !account.is_created() && spec.is_enabled_in(SpecId::SPURIOUS_DRAGON) {
        observe_that_it_stays(loaded, account);
    }
    let delta = account_delta(loaded, account, spec);
    let at = loaded.handle;
    if delta != AccountDelta::NONE {
        handle.write_to(at, EvmDelta::Account(delta));
    }
    for (slot, value) in account.changed_storage_slots() {
        handle.write(&EvmKey::Slot(*address, *slot), EvmDelta::Slot(value.present_value));
    }
}

fn destroy(address: &Address, handle: &mut StateHandle) {
    if let Some(loaded) = handle.loaded(address) {
        let at = loaded.handle;
        handle.write_to(at, EvmDelta::Account(AccountDelta::DESTROY));
    }
}

/// An empty account was touched: if it was there, it goes.
fn remove_empty(address: &Address, account: &Account, handle: &mut StateHandle) {
    let Some(loaded) = handle.loaded(address) else { return };
    loaded.observe_emptiness(&account.info);
    loaded.observe_existence();
    if loaded.exists {
        let at = loaded.handle;
        handle.write_to(at, EvmDelta::Account(AccountDelta::DESTROY));
    }
}

/// A touched account that had nothing added could be empty if its balance were another.
fn observe_that_it_stays(loaded: &mut Loaded, account: &Account) {
    let info = &account.info;
    let gained = info.balance > loaded.balance;
    let set = info.nonce != loaded.nonce || info.code_hash != loaded.code_hash;
    let code_known = loaded.observation.code_hash.is_some() && !loaded.is_bare() && !info.is_empty_code_hash();
    let nonce_known = loaded.observation.nonce.is_some() && loaded.nonce != 0;
    if !gained && !set && !code_known && !nonce_known {
        loaded.observe_emptiness(info);
    }
}

fn account_delta(loaded: &mut Loaded, account: &Account, spec: SpecId) -> AccountDelta {
    let info = &account.info;
    let balance = balance_step(loaded, info.balance);
    let code = (info.code_hash != loaded.code_hash).then(|| (info.code_hash, info.code.clone()));
    // Before EIP-161 a touched account exists whether or not it is empty.
    let appears = !spec.is_enabled_in(SpecId::SPURIOUS_DRAGON) && !loaded.exists;
    AccountDelta {
        balance,
        nonce: (info.nonce != loaded.nonce).then_some(info.nonce),
        code,
        existence: if appears { Existence::Present } else { Existence::Derived },
        clears_storage: account.is_created(),
    }
}

/// The difference to the loaded balance. A balance that went higher on the way than it ends limits what it may start
/// from, or the way would have overflowed.
fn balance_step(loaded: &mut Loaded, balance: U256) -> BalanceStep {
    if let Some(amount) = balance.checked_sub(loaded.balance).filter(|amount| !amount.is_zero()) {
        return BalanceStep::Credit { amount, peak: loaded.peak.max(amount) };
    }
    if !loaded.peak.is_zero() {
        let most = U256::MAX - loaded.peak;
        loaded.observation.balance.most = loaded.observation.balance.most.min(most);
    }
    match loaded.balance - balance {
        U256::ZERO => BalanceStep::Keep,
        amount => BalanceStep::Debit(amount),
    }
}
