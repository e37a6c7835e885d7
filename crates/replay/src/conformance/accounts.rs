//! States as suites write them: into a state to execute on, and against one that execution left.

use std::{collections::BTreeSet, fmt};

use alloy_primitives::{Address, KECCAK256_EMPTY, U256, keccak256};
use ropewalk_state::{Account, Completeness, MemoryState, StateReader};

use super::suite::{Accounts, Number, RecordedAccount};

/// The first account in which a state is not the expected one. Values are ours and theirs, in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateDifference {
    address: Address,
    field: Field,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Exists(bool, bool),
    Nonce(u64, U256),
    Balance(U256, U256),
    Code(String, String),
    Slot(U256, U256, U256),
}

/// A whole state with these accounts.
///
/// # Errors
/// Names an account whose nonce has more than 64 bits.
pub(super) fn state_of(accounts: &Accounts) -> Result<MemoryState, Address> {
    let mut state = MemoryState::new(Completeness::Assumed);
    for (address, account) in accounts {
        let Some(account) = account else { continue };
        let nonce = account.nonce.to_u64().ok_or(*address)?;
        let code_hash = match account.code.is_empty() {
            true => KECCAK256_EMPTY,
            false => state.insert_code(account.code.clone()),
        };
        state.insert_account(*address, Some(Account { nonce, balance: account.balance.0, code_hash }));
        for (slot, value) in account.storage.iter().filter(|(_, value)| !value.0.is_zero()) {
            state.insert_slot(*address, slot.0, value.0);
        }
    }
    Ok(state)
}

/// The first account, by address, in which the state differs from `expected`.
pub(super) fn first_difference(state: &MemoryState, expected: &Accounts) -> Option<StateDifference> {
    let ours = state.iter_accounts().map(|(address, _)| address);
    let addresses: BTreeSet<Address> = ours.chain(expected.keys().copied()).collect();
    addresses.into_iter().find_map(|address| {
        let theirs = expected.get(&address).and_then(Option::as_ref);
        let field = field(state, address, theirs)?;
        Some(StateDifference { address, field })
    })
}

fn field(state: &MemoryState, address: Address, theirs: Option<&RecordedAccount>) -> Option<Field> {
    // A state in maps that is whole answers every question.
    let ours = state.account(&address).ok().flatten();
    let (ours, theirs) = match (ours, theirs) {
        (Some(ours), Some(theirs)) => (ours, theirs),
        (None, None) => return None,
        (ours, theirs) => return Some(Field::Exists(ours.is_some(), theirs.is_some())),
    };
    if U256::from(ours.nonce) != theirs.nonce.0 {
        return Some(Field::Nonce(ours.nonce, theirs.nonce.0));
    }
    if ours.balance != theirs.balance.0 {
        return Some(Field::Balance(ours.balance, theirs.balance.0));
    }
    if ours.code_hash != keccak256(&theirs.code) {
        let code = if ours.has_code() { state.code(&ours.code_hash).unwrap_or_default() } else { Default::default() };
        return Some(Field::Code(shortened(&code.to_string()), shortened(&theirs.code.to_string())));
    }
    let slots = state.iter_slots(&address).map(|(slot, _)| slot);
    let slots: BTreeSet<U256> = slots.chain(theirs.storage.keys().map(|slot| slot.0)).collect();
    slots.into_iter().find_map(|slot| {
        let ours = state.storage(&address, &slot).unwrap_or_default();
        let theirs = theirs.storage.get(&Number(slot)).map_or(U256::ZERO, |value| value.0);
        (ours != theirs).then_some(Field::Slot(slot, ours, theirs))
    })
}

fn shortened(hex: &str) -> String {
    const KEPT_CHARS: usize = 66;
    match hex.get(..KEPT_CHARS) {
        Some(kept) if hex.len() > KEPT_CHARS => format!("{kept}..."),
        _ => hex.to_owned(),
    }
}

impl fmt::Display for StateDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {}: ", self.address)?;
        match &self.field {
            Field::Exists(ours, theirs) => write!(f, "exists: {ours} here, {theirs} expected"),
            Field::Nonce(ours, theirs) => write!(f, "nonce: {ours} here, {theirs} expected"),
            Field::Balance(ours, theirs) => write!(f, "balance: {ours} here, {theirs} expected"),
            Field::Code(ours, theirs) => write!(f, "code: {ours} here, {theirs} expected"),
            Field::Slot(slot, ours, theirs) => write!(f, "slot {slot:#x}: {ours:#x} here, {theirs:#x} expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(json: &str) -> Accounts {
        serde_json::from_str(json).expect("accounts")
    }

    const PRE: &str = r#"{
        "0x0000000000000000000000000000000000000001": {"balance": "0x05", "nonce": "0x00", "code": "0x", "storage": {}},
        "0x0000000000000000000000000000000000000002":
            {"balance": "0x", "nonce": "1", "code": "0x6001", "storage": {"0x00": "0x07", "0x01": "0x00"}}
    }"#;

    #[test]
    fn a_state_equals_the_accounts_that_it_was_made_of() {
        let state = state_of(&accounts(PRE)).expect("nonces fit");
        assert_eq!(first_difference(&state, &accounts(PRE)), None);
    }

    #[test]
    fn the_first_account_and_field_that_differ_are_named_with_both_values() {
        let state = state_of(&accounts(PRE)).expect("nonces fit");
        let cases = [
            ("\"balance\": \"0x05\"", "\"balance\": \"0x06\"", "balance: 5 here, 6 expected"),
            ("\"nonce\": \"1\"", "\"nonce\": \"0x02\"", "nonce: 1 here, 2 expected"),
            ("0x6001", "0x6002", "code: 0x6001 here, 0x6002 expected"),
            ("\"0x00\": \"0x07\"", "\"0x00\": \"0x08\"", "slot 0x0: 0x7 here, 0x8 expected"),
            ("\"0x01\": \"0x00\"", "\"0x01\": \"0x09\"", "slot 0x1: 0x0 here, 0x9 expected"),
            ("0000000001\"", "0000000003\"", "account 0x0000000000000000000000000000000000000001: exists: true here"),
        ];
        for (ours, theirs, expected) in cases {
            let changed = accounts(&PRE.replacen(ours, theirs, 1));
            let difference = first_difference(&state, &changed).expect("they differ").to_string();
            assert!(difference.contains(expected), "{difference}");
        }
    }
}
