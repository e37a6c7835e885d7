//! A reader that remembers what it was asked and what it answered.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::{Address, B256, Bytes, U256};
use ropewalk_state::{Account, Completeness, MemoryState, StateError, StateReader};

/// What was read of a state, with the answers. That there is no account, and that a slot is zero, are answers too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    pub(crate) accounts: BTreeMap<Address, RecordedAccount>,
    pub(crate) codes: BTreeMap<B256, Bytes>,
    pub(crate) block_hashes: BTreeMap<u64, B256>,
}

/// One account that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecordedAccount {
    pub(crate) account: Option<Account>,
    /// Slots that were read.
    pub(crate) slots: BTreeMap<U256, U256>,
}

impl Recorded {
    /// The answers as a state, which claims to be complete: any other question is an error.
    pub fn to_state(&self) -> MemoryState {
        let mut state = MemoryState::new(Completeness::Claimed);
        for (address, recorded) in &self.accounts {
            state.insert_account(*address, recorded.account);
            recorded.slots.iter().for_each(|(slot, value)| state.insert_slot(*address, *slot, *value));
        }
        for code in self.codes.values() {
            state.insert_code(code.clone());
        }
        self.block_hashes.iter().for_each(|(number, hash)| state.insert_block_hash(*number, *hash));
        state
    }

    /// Code of an account that was read, where it has some and that was read as well.
    pub(crate) fn code(&self, read: &RecordedAccount) -> Option<&Bytes> {
        self.codes.get(&read.account?.code_hash)
    }
}

/// Reads through to a state and records.
#[derive(Debug)]
pub(crate) struct Recording<'a, R> {
    source: &'a R,
    recorded: Mutex<Recorded>,
}

impl<'a, R: StateReader> Recording<'a, R> {
    pub(crate) fn new(source: &'a R) -> Self {
        Self { source, recorded: Mutex::default() }
    }

    /// What has been read.
    pub(crate) fn finish(self) -> Recorded {
        self.recorded.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the code of every account that has been read so far, so that the record does not depend on which of them
    /// were called.
    pub(crate) fn read_codes(&self) -> Result<(), StateError> {
        let accounts: Vec<Account> = self.recorded().accounts.values().filter_map(|read| read.account).collect();
        accounts.iter().filter(|account| account.has_code()).try_for_each(|account| {
            self.code(&account.code_hash)?;
            Ok(())
        })
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        // A panic between two insertions leaves maps that are still maps.
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: StateReader> StateReader for Recording<'_, R> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        let account = self.source.account(address)?;
        self.recorded().accounts.entry(*address).or_default().account = account;
        Ok(account)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        // The slots of an absent account need no record: that there is no account says it all.
        if self.account(address)?.is_none() {
            return Ok(U256::ZERO);
        }
        let value = self.source.storage(address, slot)?;
        self.recorded().accounts.entry(*address).or_default().slots.insert(*slot, value);
        Ok(value)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        self.account(address)?;
        self.source.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        let code = self.source.code(hash)?;
        self.recorded().codes.insert(*hash, code.clone());
        Ok(code)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        let hash = self.source.block_hash(number)?;
        self.recorded().block_hashes.insert(number, hash);
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_not_answered() {
        let (read, unread) = (Address::with_last_byte(1), Address::with_last_byte(2));
        let absent = Address::with_last_byte(3);
        let (slot, zero_slot) = (U256::from(1), U256::from(2));
        let mut state = MemoryState::new(Completeness::Assumed);
        let code_hash = state.insert_code(Bytes::from_static(&[0]));
        state.insert_account(read, Some(Account { code_hash, ..Account::EMPTY }));
        state.insert_account(unread, Some(Account::EMPTY));
        state.insert_slot(read, slot, U256::from(7));

        let recording = Recording::new(&state);
        for (address, slot) in [(read, slot), (read, zero_slot), (absent, slot)] {
            recording.storage(&address, &slot).expect("the state is whole");
        }
        recording.read_codes().expect("the state is whole");
        let answers = recording.finish().to_state();
        assert_eq!(answers.storage(&read, &slot).ok(), Some(U256::from(7)));
        assert_eq!(answers.storage(&read, &zero_slot).ok(), Some(U256::ZERO));
        assert_eq!(answers.account(&absent).ok(), Some(None));
        assert_eq!(answers.code(&code_hash).ok(), Some(Bytes::from_static(&[0])));
        assert!(matches!(answers.account(&unread), Err(StateError::MissingAccount(address)) if address == unread));
        assert!(matches!(answers.storage(&read, &U256::from(3)), Err(StateError::MissingSlot { .. })));
    }
}
