//! The prestates of a block's transactions, merged into one of the block.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use ropewalk_state::Account;
use serde::Deserialize;

use crate::fixture::{Count, Quantity};

/// The prestate of one transaction, as geth's prestateTracer gives it.
#[derive(Debug, Deserialize)]
pub(super) struct Traced {
    result: BTreeMap<Address, TracedAccount>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TracedAccount {
    balance: Option<Quantity<U256>>,
    nonce: Option<Count>,
    code: Option<Bytes>,
    #[serde(default)]
    storage: BTreeMap<B256, B256>,
}

/// What is known of the state before a block.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) accounts: BTreeMap<Address, Option<Account>>,
    pub(super) slots: BTreeMap<(Address, U256), U256>,
    pub(super) codes: BTreeMap<B256, Bytes>,
    pub(super) block_hashes: BTreeMap<u64, B256>,
}

impl Known {
    /// Takes over what the transactions of a block found, in order. A later transaction may have found what an earlier
    /// one left, so what is known already stays: an account from the first that met it, a slot from the first that met
    /// that slot.
    pub(super) fn merge(&mut self, transactions: Vec<Traced>) {
        for (address, traced) in transactions.into_iter().flat_map(|transaction| transaction.result) {
            let TracedAccount { balance, nonce, code, storage } = traced;
            let code = code.filter(|code| !code.is_empty());
            let account = Account {
                nonce: nonce.map_or(0, |Count(nonce)| nonce),
                balance: balance.map_or(U256::ZERO, |Quantity(balance)| balance),
                code_hash: code.as_ref().map_or(KECCAK256_EMPTY, keccak256),
            };
            // Nothing of it may mean that it is absent, or was created by an earlier transaction and is known as absent.
            self.accounts.entry(address).or_insert((!account.is_empty()).then_some(account));
            self.codes.extend(code.map(|code| (account.code_hash, code)));
            for (slot, value) in storage {
                self.slots.entry((address, slot.into())).or_insert(value.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ADDRESS: Address = Address::repeat_byte(7);

    fn merged(transactions: serde_json::Value) -> Known {
        let mut known = Known::default();
        known.merge(serde_json::from_value(transactions).expect("a trace"));
        known
    }

    #[test]
    fn what_the_first_transaction_found_counts() {
        let known = merged(json!([
            {"result": {ADDRESS.to_string(): {"balance": "0x5", "nonce": 1}}},
            {"result": {ADDRESS.to_string(): {"balance": "0x9", "nonce": 2, "storage": {B256::ZERO.to_string(): B256::with_last_byte(3)}}}},
            {"result": {ADDRESS.to_string(): {"balance": "0x9", "storage": {B256::ZERO.to_string(): B256::with_last_byte(4)}}}},
        ]));
        let account = known.accounts[&ADDRESS].expect("it is there");
        assert_eq!((account.nonce, account.balance), (1, U256::from(5)));
        assert_eq!(known.slots[&(ADDRESS, U256::ZERO)], U256::from(3));
    }

    #[test]
    fn an_account_that_the_block_creates_was_not_there() {
        let known = merged(json!([
            {"result": {ADDRESS.to_string(): {"balance": "0x0"}}},
            {"result": {ADDRESS.to_string(): {"balance": "0x9", "nonce": 1}}},
        ]));
        assert_eq!(known.accounts[&ADDRESS], None);
    }
}
