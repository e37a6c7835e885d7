//! State kept in memory: what a run asked of a slow source, in front of that source.
//!
//! A witness answers every read by walking a trie. To time execution and not trie walks, the oracle's first run over it
//! is recorded, and all later runs read what it read from maps. What no run in order asks for, a speculative one may:
//! such reads go through to the witness, but for the question whether an account where a contract is created has storage
//! (EIP-7610), which the engine asks and the oracle does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy_primitives::{Address, B256, Bytes, U256, map::HashMap};
use ropewalk_state::{Account, Completeness, MemoryState, StateError, StateReader};

/// Reads through to a source and remembers the questions.
#[derive(Debug)]
pub(crate) struct Recording<R> {
    source: R,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    /// Accounts with the slots asked for; code goes with its account.
    accounts: BTreeMap<Address, BTreeSet<U256>>,
    codes: BTreeSet<B256>,
    block_numbers: BTreeSet<u64>,
}

impl<R: StateReader> Recording<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, asked: Mutex::default() }
    }

    /// The source with its answers to all questions so far in front of it.
    ///
    /// # Errors
    /// When the source fails; what it failed to answer the first time is not asked again.
    pub(crate) fn warm(self) -> Result<Warm<R>, StateError> {
        let Self { source, asked } = self;
        let asked = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut answers = MemoryState::new(Completeness::Claimed);
        let mut empty = HashMap::default();
        for (address, slots) in &asked.accounts {
            let account = source.account(address)?;
            // Whoever creates a contract there asks.
            if account.is_some_and(|account| account.nonce == 0 && !account.has_code())
                && let Ok(is_empty) = source.storage_is_empty(address)
            {
                empty.insert(*address, is_empty);
            }
            answers.insert_account(*address, account);
            for slot in slots {
                answers.insert_slot(*address, *slot, source.storage(address, slot)?);
            }
        }
        for hash in &asked.codes {
            answers.insert_code(source.code(hash)?);
        }
        for &number in &asked.block_numbers {
            answers.insert_block_hash(number, source.block_hash(number)?);
        }
        Ok(Warm { answers, empty, source })
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        // A panic between two insertions leaves sets that are still sets.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: StateReader> StateReader for Recording<R> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        let account = self.source.account(address)?;
        self.asked().accounts.entry(*address).or_default();
        Ok(account)
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        let value = self.source.storage(address, slot)?;
        self.asked().accounts.entry(*address).or_default().insert(*slot);
        Ok(value)
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        self.source.storage_is_empty(address)
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        let code = self.source.code(hash)?;
        self.asked().codes.insert(*hash);
        Ok(code)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        let hash = self.source.block_hash(number)?;
        self.asked().block_numbers.insert(number);
        Ok(hash)
    }
}

/// A source with answers in front of it.
#[derive(Debug)]
pub(crate) struct Warm<R> {
    answers: MemoryState,
    /// Whether there is any storage, of accounts where a contract may be created.
    empty: HashMap<Address, bool>,
    source: R,
}

impl<R> Warm<R> {
    /// What was asked of the source, and nothing else.
    pub(crate) fn answers(&self) -> &MemoryState {
        &self.answers
    }

    /// The source.
    pub(crate) fn source(&self) -> &R {
        &self.source
    }
}

impl<R: StateReader> StateReader for Warm<R> {
    fn account(&self, address: &Address) -> Result<Option<Account>, StateError> {
        match self.answers.account(address) {
            Err(StateError::MissingAccount(_)) => self.source.account(address),
            answer => answer,
        }
    }

    fn storage(&self, address: &Address, slot: &U256) -> Result<U256, StateError> {
        match self.answers.storage(address, slot) {
            Err(StateError::MissingSlot { .. }) => self.source.storage(address, slot),
            answer => answer,
        }
    }

    fn storage_is_empty(&self, address: &Address) -> Result<bool, StateError> {
        match self.empty.get(address) {
            Some(is_empty) => Ok(*is_empty),
            None => self.source.storage_is_empty(address),
        }
    }

    fn code(&self, hash: &B256) -> Result<Bytes, StateError> {
        match self.answers.code(hash) {
            Err(StateError::MissingCode(_)) => self.source.code(hash),
            answer => answer,
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        match self.answers.block_hash(number) {
            Err(StateError::MissingBlockHash(_)) => self.source.block_hash(number),
            answer => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    fn source() -> MemoryState {
        let mut source = MemoryState::new(Completeness::Claimed);
        let code_hash = source.insert_code(Bytes::from_static(&[1, 2, 3]));
        for address in [ASKED, OTHER] {
            source.insert_account(address, Some(Account { nonce: 7, code_hash, ..Account::EMPTY }));
            source.insert_slot(address, U256::from(1), U256::from(5));
        }
        source.insert_block_hash(9, B256::repeat_byte(9));
        source
    }

    #[test]
    fn emptiness_is_known_where_a_contract_may_be_created() {
        let mut source = source();
        let [bare, used] = [3, 4].map(Address::repeat_byte);
        source.insert_account(bare, Some(Account { balance: U256::from(1), ..Account::EMPTY }));
        source.insert_account(used, Some(Account::EMPTY));
        source.insert_slot(used, U256::from(1), U256::from(5));
        let recording = Recording::new(source);
        for address in [bare, used, ASKED] {
            recording.account(&address).expect("recorded");
        }
        let warm = recording.warm().expect("the source answers");
        assert_eq!(warm.empty, HashMap::from_iter([(bare, true), (used, false)]));
        for address in [bare, used, ASKED] {
            let both = [warm.storage_is_empty(&address), warm.source().storage_is_empty(&address)];
            let [first, second] = both.map(|is_empty| is_empty.expect("the source answers"));
            assert_eq!(first, second, "{address}");
        }
    }

    #[test]
    fn answers_hold_what_was_asked_and_nothing_else() {
        let recording = Recording::new(source());
        recording.account(&ASKED).expect("recorded");
        recording.storage(&ASKED, &U256::from(1)).expect("recorded");
        let warm = recording.warm().expect("the source answers");
        assert!(warm.answers().account(&ASKED).is_ok());
        assert!(matches!(warm.answers().account(&OTHER), Err(StateError::MissingAccount(OTHER))));
    }

    #[test]
    fn what_was_not_asked_is_read_from_the_source() {
        let warm = Recording::new(source()).warm().expect("the source answers");
        assert_eq!(warm.account(&OTHER).expect("there").expect("exists").nonce, 7);
        assert_eq!(warm.storage(&OTHER, &U256::from(1)).expect("there"), U256::from(5));
        assert_eq!(warm.block_hash(9).expect("there"), B256::repeat_byte(9));
        assert!(matches!(warm.block_hash(8), Err(StateError::MissingBlockHash(8))));
    }
}
