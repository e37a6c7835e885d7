//! A state reader as revm's database.

use std::{cell::RefCell, fmt};

use alloy_primitives::{Address, B256, U256, map::B256Map};
use revm::{
    bytecode::Bytecode,
    database::{DBErrorMarker, Database},
    state::AccountInfo,
};
use ropewalk_state::{StateError, StateReader};

use crate::bundle::analysed;

/// Analysed code by hash, kept over the runs of one block.
pub(super) type Codes = B256Map<Bytecode>;

/// Reads a state for revm, remembers analysed code, and keeps the first failure.
pub(super) struct ReaderDatabase<'a, R: ?Sized> {
    reader: &'a R,
    codes: &'a RefCell<Codes>,
    failure: &'a RefCell<Option<StateError>>,
}

/// The state failed; the reason was kept where the database was told to keep it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("state could not be read")]
pub(super) struct ReadFailed;

impl DBErrorMarker for ReadFailed {}

impl<'a, R: StateReader + ?Sized> ReaderDatabase<'a, R> {
    pub(super) fn new(reader: &'a R, codes: &'a RefCell<Codes>, failure: &'a RefCell<Option<StateError>>) -> Self {
        Self { reader, codes, failure }
    }

    fn kept<T>(&self, result: Result<T, StateError>) -> Result<T, ReadFailed> {
        result.map_err(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            ReadFailed
        })
    }
}

impl<R: StateReader + ?Sized> Database for ReaderDatabase<'_, R> {
    type Error = ReadFailed;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, ReadFailed> {
        let account = self.kept(self.reader.account(&address))?;
        Ok(account.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: None,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, ReadFailed> {
        if let Some(code) = self.codes.borrow().get(&code_hash) {
            return Ok(code.clone());
        }
        let code = analysed(self.kept(self.reader.code(&code_hash))?);
        self.codes.borrow_mut().insert(code_hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, ReadFailed> {
        self.kept(self.reader.storage(&address, &slot))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, ReadFailed> {
        self.kept(self.reader.block_hash(number))
    }
}

impl<R: ?Sized> fmt::Debug for ReaderDatabase<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderDatabase").field("failure", self.failure).finish_non_exhaustive()
    }
}
