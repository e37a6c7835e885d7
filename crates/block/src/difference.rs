//! Where two outcomes of one block part.
//!
//! [`BlockOutcome`]s are equal or not; a person wants to know where. The first difference in the order in which a
//! block comes about is usually the cause of the others.

use std::{cmp::Ordering, fmt};

use alloy_eips::eip7685::Requests;
use alloy_primitives::{Address, B256, U256};
use ropewalk_state::{AccountChange, Changes, SlotChange};

use crate::{BlockOutcome, SkippedTransaction};

/// The first difference between two outcomes. Values are ours and theirs, in that order.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// Different transactions were skipped.
    Skipped(Vec<SkippedTransaction>, Vec<SkippedTransaction>),
    /// There are more receipts on one side.
    ReceiptCount(usize, usize),
    /// The receipts of a transaction differ; its index counts kept transactions.
    Receipt(usize, Box<alloy_consensus::ReceiptEnvelope>, Box<alloy_consensus::ReceiptEnvelope>),
    /// Gas used by the block differs.
    GasUsed(u64, u64),
    /// Blob gas used by the block differs.
    BlobGasUsed(u64, u64),
    /// Requests differ.
    Requests(Requests, Requests),
    /// Changes of an account differ.
    Account(Address, AccountPart),
    /// Changes agree on accounts and differ in the code that comes with them.
    Codes(Option<B256>, Option<B256>),
}

/// What differs between two changes of one account. Values are ours and theirs, in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountPart {
    /// Only we changed it.
    OnlyOurs,
    /// Only they changed it.
    OnlyTheirs,
    /// Whether the account existed before the block, or what it was then.
    Before,
    /// Whether it exists after the block.
    Exists(bool, bool),
    /// Its nonce after the block.
    Nonce(u64, u64),
    /// Its balance after the block in wei.
    Balance(U256, U256),
    /// Hash of its code after the block.
    CodeHash(B256, B256),
    /// Whether its storage was cleared.
    StorageCleared(bool, bool),
    /// A slot, with before and after on each side, `None` where that side left it alone.
    Slot(U256, Option<SlotChange>, Option<SlotChange>),
}

/// Finds the first difference between two outcomes of one block; `None` when they are equal.
pub fn first_difference(ours: &BlockOutcome, theirs: &BlockOutcome) -> Option<Difference> {
    if ours.skipped != theirs.skipped {
        return Some(Difference::Skipped(ours.skipped.clone(), theirs.skipped.clone()));
    }
    let mut receipts = ours.receipts.iter().zip(&theirs.receipts).enumerate();
    if let Some((index, (our, their))) = receipts.find(|(_, (our, their))| our != their) {
        return Some(Difference::Receipt(index, Box::new(our.clone()), Box::new(their.clone())));
    }
    if ours.receipts.len() != theirs.receipts.len() {
        return Some(Difference::ReceiptCount(ours.receipts.len(), theirs.receipts.len()));
    }
    if ours.gas_used != theirs.gas_used {
        return Some(Difference::GasUsed(ours.gas_used, theirs.gas_used));
    }
    if ours.blob_gas_used != theirs.blob_gas_used {
        return Some(Difference::BlobGasUsed(ours.blob_gas_used, theirs.blob_gas_used));
    }
    if ours.requests != theirs.requests {
        return Some(Difference::Requests(ours.requests.clone(), theirs.requests.clone()));
    }
    changes(&ours.changes, &theirs.changes)
}

fn changes(ours: &Changes, theirs: &Changes) -> Option<Difference> {
    let pair = first_unequal(&ours.accounts, &theirs.accounts, |change| change.address);
    if let Some((address, ours, theirs)) = pair {
        let part = match (ours, theirs) {
            (Some(ours), Some(theirs)) => account(ours, theirs),
            (Some(_), None) => AccountPart::OnlyOurs,
            (None, _) => AccountPart::OnlyTheirs,
        };
        return Some(Difference::Account(address, part));
    }
    let mut codes = ours.codes.iter().zip(&theirs.codes);
    if let Some((ours, theirs)) = codes.find(|(ours, theirs)| ours != theirs) {
        return Some(Difference::Codes(Some(*ours.0), Some(*theirs.0)));
    }
    let common = ours.codes.len().min(theirs.codes.len());
    let (extra_ours, extra_theirs) = (ours.codes.keys().nth(common), theirs.codes.keys().nth(common));
    (extra_ours.is_some() || extra_theirs.is_some())
        .then(|| Difference::Codes(extra_ours.copied(), extra_theirs.copied()))
}

/// What differs between two unequal changes of one account.
fn account(ours: &AccountChange, theirs: &AccountChange) -> AccountPart {
    if ours.before != theirs.before {
        return AccountPart::Before;
    }
    match (ours.after, theirs.after) {
        (Some(our), Some(their)) if our.nonce != their.nonce => return AccountPart::Nonce(our.nonce, their.nonce),
        (Some(our), Some(their)) if our.balance != their.balance => {
            return AccountPart::Balance(our.balance, their.balance);
        }
        (Some(our), Some(their)) if our.code_hash != their.code_hash => {
            return AccountPart::CodeHash(our.code_hash, their.code_hash);
        }
        (our, their) if our.is_some() != their.is_some() => return AccountPart::Exists(our.is_some(), their.is_some()),
        _ => {}
    }
    match first_unequal(&ours.slots, &theirs.slots, |slot| slot.slot) {
        Some((slot, ours, theirs)) if ours.is_some() || theirs.is_some() => {
            AccountPart::Slot(slot, ours.copied(), theirs.copied())
        }
        _ => AccountPart::StorageCleared(ours.storage_cleared, theirs.storage_cleared),
    }
}

/// Walks two lists, both ascending by key, to the first key of which they hold different things.
fn first_unequal<'a, T: PartialEq, K: Ord>(
    ours: &'a [T],
    theirs: &'a [T],
    key: impl Fn(&T) -> K,
) -> Option<(K, Option<&'a T>, Option<&'a T>)> {
    let common = ours.iter().zip(theirs).take_while(|(our, their)| our == their).count();
    match (ours.get(common), theirs.get(common)) {
        (None, None) => None,
        (Some(our), None) => Some((key(our), Some(our), None)),
        (None, Some(their)) => Some((key(their), None, Some(their))),
        (Some(our), Some(their)) => Some(match key(our).cmp(&key(their)) {
            Ordering::Less => (key(our), Some(our), None),
            Ordering::Equal => (key(our), Some(our), Some(their)),
            Ordering::Greater => (key(their), None, Some(their)),
        }),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(ours, theirs) => write!(f, "skipped transactions: {ours:?} here, {theirs:?} there"),
            Self::ReceiptCount(ours, theirs) => write!(f, "receipts: {ours} here, {theirs} there"),
            Self::Receipt(index, ours, theirs) => write!(f, "receipt {index}: {ours:?} here, {theirs:?} there"),
            Self::GasUsed(ours, theirs) => write!(f, "gas used: {ours} here, {theirs} there"),
            Self::BlobGasUsed(ours, theirs) => write!(f, "blob gas used: {ours} here, {theirs} there"),
            Self::Requests(ours, theirs) => write!(f, "requests: {ours:?} here, {theirs:?} there"),
            Self::Account(address, part) => write!(f, "account {address}: {part}"),
            Self::Codes(ours, theirs) => write!(f, "code: {ours:?} here, {theirs:?} there"),
        }
    }
}

impl fmt::Display for AccountPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyOurs => f.write_str("changed here, not there"),
            Self::OnlyTheirs => f.write_str("changed there, not here"),
            Self::Before => f.write_str("differs before the block"),
            Self::Exists(ours, theirs) => write!(f, "exists: {ours} here, {theirs} there"),
            Self::Nonce(ours, theirs) => write!(f, "nonce: {ours} here, {theirs} there"),
            Self::Balance(ours, theirs) => write!(f, "balance: {ours} here, {theirs} there"),
            Self::CodeHash(ours, theirs) => write!(f, "code hash: {ours} here, {theirs} there"),
            Self::StorageCleared(ours, theirs) => write!(f, "storage cleared: {ours} here, {theirs} there"),
            Self::Slot(slot, ours, theirs) => {
                let after = |change: &Option<SlotChange>| match change {
                    Some(change) => format!("{:#x}", change.after),
                    None => "unchanged".to_owned(),
                };
                write!(f, "slot {slot:#x}: {} here, {} there", after(ours), after(theirs))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;
    use ropewalk_state::Account;

    use super::*;

    fn change(address: u8, balance: u64, slots: &[(u64, u64)]) -> AccountChange {
        let slot = |(slot, after): &(u64, u64)| SlotChange {
            slot: U256::from(*slot),
            before: U256::ZERO,
            after: U256::from(*after),
        };
        AccountChange {
            address: Address::with_last_byte(address),
            before: None,
            after: Some(Account { balance: U256::from(balance), ..Account::EMPTY }),
            storage_cleared: false,
            slots: slots.iter().map(slot).collect(),
        }
    }

    fn outcome(accounts: Vec<AccountChange>) -> BlockOutcome {
        BlockOutcome { changes: Changes { accounts, ..Default::default() }, ..Default::default() }
    }

    fn difference(ours: Vec<AccountChange>, theirs: Vec<AccountChange>) -> Option<Difference> {
        first_difference(&outcome(ours), &outcome(theirs))
    }

    #[test]
    fn equal_outcomes_do_not_differ() {
        let accounts = || vec![change(1, 5, &[(1, 2)]), change(2, 6, &[])];
        assert_eq!(difference(accounts(), accounts()), None);
    }

    #[test]
    fn the_first_account_and_the_field_are_named() {
        let at = |address| Address::with_last_byte(address);
        let cases = [
            (change(1, 6, &[]), AccountPart::Balance(U256::from(5), U256::from(6))),
            (change(2, 5, &[]), AccountPart::OnlyOurs),
            (change(1, 5, &[(7, 8)]), AccountPart::Slot(U256::from(7), None, Some(change(1, 5, &[(7, 8)]).slots[0]))),
            (AccountChange { storage_cleared: true, ..change(1, 5, &[]) }, AccountPart::StorageCleared(false, true)),
            (AccountChange { after: None, ..change(1, 5, &[]) }, AccountPart::Exists(true, false)),
        ];
        for (theirs, part) in cases {
            let found = difference(vec![change(1, 5, &[])], vec![theirs]);
            assert_eq!(found, Some(Difference::Account(at(1), part)));
        }
        assert_eq!(
            difference(vec![], vec![change(1, 5, &[])]),
            Some(Difference::Account(at(1), AccountPart::OnlyTheirs))
        );
    }

    #[test]
    fn code_is_compared_after_accounts() {
        let mut theirs = outcome(vec![]);
        theirs.changes.codes.insert(B256::ZERO, Bytes::new());
        assert_eq!(first_difference(&outcome(vec![]), &theirs), Some(Difference::Codes(None, Some(B256::ZERO))));
    }

    #[test]
    fn unequal_outcomes_always_differ_somewhere() {
        let ours = BlockOutcome { gas_used: 1, blob_gas_used: 2, ..Default::default() };
        let found = first_difference(&ours, &BlockOutcome::default());
        assert_eq!(found.map(|found| found.to_string()), Some("gas used: 1 here, 0 there".to_owned()));
    }
}
