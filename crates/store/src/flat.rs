//! The whole flat state in the order of its keys, which is the order of the state's tries.

use alloy_primitives::{B256, U256};
use ropewalk_state::Account;

use crate::{
    StoreError, StoreReader,
    database::malformed,
    layout::{
        Column, DecodeError, STORAGE_KEY_LENGTH, STORAGE_PREFIX_LENGTH, decode_account, decode_slot, storage_prefix,
    },
    tuning,
};

/// One piece of a state, under the hashes that it is stored by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlatEntry {
    /// An account; its slots follow.
    Account {
        /// Hash of its address.
        key: B256,
        /// What it holds.
        account: Account,
    },
    /// A slot, which is not zero, of the account before it.
    Slot {
        /// Hash of the slot.
        key: B256,
        /// Its value.
        value: U256,
    },
}

/// How many entries of the kinds that are not part of a state a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Codes, whether or not an account still refers to them.
    pub codes: u64,
    /// Blocks that are remembered.
    pub blocks: u64,
}

impl StoreReader {
    /// Hands every account and every slot to `visit`, accounts ascending by the hash of their address, each followed by
    /// its slots ascending by their hash. Memory does not grow with the state. `visit` may end it with an error.
    ///
    /// # Errors
    /// When the store cannot be read, a key or a value is malformed, or `visit` says so.
    pub fn for_each_entry<E: From<StoreError>>(
        &self,
        mut visit: impl FnMut(FlatEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.view().scan(Column::Accounts, &[], self.view().scan_options(tuning::whole_read()), |bytes, value| {
            let key = B256::try_from(bytes).map_err(|_| malformed_key(Column::Accounts, bytes, 32))?;
            let account = decode_account(value).map_err(|source| malformed(Column::Accounts, bytes, source))?;
            visit(FlatEntry::Account { key, account })?;
            self.slots_of(&key, &mut visit)
        })
    }

    /// Counts what is not part of the state.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let count = |column| -> Result<u64, StoreError> {
            let mut entries = 0;
            let read = self.view().scan_options(tuning::whole_read());
            self.view().scan(column, &[], read, |_, _| {
                entries += 1;
                Ok::<(), StoreError>(())
            })?;
            Ok(entries)
        };
        Ok(Counts { codes: count(Column::Code)?, blocks: count(Column::Blocks)? })
    }

    fn slots_of<E: From<StoreError>>(
        &self,
        account: &B256,
        visit: &mut impl FnMut(FlatEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let prefix = storage_prefix(account, self.view().incarnation(account)?);
        let read = self.view().scan_options(tuning::prefix_read());
        self.view().scan(Column::Storage, &prefix, read, |bytes, value| {
            if bytes.len() != STORAGE_KEY_LENGTH {
                return Err(malformed_key(Column::Storage, bytes, STORAGE_KEY_LENGTH).into());
            }
            let value = decode_slot(value).map_err(|source| malformed(Column::Storage, bytes, source))?;
            visit(FlatEntry::Slot { key: B256::from_slice(&bytes[STORAGE_PREFIX_LENGTH..]), value })
        })
    }
}

fn malformed_key(column: Column, key: &[u8], expected: usize) -> StoreError {
    malformed(column, key, DecodeError::Length { found: key.len(), least: expected, most: expected })
}
