//! A state in plain maps, for this crate's own tests.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use ropewalk_state::{Account, StateError, StateReader};

/// Accounts, slots and code in maps. What is not there does not exist, except for what is marked as unknown.
#[derive(Debug, Default)]
pub(crate) struct PlainState {
    accounts: HashMap<Address, Account>,
    slots: HashMap<(Address, U256), U256>,
    codes: HashMap<B256, Bytes>,
    unknown: Option<Address>,
}

impl PlainState {
    /// Adds an account with a balance in wei and nothing else.
    pub(crate) fn with_balance(self, address: Address, balance_wei: u128) -> Self {
        self.with_account(address, Account { balance: U256::from(balance_wei), ..Account::EMPTY })
    }

    /// Adds an account.
    pub(crate) fn with_account(mut self, address: Address, account: Account) -> Self {
        self.accounts.insert(address, account);
        self
    }

    /// Adds a contract with nonce 1.
    pub(crate) fn with_code(mut self, address: Address, code: impl Into<Bytes>) -> Self {
        let code = code.into();
        let code_hash = keccak256(&code);
        self.codes.insert(code_hash, code);
        self.with_account(address, Account { nonce: 1, balance: U256::ZERO, code_hash })
    }

    /// Adds a slot.
    pub(crate) fn with_slot(mut self, address: Address, slot: u64, value: u64) -> Self {
        self.slots.insert((address, U256::from(slot)), U256::from(value));
        self
    }

    /// Makes reads of an account fail.
    pub(crate) fn without_knowledge_of(mut self, address: Address) -> Self {
        self.unknown = Some(address);
        self
    }
}

impl StateReader for PlainState {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        match self.unknown {
            Some(unknown) if unknown == *address => Err(StateError::MissingAccount(unknown)),
            _ => Ok(self.accounts.get(address).copied()),
        }
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        Ok(self.slots.get(&(*address, *slot)).copied().unwrap_or_default())
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        Ok(!self.slots.keys().any(|(owner, _)| owner == address))
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        self.codes.get(hash).cloned().ok_or(StateError::MissingCode(*hash))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        Err(StateError::MissingBlockHash(number))
    }
}
